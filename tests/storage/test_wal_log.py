"""A log on a real disk: made, written, cut, locked, read again."""

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.api.raftpb import ConfState, Entry, HardState
from quorate.storage.files import FileLocked, OsFiles
from quorate.storage.wal import (
    WAL,
    FileMissing,
    SnapshotNotFound,
    WalClosed,
    WalContents,
    WalExists,
    WalSnapshot,
    exists,
    newest_snapshot,
    read_only,
    repair,
    valid_snapshots,
)
from quorate.storage.wal.record import Encoder

FILES = OsFiles()
START = WalSnapshot()
SMALL = 8192  # segment size, bytes


def made(directory: Path, *, segment_bytes: int = SMALL) -> WAL:
    return WAL.create(FILES, str(directory), b"member", segment_bytes=segment_bytes)


def opened(directory: Path, at: WalSnapshot = START) -> tuple[WAL, WalContents]:
    return WAL.open(FILES, str(directory), at, segment_bytes=SMALL)


def segments(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.suffix == ".wal")


def run(first: int, last: int, size: int = 100, term: int = 1) -> list[Entry]:
    return [Entry(term, index, bytes([index % 256]) * size) for index in range(first, last + 1)]


def test_a_new_log_has_one_preallocated_private_segment(tmp_path: Path) -> None:
    directory = tmp_path / "member" / "wal"
    assert not exists(FILES, str(directory))
    WAL.create(FILES, str(directory), b"member").close()
    assert exists(FILES, str(directory))
    assert os.listdir(directory) == ["0000000000000000-0000000000000000.wal"]
    status = (directory / "0000000000000000-0000000000000000.wal").stat()
    assert status.st_size == 64_000_000
    assert status.st_blocks * 512 >= 64_000_000
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not (tmp_path / "member" / "wal.tmp").exists()
    assert read_only(FILES, str(directory), START) == WalContents(b"member", HardState(), [])


def test_a_log_is_not_made_over_another(tmp_path: Path) -> None:
    made(tmp_path / "wal").close()
    with pytest.raises(WalExists, match=str(tmp_path / "wal")):
        made(tmp_path / "wal")


def test_what_an_interrupted_creation_left_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "wal.tmp").mkdir()
    (tmp_path / "wal.tmp" / "0000000000000000-0000000000000000.wal").write_bytes(b"half a lo")
    (tmp_path / "wal").mkdir()
    made(tmp_path / "wal").close()
    assert opened(tmp_path / "wal")[1].metadata == b"member"


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.save(HardState(1, 7, 0), run(1, 5))
    wal.save(HardState(1, 7, 4))
    wal.close()
    wal, contents = opened(tmp_path / "wal")
    assert contents == WalContents(b"member", HardState(1, 7, 4), run(1, 5))
    wal.save(HardState(2, 8, 5), run(6, 6, term=2))
    wal.close()
    contents = read_only(FILES, str(tmp_path / "wal"), START)
    assert contents == WalContents(b"member", HardState(2, 8, 5), run(1, 5) + run(6, 6, term=2))


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.save(HardState(1, 1, 0), run(1, 3))
    wal.save(None, run(4, 4, 20_000))
    wal.save(HardState(1, 1, 4), run(5, 5))
    names = segments(tmp_path / "wal")
    assert names == ["0000000000000000-0000000000000000.wal", "0000000000000001-0000000000000005.wal"]
    assert (tmp_path / "wal" / names[0]).stat().st_size > 20_000  # all of the batch, and no zeros behind it
    assert (tmp_path / "wal" / names[1]).stat().st_size == SMALL
    wal.close()
    assert os.listdir(tmp_path / "wal") != [] and segments(tmp_path / "wal") == names
    assert opened(tmp_path / "wal")[1].entries == run(1, 3) + run(4, 4, 20_000) + run(5, 5)


