"""The log on the simulated disk: whatever stops the machine, and wherever, what was promised is there and nothing else.

One seed is one member: some lives, each ended by a crash or a power loss at some operation of the disk, on a disk that
may also be slow, fail or fill up. `QUORATE_SIM_SEEDS` runs more of them.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from quorate.api.raftpb import ConfState, Entry, HardState
from quorate.storage import snap
from quorate.storage.files import Files
from quorate.storage.wal import (
    WAL,
    CrcMismatch,
    Malformed,
    UnexpectedEof,
    WalClosed,
    WalContents,
    WalError,
    WalSnapshot,
    WriteFailed,
    exists,
    newest_snapshot,
    read_only,
    repair,
    valid_snapshots,
)
from quorate.testing.sim.disk import Crashed, Disk, Faults

DIRECTORY = "/member/wal"
SEGMENT = 2048
SEEDS = int(os.environ.get("QUORATE_SIM_SEEDS", "3000"))
CHUNKS = 10


class Member:
    """Saves what a raft member would, and remembers what it was told is saved.

    `log` holds the entries that were ever handed over, by index, those overruled replaced. `history` what the log said
    before each save that was not yet acknowledged: a start may find any of them.
    """

    def __init__(self, seed: int) -> None:
        self.dice = Random(f"member {seed}")
        self.disk = Disk(Random(f"disk {seed}"))
        self.disk.mount().make_directory("/member")
        self.disk.faults = self.some_faults()
        self.entries: list[Entry] = []
        self.state = HardState()
        self.saved = 0
        """Index up to which entries are acknowledged."""
        self.acknowledged = HardState()
        self.unsure: list[tuple[list[Entry], HardState]] = []
        """What the log would say after each save that has not been acknowledged."""
        self.snapshots = [0]
        self.snapshot_tried = 0

    def some_faults(self) -> Faults:
        dice = self.dice
        faults = Faults(slow_sync=dice.random() * 0.3, slow_seconds=1.0)
        if dice.random() < 0.3:
            faults.sync_error = dice.random() * 0.05
        if dice.random() < 0.3:
            faults.write_error = dice.random() * 0.05
        if dice.random() < 0.2:
            faults.capacity = dice.randrange(3, 12) * SEGMENT
        return faults

    # A life.

    def live(self, saves: int) -> None:
        """Start, save, purge; raises Crashed, WalError, OSError."""
        files = self.disk.mount()
        wal = self.start(files)
        for _ in range(saves):
            self.save(wal)
            if self.dice.random() < 0.3:
                wal.prepare()
            if self.dice.random() < 0.1:
                self.snapshot(wal)
                snap.purge(files, DIRECTORY, ".wal", 1, locked=True)
            if self.dice.random() < 0.1:
                self.vote(wal)
            if self.dice.random() < 0.03:
                self.install(wal)
        if self.dice.random() < 0.5:
            wal.close()

    def save(self, wal: WAL) -> None:
        dice = self.dice
        entries, state = list(self.entries), self.state
        fresh: list[Entry] = []
        batches = []
        promised = []
        for _ in range(dice.randrange(1, 4)):  # what one step of the writing thread takes together
            first = len(entries) + 1
            if dice.random() < 0.1:  # a new leader overrules what is not committed
                first = dice.randint(state.commit + 1, first)
                state = HardState(state.term + 1, dice.randrange(4), state.commit)
            fresh = [self.entry(state.term, index) for index in range(first, first + dice.randrange(4))]
            if fresh:
                entries[first - 1 :] = fresh
            commit = dice.randint(state.commit, max(state.commit, self.saved if first > self.saved else first - 1))
            before, state = state, HardState(state.term, state.vote, commit)
            self.unsure.append((list(entries), state))
            batches.append(wal.encode(state, fresh))
            if fresh or before[:2] != state[:2]:
                promised.append(len(batches))
        wal.append(batches)
        self.entries, self.state = entries, state
        if promised:  # what stands behind it is a commit index alone
            later = self.unsure[len(self.unsure) - len(batches) + promised[-1] :]
            self.acknowledge(*self.unsure[len(self.unsure) - len(later) - 1])
            self.unsure = later

    def entry(self, term: int, index: int) -> Entry:
        return Entry(term, index, bytes([index % 255 + 1]) * self.dice.choice((0, 3, 100, 700)))

    def acknowledge(self, entries: list[Entry] | None = None, state: HardState | None = None) -> None:
        """All that was handed over is saved, or only what made the log say this."""
        self.saved, self.acknowledged = len(self.entries if entries is None else entries), state or self.state
        self.unsure = []

    def snapshot(self, wal: WAL) -> None:
        index = self.state.commit
        if index <= self.snapshots[-1]:
            return
        self.snapshot_tried = index
        wal.save(None, (), WalSnapshot(index, self.entries[index - 1].term, ConfState((1,))))
        self.acknowledge()  # the record is synced, and all before it
        self.snapshots.append(index)
        wal.release_to(index)

    def vote(self, wal: WAL) -> None:
        """Promise a vote, with nothing else to save."""
        self.state = HardState(self.state.term + 1, self.dice.randrange(1, 4), self.state.commit)
        self.unsure.append((list(self.entries), self.state))
        wal.save(self.state)
        self.acknowledge()

    def install(self, wal: WAL) -> None:
        """A leader sends a state from beyond the end of the log, in place of all of it."""
        index, term = len(self.entries) + self.dice.randint(1, 9), self.state.term + 1
        entries = [Entry(term, number, b"not in the log") for number in range(1, index + 1)]
        state = HardState(term, 0, index)
        self.unsure.append((entries, state))
        self.snapshot_tried = index
        wal.save(state, (), WalSnapshot(index, term, ConfState((1,)), replaces_log=True))
        self.entries, self.state = entries, state
        self.acknowledge()
        self.snapshots.append(index)
        wal.release_to(index)

    # A start.

    def start(self, files: Files) -> WAL:
        if not exists(files, DIRECTORY):
            assert not self.saved and not self.acknowledged.term, "the log is gone"
            self.entries, self.state, self.unsure, self.saved = [], HardState(), [], 0
            return WAL.create(files, DIRECTORY, b"member", segment_bytes=SEGMENT)
        at = newest_snapshot(files, DIRECTORY, 1 << 60)
        assert at is not None
        assert at.index in (self.snapshots[-1], self.snapshot_tried), "a snapshot was lost or invented"
        glance = read_only(files, DIRECTORY, at)
        try:
            wal, contents = WAL.open(files, DIRECTORY, at, segment_bytes=SEGMENT)
        except UnexpectedEof:
            repair(files, DIRECTORY)
            wal, contents = WAL.open(files, DIRECTORY, at, segment_bytes=SEGMENT)
        assert contents == glance
        self.check(contents, at.index)
        assert valid_snapshots(files, DIRECTORY)[-1].index == at.index
        if at.index > self.snapshots[-1]:
            self.snapshots.append(at.index)
        self.acknowledge()  # what a start has read and synced is promised from then on
        return wal

    def check(self, contents: WalContents, at: int) -> None:
        """Every acknowledged entry is there; what is there beyond is a beginning of what was tried."""
        assert contents.metadata == b"member"
        state = contents.hard_state
        possible = [(self.entries[: self.saved], self.acknowledged), *self.unsure]
        assert state in [state for _, state in possible] or state == HardState(), "a state was invented"
        found, safe = None, self.saved
        for entries, _ in possible:
            safe = min(safe, shared(self.entries, entries))  # what no later leader overruled
            tried = entries[:at] + contents.entries
            if len(entries) >= at and tried == entries[: len(tried)] and len(tried) >= safe:
                found = tried
        assert found is not None, "an entry was invented, or an acknowledged one lost"
        assert (state.term, state.commit) >= (self.acknowledged.term, self.acknowledged.commit), "a state is lost"
        assert state.commit <= len(found), "the log says that entries are committed which it does not have"
        if not self.unsure:
            assert (found, state) == (self.entries, self.acknowledged)
        self.entries, self.state = found, state


def shared(one: list[Entry], other: list[Entry]) -> int:
    """How many entries both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def run(seed: int) -> str:
    """A member's lives; how they ended."""
    member = Member(seed)
    disk, dice = member.disk, member.dice
    ends = ""
    for _ in range(4):
        stop_at = disk.operations + dice.randrange(150)

        def hook(operation: str, path: str, stop_at: int = stop_at) -> None:
            if disk.operations == stop_at:
                raise Crashed

        disk.hook = hook
        try:
            member.live(dice.randrange(12))
            ends += "."
        except Crashed:
            ends += "x"
        except (WriteFailed, OSError):
            ends += "f"
        disk.hook = None
        if dice.random() < 0.7:
            disk.power_loss()
            ends += "!"
        else:
            disk.crash()
        if ends.count("f"):
            disk.faults = Faults()  # mended
    disk.faults = Faults()
    member.live(3)
    disk.power_loss()
    member.start(disk.mount()).close()
    return ends


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_everything_acknowledged_is_read_back_and_nothing_else_is_half_there(chunk: int) -> None:
    ends = ""
    for seed in range(chunk * SEEDS // CHUNKS, (chunk + 1) * SEEDS // CHUNKS):
        try:
            ends += run(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert {"x", "!", ".", "f"} <= set(ends)


def test_a_leaders_snapshot_that_tore_does_not_come_back_when_the_log_passes_it() -> None:
    disk = Disk(Random(0))
    files = disk.mount()
    files.make_directory("/member")
    wal = WAL.create(files, DIRECTORY, b"member", segment_bytes=SEGMENT)
    wal.save(HardState(1, 1, 0), [Entry(1, 1, b"")])
    wal.save(None, (), WalSnapshot(20, 1, ConfState((1,)), replaces_log=True))  # the state behind it is torn off
    disk.power_loss()
    wal, contents = WAL.open(disk.mount(), DIRECTORY, WalSnapshot(), segment_bytes=SEGMENT)
    assert [entry.index for entry in contents.entries] == [1]
    for index in range(2, 30):  # another leader has the log from here on
        wal.save(HardState(1, 1, index - 1), [Entry(1, index, bytes(300))])
    wal.close()
    files = disk.mount()
    start = newest_snapshot(files, DIRECTORY, 25)
    assert start is not None
    _, contents = WAL.open(files, DIRECTORY, start, segment_bytes=SEGMENT)
    assert contents.entries[-1].index == 29


def test_the_power_may_go_at_every_single_operation() -> None:
    def life(stop_at: int, seed: int) -> bool:
        member = Member(seed)
        member.dice, member.disk.faults = Random(1), Faults()

        def hook(operation: str, path: str) -> None:
            if member.disk.operations == stop_at:
                raise Crashed

        member.disk.hook = hook
        try:
            member.live(25)
            return False
        except Crashed:
            return True
        finally:
            member.disk.hook = None
            member.disk.power_loss()
            member.start(member.disk.mount()).close()

    steps = 3
    while all(life(steps, seed) for seed in range(5)):
        steps += 1
    assert steps > 100


def test_a_log_that_failed_takes_nothing_more_and_stands_as_promised_at_the_next_start() -> None:
    failed = 0
    for seed in range(100):
        member = Member(seed)
        member.disk.faults = Faults()
        wal = member.start(member.disk.mount())
        for _ in range(3):
            member.save(wal)
        member.disk.faults = Faults(sync_error=0.5, write_error=0.2)
        try:
            for _ in range(20):
                member.save(wal)
        except WriteFailed:
            failed += 1
            operations = member.disk.operations
            with pytest.raises(WalClosed):
                wal.save(HardState(99, 1, 0))
            assert member.disk.operations == operations
        member.disk.power_loss()
        member.disk.faults = Faults()
        member.start(member.disk.mount()).close()
    assert failed > 90


def test_a_rotten_bit_is_found_and_said_where() -> None:
    kinds: set[str] = set()
    for seed in range(300):
        disk = Disk(Random(seed))
        files = disk.mount()
        files.make_directory("/member")
        wal = WAL.create(files, DIRECTORY, b"member", segment_bytes=SEGMENT)
        for index in range(1, 20):
            wal.save(HardState(1, 1, index - 1), [Entry(1, index, bytes([index]) * 300)])
        wal.close()
        before = read_only(files, DIRECTORY, WalSnapshot())
        name = disk.rng.choice(files.list(DIRECTORY)[:-1])
        disk.rot(f"{DIRECTORY}/{name}")
        try:
            contents = WAL.open(files, DIRECTORY, WalSnapshot(), segment_bytes=SEGMENT)[1]
        except WalError as error:
            assert name in str(error) or "snapshot" in str(error), error
            kinds.add(type(error).__name__)
        else:
            assert contents == before, "damage was read as truth"
            kinds.add("harmless")
    assert {CrcMismatch.__name__, Malformed.__name__} <= kinds, kinds


def test_the_seed_decides() -> None:
    assert [run(seed) for seed in range(40)] == [run(seed) for seed in range(40)]
