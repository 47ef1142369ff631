"""Revisions, ranges, deletes, leases and restarts of the store, one claim a test."""

from __future__ import annotations

import pytest
from mvcc_support import DictLeases, MemoryRows, finish, kv

from quorate.api import errors
from quorate.storage.mvcc import Mode, Store
from quorate.storage.schema import KEY


def new_store(rows: MemoryRows | None = None, leases: DictLeases | None = None) -> Store:
    store = Store(rows or MemoryRows(), leases or DictLeases())
    store.restore()
    return store


def put(store: Store, key: bytes, value: bytes = b"v", lease: int = 0) -> int:
    with store.write() as txn:
        return txn.put(key, value, lease)


def delete(store: Store, key: bytes, end: bytes = b"") -> list[bytes]:
    with store.write() as txn:
        return txn.delete_range(key, end)


def test_an_empty_store_is_at_revision_1_and_the_first_write_makes_2() -> None:
    store = new_store()
    assert (store.revision, store.compacted_revision) == (1, -1)
    assert put(store, b"a") == 2
    assert store.revision == 2
    assert store.range(b"a") == ([store.rows.get(KEY, b"\0\0\0\0\0\0\0\2_\0\0\0\0\0\0\0\0")], 1, 2)


def test_create_revision_and_version_start_over_after_a_delete() -> None:
    store = new_store()
    put(store, b"a", b"1")
    put(store, b"a", b"2")
    assert kv(store.range(b"a").kvs[0]) == (b"a", b"2", 2, 3, 2, 0)
    assert delete(store, b"a") == [b"a"]
    assert store.range(b"a") == ([], 0, 4)
    put(store, b"a", b"3")
    assert kv(store.range(b"a").kvs[0]) == (b"a", b"3", 5, 5, 1, 0)
    assert [store.range(b"a", revision=r).count for r in range(1, 6)] == [0, 1, 1, 0, 1]


def test_deleting_nothing_changes_nothing() -> None:
    store = new_store()
    put(store, b"a")
    with store.write() as txn:
        assert txn.delete_range(b"b", b"\0") == []
        assert not txn.changed
        assert txn.revision == 2
    assert store.revision == 2


def test_changes_of_one_transaction_share_a_revision_and_are_numbered_in_key_order() -> None:
    store = new_store()
    for key in (b"c", b"a", b"b"):
        put(store, key)
    with store.write() as txn:
        assert txn.revision == 4
        assert txn.put(b"z", b"") == 5
        assert txn.revision == 5
        assert txn.delete_range(b"a", b"d") == [b"a", b"b", b"c"]
    assert store.revision == 5
    places = [place for place, _ in store.rows.scan(KEY)][-4:]
    assert places == [b"\0\0\0\0\0\0\0\5_\0\0\0\0\0\0\0%c" % sub + b"t" * (sub > 0) for sub in range(4)]


def test_a_range_in_a_transaction_sees_its_own_changes() -> None:
    store = new_store()
    put(store, b"a", b"old")
    with store.write() as txn:
        assert txn.range(b"a").revision == 2
        txn.put(b"b", b"new")
        assert [kv(row)[:2] for row in txn.range(b"a", b"\0").kvs] == [(b"a", b"old"), (b"b", b"new")]
        assert txn.range(b"a", b"\0").revision == 3
        assert txn.range(b"a", b"\0", revision=2).count == 1
        assert txn.range(b"a", b"\0", revision=3).count == 2
        with pytest.raises(errors.FutureRevision):
            txn.range(b"a", revision=4)
        txn.delete_range(b"a", b"c")
        assert txn.range(b"a", b"\0") == ([], 0, 3)


@pytest.mark.parametrize(
    ("key", "end", "found"),
    [
        (b"b", b"", [b"b"]),
        (b"x", b"", []),
        (b"b", b"d", [b"b", b"bb", b"c"]),
        (b"b", b"b\0", [b"b"]),
        (b"bb", b"\0", [b"bb", b"c", b"d"]),
        (b"\0", b"\0", [b"a", b"b", b"bb", b"c", b"d"]),
        (b"d", b"b", []),
        (b"b", b"b", []),
        (b"e", b"\0", []),
        (b"\0", b"\xff", [b"a", b"b", b"bb", b"c", b"d"]),
    ],
)
def test_range_ends(key: bytes, end: bytes, found: list[bytes]) -> None:
    store = new_store()
    for name in (b"d", b"a", b"bb", b"c", b"b", b"gone"):
        put(store, name)
    delete(store, b"gone")
    past = store.revision
    put(store, b"later-" + b"a")
    delete(store, b"later-", b"later0")
    for revision in (0, -5, past, store.revision):
        assert [kv(row)[0] for row in store.range(key, end, revision=revision).kvs] == found
        for limit in (-1, 0, 1, 2, 10):
            got = store.range(key, end, revision=revision, limit=limit)
            assert [kv(row)[0] for row in got.kvs] == (found[:limit] if limit > 0 else found)
            assert got.count == len(found)
            uncounted = store.range(key, end, revision=revision, limit=limit, counted=False)
            assert uncounted.kvs == got.kvs
        assert store.range(key, end, revision=revision, mode=Mode.COUNT) == ([], len(found), store.revision)


