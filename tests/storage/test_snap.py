"""`.snap` files, and the purge."""

from pathlib import Path

import pytest
from faulty_files import Crash, FaultyFiles

from quorate.api.raftpb import ConfState, Snapshot
from quorate.storage import snap
from quorate.storage.files import OsFiles

FILES = OsFiles()


def snapshot(index: int, term: int = 2, data: bytes = b"state") -> Snapshot:
    return Snapshot(index, term, ConfState((1, 2, 3), (4,)), data)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_snapshot_comes_back_under_etcds_name(tmp_path: Path) -> None:
    assert snap.save(FILES, str(tmp_path), snapshot(0x123, 0x45)) == "0000000000000045-0000000000000123.snap"
    assert names(tmp_path) == ["0000000000000045-0000000000000123.snap"]
    assert snap.load_newest(FILES, str(tmp_path)) == snapshot(0x123, 0x45)


def test_the_newest_that_the_log_knows_is_taken(tmp_path: Path) -> None:
    assert snap.load_newest(FILES, str(tmp_path)) is None
    assert snap.load_newest(FILES, str(tmp_path / "none")) is None
    for index, term in ((10, 1), (20, 1), (15, 2)):
        snap.save(FILES, str(tmp_path), snapshot(index, term))
    assert snap.load_newest(FILES, str(tmp_path)) == snapshot(15, 2)
    assert snap.load_newest(FILES, str(tmp_path), {(1, 10), (1, 20)}) == snapshot(20, 1)
    assert snap.load_newest(FILES, str(tmp_path), {(3, 10)}) is None


def test_damaged_files_are_set_aside_and_an_older_one_is_taken(tmp_path: Path) -> None:
    saved = [snap.save(FILES, str(tmp_path), snapshot(index)) for index in range(1, 7)]
    whole = (tmp_path / saved[1]).read_bytes()
    (tmp_path / saved[1]).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (tmp_path / saved[2]).write_bytes(b"")
    (tmp_path / saved[3]).write_bytes(b"\xff" * 30)
    (tmp_path / saved[4]).write_bytes(whole[:20])
    (tmp_path / saved[5]).write_bytes((tmp_path / saved[0]).read_bytes())  # a right file under a wrong name
    assert snap.load_newest(FILES, str(tmp_path)) == snapshot(1)
    assert names(tmp_path) == [saved[0], *(name + ".broken" for name in saved[1:])]


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / snap.save(FILES, str(tmp_path), snapshot(7))
    whole = path.read_bytes()
    for offset in range(len(whole)):
        flipped = bytearray(whole)
        flipped[offset] ^= 4
        path.write_bytes(flipped)
        with pytest.raises(snap.BadSnapshot, match=path.name):
            snap.load(FILES, str(path))


def test_a_crash_while_saving_leaves_the_old_or_the_new() -> None:
    for crash_at in range(1, 20):
        files = FaultyFiles()
        snap.save(files, "/", snapshot(1))
        files.crash_at = files.calls + crash_at
        finished = False
        try:
            snap.save(files, "/", snapshot(2))
            finished = True
        except Crash:
            pass
        after = files.crash(files.rng)
        newest = snap.load_newest(after, "/")
        assert newest == snapshot(2) if finished else newest in (snapshot(1), snapshot(2))
        assert not any(name.endswith(".broken") for name in after.list("/"))
        snap.save(after, "/", snapshot(3))
        assert snap.load_newest(after, "/") == snapshot(3)


def test_the_purge_keeps_the_newest(tmp_path: Path) -> None:
    for index in range(1, 9):
        snap.save(FILES, str(tmp_path), snapshot(index))
    (tmp_path / "db").touch()
    (tmp_path / "0000000000000001.snap.db").touch()
    assert snap.purge(FILES, str(tmp_path), ".snap", 0) == []
    assert [name[17:33] for name in snap.purge(FILES, str(tmp_path), ".snap")] == [f"{n:016x}" for n in (1, 2, 3)]
    assert snap.purge(FILES, str(tmp_path), ".snap") == []
    assert len(names(tmp_path)) == 7


def test_the_purge_stops_at_the_first_file_in_use(tmp_path: Path) -> None:
    for sequence in range(8):
        (tmp_path / f"{sequence:016x}-0000000000000000.wal").touch()
    used = FILES.open(str(tmp_path / f"{1:016x}-0000000000000000.wal"))
    used.lock()
    purged = snap.purge(FILES, str(tmp_path), ".wal", 5, locked=True)
    assert purged == [f"{0:016x}-0000000000000000.wal"]
    used.close()
    assert len(snap.purge(FILES, str(tmp_path), ".wal", 5, locked=True)) == 2
