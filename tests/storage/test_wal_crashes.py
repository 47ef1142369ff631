"""The machine stops between any two steps; the disk fills up or fails. What was promised is there, nothing else is."""

import random
from contextlib import suppress

import pytest
from faulty_files import Crash, FaultyFiles

from quorate.api.raftpb import ConfState, Entry, HardState
from quorate.storage.wal import (
    WAL,
    UnexpectedEof,
    WalClosed,
    WalContents,
    WalSnapshot,
    WriteFailed,
    exists,
    repair,
    valid_snapshots,
)

SMALL = 4096
DIRECTORY = "/member/wal"
START = WalSnapshot()


def disk() -> FaultyFiles:
    files = FaultyFiles()
    files.make_directory("/member")
    return files


def batch(first: int, count: int) -> list[Entry]:
    return [Entry(1, index, bytes([index % 255 + 1]) * (index * 97 % 900)) for index in range(first, first + count)]


class Life:
    """A member that writes from wherever it stands, and remembers what it promised."""

    def __init__(self) -> None:
        self.sent: list[Entry] = []  # everything ever handed to the log and not overruled
        self.promised = 0
        self.vote = 0
        self.sent_vote = 0

    def live(self, files: FaultyFiles, saves: int) -> None:
        wal = self.start(files)
        for number in range(saves):
            entries = batch(len(self.sent) + 1, number % 4 + 1)
            self.sent += entries
            self.sent_vote = self.vote + number % 2
            wal.save(HardState(1, self.sent_vote, self.promised), entries)
            self.promised, self.vote = len(self.sent), self.sent_vote
            wal.save(HardState(1, self.vote, self.promised))
            wal.prepare()
            if number % 5 == 4:
                wal.save(None, (), WalSnapshot(self.promised, 1, ConfState((1,))))
        wal.close()

    def start(self, files: FaultyFiles) -> WAL:
        if not exists(files, DIRECTORY):
            assert not self.promised, "the log is gone"
            self.sent.clear()
            return WAL.create(files, DIRECTORY, b"member", segment_bytes=SMALL)
        try:
            wal, contents = WAL.open(files, DIRECTORY, START, segment_bytes=SMALL)
        except UnexpectedEof:
            repair(files, DIRECTORY)
            wal, contents = WAL.open(files, DIRECTORY, START, segment_bytes=SMALL)
        self.check(contents)
        for snapshot in valid_snapshots(files, DIRECTORY):
            assert snapshot.index <= self.promised
        self.promised = len(contents.entries)  # what was found and synced at open counts from now on
        return wal

    def check(self, contents: WalContents) -> None:
        assert contents.metadata == b"member"
        assert contents.entries == self.sent[: len(contents.entries)], "an entry was invented"
        assert len(contents.entries) >= self.promised, "a promised entry is lost"
        assert contents.hard_state.vote in (self.vote, self.sent_vote)
        assert contents.hard_state.commit <= len(contents.entries)
        del self.sent[len(contents.entries) :]
        self.vote = self.sent_vote = contents.hard_state.vote


def test_a_crash_at_any_step_keeps_every_promise() -> None:
    files = disk()
    Life().live(files, 12)
    steps = files.calls
    assert steps > 80
    for seed in range(6):
        for crash_at in range(1, steps):
            rng = random.Random(seed * 10_000 + crash_at)
            life, files = Life(), disk()
            files.rng, files.crash_at = rng, crash_at
            with suppress(Crash):
                life.live(files, 12)
            survive(life, files, rng)


def survive(life: Life, files: FaultyFiles, rng: random.Random) -> None:
    """Start again, crash at any step of that too, some times; then live on."""
    for _ in range(4):
        files = rng.choice((files.crash, files.kill))(rng)
        files.rng, files.crash_at = rng, rng.randrange(30)
        with suppress(Crash):
            life.live(files, 3)
    files = files.crash(rng)
    life.live(files, 6)
    life.start(files).close()


