"""When a batch is frozen, what a crash leaves, and what a failed disk does."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.storage.backend import Backend, BackendError, BackendFailed, BackendForeign, BackendInUse, Bucket
from quorate.storage.backend import backend as backend_module

ONE = Bucket(b"one", 0)
TWO = Bucket(b"two", 1)
BUCKETS = (ONE, TWO)


def put_entry(backend: Backend, number: int, rows: int = 1) -> None:
    backend.begin_entry()
    for row in range(rows):
        backend.put(ONE, b"%08d-%d" % (number, row), b"v")
    backend.put(TWO, b"index", b"%d" % number)
    backend.end_entry()


def test_a_full_buffer_is_frozen_at_the_end_of_the_entry_that_filled_it(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS, batch_limit=10, batch_interval=3600)
    backend.flush(lambda error: None)  # starts the interval
    backend.commit()
    backend.begin_entry()
    for number in range(30):
        backend.put(ONE, b"%d" % number, b"")
    assert backend.pending_ops == 30
    view = backend.view()
    assert list(view.scan(ONE)) == []
    view.close()
    backend.end_entry()
    backend.commit()
    view = backend.view()
    assert len(list(view.scan(ONE))) == 30
    view.close()
    backend.close()


def test_a_buffer_is_frozen_when_the_interval_has_passed(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS, batch_interval=0.0)
    put_entry(backend, 1)
    assert backend._frozen
    backend.close()


@pytest.mark.parametrize("freeze", [Backend.flush, Backend.commit])
def test_no_batch_ends_inside_an_entry(tmp_path: Path, freeze) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS)
    backend.begin_entry()
    backend.put(ONE, b"half", b"")
    with pytest.raises(AssertionError):
        freeze(backend)
    backend.end_entry()
    freeze(backend)
    backend.close()


def test_a_slow_disk_makes_the_writer_wait_once_the_backlog_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS, batch_limit=10, batch_interval=3600)
    real, stuck, go = backend._writer._write, threading.Event(), threading.Event()

    def slow(batch) -> None:
        stuck.set()
        assert go.wait(10)
        real(batch)

    monkeypatch.setattr(backend._writer, "_write", slow)
    put_entry(backend, 0, rows=10)
    assert stuck.wait(10)
    threading.Timer(0.05, go.set).start()
    number = 0
    while not go.is_set():
        number += 1
        put_entry(backend, number, rows=9)
        assert backend._ops <= (backend_module.BACKLOG_BATCHES + 1) * 10
    backend.commit()
    assert backend.get(TWO, b"index") == b"%d" % number
    backend.close()


def test_an_entry_that_broke_off_leaves_nothing_when_the_backend_is_closed(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS)
    put_entry(backend, 1)
    backend.commit()
    backend.begin_entry()
    backend.put(ONE, b"half", b"")
    backend.close()
    backend = Backend.open(tmp_path / "db", BUCKETS)
    assert backend.get(ONE, b"half") is None
    assert backend.get(TWO, b"index") == b"1"
    backend.close()


def test_a_listener_that_breaks_does_not_stop_the_batches(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS)

    def broken(error: BaseException | None) -> None:
        raise RuntimeError("the loop is closed")

    backend.put(ONE, b"a", b"1")
    backend.flush(broken)
    backend.put(ONE, b"b", b"2")
    backend.close()
    backend = Backend.open(tmp_path / "db", BUCKETS)
    assert list(backend.scan(ONE)) == [(b"a", b"1"), (b"b", b"2")]
    backend.close()


def test_flushes_do_not_pile_up_behind_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS)
    real, go = backend._writer._write, threading.Event()
    monkeypatch.setattr(backend._writer, "_write", lambda batch: (go.wait(10), real(batch)))
    for number in range(5):
        backend.put(ONE, b"%d" % number, b"")
        backend.flush()
    assert len(backend._frozen) == 1
    assert backend.pending_ops == 5
    told = threading.Event()
    backend.flush(lambda error: told.set())
    assert len(backend._frozen) == 2
    go.set()
    assert told.wait(10)
    assert len(list(backend.scan(ONE))) == 5
    backend.close()


CHILD = """
import sys
from quorate.storage.backend import Backend, Bucket
ONE, TWO = Bucket(b"one", 0), Bucket(b"two", 1)
backend = Backend.open(sys.argv[1], (ONE, TWO), batch_limit=50, batch_interval=0.001)
number = int(backend.get(TWO, b"index") or b"0")
print("open", flush=True)
while True:
    number += 1
    backend.begin_entry()
    for row in range(number % 7):
        backend.put(ONE, b"%08d-%d" % (number, row), bytes(number % 300))
    backend.delete(ONE, b"%08d-%d" % (number // 2, 0))
    backend.put(TWO, b"index", b"%d" % number)
    backend.end_entry()
    if number % 100 == 0:
        print(number, flush=True)
"""


def test_kill_9_leaves_whole_entries_and_the_index_of_the_last(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    path = tmp_path / "db"
    last = 0
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(dice.randrange(1, 60)):
            assert child.stdout.readline()
        child.kill()
        child.wait()
        child.stdout.close()
        backend = Backend.open(path, BUCKETS)
        index = int(backend.get(TWO, b"index") or b"0")
        expected = {}
        for number in range(1, index + 1):
            expected.update({b"%08d-%d" % (number, row): bytes(number % 300) for row in range(number % 7)})
            expected.pop(b"%08d-%d" % (number // 2, 0), None)
        assert index >= last
        assert dict(backend.scan(ONE)) == expected
        last = index
        backend.close()
    assert last > 0


def test_a_start_killed_while_the_file_is_made_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "db.tmp").write_bytes(b"half a file")
    (tmp_path / "db.tmp-lock").write_bytes(b"?")
    backend = Backend.open(tmp_path / "db", BUCKETS)
    put_entry(backend, 1)
    backend.close()
    assert sorted(name for name in os.listdir(tmp_path)) == ["db", "db-lock", "db.lock"]
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600


def test_a_second_opener_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    first = Backend.open(tmp_path / "db", BUCKETS)
    with pytest.raises(BackendInUse, match="in use by another process"):
        Backend.open(tmp_path / "db", BUCKETS)
    code = f"from quorate.storage.backend import Backend; Backend.open({str(tmp_path / 'db')!r}, ())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "BackendInUse" in other.stderr
    first.close()
    Backend.open(tmp_path / "db", BUCKETS).close()


def test_a_bucket_that_is_new_to_an_old_file_is_made(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS[:1])
    backend.put(ONE, b"a", b"1")
    backend.close()
    backend = Backend.open(tmp_path / "db", BUCKETS)
    assert backend.get(ONE, b"a") == b"1"
    assert backend.get(TWO, b"a") is None
    backend.close()


def test_files_that_are_not_ours_are_refused_by_name(tmp_path: Path) -> None:
    bbolt = bytes(16) + (0xED0CDAED).to_bytes(4, "little") + bytes(8192)
    for content, text in ((b"hello", "not a database"), (bytes(20000), "not a database"), (bbolt, "bbolt file")):
        (tmp_path / "db").write_bytes(content)
        with pytest.raises(BackendForeign, match=text):
            Backend.open(tmp_path / "db", BUCKETS)
        assert (tmp_path / "db").read_bytes() == content
    (tmp_path / "dir").mkdir()
    with pytest.raises(BackendForeign, match="is a directory"):
        Backend.open(tmp_path / "dir", BUCKETS)
    with pytest.raises(BackendError, match="No such file or directory"):
        Backend.open(tmp_path / "missing" / "db", BUCKETS)


def test_a_file_cut_short_is_refused_before_it_is_read(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "db", BUCKETS)
    for number in range(1000):
        backend.put(ONE, b"%d" % number, bytes(1000))
    backend.close()
    whole = (tmp_path / "db").read_bytes()
    for length in (len(whole) // 2, 3 * 4096, 100):
        (tmp_path / "db").write_bytes(whole[:length])
        with pytest.raises(BackendForeign):
            Backend.open(tmp_path / "db", BUCKETS)
    (tmp_path / "db").write_bytes(whole)
    Backend.open(tmp_path / "db", BUCKETS).close()


def test_too_little_address_space_is_said_plainly(tmp_path: Path) -> None:
    code = (
        "import resource; from quorate.storage.backend import Backend; "
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)); "
        f"Backend.open({str(tmp_path / 'db')!r}, ())"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "may not map 68719476736 bytes of address space" in child.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(backend: Backend) -> None:
    number = 0
    while True:
        number += 1
        backend.begin_entry()
        backend.put(ONE, b"%d" % number, bytes(50_000))
        backend.put(TWO, b"index", b"%d" % number)
        backend.end_entry()
        backend.commit()
        assert number < 10_000


def check_that_a_failure_stops_everything(path: Path, **options) -> None:
    errors: list[BackendFailed] = []
    backend = Backend.open(path, BUCKETS, on_error=errors.append, **options)
    with pytest.raises(BackendFailed, match="cannot write a batch of 2 operations to"):
        fill(backend)
    assert len(errors) == 1
    backend.put(ONE, b"later", b"")
    with pytest.raises(BackendFailed):
        backend.flush()
    backend.begin_entry()
    with pytest.raises(BackendFailed):
        backend.end_entry()
    with pytest.raises(BackendFailed):
        backend.commit()
    assert len(errors) == 1
    assert backend.get(TWO, b"index") is not None
    backend.close()
    backend = Backend.open(path, BUCKETS, **options)
    index = int(backend.get(TWO, b"index") or b"0")
    assert sum(1 for _ in backend.scan(ONE)) == index > 0
    backend.close()


def test_a_full_disk_stops_everything_and_keeps_the_last_good_batch(small_disk: Path) -> None:
    check_that_a_failure_stops_everything(small_disk / "db")


def test_a_full_map_stops_everything_and_keeps_the_last_good_batch(tmp_path: Path) -> None:
    check_that_a_failure_stops_everything(tmp_path / "db", map_size=1 << 20)