def test_keys_only_answers_from_the_index_without_value_and_lease() -> None:
    store = new_store()
    put(store, b"a", b"1")
    put(store, b"a", b"2", lease=7)
    put(store, b"b", b"3")
    assert [kv(row) for row in store.range(b"a", b"\0", mode=Mode.KEYS).kvs] == [
        (b"a", b"", 2, 3, 2, 0),
        (b"b", b"", 4, 4, 1, 0),
    ]
    assert [kv(row) for row in store.range(b"a", revision=2, mode=Mode.KEYS).kvs] == [(b"a", b"", 2, 2, 1, 0)]


def test_a_revision_not_yet_made_is_refused() -> None:
    store = new_store()
    put(store, b"a")
    for mode in Mode:
        with pytest.raises(errors.FutureRevision):
            store.range(b"a", b"\0", revision=3, mode=mode)


def test_a_put_moves_its_key_to_its_lease_and_a_delete_frees_it() -> None:
    leases = DictLeases()
    store = new_store(leases=leases)
    put(store, b"a", lease=1)
    put(store, b"a", lease=1)
    put(store, b"b", lease=1)
    assert leases.by_lease[1] == {b"a", b"b"}
    put(store, b"a", lease=-2)
    assert leases.by_key == {b"a": -2, b"b": 1}
    put(store, b"a")
    assert leases.by_key == {b"b": 1}
    delete(store, b"b")
    assert leases.by_key == {}


def test_a_restart_finds_revisions_keys_and_leases_as_they_were() -> None:
    leases = DictLeases()
    store = new_store(leases=leases)
    put(store, b"a", b"1", lease=5)
    put(store, b"b", b"2", lease=5)
    put(store, b"a", b"3")
    put(store, b"c", b"4", lease=-9)
    delete(store, b"b")
    again_leases = DictLeases()
    again = new_store(store.rows.copy(), again_leases)  # type: ignore[attr-defined]
    assert again.revision == store.revision
    assert again_leases.by_key == leases.by_key == {b"c": -9}
    for revision in range(2, store.revision + 1):
        assert again.range(b"\0", b"\0", revision=revision) == store.range(b"\0", b"\0", revision=revision)
    assert put(again, b"b") == store.revision + 1
    assert kv(again.range(b"b").kvs[0])[2:5] == (7, 7, 1)


def test_a_key_whose_lease_is_unknown_at_a_restart_is_kept() -> None:
    class Strict(DictLeases):
        def attach(self, lease_id: int, key: bytes) -> None:
            raise errors.LeaseNotFound()

    store = new_store()
    put(store, b"a", lease=5)
    again = new_store(store.rows, Strict())  # type: ignore[arg-type]
    assert again.range(b"a").count == 1


def test_a_transaction_that_fails_after_a_change_closes_the_store_to_writing() -> None:
    store = new_store()
    with pytest.raises(ZeroDivisionError), store.write():
        _ = 1 // 0
    put(store, b"a")
    with pytest.raises(ZeroDivisionError), store.write() as txn:
        txn.put(b"b", b"")
        _ = 1 // 0
    with pytest.raises(AssertionError, match="halfway"):
        store.write()


def test_a_tombstone_alone_in_the_store_is_known_after_a_restart() -> None:
    store = new_store()
    put(store, b"a")
    delete(store, b"a")
    finish(store.compact(3))
    again = new_store(store.rows)  # type: ignore[arg-type]
    assert again.revision == 3
    assert again.index.last_change(b"a", 3) == 3
    assert again.range(b"a").count == 0
    finish(again.compact(put(again, b"b")))
    assert [place[7] for place, _ in again.rows.scan(KEY)] == [4]


def test_a_compacted_revision_cannot_be_read_in_a_transaction_either() -> None:
    store = new_store()
    put(store, b"a")
    put(store, b"a")
    finish(store.compact(3))
    with store.write() as txn:
        txn.put(b"b", b"")
        assert txn.range(b"a", revision=3).count == 1
        with pytest.raises(errors.Compacted):
            txn.range(b"a", revision=2)
