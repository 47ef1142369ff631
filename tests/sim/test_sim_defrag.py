"""Members that defragment: a crash at any moment leaves one whole file, nothing is lost, nothing applied twice."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.server.defrag import DefragmentError
from quorate.storage import schema
from quorate.testing.cluster import METHODS
from quorate.testing.sim import run
from quorate.testing.sim.cluster import Settings, SimCluster
from quorate.testing.sim.disk import Crashed, Disk, Faults
from quorate.testing.sim.member import Doom
from quorate.testing.sim.nemesis import Nemesis
from quorate.testing.sim.rows import RowsRoom
from quorate.transport.grpc import Channel, Status

DEFRAGMENT = METHODS[pb.DefragmentRequest][0]
POINTS = ("defragBeforeCopy", "defragBeforeRename")


def room(disk: Disk) -> RowsRoom:
    return RowsRoom(disk.mount(), lambda seconds, call: call(), lambda: 0.0)


def test_a_crash_or_loss_of_power_at_any_operation_leaves_the_old_file_or_the_new_one() -> None:
    seen = set()
    for seed in range(240):
        dice = Random(seed)
        disk = Disk(dice)
        disk.mount().make_directory("/snap")
        backend = room(disk).open("/snap/db", schema.BUCKETS)
        for number in range(600):
            backend.put(schema.KEY, b"%08d" % number, b"v" * 200)
        schema.put_applied(backend, 1, 1)
        backend.commit()
        for number in range(600):
            if number % 10:
                backend.delete(schema.KEY, b"%08d" % number)
        backend.commit()
        durable = applied = 1
        points: list[str] = []
        die_at = disk.operations + seed % 24

        def hook(operation: str, path: str, disk: Disk = disk, die_at: int = die_at, points: Any = points) -> None:
            points.append(operation)
            if disk.operations >= die_at:
                raise Crashed

        disk.hook = hook
        try:
            for _ in backend.defragment():
                if applied < 6 and dice.random() < 0.7:
                    applied += 1
                    backend.begin_entry()
                    backend.put(schema.KEY, b"entry %d" % applied, b"")
                    schema.put_applied(backend, applied, 1)
                    backend.end_entry()
                    backend.commit()
                    durable = applied
            finished = True
        except Crashed:
            finished = False
        disk.hook = None
        disk.power_loss() if dice.random() < 0.7 else disk.crash()
        backend = room(disk).open("/snap/db", schema.BUCKETS)
        assert disk.mount().list("/snap") == ["db", "db.lock"]
        index = schema.get_applied(backend).index
        assert durable <= index <= applied
        keys = [key for key, _ in backend.scan(schema.KEY)]
        assert keys == [b"%08d" % number for number in range(0, 600, 10)] + [
            b"entry %d" % number for number in range(2, index + 1)
        ]
        assert not finished or [point for point in points if point in POINTS] == list(POINTS)
        seen.add((finished, backend.size() < 60_000))
        backend.close()
    assert seen == {(False, False), (False, True), (True, True)}


@pytest.mark.parametrize("fault", ["capacity", "write_error", "sync_error"])
def test_a_disk_that_fails_the_new_file_harms_nothing(fault: str) -> None:
    disk = Disk(Random(1))
    disk.mount().make_directory("/snap")
    backend = room(disk).open("/snap/db", schema.BUCKETS)
    backend.put(schema.KEY, b"a", bytes(20_000))
    backend.commit()
    setattr(disk.faults, fault, disk.used() + 1000 if fault == "capacity" else 1.0)
    text = "No space left on device" if fault == "capacity" else "Input/output error"
    with pytest.raises(DefragmentError, match=f"cannot defragment /snap/db: .*{text}"):
        for _ in backend.defragment():
            pass
    disk.faults = Faults()
    assert disk.mount().list("/snap") == ["db", "db.lock"]
    backend.put(schema.KEY, b"b", b"")
    backend.commit()
    for _ in backend.defragment():
        pass
    assert [key for key, _ in backend.scan(schema.KEY)] == [b"a", b"b"]


async def call(channel: Channel, request: Any) -> Any:
    path, decode = METHODS[type(request)]
    return decode(await channel.unary(path, request.SerializeToString(), timeout=5.0))


class Writer:
    """One client of one member; each put is of a key of its own, so that one applied twice shows."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.asked = self.acknowledged = 0

    async def write(self) -> None:
        while True:
            self.asked += 1
            try:
                await call(self.channel, pb.PutRequest(key=b"k%06d" % self.asked, value=b"v" * 200))
            except Status:
                return
            self.acknowledged = self.asked


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_14685_entries_are_applied_once_when_a_member_dies_while_it_defragments(
    point: str, power: bool, size: int, seed: int
) -> None:
    """Rows that a defragmentation had brought to the disk without their index were applied again."""
    cluster = SimCluster(seed, size, Settings(snapshot_count=20, catchup_entries=5, batch_interval=2.0))
    cluster.boot()
    cluster.wait_healthy()
    loop, scheduler = cluster.client_loop, cluster.scheduler
    writer = Writer(cluster.channel(0))
    writing = loop.create_task(writer.write())
    scheduler.run_until(lambda: writer.acknowledged > 50, 60.0)
    machine = cluster.members[0]
    machine.doom = Doom(point, 0, power)
    other = cluster.channel(0)
    asking = loop.create_task(other.unary(DEFRAGMENT, b"", timeout=5.0))
    scheduler.run_until(lambda: not machine.alive, 60.0)
    scheduler.run_until(lambda: writing.done() and asking.done(), 60.0)
    assert isinstance(asking.exception(), Status)
    scheduler.run_for(1.0)
    cluster.boot()
    cluster.wait_healthy()
    channel = cluster.channel(0)
    found = scheduler.run(loop, call(channel, pb.RangeRequest(key=b"k", range_end=b"l")))
    assert writer.acknowledged <= len(found.kvs) <= writer.asked
    assert [kv.version for kv in found.kvs] == [1] * len(found.kvs)
    assert found.header.revision == 1 + len(found.kvs)
    assert scheduler.run(loop, call(channel, pb.DefragmentRequest())) == pb.DefragmentResponse()
    assert scheduler.run(loop, call(channel, pb.RangeRequest(key=b"k", range_end=b"l"))).kvs == found.kvs
    assert "db.tmp" not in machine.disk.mount().list("data/member/snap")
    cluster.close()