def test_a_killed_process_loses_nothing_it_wrote() -> None:
    life, files = Life(), disk()
    files.crash_at = 60
    with suppress(Crash):
        life.live(files, 12)
    written = files.calls
    files = files.kill(files.rng)
    life.live(files, 3)
    assert written == 60 and life.promised > 3


def test_the_copy_of_a_torn_segment_is_durable_before_the_cut() -> None:
    files = disk()
    wal = WAL.create(files, DIRECTORY, b"member", segment_bytes=SMALL)
    wal.save(HardState(1, 1, 0), batch(1, 3))
    wal.close()
    path = f"{DIRECTORY}/{files.list(DIRECTORY)[0]}"
    files.inode(path).data[wal.encoder.offset - 9 :] = b""
    torn = files.inode(path).durable = bytes(files.inode(path).data)
    for seed in range(20):
        rng = random.Random(seed)
        start = files.crash(rng)
        start.crash_at = rng.randrange(12)
        with suppress(Crash):
            repair(start, DIRECTORY)
        after = start.crash(rng)
        if bytes(after.inode(path).data) != torn:
            assert bytes(after.inode(path + ".broken").data) == torn


@pytest.mark.parametrize("space", range(0, 3000, 41))
def test_a_full_disk_closes_the_log_and_leaves_it_readable(space: int) -> None:
    files = disk()
    wal = WAL.create(files, DIRECTORY, b"member", segment_bytes=1024)  # the disk is full beyond what is preallocated
    first = batch(1, 1)
    wal.save(HardState(1, 1, 0), first)
    files.space = space
    with pytest.raises(WriteFailed, match=r"0000000000000000-0000000000000000\.wal, offset \d+: .*no space left") as _:
        wal.save(HardState(2, 2, 1), batch(2, 12))
    with pytest.raises(WalClosed, match="no space left"):
        wal.save(HardState(3, 3, 1))
    wal.close()
    files.space = None
    entries = reopened(files)
    assert entries[:1] == first
    assert entries == (first + batch(2, 12))[: len(entries)]


def test_a_full_disk_at_a_cut_closes_the_log() -> None:
    files = disk()
    wal = WAL.create(files, DIRECTORY, b"member", segment_bytes=1024)
    wal.save(HardState(1, 1, 0), batch(1, 1))
    wal._write = lambda data, sync, write=wal._write: (write(data, sync), setattr(files, "space", 0))  # type: ignore
    with pytest.raises(WriteFailed, match="cut failed"):
        wal.save(None, batch(2, 6))
    assert "0.tmp" not in files.list(DIRECTORY)
    wal.close()
    files.space = None
    assert reopened(files) == batch(1, 7)


def test_a_failed_preparation_waits_for_the_cut() -> None:
    files = disk()
    wal = WAL.create(files, DIRECTORY, b"member", segment_bytes=1024)
    files.space = 0
    wal.prepare()
    assert wal.failure is None
    files.space = None
    wal.save(HardState(1, 1, 0), batch(1, 9))
    wal.save(None, batch(10, 1))
    wal.close()
    assert reopened(files) == batch(1, 10)


def test_a_failed_sync_is_final() -> None:
    files = disk()
    wal = WAL.create(files, DIRECTORY, b"member", segment_bytes=SMALL)
    wal.save(HardState(1, 1, 0), batch(1, 1))
    files.fail_sync = True
    with pytest.raises(WriteFailed, match="input/output error"):
        wal.save(None, batch(2, 1))
    files.fail_sync = False
    calls = files.calls
    for _ in range(3):
        with pytest.raises(WalClosed):
            wal.save(None, batch(2, 1))
    wal.close()
    assert files.calls == calls, "nothing is written or synced again"
    assert reopened(files)[:1] == batch(1, 1)


def reopened(files: FaultyFiles) -> list[Entry]:
    try:
        wal, contents = WAL.open(files, DIRECTORY, START, segment_bytes=1024)
    except UnexpectedEof:
        repair(files, DIRECTORY)
        wal, contents = WAL.open(files, DIRECTORY, START, segment_bytes=1024)
    wal.close()
    return contents.entries
