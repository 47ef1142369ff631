"""Making a whole file from rows, and putting it in the place of the one in use."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.storage.backend import MAX_KEY_BYTES, Backend, BackendError, BackendFailed, BackendForeign, Bucket, load

ONE = Bucket(b"one", 0)
TWO = Bucket(b"two", 1)
BUCKETS = (ONE, TWO)


def rows(count: int, value: bytes = b"new") -> Iterator[tuple[Bucket, bytes, bytes]]:
    for number in range(count):
        yield ONE, b"%08d" % number, value
    yield TWO, b"index", b"%d" % count


def finish(job) -> int:
    return sum(1 for _ in job)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    backend = Backend.open(tmp_path / "db", BUCKETS, batch_interval=3600)
    yield backend
    backend.close()


def test_a_loaded_file_holds_the_rows_and_was_made_in_bites(tmp_path: Path) -> None:
    assert finish(load(tmp_path / "new", BUCKETS, rows(10_000))) >= 20
    assert sorted(os.listdir(tmp_path)) == ["new"]
    backend = Backend.open(tmp_path / "new", BUCKETS)
    assert [(ONE, *row) for row in backend.scan(ONE)] + [(TWO, *row) for row in backend.scan(TWO)] == list(rows(10_000))
    backend.close()


def test_rows_in_any_order_are_loaded_and_the_later_of_two_counts(tmp_path: Path) -> None:
    given = [(TWO, b"b", b"1"), (ONE, b"z", b"1"), (ONE, b"a", b"2"), (TWO, b"b", b"3")]
    finish(load(tmp_path / "new", BUCKETS, given))
    backend = Backend.open(tmp_path / "new", BUCKETS)
    assert list(backend.scan(ONE)) == [(b"a", b"2"), (b"z", b"1")]
    assert list(backend.scan(TWO)) == [(b"b", b"3")]
    backend.close()


def test_a_load_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    job = load(tmp_path / "new", BUCKETS, rows(10_000))
    next(job)
    assert os.listdir(tmp_path) != []
    job.close()
    assert os.listdir(tmp_path) == []


def test_a_load_whose_rows_fail_leaves_nothing_and_passes_the_failure_on(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[Bucket, bytes, bytes]]:
        yield ONE, b"a", b""
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        finish(load(tmp_path / "new", BUCKETS, failing()))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("key", [b"", bytes(MAX_KEY_BYTES + 1)])
def test_a_key_that_cannot_be_stored_is_said_plainly(tmp_path: Path, key: bytes) -> None:
    with pytest.raises(BackendError, match=f"a key of {len(key)} bytes in bucket one: 1 to 511 bytes can be stored"):
        finish(load(tmp_path / "new", BUCKETS, [(ONE, key, b"")]))
    assert os.listdir(tmp_path) == []


def test_a_load_into_a_place_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot write"):
        finish(load(tmp_path / "no" / "new", BUCKETS, rows(1)))


def test_after_a_replace_the_same_backend_reads_and_writes_the_new_file(tmp_path: Path, backend: Backend) -> None:
    backend.put(ONE, b"old", b"old")
    backend.commit()
    backend.put(ONE, b"older", b"never durable")
    told: list[BaseException | None] = []
    backend.flush(told.append)
    backend.put(ONE, b"oldest", b"never durable")
    finish(load(tmp_path / "new", BUCKETS, rows(3)))
    backend.replace(tmp_path / "new")
    assert told == [None]
    assert backend.pending_ops == 0
    assert backend.get(ONE, b"old") is backend.get(ONE, b"older") is backend.get(ONE, b"oldest") is None
    assert backend.get_many(ONE, [b"%08d" % n for n in range(3)]) == [b"new"] * 3
    assert len(list(backend.scan(ONE))) == 3
    assert sorted(os.listdir(tmp_path)) == ["db", "db-lock", "db.lock"]
    backend.begin_entry()
    backend.put(ONE, b"after", b"1")
    backend.end_entry()
    backend.commit()
    backend.close()
    again = Backend.open(tmp_path / "db", BUCKETS)
    assert [key for key, _ in again.scan(ONE)][-1] == b"after"
    assert again.get(TWO, b"index") == b"3"
    again.close()


def test_the_space_of_the_old_file_is_given_back_on_a_thread_of_its_own(
    tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is long about it when the file is large, and who replaces it has others to serve."""
    old = (tmp_path / "db").stat().st_ino
    nameless: list[int] = []
    real = os.close

    def close(fd: int) -> None:
        found = os.fstat(fd)
        if found.st_ino == old and found.st_nlink == 0:
            nameless.append(threading.get_ident())
        real(fd)

    monkeypatch.setattr(os, "close", close)
    finish(load(tmp_path / "new", BUCKETS, rows(3)))
    backend.replace(tmp_path / "new")
    backend.close()
    assert len(nameless) == 1 and nameless[0] != threading.get_ident()


