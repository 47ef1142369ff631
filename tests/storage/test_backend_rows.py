"""Rows read the same whether they are in the buffer, in a frozen batch or in the file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from quorate.storage.backend import MAX_KEY_BYTES, Backend, Bucket
from quorate.storage.backend import backend as backend_module

ONE = Bucket(b"one", 0)
TWO = Bucket(b"two", 1)
BUCKETS = (ONE, TWO)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    opened = Backend.open(tmp_path / "db", BUCKETS, unsafe_no_fsync=True)
    yield opened
    opened.close()


KEYS = st.sampled_from([b"a", b"b", b"ba", b"c", b"d\x00", b"d\x00\x00", b"\xff", b"\xff\xff"])
OPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(BUCKETS), KEYS, st.binary(max_size=6)),
    st.tuples(st.just("delete"), st.sampled_from(BUCKETS), KEYS),
    st.tuples(st.sampled_from(["flush", "commit", "reopen", "entry"])),
    st.tuples(st.just("scan"), st.sampled_from(BUCKETS), st.none() | KEYS, st.none() | KEYS, st.integers(0, 4)),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ops=st.lists(OPS, max_size=40), first_bite=st.integers(1, 4))
def test_a_backend_reads_like_a_dict(
    tmp_path_factory: pytest.TempPathFactory, ops: list[tuple], first_bite: int
) -> None:
    path = tmp_path_factory.mktemp("model") / "db"
    model: dict[Bucket, dict[bytes, bytes]] = {ONE: {}, TWO: {}}
    backend = Backend.open(path, BUCKETS, unsafe_no_fsync=True, batch_limit=5)
    saved, backend_module.FIRST_BITE_ROWS = backend_module.FIRST_BITE_ROWS, first_bite
    try:
        for op, *args in ops:
            match op, args:
                case "put", [bucket, key, value]:
                    backend.put(bucket, key, value)
                    model[bucket][key] = value
                case "delete", [bucket, key]:
                    backend.delete(bucket, key)
                    model[bucket].pop(key, None)
                case "scan", [bucket, start, end, limit]:
                    rows = [
                        row
                        for row in sorted(model[bucket].items())
                        if row[0] >= (start or b"") and (end is None or row[0] < end)
                    ]
                    assert list(backend.scan(bucket, start or b"", end, limit)) == rows[: limit or None]
                case "flush", _:
                    backend.flush()
                case "commit", _:
                    backend.commit()
                    assert backend.pending_ops == 0
                case "entry", _:
                    backend.begin_entry()
                    backend.end_entry()
                case "reopen", _:
                    backend.close()
                    backend = Backend.open(path, BUCKETS, unsafe_no_fsync=True, batch_limit=5)
            for bucket in BUCKETS:
                note(f"after {op} {args}")
                assert dict(backend.scan(bucket)) == model[bucket]
                assert backend.get_many(bucket, list(model[bucket])) == list(model[bucket].values())
                for key in (b"a", b"ba", b"\xff"):
                    assert backend.get(bucket, key) == model[bucket].get(key)
    finally:
        backend_module.FIRST_BITE_ROWS = saved
        backend.close()


def test_a_scan_held_across_writes_and_batches_goes_on_behind_its_last_key(backend: Backend) -> None:
    total = 3 * backend_module.BITE_ROWS
    for number in range(0, total, 2):
        backend.put(ONE, b"%06d" % number, b"old")
    backend.commit()
    seen: list[bytes] = []
    for key, _ in backend.scan(ONE):
        seen.append(key)
        if len(seen) == backend_module.FIRST_BITE_ROWS:
            backend.put(ONE, b"000000-behind", b"new")  # already passed
            backend.put(ONE, b"%06d" % (total - 1), b"new")  # yet to come
            backend.delete(ONE, b"%06d" % (total - 2))
        if len(seen) % 500 == 0:
            backend.commit()
    assert seen == [*(b"%06d" % n for n in range(0, total - 2, 2)), b"%06d" % (total - 1)]


def test_rows_deleted_while_they_are_scanned_are_each_seen_once(backend: Backend) -> None:
    keys = [b"%06d" % number for number in range(5000)]
    for key in keys:
        backend.put(ONE, key, b"x")
    backend.commit()
    seen = []
    for key, _ in backend.scan(ONE):
        seen.append(key)
        backend.delete(ONE, key)
        if len(seen) % 700 == 0:
            backend.flush()
    assert seen == keys
    backend.commit()
    assert list(backend.scan(ONE)) == []


def test_a_bite_of_large_rows_is_short(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = backend_module.stored_bite

    def counting(*args, **kwargs):
        rows, more = real(*args, **kwargs)
        sizes.append(sum(len(value) for _, value in rows))
        return rows, more

    monkeypatch.setattr(backend_module, "stored_bite", counting)
    for number in range(200):
        backend.put(ONE, b"%06d" % number, bytes(200_000))
    backend.commit()
    assert len(list(backend.scan(ONE))) == 200
    assert max(sizes) <= backend_module.FIRST_BITE_ROWS * 200_000
    assert max(sizes[1:]) <= 2 * backend_module.BITE_BYTES


def test_a_key_of_no_bytes_or_too_many_is_refused_at_once(backend: Backend) -> None:
    for key in (b"", bytes(MAX_KEY_BYTES + 1)):
        with pytest.raises(AssertionError):
            backend.put(ONE, key, b"")
    backend.put(ONE, bytes(MAX_KEY_BYTES), b"v")
    backend.commit()
    assert backend.get(ONE, bytes(MAX_KEY_BYTES)) == b"v"


def test_asking_many_rows_of_which_one_is_missing_is_an_assertion(backend: Backend) -> None:
    backend.put(ONE, b"a", b"1")
    backend.commit()
    assert backend.get_many(ONE, [b"a"]) == [b"1"]
    with pytest.raises(AssertionError):
        backend.get_many(ONE, [b"a", b"b"])


def test_an_empty_value_is_a_value(backend: Backend) -> None:
    backend.put(ONE, b"a", b"")
    assert backend.get(ONE, b"a") == b""
    assert backend.get_many(ONE, [b"a"]) == [b""]
    backend.commit()
    assert backend.get(ONE, b"a") == b""


def test_flush_returns_before_the_batch_is_durable_and_tells_when_it_is(backend: Backend) -> None:
    told = threading.Event()
    errors: list[BaseException | None] = []

    def done(error: BaseException | None) -> None:
        errors.append(error)
        told.set()

    backend.put(ONE, b"a", b"1")
    backend.flush(done)
    assert backend.get(ONE, b"a") == b"1"
    assert told.wait(10)
    assert errors == [None]
    assert backend.pending_ops == 0


def test_an_empty_flush_still_tells(backend: Backend) -> None:
    told = threading.Event()
    backend.flush(lambda error: told.set())
    assert told.wait(10)


def test_a_view_stays_as_it_was_when_opened(backend: Backend) -> None:
    backend.put(ONE, b"a", b"1")
    backend.commit()
    view = backend.view()
    backend.put(ONE, b"a", b"2")
    backend.put(ONE, b"b", b"2")
    backend.commit()
    assert view.get(ONE, b"a") == b"1"
    assert list(view.scan(ONE)) == [(b"a", b"1")]
    view.close()
    view = backend.view()
    assert list(view.scan(ONE, b"a", b"b")) == [(b"a", b"2")]
    view.close()


def test_deleted_rows_leave_the_size_in_use_but_not_the_size(backend: Backend) -> None:
    for number in range(2000):
        backend.put(ONE, b"%06d" % number, bytes(1000))
    backend.commit()
    size, used = backend.size(), backend.size_in_use()
    assert 2_000_000 < used <= size
    for number in range(2000):
        backend.delete(ONE, b"%06d" % number)
    backend.commit()
    assert backend.size() >= size
    assert backend.size_in_use() < 100_000


def test_rows_that_come_out_of_order_are_placed_in_order(backend: Backend) -> None:
    for number in (5, 3, 9):
        backend.put(ONE, b"%d" % number, b"x")
    backend.commit()
    for number in (4, 1, 7, 9):
        backend.put(ONE, b"%d" % number, b"y")
    backend.commit()
    assert list(backend.scan(ONE)) == [(b"%d" % n, b"x" if n in (3, 5) else b"y") for n in (1, 3, 4, 5, 7, 9)]
