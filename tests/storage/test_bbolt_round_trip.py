"""What is written is read again, in one pass, in bites, with little memory."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bbolt_support import Forge, findings, numbered, read, write
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.storage import bbolt
from quorate.storage.bbolt import writer
from quorate.storage.bbolt.format import BRANCH_PAGE, MAX_KEY_BYTES, NO_FREELIST, PAGE_SIZE, Meta
from quorate.storage.files import OsFile

KEYS = st.binary(min_size=1, max_size=12) | st.integers(1, MAX_KEY_BYTES).map(lambda size: b"k" * size)
VALUES = st.binary(max_size=20) | st.integers(0, 30_000).map(bytes)
BUCKETS = st.dictionaries(st.binary(min_size=1, max_size=6), st.dictionaries(KEYS, VALUES, max_size=60), max_size=6)


@given(BUCKETS, st.tuples(st.binary(max_size=2), st.binary(max_size=2)))
@settings(max_examples=60, deadline=None)
def test_every_row_that_was_written_is_read(
    buckets: dict[bytes, dict[bytes, bytes]], bounds: tuple[bytes, bytes]
) -> None:
    given_rows = {name: sorted(rows.items()) for name, rows in buckets.items()}
    start, end = sorted(bounds)
    with TemporaryDirectory() as place:
        path = Path(place) / "db"
        assert write(path, given_rows) == path.stat().st_size
        assert read(path) == given_rows
        assert findings(path) == []
        reader = bbolt.Reader.open(path)
        assert reader.buckets() == sorted(buckets)
        for name, rows in given_rows.items():
            assert list(reader.scan(name, start, end)) == [row for row in rows if start <= row[0] < end]
            assert list(reader.scan(name, start)) == [row for row in rows if start <= row[0]]
            for key, value in rows[:3]:
                assert reader.get(name, key) == value
            assert reader.get(name, b"\xff" * 13) is None
        assert list(reader.scan(b"no such bucket")) == []
        reader.close()


def test_the_disk_is_never_owed_much_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SYNC_BYTES", 4 * writer.BUFFER_BYTES)
    owed, most = 0, 0
    plain_write, plain_sync = OsFile.write, OsFile.sync

    def count_write(file: OsFile, data: bytes, offset: int) -> None:
        nonlocal owed, most
        owed += len(data)
        most = max(most, owed)
        plain_write(file, data, offset)

    def count_sync(file: OsFile) -> None:
        nonlocal owed
        owed = 0
        plain_sync(file)

    monkeypatch.setattr(OsFile, "write", count_write)
    monkeypatch.setattr(OsFile, "sync", count_sync)
    rows = [(b"%08d" % number, bytes(1000)) for number in range(6000)]
    write(tmp_path / "db", {b"b": rows})
    assert owed == 0
    assert 4 * writer.BUFFER_BYTES <= most <= 4 * writer.BUFFER_BYTES + writer.BITE_BYTES + 2 * writer.BUFFER_BYTES
    assert read(tmp_path / "db") == {b"b": rows}


def test_a_file_without_buckets_is_whole(tmp_path: Path) -> None:
    assert write(tmp_path / "db", {}) == 3 * PAGE_SIZE
    assert read(tmp_path / "db") == {}
    assert findings(tmp_path / "db") == []


def test_many_rows_stand_under_branches_of_two_children_at_least(tmp_path: Path) -> None:
    rows = [(b"%08d" % number + b"k" * 500, b"") for number in range(3000)]
    write(tmp_path / "db", {b"b": rows})
    forge = Forge(tmp_path / "db")
    kinds = [forge.page(number) for number in range(2, forge.meta.page_count)]
    children = [count for kind, count, _ in kinds if kind == BRANCH_PAGE]
    assert len(children) > 60, "two levels of branches"
    assert min(children) >= 2
    assert read(tmp_path / "db") == {b"b": rows}


def test_branches_of_the_longest_keys_have_two_children_at_least(tmp_path: Path) -> None:
    rows = [(b"%04d" % number + bytes(MAX_KEY_BYTES - 4), b"") for number in range(50)]
    write(tmp_path / "db", {b"b": rows})
    assert read(tmp_path / "db") == {b"b": rows}
    assert findings(tmp_path / "db") == []


def test_a_bucket_is_inline_up_to_a_quarter_page(tmp_path: Path) -> None:
    fits = 1024 - 16 - 16 - 1
    assert write(tmp_path / "db", {b"b": [(b"k", bytes(fits))]}) == 3 * PAGE_SIZE
    assert write(tmp_path / "db", {b"b": [(b"k", bytes(fits + 1))]}) == 4 * PAGE_SIZE


def test_both_metas_are_valid_and_the_next_transaction_begins_with_the_older_one(tmp_path: Path) -> None:
    size = write(tmp_path / "db", {b"b": numbered(100)})
    data = (tmp_path / "db").read_bytes()
    metas = [Meta.decode(data[at + 16 : at + 80]) for at in (0, PAGE_SIZE)]
    assert metas[0] is not None and metas[1] is not None
    assert metas[0] == metas[1]._replace(txid=metas[1].txid + 1)
    assert metas[0].txid % 2 == 0
    assert (metas[0].freelist, metas[0].page_count) == (NO_FREELIST, size // PAGE_SIZE)
    reader = bbolt.Reader.open(tmp_path / "db")
    assert (reader.txid, reader.page_size, reader.size) == (metas[0].txid, PAGE_SIZE, size)
    reader.close()


def test_writing_takes_bites_and_little_memory(tmp_path: Path) -> None:
    rows = ((b"%08d" % number, b"v" * 200) for number in range(30_000))
    tracemalloc.start()
    bites = sum(1 for _ in bbolt.write(tmp_path / "db", [(b"b", rows)]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert bites >= 30_000 // 500
    assert peak < 1 << 20
    assert len(read(tmp_path / "db")[b"b"]) == 30_000


def test_a_file_has_no_root_until_it_is_whole(tmp_path: Path) -> None:
    job = bbolt.write(tmp_path / "db", [(b"b", numbered(10_000))])
    for _ in range(15):
        next(job)
    assert (tmp_path / "db").stat().st_size > 4 * PAGE_SIZE
    with pytest.raises(bbolt.BboltError, match="is not a bbolt file"):
        bbolt.Reader.open(tmp_path / "db")
    job.close()
    assert os.listdir(tmp_path) == []


def test_a_file_is_for_its_owner_only(tmp_path: Path) -> None:
    write(tmp_path / "db", {})
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600


def test_a_row_that_bbolt_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bbolt.BboltError, match="a row of 32769 and 0 bytes"):
        write(tmp_path / "db", {b"b": [(bytes(MAX_KEY_BYTES + 1), b"")]})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"], [b""]])
def test_rows_out_of_order_are_an_assertion(tmp_path: Path, keys: list[bytes]) -> None:
    with pytest.raises(AssertionError):
        write(tmp_path / "db", {b"b": [(key, b"") for key in keys]})


def test_a_disk_that_takes_no_more_is_an_oserror_and_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import sys; from quorate.storage import bbolt\n"
        "try:\n    list(bbolt.write(sys.argv[1], [(b'b', ((b'%08d' % n, bytes(500)) for n in range(9999)))]))\n"
        "except OSError as error: sys.exit(str(error))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "db"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "File too large" in child.stderr
    assert os.listdir(tmp_path) == []


def test_a_file_that_another_writes_to_is_not_read_and_one_being_read_is_not_written_to(tmp_path: Path) -> None:
    write(tmp_path / "db", {b"b": numbered(3)})
    with (tmp_path / "db").open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(bbolt.BboltError, match="in use by another process"):
            bbolt.Reader.open(tmp_path / "db")
        fcntl.flock(writer, fcntl.LOCK_UN)
        reader = bbolt.Reader.open(tmp_path / "db")
        with pytest.raises(BlockingIOError):
            fcntl.flock(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
        reader.close()
        fcntl.flock(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