def test_the_next_segment_is_made_ahead_of_time_and_removed_on_close(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.prepare()
    assert (tmp_path / "wal" / "0.tmp").stat().st_size == SMALL
    wal.close()
    assert not (tmp_path / "wal" / "0.tmp").exists()


def test_a_segment_prepared_before_a_crash_is_not_used(tmp_path: Path) -> None:
    made(tmp_path / "wal").close()
    (tmp_path / "wal" / "0.tmp").write_bytes(b"\x01" * SMALL * 2)
    wal, _ = opened(tmp_path / "wal")
    assert not (tmp_path / "wal" / "0.tmp").exists()
    (tmp_path / "wal" / "0.tmp").write_bytes(b"\x01" * SMALL * 2)
    wal.save(HardState(1, 1, 1), run(1, 200))
    wal.save(None, run(201, 201))
    wal.close()
    assert opened(tmp_path / "wal")[1].entries == run(1, 201)


def test_a_later_entry_replaces_all_from_its_index_on(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.save(HardState(1, 1, 1), run(1, 9))
    wal.save(HardState(2, 2, 1), run(4, 5, term=2))
    wal.close()
    wal, contents = opened(tmp_path / "wal")
    assert contents.entries == run(1, 3) + run(4, 5, term=2)
    assert wal.encoder.last_index == 5
    wal.close()


def test_a_log_is_read_from_a_snapshot_on(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    voters = ConfState((1, 2, 3))
    for index in range(1, 301):
        wal.save(HardState(1, 1, index), run(index, index))
        if index in (100, 200):
            wal.save(None, (), WalSnapshot(index, 1, voters))
    wal.close()
    snapshots = valid_snapshots(FILES, str(tmp_path / "wal"))
    assert snapshots == [START, WalSnapshot(100, 1, voters), WalSnapshot(200, 1, voters)]
    for snapshot in snapshots:
        wal, contents = opened(tmp_path / "wal", snapshot)
        assert contents == WalContents(b"member", HardState(1, 1, 300), run(snapshot.index + 1, 300))
        wal.close()
    with pytest.raises(SnapshotNotFound, match="index 150, term 1"):
        opened(tmp_path / "wal", WalSnapshot(150, 1))


def test_the_newest_snapshot_is_found_in_whatever_segment_it_is(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    voters = ConfState((1,))
    for index in range(1, 301):
        wal.save(HardState(1, 1, index), run(index, index))
        if index in (20, 100, 290):
            wal.save(None, (), WalSnapshot(index, 1, voters))
    wal.close()
    directory = str(tmp_path / "wal")
    assert len(list((tmp_path / "wal").iterdir())) > 3
    for up_to, index in ((300, 290), (290, 290), (289, 100), (99, 20), (19, 0), (0, 0)):
        found = newest_snapshot(FILES, directory, up_to)
        assert found is not None and found.index == index
    assert newest_snapshot(FILES, directory, -1) is None


def test_a_received_snapshot_may_be_far_ahead_of_the_entries(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.save(HardState(1, 1, 3), run(1, 3))
    wal.save(HardState(2, 0, 1000), (), WalSnapshot(1000, 2, ConfState((1,))))
    wal.save(None, run(1001, 1200, term=2))
    wal.save(None, run(1201, 1201, term=2))
    wal.close()
    assert segments(tmp_path / "wal")[1] == "0000000000000001-00000000000004b1.wal"
    wal, contents = opened(tmp_path / "wal", WalSnapshot(1000, 2))
    assert contents.entries == run(1001, 1201, term=2)
    wal.close()


def test_a_snapshot_beyond_the_last_commit_is_not_valid(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.save(HardState(1, 1, 3), run(1, 9))
    wal.save(None, (), WalSnapshot(3, 1, ConfState((1,))))
    wal.save(None, (), WalSnapshot(9, 1, ConfState((1,))))
    assert valid_snapshots(FILES, str(tmp_path / "wal")) == [START, WalSnapshot(3, 1, ConfState((1,)))]
    wal.close()


def test_a_log_in_use_is_locked(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    with pytest.raises(FileLocked, match=r"0000000000000000-0000000000000000\.wal is locked"):
        opened(tmp_path / "wal")
    assert read_only(FILES, str(tmp_path / "wal"), START).metadata == b"member"
    wal.close()
    wal, _ = opened(tmp_path / "wal")
    with pytest.raises(FileLocked):
        opened(tmp_path / "wal")
    wal.close()


def test_release_unlocks_what_is_older_than_the_segment_of_the_index(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    for index in range(1, 301):
        wal.save(HardState(1, 1, index), run(index, index))
    names = segments(tmp_path / "wal")
    firsts = [int(name[17:33], 16) for name in names]
    assert len(names) > 4
    wal.save(None, (), WalSnapshot(firsts[2] + 1, 1, ConfState((1,))))
    wal.release_to(firsts[2] + 1)
    locked = []
    for name in names:
        file = FILES.open(str(tmp_path / "wal" / name))
        try:
            file.lock()
        except FileLocked:
            locked.append(name)
        finally:
            file.close()
    assert locked == names[2:]
    for name in names[:2]:
        (tmp_path / "wal" / name).unlink()
    wal.close()
    wal, contents = opened(tmp_path / "wal", WalSnapshot(firsts[2] + 1, 1))
    assert contents.entries == run(firsts[2] + 2, 300)
    wal.close()
    with pytest.raises(FileMissing, match="to be read from index 0"):
        opened(tmp_path / "wal")


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.close()
    with pytest.raises(WalClosed):
        wal.save(None, run(1, 1))
    wal.close()


def test_every_sync_is_timed(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    seconds: list[float] = []
    wal.on_sync = seconds.append
    wal.save(HardState(1, 1, 0), run(1, 1))
    wal.save(HardState(1, 1, 1))  # a commit index alone is not synced
    assert len(seconds) == 1 and seconds[0] > 0
    wal.unsafe_no_fsync = True
    wal.save(None, run(2, 2))
    assert len(seconds) == 1
    assert wal.bytes_written == wal.encoder.offset - len(Encoder(b"member").begin())
    wal.close()


def test_a_segment_that_was_cut_short_is_grown_again_at_open(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.save(None, run(1, 1))
    path = tmp_path / "wal" / segments(tmp_path / "wal")[0]
    end = wal.encoder.offset
    wal.close()
    os.truncate(path, end)
    wal, contents = opened(tmp_path / "wal")
    assert contents.entries == run(1, 1)
    assert path.stat().st_size == SMALL
    wal.close()


STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3000), st.integers(0, 3), st.booleans(), st.booleans()), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_batches_come_back_equal(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple]) -> None:
    """Entries of any sizes, overwritten from below at times, states or none, across cuts and restarts."""
    directory = tmp_path_factory.mktemp("any") / "wal"
    wal = made(directory)
    log: list[Entry] = []
    state = HardState()
    for term, (count, size, back, with_state, restart) in enumerate(steps, 1):
        if count:
            del log[max(0, len(log) - back) :]
        batch = run(len(log) + 1, len(log) + count, size, term)
        log += batch
        if with_state:
            state = HardState(term, term % 3, len(log))
        wal.save(state if with_state else None, batch)
        if restart:
            wal.close()
            wal, contents = opened(directory)
            assert contents == WalContents(b"member", state, log)
    wal.close()
    assert read_only(FILES, str(directory), START) == WalContents(b"member", state, log)


def test_a_full_disk_at_creation_leaves_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no space left"):
        made(tmp_path / "wal")
    monkeypatch.undo()
    assert not exists(FILES, str(tmp_path / "wal"))
    made(tmp_path / "wal").close()


def test_entries_that_a_later_leader_overruled_do_not_come_back_behind_a_snapshot(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.save(HardState(1, 0, 10), run(1, 20))
    wal.save(HardState(2, 0, 12), run(11, 12, term=2))
    wal.save(HardState(2, 0, 12), (), WalSnapshot(12, 2, ConfState((1,))))
    wal.close()
    assert read_only(FILES, str(tmp_path / "wal"), WalSnapshot(12, 2)).entries == []


def test_a_snapshot_that_a_leader_sent_voids_what_the_log_held(tmp_path: Path) -> None:
    sent = WalSnapshot(15, 3, ConfState((1,)), replaces_log=True)
    wal = made(tmp_path / "wal")
    wal.save(HardState(1, 0, 10), run(1, 20))
    wal.save(HardState(3, 0, 15), (), sent)
    wal.close()
    at = WalSnapshot(15, 3)
    reopened, contents = opened(tmp_path / "wal", at)
    assert contents.entries == []
    reopened.save(HardState(3, 0, 16), run(16, 16, term=3))
    reopened.close()
    assert read_only(FILES, str(tmp_path / "wal"), at).entries == run(16, 16, term=3)


def test_a_snapshot_of_the_own_state_leaves_the_entries_behind_it(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.save(HardState(1, 0, 20), run(1, 20))
    wal.save(HardState(1, 0, 20), (), WalSnapshot(15, 1, ConfState((1,))))
    wal.close()
    assert read_only(FILES, str(tmp_path / "wal"), WalSnapshot(15, 1)).entries == run(16, 20)


@pytest.mark.parametrize("sizes", [(), (5, 100), (3_000_000, 10), (65_520, 65_520, 1), (4096, 4096 * 17)])
def test_values_of_zeros_are_told_from_the_zeros_behind_the_records(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    wal = WAL.create(FILES, str(tmp_path / "wal"), b"member")
    entries = [Entry(1, index, bytes(size)) for index, size in enumerate(sizes, 1)]
    wal.save(HardState(1, 0, len(entries)), entries)
    wal.close()
    assert read_only(FILES, str(tmp_path / "wal"), START).entries == entries


def test_a_torn_record_of_a_snapshot_that_a_leader_sent_voids_nothing(tmp_path: Path) -> None:
    wal = made(tmp_path / "wal")
    wal.save(HardState(1, 0, 10), run(1, 12))
    begin = wal.encoder.offset
    wal.save(HardState(3, 0, 15), (), WalSnapshot(15, 3, ConfState((1, 2, 3)), replaces_log=True))
    end = wal.encoder.offset
    wal.close()
    segment = tmp_path / "wal" / segments(tmp_path / "wal")[-1]
    whole = segment.read_bytes()
    for cut in range(begin, end):
        segment.write_bytes(whole[:cut])
        assert newest_snapshot(FILES, str(tmp_path / "wal"), 99) == START
        repair(FILES, str(tmp_path / "wal"))
        wal, contents = opened(tmp_path / "wal")
        assert contents.entries == run(1, 12), "an entry that was promised is lost"
        wal.save(HardState(3, 0, 16), run(13, 16))
        wal.close()
        assert read_only(FILES, str(tmp_path / "wal"), START).entries == run(1, 16)
