"""The writing thread: order, grouping, failure, end."""

import errno
import threading
from pathlib import Path

import pytest
from faulty_files import FaultyFiles

from quorate.api.raftpb import ConfState, Entry, HardState
from quorate.storage.files import FileLocked, OsFiles
from quorate.storage.wal import WAL, WalClosed, WalSnapshot, WalWriter, WriteFailed, read_only
from quorate.storage.wal.writer import PATIENCE_SECONDS

SMALL = 8192


def entry(index: int, size: int = 50) -> Entry:
    return Entry(1, index, bytes([index % 256]) * size)


def test_everything_is_saved_and_answered_in_order(tmp_path: Path) -> None:
    wal = WAL.create(OsFiles(), str(tmp_path / "wal"), b"member", segment_bytes=SMALL)
    writer = WalWriter(wal)
    writer.start()
    answers: list[tuple[int, BaseException | None, str]] = []
    for index in range(1, 501):
        writer.submit(
            HardState(1, 1, index - 1),
            [entry(index)],
            None,
            lambda error, index=index: answers.append((index, error, threading.current_thread().name)),
        )
    writer.close()
    assert answers == [(index, None, "quorate-wal") for index in range(1, 501)]
    contents = read_only(OsFiles(), str(tmp_path / "wal"), WalSnapshot())
    assert contents.entries == [entry(index) for index in range(1, 501)]
    assert contents.hard_state == HardState(1, 1, 499)


def test_what_is_queued_goes_into_one_write_and_one_sync() -> None:
    files = FaultyFiles()
    wal = WAL.create(files, "/wal", b"member", segment_bytes=65536)
    syncs: list[float] = []
    wal.on_sync = syncs.append
    writer = WalWriter(wal)
    answers: list[BaseException | None] = []
    for index in range(1, 101):
        writer.submit(None, [entry(index)], None, answers.append)
    wal.prepare()
    calls = files.calls
    assert writer.step()
    assert files.calls - calls == 2
    assert len(syncs) == 1
    assert answers == [None] * 100
    writer.submit(HardState(1, 0, 1), (), None, answers.append)
    writer.submit(HardState(1, 0, 2), (), None, answers.append)
    writer.step()
    assert len(syncs) == 2
    writer.submit(HardState(1, 0, 3), (), None, answers.append)
    writer.step()
    assert len(syncs) == 2, "a commit index alone is not synced"
    assert len(read_only(files, "/wal", WalSnapshot()).entries) == 100


def test_a_group_may_span_segments() -> None:
    files = FaultyFiles()
    writer = WalWriter(WAL.create(files, "/wal", b"member", segment_bytes=1024))
    answers: list[BaseException | None] = []
    for index in range(1, 41):
        writer.submit(None, [entry(index, 200)], None, answers.append)
    writer.step()
    assert answers == [None] * 40
    assert len([name for name in files.list("/wal") if name.endswith(".wal")]) > 5
    assert read_only(files, "/wal", WalSnapshot()).entries == [entry(index, 200) for index in range(1, 41)]


def test_after_a_failure_every_answer_is_an_error() -> None:
    files = FaultyFiles()
    writer = WalWriter(WAL.create(files, "/wal", b"member", segment_bytes=SMALL))
    answers: list[BaseException | None] = []
    writer.submit(None, [entry(1)], None, answers.append)
    writer.step()
    files.fail_sync = True
    writer.submit(None, [entry(2)], None, answers.append)
    writer.submit(HardState(1, 1, 1), (), None, answers.append)
    writer.step()
    files.fail_sync = False
    writer.submit(None, [entry(3)], None, answers.append)
    writer.step()
    assert [type(answer) for answer in answers] == [type(None), WriteFailed, WriteFailed, WalClosed]
    writer.close()


def test_the_thread_reports_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wal = WAL.create(OsFiles(), str(tmp_path / "wal"), b"member", segment_bytes=SMALL)
    writer = WalWriter(wal)
    writer.start()

    def full(self: object, data: bytes, offset: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("quorate.storage.files.OsFile.write", full)
    answered = threading.Event()
    answers: list[BaseException | None] = []
    writer.submit(None, [entry(1)], None, answers.append)
    writer.submit(None, (), None, lambda _: answered.set())
    assert answered.wait(10)
    assert isinstance(answers[0], WriteFailed) and "No space left" in str(answers[0])
    writer.close()
    with pytest.raises(WalClosed):
        writer.submit(None, [entry(2)], None, answers.append)


def test_segments_are_released_behind_what_was_submitted(tmp_path: Path) -> None:
    wal = WAL.create(OsFiles(), str(tmp_path / "wal"), b"member", segment_bytes=1024)
    writer = WalWriter(wal)
    writer.start()
    for index in range(1, 41):
        writer.submit(HardState(1, 1, index), [entry(index, 200)], None, lambda _: None)
    released = threading.Event()
    writer.submit(None, (), WalSnapshot(40, 1, ConfState((1,))), lambda _: None)
    writer.release_to(40)
    writer.submit(None, (), None, lambda _: released.set())
    assert released.wait(10)
    names = sorted(path.name for path in (tmp_path / "wal").glob("*.wal"))
    first = OsFiles().open(str(tmp_path / "wal" / names[0]))
    first.lock()
    first.close()
    last = OsFiles().open(str(tmp_path / "wal" / names[-1]))
    with pytest.raises(FileLocked):
        last.lock()
    last.close()
    writer.close()


def test_the_owner_gives_way_only_when_an_answer_is_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], []
    monkeypatch.setattr("quorate.storage.wal.writer.time.sleep", slept.append)
    monkeypatch.setattr("quorate.storage.wal.writer.time.perf_counter", lambda: now[0])
    writer = WalWriter(WAL.create(FaultyFiles(), "/wal", b"member", segment_bytes=SMALL))

    def turn(seconds: float) -> int:
        now[0] += seconds
        writer.give_way()
        return len(slept)

    assert turn(1) == 0
    writer.submit(None, [entry(1)], None, lambda _: None)
    assert turn(PATIENCE_SECONDS / 2) == 0
    assert turn(PATIENCE_SECONDS) == 1
    assert turn(PATIENCE_SECONDS) == 2
    writer.step()
    assert turn(PATIENCE_SECONDS * 2) == 2
    writer.submit(None, [entry(2)], None, lambda _: None)
    assert turn(PATIENCE_SECONDS / 2) == 2, "the wait counts from the last answer or turn without work"


def test_whatever_fails_is_told_and_nothing_is_written_behind_the_gap() -> None:
    files = FaultyFiles()
    wal = WAL.create(files, "/wal", b"member", segment_bytes=65536)
    writer = WalWriter(wal)
    answers: list[BaseException | None] = []

    def no_memory(seconds: float) -> None:
        raise MemoryError

    wal.on_sync = no_memory
    writer.submit(None, [entry(1)], None, answers.append)
    writer.step()
    wal.on_sync = None
    writer.submit(None, [entry(2)], None, answers.append)
    writer.step()
    assert [type(answer) for answer in answers] == [MemoryError, WalClosed]
    assert read_only(files, "/wal", WalSnapshot()).entries == [entry(1)]