def test_writes_are_acknowledged_while_a_member_defragments_and_all_who_ask_are_answered() -> None:
    cluster = SimCluster(5, 1)
    cluster.boot()
    cluster.wait_healthy()
    cluster.members[0].disk.faults.sync_seconds = 1.0  # of the second file; the log's syncs take as long
    writer = Writer(cluster.channel(0))
    cluster.client_loop.create_task(writer.write())
    cluster.scheduler.run_until(lambda: writer.acknowledged > 5, 60.0)
    server = cluster.servers()[0]

    async def ask() -> list[Any]:
        channels = [cluster.channel(0) for _ in range(3)]
        return await asyncio.gather(*(channel.unary(DEFRAGMENT, b"", timeout=30.0) for channel in channels))

    before = writer.acknowledged
    asking = cluster.client_loop.create_task(ask())
    cluster.scheduler.run_until(asking.done, 60.0)
    assert asking.result() == [b"", b"", b""]
    assert writer.acknowledged > before
    assert server.defragmenter._running is None
    cluster.close()


class Defragmenting(Nemesis):
    """Has members defragment, whatever else goes wrong."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        if "defragment" not in self.kinds:
            self.kinds.append("defragment")
            self._weights.append(max(self._weights, default=1.0))


@pytest.mark.parametrize("seed", range(1, 7))
def test_no_promise_is_broken_by_members_that_defragment(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Nemesis", Defragmenting)
    outcome = run.run_seed(seed, seconds=12.0)
    assert not outcome.problems, f"seed {seed}: {outcome.drawn}"
    assert outcome.acknowledged
