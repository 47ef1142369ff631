"""The simulated disk keeps what files promise, and nothing more."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quorate.storage.files import File, FileLocked, Files, OsFiles
from quorate.testing.sim.content import SECTOR
from quorate.testing.sim.disk import Crashed, Disk, Faults


def made(seed: int = 0, faults: Faults | None = None) -> tuple[Disk, Files]:
    disk = Disk(Random(seed), faults)
    mount = disk.mount()
    mount.make_directory("/d")
    return disk, mount


def whole(files: Files, path: str) -> bytes:
    file = files.open(path)
    try:
        return file.read(0, file.size())
    finally:
        file.close()


def outcomes(work: Callable[[Disk, Files], None], look: Callable[[Files], Any], seeds: int = 300) -> set[Any]:
    """What a power loss can leave."""
    seen = set()
    for seed in range(seeds):
        disk, files = made(seed)
        work(disk, files)
        disk.power_loss()
        seen.add(look(disk.mount()))
    return seen


# Beside the files of the machine.

NAMES = st.sampled_from(["a", "b", "e/a", "e/b"])
OPS = st.one_of(
    st.tuples(st.just("open"), NAMES, st.booleans(), st.booleans()),
    st.tuples(st.just("write"), st.binary(min_size=1, max_size=9), st.integers(0, 1200)),
    st.tuples(st.just("read"), st.integers(0, 1200), st.integers(0, 1200)),
    st.tuples(st.sampled_from(["truncate", "preallocate"]), st.integers(1, 1500)),
    st.tuples(st.sampled_from(["sync", "size", "lock"])),
    st.tuples(
        st.just("rename"),
        st.sampled_from(
            [("a", "b"), ("e/b", "e/a"), ("a", "a"), ("n", "a"), ("a", "e"), ("e", "a"), ("e", "x"), ("e", "e")]
        ),
    ),
    st.tuples(st.just("unlink"), st.sampled_from(["a", "b", "e/a", "none", "no/a"])),
    st.tuples(st.just("list"), st.sampled_from(["", "e", "none"])),
    st.tuples(st.just("sync_directory"), st.sampled_from(["", "e", "none"])),
    st.tuples(st.just("make_directory"), st.sampled_from(["e", "x/y"])),
)


class Caller:
    def __init__(self, files: Files, root: str) -> None:
        self.files, self.root = files, root
        self.file: File | None = None
        files.make_directory(f"{root}/e")

    def call(self, op: str, args: list[Any]) -> Any:
        try:
            match op:
                case "open":
                    file = self.files.open(f"{self.root}/{args[0]}", create=args[1] or args[2], read_only=args[2])
                    if self.file is not None:
                        self.file.close()
                    self.file = file
                    return None
                case "rename":
                    return self.files.rename(*(f"{self.root}/{name}" for name in args[0]))
                case "unlink" | "list" | "sync_directory" | "make_directory":
                    return getattr(self.files, op)(f"{self.root}/{args[0]}")
            return getattr(self.file, op)(*args) if self.file is not None else None
        except OSError as error:
            return error.errno if not isinstance(error, FileLocked) else "locked"


@settings(max_examples=150, deadline=None)
@given(ops=st.lists(OPS, max_size=25))
@example(ops=[("open", "a", False, True), ("open", "e/a", False, True), ("rename", ("a", "e"))])
@example(ops=[("open", "a", True, False), ("rename", ("e", "a"))])
def test_without_faults_it_is_a_file_system_as_any(tmp_path_factory: pytest.TempPathFactory, ops: list[Any]) -> None:
    disk, _ = made()
    real = Caller(OsFiles(), str(tmp_path_factory.mktemp("disk")))
    simulated = Caller(disk.mount(), "/d")
    for op, *args in ops:
        expected, got = real.call(op, args), simulated.call(op, args)
        if (expected, got) not in ((errno.EINVAL, errno.EBADF), (errno.EBADF, errno.EINVAL)):  # on files only read
            assert expected == got, (op, args)
    if real.file is not None:
        real.file.close()


# What a power loss leaves.


def test_what_was_synced_is_there() -> None:
    def work(disk: Disk, files: Files) -> None:
        file = files.open("/d/f", create=True)
        file.write(b"x" * 3000, 0)
        file.sync()
        files.sync_directory("/d")

    assert outcomes(work, lambda files: whole(files, "/d/f")) == {b"x" * 3000}


def test_a_name_is_durable_with_its_directory_only() -> None:
    def work(disk: Disk, files: Files) -> None:
        file = files.open("/d/f", create=True)
        file.write(b"x", 0)
        file.sync()

    assert outcomes(work, lambda files: tuple(files.list("/d"))) == {(), ("f",)}


def test_contents_are_not_durable_with_the_name() -> None:
    def work(disk: Disk, files: Files) -> None:
        files.open("/d/f", create=True).write(b"xy", 0)
        files.sync_directory("/d")

    assert outcomes(work, lambda files: whole(files, "/d/f")) == {b"", b"\0\0", b"xy"}


def test_sectors_get_through_each_for_itself_and_as_they_were_at_any_moment() -> None:
    def work(disk: Disk, files: Files) -> None:
        file = files.open("/d/f", create=True)
        file.write(b"0" * 2 * SECTOR, 0)
        file.sync()
        files.sync_directory("/d")
        for letter in b"1", b"2":
            file.write(letter * 2 * SECTOR, 0)

    def look(files: Files) -> str:
        data = whole(files, "/d/f")
        sectors = [set(data[start : start + SECTOR]) for start in (0, SECTOR)]
        assert len(data) == 2 * SECTOR and all(len(sector) == 1 for sector in sectors), "a sector is torn"
        return "".join(chr(sector.pop()) for sector in sectors)

    assert outcomes(work, look) == {a + b for a in "012" for b in "012"}


def test_a_later_write_may_get_through_without_an_earlier_one() -> None:
    def work(disk: Disk, files: Files) -> None:
        file = files.open("/d/f", create=True)
        file.preallocate(4 * SECTOR)
        file.sync()
        files.sync_directory("/d")
        file.write(b"1", 0)
        file.write(b"2", 3 * SECTOR)

    found = outcomes(work, lambda files: whole(files, "/d/f").replace(b"\0", b""))
    assert found == {b"", b"1", b"2", b"12"}


def test_a_rename_is_there_or_not_and_one_file_has_the_name_either_way() -> None:
    def work(disk: Disk, files: Files) -> None:
        for name in "old", "new":
            file = files.open(f"/d/{name}", create=True)
            file.write(name.encode(), 0)
            file.sync()
        files.sync_directory("/d")
        files.rename("/d/new", "/d/old")

    found = outcomes(work, lambda files: (whole(files, "/d/old"), *files.list("/d")))
    assert found == {(b"old", "new", "old"), (b"new", "old")}


def test_names_of_one_directory_may_change_out_of_order() -> None:
    def work(disk: Disk, files: Files) -> None:
        for name in "ab":
            files.open(f"/d/{name}", create=True).close()
        files.sync_directory("/d")
        for name in "ab":
            files.unlink(f"/d/{name}")

    assert outcomes(work, lambda files: tuple(files.list("/d"))) == {(), ("a",), ("b",), ("a", "b")}


def test_a_crash_of_the_process_loses_nothing_it_wrote() -> None:
    disk, files = made()
    files.open("/d/f", create=True).write(b"x" * 5000, 0)
    disk.crash()
    assert whole(disk.mount(), "/d/f") == b"x" * 5000


def test_a_dead_process_changes_nothing_and_its_locks_are_let_go() -> None:
    disk, files = made()
    file = files.open("/d/f", create=True)
    file.lock()
    with pytest.raises(FileLocked, match="/d/f is locked"):
        files.open("/d/f").lock()
    disk.crash()
    after = disk.mount()
    again = after.open("/d/f")
    again.lock()
    for call in (
        lambda: file.write(b"x", 0),
        file.sync,
        lambda: file.truncate(0),
        lambda: files.unlink("/d/f"),
        lambda: files.rename("/d/f", "/d/g"),
        lambda: files.open("/d/g", create=True),
    ):
        with pytest.raises(Crashed):
            call()
    file.close()
    with pytest.raises(FileLocked):
        after.open("/d/f").lock()
    assert after.list("/d") == ["f"] and whole(after, "/d/f") == b""


def test_a_process_dies_at_the_point_that_the_hook_names_with_part_of_its_write_done() -> None:
    lengths = set()
    for seed in range(50):
        disk, files = made(seed)
        file = files.open("/d/f", create=True)
        points: list[tuple[str, str]] = []

        def hook(operation: str, path: str, points: list[tuple[str, str]] = points) -> None:
            points.append((operation, path))
            if operation == "write":
                raise Crashed

        disk.hook = hook
        with pytest.raises(Crashed):
            file.write(b"abc" * SECTOR, 0)
        with pytest.raises(Crashed):
            file.sync()
        assert points == [("write", "/d/f")]
        disk.hook = None
        data = whole(disk.mount(), "/d/f")
        assert (b"abc" * SECTOR).startswith(data)
        lengths.add(len(data))
    assert lengths == {0, SECTOR, 2 * SECTOR}


# Faults.


def test_a_sync_that_fails_has_lost_some_sectors_and_the_next_one_succeeds_without_them() -> None:
    seen = set()
    for seed in range(200):
        disk, files = made(seed)
        file = files.open("/d/f", create=True)
        file.preallocate(2 * SECTOR)
        file.sync()
        files.sync_directory("/d")
        file.write(b"1", 0)
        file.write(b"2", SECTOR)
        disk.faults.sync_error = 1.0
        with pytest.raises(OSError, match="Input/output error: '/d/f'"):
            file.sync()
        disk.faults.sync_error = 0.0
        in_memory = file.read(0, 2 * SECTOR)
        file.sync()
        disk.power_loss()
        assert whole(disk.mount(), "/d/f") == in_memory
        seen.add(in_memory.replace(b"\0", b""))
    assert seen == {b"", b"1", b"2", b"12"}


def test_a_lying_sync_keeps_nothing_until_an_honest_one() -> None:
    def work(disk: Disk, files: Files) -> None:
        file = files.open("/d/f", create=True)
        file.sync()
        files.sync_directory("/d")
        file.write(b"x", 0)
        disk.faults.lying_sync = 1.0
        file.sync()

    assert b"" in outcomes(work, lambda files: whole(files, "/d/f"))

    def work_on(disk: Disk, files: Files) -> None:
        work(disk, files)
        disk.faults.lying_sync = 0.0
        files.open("/d/f").sync()

    assert outcomes(work_on, lambda files: whole(files, "/d/f")) == {b"x"}


def test_a_full_disk_takes_what_fits_and_reserved_space_is_there() -> None:
    disk, files = made(0, Faults(capacity=1400))
    file = files.open("/d/f", create=True)
    file.preallocate(600)
    with pytest.raises(OSError, match="No space left on device: '/d/g'"):
        files.open("/d/g", create=True).preallocate(801)
    other = files.open("/d/g", create=True)
    with pytest.raises(OSError, match="No space left on device: '/d/g'"):
        other.write(b"x" * 1500, 100)
    assert other.size() == SECTOR and disk.used() == 600 + SECTOR
    file.write(b"y" * 600, 0)
    other.truncate(0)
    other.truncate(10_000)  # a hole takes no space
    file.write(b"y" * 800, 600)
    with pytest.raises(OSError, match="No space left"):
        file.write(b"z", 1400)
    files.unlink("/d/f")
    other.write(b"x" * 1300, 0)


def test_a_write_that_fails_leaves_a_part() -> None:
    lengths = set()
    for seed in range(50):
        _, files = made(seed, Faults(write_error=1.0))
        file = files.open("/d/f", create=True)
        with pytest.raises(OSError, match="Input/output error"):
            file.write(b"x" * 900, 300)
        assert file.read(300, 900) == b"x" * max(0, file.size() - 300)
        lengths.add(file.size())
    assert lengths == {0, SECTOR, 2 * SECTOR}


def test_the_time_that_syncs_take_is_counted() -> None:
    disk, files = made(1, Faults(sync_seconds=0.001))
    began = disk.busy
    file = files.open("/d/f", create=True)
    for _ in range(10):
        file.sync()
    assert disk.busy - began == pytest.approx(0.010)
    disk.faults.slow_sync, disk.faults.slow_seconds = 1.0, 3.0
    file.sync()
    assert 0.5 < disk.busy - began < 3.1


def test_a_bit_rots_in_a_closed_file_and_survives_everything() -> None:
    disk, files = made(3)
    file = files.open("/d/f", create=True)
    file.write(bytes(range(200)), 0)
    file.preallocate(1_000_000_000)
    file.lock()
    file.sync()
    files.sync_directory("/d")
    with pytest.raises(AssertionError):
        disk.rot("/d/f")
    file.close()
    offset = disk.rot("/d/f")
    disk.power_loss()
    file = disk.mount().open("/d/f", read_only=True)
    data = file.read(0, 200)
    assert [at for at in range(200) if data[at] != at] == [offset]
    assert (data[offset] ^ offset).bit_count() == 1
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        file.write(b"x", 0)


def test_the_same_dice_give_the_same_disk(tmp_path: Path) -> None:
    def run() -> list[bytes]:
        disk, files = made(11)
        found = []
        for number in range(20):
            file = files.open(f"/d/{number}", create=True)
            file.write(bytes([number]) * 3000, number)
            if number % 3 == 0:
                files.sync_directory("/d")
            if number % 5 == 4:
                disk.power_loss()
                files = disk.mount()
                found += [whole(files, f"/d/{name}") for name in files.list("/d")]
        return found

    assert run() == run()
