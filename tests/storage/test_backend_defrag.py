"""A file is defragmented while rows are read and written; what goes wrong meanwhile harms nothing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.storage.backend import (
    Backend,
    BackendFailed,
    BackendForeign,
    Bucket,
    DefragmentError,
    defrag,
    load,
    twin,
)
from quorate.storage.backend import file as file_module

ONE = Bucket(b"one", 0)
TWO = Bucket(b"two", 1)
BUCKETS = (ONE, TWO)
NAMES = ["db", "db-lock", "db.lock"]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    backend = Backend.open(tmp_path / "db", BUCKETS, batch_interval=3600)
    yield backend
    backend.close()


def finish(job: Any) -> int:
    return sum(1 for _ in job)


def key(number: int) -> bytes:
    return b"%08d" % number


def fill(backend: Backend, rows: int = 4000, size: int = 500) -> None:
    """Rows, of which nine in ten are deleted again."""
    for number in range(rows):
        backend.put(ONE, key(number), bytes([number % 251]) * size)
    backend.put(TWO, b"index", b"1")
    backend.commit()
    for number in range(rows):
        if number % 10:
            backend.delete(ONE, key(number))
    backend.commit()


def rows_of(backend: Backend) -> list[list[tuple[bytes, bytes]]]:
    return [list(backend.scan(bucket)) for bucket in BUCKETS]


@pytest.fixture
def small_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defrag, "BITE_ROWS", 20)
    monkeypatch.setattr(defrag, "ROWS_PER_SECOND", 0)


def test_the_file_shrinks_to_what_is_in_use_and_holds_the_same_rows(tmp_path: Path, backend: Backend) -> None:
    fill(backend)
    before, size, in_use = rows_of(backend), backend.size(), backend.size_in_use()
    assert size > 2 * in_use
    finish(backend.defragment())
    assert rows_of(backend) == before
    assert backend.size() == (tmp_path / "db").stat().st_size < in_use
    held = sum(len(row) + len(value) for rows in before for row, value in rows)
    assert backend.size_in_use() <= backend.size() < 1.5 * held, "pages are full"
    assert sorted(os.listdir(tmp_path)) == NAMES
    backend.put(ONE, b"after", b"1")
    backend.close()
    again = Backend.open(tmp_path / "db", BUCKETS)
    assert rows_of(again) == [[*before[0], (b"after", b"1")], before[1]]
    again.close()


def test_an_empty_file_can_be_defragmented_again_and_again(backend: Backend) -> None:
    for number in range(3):
        finish(backend.defragment())
        backend.put(ONE, key(number), b"")
    backend.commit()
    assert len(rows_of(backend)[0]) == 3


@pytest.mark.usefixtures("small_bites")
@pytest.mark.parametrize("bites", [1, 5, 10, 20])
def test_what_is_written_meanwhile_is_read_at_once_durable_soon_and_in_the_new_file(
    tmp_path: Path, backend: Backend, bites: int
) -> None:
    fill(backend)
    job = backend.defragment()
    for _ in range(bites):
        next(job)
    backend.put(ONE, b"new", b"1")
    backend.put(ONE, key(0), b"other")
    backend.delete(ONE, key(10))
    backend.put(ONE, key(3995), b"behind")
    assert backend._defragmentation is not None
    if at := backend._defragmentation._key:
        backend.put(ONE, at, b"at the position")
    assert backend.get(ONE, b"new") == b"1"
    backend.commit()  # nobody keeps it from the disk
    next(job)
    backend.put(ONE, b"newer", b"2")
    backend.delete(ONE, key(3990))
    expected = rows_of(backend)
    finish(job)
    assert rows_of(backend) == expected
    backend.close()
    again = Backend.open(tmp_path / "db", BUCKETS)
    assert rows_of(again) == expected
    assert again.get(ONE, b"newer") == b"2" and again.get(ONE, key(0)) == b"other"
    assert again.get(ONE, key(10)) is again.get(ONE, key(3990)) is None
    again.close()


def test_a_run_ends_although_more_is_written_in_every_bite_than_a_bite_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bites come as seldom as a loop under load lets them, and are the larger."""
    backend = Backend.open(tmp_path / "db", BUCKETS, batch_interval=0.0)
    now = 0.0
    monkeypatch.setattr(backend, "_now", lambda: now)
    number = 0
    for bites, _ in enumerate(backend.defragment()):
        now += 0.03
        for _ in range(10):
            backend.begin_entry()
            for _ in range(2 * defrag.BITE_ROWS // 10):
                number += 1
                backend.put(ONE, key(number), b"new")
            backend.put(ONE, key(number // 2), b"changed")
            backend.end_entry()
        backend.commit()
        assert bites < 1000
    assert number > 2 * defrag.BITE_ROWS
    assert len(rows_of(backend)[0]) == number
    assert sum(value == b"changed" for _, value in rows_of(backend)[0]) == number // (2 * defrag.BITE_ROWS // 10)
    backend.close()


def test_large_rows_make_short_bites_and_many_of_them_are_synced_now_and_then(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defrag, "BYTES_PER_SECOND", 0)
    monkeypatch.setattr(defrag, "SYNC_BYTES", 4 << 20)
    syncs, bites = [], []
    real_sync, real_append = twin.Twin.sync, twin.Twin.append
    monkeypatch.setattr(twin.Twin, "sync", lambda self: (syncs.append(1), real_sync(self))[1])
    monkeypatch.setattr(
        twin.Twin, "append", lambda self, bucket, rows: (bites.append(len(rows)), real_append(self, bucket, rows))
    )
    for number in range(100):
        backend.put(ONE, key(number), bytes(100_000))
    backend.commit()
    finish(backend.defragment())
    assert max(bites) == 3
    assert len(syncs) == 3
    assert len(rows_of(backend)[0]) == 100


@pytest.mark.usefixtures("small_bites")
def test_readers_and_writers_see_every_row_at_every_bite(tmp_path: Path) -> None:
    """A model beside the backend, through many runs, with scans held over them."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    backend = Backend.open(tmp_path / "db", BUCKETS, batch_limit=50, batch_interval=0.001)
    model: dict[bytes, bytes] = {}
    number = 0

    def live() -> None:
        nonlocal number
        number += 1
        backend.begin_entry()
        for _ in range(dice.randrange(40)):
            row, value = key(dice.randrange(3000)), b"%d" % number * dice.randrange(100)
            if dice.random() < 0.4:
                backend.delete(ONE, row)
                model.pop(row, None)
            else:
                backend.put(ONE, row, value)
                model[row] = value
        backend.put(TWO, b"index", b"%d" % number)
        backend.end_entry()
        row = key(dice.randrange(3000))
        assert backend.get(ONE, row) == model.get(row)
        if dice.random() < 0.2:
            assert dict(backend.scan(ONE)) == model

    for _ in range(6):
        held = backend.scan(ONE)
        next(held, None)
        view = backend.view()
        seen = list(view.scan(ONE))
        for _ in backend.defragment():
            live()
        assert list(view.scan(ONE)) == seen
        view.close()
        keys = [row for row, _ in held]
        assert keys == sorted(keys)
        assert dict(backend.scan(ONE)) == model
    backend.close()
    assert sorted(os.listdir(tmp_path)) == NAMES
    backend = Backend.open(tmp_path / "db", BUCKETS)
    assert dict(backend.scan(ONE)) == model
    assert backend.get(TWO, b"index") == b"%d" % number
    backend.close()


def test_a_view_goes_on_over_a_run_and_the_old_file_goes_with_it(backend: Backend, tmp_path: Path) -> None:
    def open_files() -> int:
        links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
        return sum(1 for link in links if os.path.lexists(link) and os.readlink(link).startswith(f"{tmp_path}/db"))

    fill(backend)
    before = open_files()
    view = backend.view()
    rows = list(view.scan(ONE))
    finish(backend.defragment())
    assert list(view.scan(ONE)) == rows
    assert open_files() > before
    with pytest.raises(AssertionError, match="views"):
        backend.replace(tmp_path / "new")
    view.close()
    for thread in threading.enumerate():
        if thread.name == "backend close":
            thread.join(10)
    assert open_files() == before


@pytest.mark.usefixtures("small_bites")
def test_a_run_that_is_closed_leaves_nothing(backend: Backend, tmp_path: Path) -> None:
    fill(backend)
    expected = rows_of(backend)
    for after in (*range(0, 30, 3), 10_000):
        job = backend.defragment()
        for _ in range(after):
            next(job, None)
        job.close()
        backend.put(TWO, b"index", b"%d" % after)
        backend.commit()
        assert sorted(os.listdir(tmp_path)) == NAMES
    assert rows_of(backend)[0] == expected[0]


def test_a_run_that_is_closed_when_the_writer_has_it_does_not_meet_the_next(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(backend)
    expected = rows_of(backend)
    go = threading.Event()
    real = twin.Twin.complete
    monkeypatch.setattr(twin.Twin, "complete", lambda self, more: (go.wait(10), real(self, more))[1])
    job = backend.defragment()
    while not any(batch.twin for batch in backend._frozen):
        next(job)
    job.close()
    after = backend.defragment()
    for _ in range(20):
        next(after)
    go.set()
    finish(after)
    assert rows_of(backend) == expected
    assert sorted(os.listdir(tmp_path)) == NAMES


def test_a_run_ends_when_the_backend_is_closed(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS, batch_interval=3600)
    fill(backend)
    job = backend.defragment()
    next(job)
    backend.close()
    assert sorted(os.listdir(tmp_path)) == NAMES
    (tmp_path / "db.tmp").touch()  # another process's by now
    with pytest.raises(DefragmentError, match="the database is closed"):
        finish(job)
    assert (tmp_path / "db.tmp").exists()


@pytest.mark.usefixtures("small_bites")
@pytest.mark.parametrize("bites", [*range(0, 30, 3), 10_000])
def test_a_database_from_a_leader_wins(backend: Backend, tmp_path: Path, bites: int) -> None:
    fill(backend)
    finish(load(tmp_path / "new", BUCKETS, [(ONE, b"a", b"leader's"), (TWO, b"index", b"9")]))
    job = backend.defragment()
    for _ in range(bites + 1):
        next(job, None)
    backend.replace(tmp_path / "new")
    expected = [[(b"a", b"leader's")], [(b"index", b"9")]]
    assert rows_of(backend) == expected
    try:
        finish(job)
    except DefragmentError as error:
        assert "a snapshot has taken the place of the database" in str(error)
    assert rows_of(backend) == expected
    backend.put(ONE, b"b", b"2")
    backend.close()
    again = Backend.open(tmp_path / "db", BUCKETS)
    assert rows_of(again) == [[*expected[0], (b"b", b"2")], expected[1]]
    again.close()
    assert sorted(os.listdir(tmp_path)) == NAMES


def test_a_leaders_database_that_is_not_fit_leaves_the_run_alone(backend: Backend, tmp_path: Path) -> None:
    fill(backend)
    expected, size = rows_of(backend), backend.size()
    (tmp_path / "new").touch()
    job = backend.defragment()
    next(job)
    with pytest.raises(BackendForeign):
        backend.replace(tmp_path / "new")
    finish(job)
    assert rows_of(backend) == expected
    assert backend.size() < size


# Errors.


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("step", ["begin", "append", "sync", "complete", "open_twin", "rename"])
def test_an_error_of_the_new_file_harms_nothing(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fill(backend)
    expected, size = rows_of(backend), backend.size()
    error = OSError(5, "Input/output error")
    with monkeypatch.context() as broken:
        match step:
            case "rename":
                broken.setattr(os, step, failing(error))
            case "open_twin":
                broken.setattr(file_module.File, step, failing(error))
            case _:
                broken.setattr(twin.Twin, step, failing(error))
        job = backend.defragment()
        with pytest.raises(DefragmentError, match=r"cannot defragment .*/db: .*Input/output error"):
            for _ in job:
                backend.put(TWO, b"during", b"1")
    backend.put(ONE, b"after", b"1")
    backend.commit()
    assert backend.size() >= size
    assert rows_of(backend)[0] == [*expected[0], (b"after", b"1")]
    assert sorted(name for name in os.listdir(tmp_path) if name != "db-lock") == ["db", "db.lock"]
    finish(backend.defragment())
    assert backend.size() < size
    assert rows_of(backend)[0] == [*expected[0], (b"after", b"1")]


def test_the_new_file_is_synced_with_all_rows_before_it_takes_the_name(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power loss would show: a kill leaves the pages that nobody synced."""
    steps: list[str] = []

    class Recorded:
        def __init__(self, env: Any) -> None:
            self.env = env

        def begin(self, **options: Any) -> Any:
            steps.append("write" if options.get("write") else "read")
            return self.env.begin(**options)

        def sync(self, force: bool) -> None:
            assert force
            self.env.sync(force)
            steps.append("sync")

        def close(self) -> None:
            self.env.close()

    real_open, real_rename = file_module.File.open_twin, os.rename

    def open_twin(self: Any, path: Path, **options: Any) -> Any:
        opened = real_open(self, path, **options)
        if not options:
            opened.env = Recorded(opened.env)
        return opened

    def rename(old: Path, new: Path) -> None:
        steps.append("rename")
        real_rename(old, new)

    monkeypatch.setattr(file_module.File, "open_twin", open_twin)
    monkeypatch.setattr(os, "rename", rename)
    fill(backend)
    for _ in backend.defragment():
        backend.put(ONE, b"during", b"1")
    assert steps[-4:] == ["write", "sync", "rename", "rename"]
    assert steps.count("write") > 2


def test_a_name_that_may_not_last_stops_everything(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the rename a power loss may bring the old file back: no batch may be called durable on top of that."""
    fill(backend)
    monkeypatch.setattr(twin, "sync_directory", failing(OSError(5, "Input/output error")))
    with pytest.raises(BackendFailed, match=r"cannot write a batch of .* Input/output error"):
        finish(backend.defragment())
    with pytest.raises(BackendFailed):
        backend.commit()
    backend.close()
    again = Backend.open(tmp_path / "db", BUCKETS)
    assert len(rows_of(again)[0]) == 400
    again.close()


def test_a_disk_with_too_little_space_is_not_filled(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(backend)
    monkeypatch.setattr(twin, "SPARE_BYTES", 1 << 60)
    with pytest.raises(DefragmentError, match=r"a second file of \d+ bytes would leave too little of \d+ bytes"):
        finish(backend.defragment())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_gets_full_harms_nothing(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = twin.Twin.begin
    backend = Backend.open(small_disk / "db", BUCKETS)
    for number in range(200):
        backend.put(ONE, key(number), bytes(9000))
    backend.commit()
    monkeypatch.setattr(twin.Twin, "begin", lambda self, size: real(self, 0))
    monkeypatch.setattr(twin, "SPARE_BYTES", 1 << 18)
    with pytest.raises(DefragmentError, match=r"cannot defragment .*; its disk has \d+ bytes free"):
        finish(backend.defragment())
    assert sorted(os.listdir(small_disk)) == NAMES
    backend.put(ONE, b"after", b"1")
    backend.commit()
    assert len(rows_of(backend)[0]) == 201
    backend.close()


# Crashes.

CRASHING = """
import os, sys, threading
import quorate.storage.backend.file as file
import quorate.storage.backend.twin as twin
import quorate.storage.backend.defrag as defrag
from quorate.storage.backend import Backend, Bucket
ONE, TWO = Bucket(b"one", 0), Bucket(b"two", 1)
steps = int(sys.argv[2])
def counted(call):
    def step(*args, **kwargs):
        global steps
        if steps == 0:
            os._exit(9)
        steps -= 1
        return call(*args, **kwargs)
    return step
defrag.BITE_ROWS = 50
backend = Backend.open(sys.argv[1] + "/db", (ONE, TWO), batch_interval=3600)
os.rename, os.fsync = counted(os.rename), counted(os.fsync)
file.Path.unlink = counted(file.Path.unlink)
file.open_environment = counted(file.open_environment)
for name in ("begin", "append", "place", "sync", "complete", "rename", "settle"):
    setattr(twin.Twin, name, counted(getattr(twin.Twin, name)))
number = int(backend.get(TWO, b"index"))
def apply():
    global number
    number += 1
    backend.begin_entry()
    backend.put(ONE, b"%08d" % (1000000 + number), b"entry")
    backend.delete(ONE, b"%08d" % ((number - 1) * 10))
    backend.put(TWO, b"index", b"%d" % number)
    backend.end_entry()
    backend.commit()
    os.write(1, b"%d\\n" % number)
for _ in backend.defragment():
    if number < 12:
        apply()
apply()
os._exit(0)
"""


def test_a_crash_between_any_two_steps_leaves_one_whole_file_with_all_that_was_durable(tmp_path: Path) -> None:
    """The rows of an entry and its index are in the file together, each entry once (etcd 14685), and what a run left
    behind is gone after the next start (etcd 11613)."""
    shrunk = set()
    for steps in range(60):
        place = tmp_path / str(steps)
        place.mkdir()
        backend = Backend.open(place / "db", BUCKETS, batch_interval=3600)
        fill(backend, rows=1000, size=300)
        large = backend.size()
        backend.close()
        child = subprocess.run(
            [sys.executable, "-c", CRASHING, place, str(steps)], check=False, timeout=60, capture_output=True
        )
        durable = int((child.stdout.split() or [b"1"])[-1])
        backend = Backend.open(place / "db", BUCKETS)
        assert sorted(os.listdir(place)) == NAMES
        index = int(backend.get(TWO, b"index") or b"0")
        assert index in (durable, durable + 1)
        expected = {key(number) for number in range(0, 1000, 10)} - {key(n * 10) for n in range(1, index)}
        expected |= {key(1000000 + number) for number in range(2, index + 1)}
        assert {row for row, _ in backend.scan(ONE)} == expected
        shrunk.add(backend.size() < large)
        finish(backend.defragment())
        assert {row for row, _ in backend.scan(ONE)} == expected
        backend.close()
        if child.returncode == 0:
            break
        assert child.returncode == 9, child.stderr
    assert child.returncode == 0, "more steps than were tried"
    assert steps > 10
    assert shrunk == {False, True}