def test_the_size_is_that_of_the_new_file(tmp_path: Path, backend: Backend) -> None:
    before = backend.size_in_use()
    finish(load(tmp_path / "new", BUCKETS, rows(2_000, bytes(500))))
    backend.replace(tmp_path / "new")
    assert backend.size_in_use() - before > 1_000_000
    assert backend.size() == (tmp_path / "db").stat().st_size


def test_a_replace_while_a_view_is_open_is_an_assertion(tmp_path: Path, backend: Backend) -> None:
    finish(load(tmp_path / "new", BUCKETS, rows(3)))
    view = backend.view()
    with pytest.raises(AssertionError):
        backend.replace(tmp_path / "new")
    view.close()
    view.close()
    backend.replace(tmp_path / "new")
    assert backend.get(TWO, b"index") == b"3"


def test_a_replace_inside_an_entry_is_an_assertion(tmp_path: Path, backend: Backend) -> None:
    backend.begin_entry()
    with pytest.raises(AssertionError):
        backend.replace(tmp_path / "new")
    backend.end_entry()


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "foreign", "directory"])
def test_a_file_that_is_not_fit_is_refused_and_nothing_has_changed(
    tmp_path: Path, backend: Backend, damage: str
) -> None:
    backend.put(ONE, b"old", b"old")
    new = tmp_path / "new"
    finish(load(new, BUCKETS, rows(3)))
    if damage == "cut":
        os.truncate(new, new.stat().st_size - 4096)
    else:
        new.unlink()
    if damage == "empty":
        new.touch()
    elif damage == "foreign":
        new.write_bytes(os.urandom(20_000))
    elif damage == "directory":
        new.mkdir()
    with pytest.raises(BackendError if damage == "missing" else BackendForeign):
        backend.replace(new)
    backend.put(ONE, b"older", b"old")
    backend.commit()
    assert [key for key, _ in backend.scan(ONE)] == [b"old", b"older"]


def test_an_exchange_that_fails_stops_everything(
    tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(load(tmp_path / "new", BUCKETS, rows(3)))
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(5, "input/output error")))
    with pytest.raises(BackendFailed, match=r"cannot put .*new in the place of .*db: .*input/output error"):
        backend.replace(tmp_path / "new")
    with pytest.raises(BackendFailed):
        backend.flush()
    backend.close()


def test_a_second_opener_stays_out_over_a_replace(tmp_path: Path, backend: Backend) -> None:
    finish(load(tmp_path / "new", BUCKETS, rows(3)))
    backend.replace(tmp_path / "new")
    with pytest.raises(BackendError, match="in use"):
        Backend.open(tmp_path / "db", BUCKETS)


CRASHING = """
import os, sys
import quorate.storage.backend.file as file
from quorate.storage.backend import Backend, Bucket
steps = int(sys.argv[2])
def counted(call):
    def step(*args, **kwargs):
        global steps
        if steps == 0:
            os._exit(9)
        steps -= 1
        return call(*args, **kwargs)
    return step
backend = Backend.open(sys.argv[1] + "/db", (Bucket(b"one", 0), Bucket(b"two", 1)), batch_interval=3600)
os.rename, os.fsync = counted(os.rename), counted(os.fsync)
file.Path.unlink = counted(file.Path.unlink)
file.open_environment = counted(file.open_environment)
backend.replace(sys.argv[1] + "/new")
os._exit(0)
"""


def test_a_crash_between_any_two_steps_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    seen = []
    for steps in range(20):
        place = tmp_path / str(steps)
        place.mkdir()
        finish(load(place / "db", BUCKETS, rows(1, b"old")))
        finish(load(place / "new", BUCKETS, rows(2)))
        code = subprocess.run([sys.executable, "-c", CRASHING, place, str(steps)], check=False, timeout=60).returncode
        backend = Backend.open(place / "db", BUCKETS)
        stands = backend.get(TWO, b"index")
        assert len(list(backend.scan(ONE))) == int(stands or b"0")
        if stands == b"1":
            backend.replace(place / "new")
            assert backend.get(TWO, b"index") == b"2"
        backend.close()
        seen.append((code, stands))
        if code == 0:
            break
    assert seen[0] == (9, b"1")
    assert seen[-1] == (0, b"2")
    assert (9, b"2") in seen


def test_a_file_larger_than_half_its_map_gets_a_larger_map_at_the_next_open(tmp_path: Path) -> None:
    options = {"map_size": 1 << 20}
    backend = Backend.open(tmp_path / "db", BUCKETS, **options)
    for number in range(8):
        backend.put(ONE, b"%d" % number, bytes(100_000))
    backend.close()
    backend = Backend.open(tmp_path / "db", BUCKETS, **options)
    for number in range(8, 14):
        backend.put(ONE, b"%02d" % number, bytes(100_000))
    backend.commit()
    assert backend.size() > 1 << 20
    backend.close()
