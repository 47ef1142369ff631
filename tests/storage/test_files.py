"""The operating system does what the log relies on."""

import os
import stat
from pathlib import Path

import pytest

from quorate.storage.files import FileLocked, OsFiles

FILES = OsFiles()


def test_bytes_come_back_from_their_offset(tmp_path: Path) -> None:
    file = FILES.open(str(tmp_path / "f"), create=True)
    file.write(b"world", 6)
    file.write(b"hello ", 0)
    file.sync()
    assert file.size() == 11
    assert file.read(0, 100) == b"hello world"
    assert file.read(6, 3) == b"wor"
    assert file.read(50, 3) == b""
    file.truncate(5)
    assert file.read(0, 100) == b"hello"
    file.close()


def test_a_short_write_goes_on_until_all_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:7], offset))
    file = FILES.open(str(tmp_path / "f"), create=True)
    file.write(bytes(range(100)), 3)
    assert (tmp_path / "f").read_bytes() == bytes(3) + bytes(range(100))
    file.close()


def test_preallocated_space_is_reserved_and_keeps_what_is_there(tmp_path: Path) -> None:
    file = FILES.open(str(tmp_path / "f"), create=True)
    file.write(b"here", 0)
    file.preallocate(1_000_000)
    status = (tmp_path / "f").stat()
    assert status.st_size == 1_000_000
    assert status.st_blocks * 512 >= 1_000_000
    assert file.read(0, 8) == b"here\0\0\0\0"
    file.preallocate(10)
    assert file.size() == 1_000_000
    file.close()


def test_a_file_system_that_cannot_reserve_gets_the_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    file = FILES.open(str(tmp_path / "f"), create=True)
    file.preallocate(5000)
    assert file.size() == 5000
    file.close()


def test_a_lock_is_held_until_its_file_is_closed(tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    first, second = FILES.open(path, create=True), FILES.open(path)
    first.lock()
    with pytest.raises(FileLocked, match=f"{path} is locked"):
        second.lock()
    first.close()
    second.lock()
    second.close()


def test_directories_and_files_are_private(tmp_path: Path) -> None:
    FILES.make_directory(str(tmp_path / "a" / "b"))
    FILES.make_directory(str(tmp_path / "a" / "b"))
    FILES.open(str(tmp_path / "a" / "b" / "f"), create=True).close()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b" / "f").stat().st_mode) == 0o600


def test_names_are_listed_renamed_and_removed(tmp_path: Path) -> None:
    for name in ("b", "a"):
        FILES.open(str(tmp_path / name), create=True).close()
    assert FILES.list(str(tmp_path)) == ["a", "b"]
    FILES.rename(str(tmp_path / "a"), str(tmp_path / "b"))
    FILES.sync_directory(str(tmp_path))
    assert FILES.list(str(tmp_path)) == ["b"]
    FILES.unlink(str(tmp_path / "b"))
    assert FILES.list(str(tmp_path)) == []
    with pytest.raises(FileNotFoundError):
        FILES.list(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        FILES.open(str(tmp_path / "none"))


def test_a_failed_sync_forgets_what_the_disk_did_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []
    file = FILES.open(str(tmp_path / "f"), create=True)

    def fail(_: int) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr("quorate.storage.files._fdatasync", fail)
    monkeypatch.setattr(os, "posix_fadvise", lambda *a: dropped.append(a[3]))
    with pytest.raises(OSError, match="input/output"):
        file.sync()
    assert dropped == [os.POSIX_FADV_DONTNEED]
    file.close()


def test_a_failure_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FILES.open(str(tmp_path / "f"), create=True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/f'"):
        file.write(b"x", 0)
    file.close()
