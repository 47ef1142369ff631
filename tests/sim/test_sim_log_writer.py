"""The log's thread in virtual time: saved before it is told, told in order, and only by a process that lives."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

from quorate.api.raftpb import Entry, HardState
from quorate.storage.wal import WAL, WalSnapshot, WriteFailed, read_only
from quorate.testing.sim.disk import Crashed, Disk, Faults
from quorate.testing.sim.log_writer import SimWalWriter

DIRECTORY = "/member/wal"


class World:
    def __init__(self, seed: int = 0, faults: Faults | None = None) -> None:
        self.now = 0.0
        self.blocked = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.disk = Disk(Random(seed))
        mount = self.disk.mount()
        mount.make_directory("/member")
        wal = WAL.create(mount, DIRECTORY, b"member", segment_bytes=2048)
        self.disk.faults = faults or Faults()
        self.writer = SimWalWriter(wal, mount, self.call_later, self.block)
        self.writer.start()
        self.saved: list[int] = []
        self.failed: list[BaseException] = []

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        heappush(self._due, (self.now + seconds, next(self._order), call))

    def block(self, seconds: float) -> None:
        self.blocked += seconds

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, call = heappop(self._due)
            call()
        self.now = end

    def submit(self, index: int) -> None:
        def done(error: BaseException | None) -> None:
            self.failed.append(error) if error is not None else self.saved.append(index)

        self.writer.submit(HardState(1, 1, 0), [Entry(1, index, bytes(300))], None, done)

    def read_back(self) -> int:
        return len(read_only(self.disk.mount(), DIRECTORY, WalSnapshot()).entries)


def test_saves_are_told_when_the_sync_is_over_and_those_that_waited_together() -> None:
    world = World(faults=Faults(sync_seconds=1.0))
    world.submit(1)
    world.run(0.5)
    world.submit(2)
    world.submit(3)
    assert world.saved == []
    world.run(0.6)
    assert world.saved == [1]
    world.run(1.1)
    assert world.saved == [1, 2, 3]
    assert not world.failed


def test_a_quick_disk_saves_at_once_and_a_slow_one_no_longer() -> None:
    world = World(faults=Faults(sync_seconds=0.0001))
    assert world.writer.save_now(HardState(1, 1, 0), [Entry(1, 1, b"")])
    world.run(1.0)
    world.disk.faults.sync_seconds = 1.0
    assert world.writer.save_now(HardState(1, 1, 0), [Entry(1, 2, b"")])
    assert world.blocked > 1.0
    assert not world.writer.save_now(HardState(1, 1, 0), [Entry(1, 3, b"")])
    world.disk.faults.sync_seconds = 0.0001
    for index in range(3, 30):
        world.submit(index)
        world.run(0.1)
    assert world.writer.save_now(HardState(1, 1, 0), [Entry(1, 30, b"")])
    world.writer.close()
    assert world.read_back() == 30


def test_what_was_told_is_there_whenever_the_power_goes() -> None:
    failed = 0
    for seed in range(400):
        dice = Random(seed)
        world = World(seed, Faults(slow_sync=0.3, slow_seconds=1.0, sync_error=dice.choice((0.0, 0.02))))
        die_at = world.disk.operations + dice.randrange(80)

        def hook(operation: str, path: str, world: World = world, die_at: int = die_at) -> None:
            if world.disk.operations == die_at:
                raise Crashed

        world.disk.hook = hook
        index = 0
        try:
            for _ in range(15):
                for _ in range(dice.randrange(4)):
                    index += 1
                    world.submit(index)
                world.run(dice.choice((0.0, 0.001, 0.5)))
            if dice.random() < 0.5:
                world.writer.close()
                assert len(world.saved) == index or world.failed
        except (Crashed, WriteFailed):
            pass
        world.disk.hook = None
        told = len(world.saved)
        assert world.saved == list(range(1, told + 1))
        world.disk.power_loss()
        world.run(10.0)
        assert len(world.saved) == told, "a dead process told somebody"
        assert told <= world.read_back() <= index
        failed += bool(world.failed)
    assert failed
