"""What compaction removes and keeps, how it survives crashes, and what it leaves to compare by."""

from __future__ import annotations

import random

import google_crc32c
import pytest
from mvcc_support import DictLeases, MemoryRows, finish, kv

from quorate.api import errors
from quorate.storage import schema
from quorate.storage.backend import Bucket
from quorate.storage.mvcc import HashResult, Store
from quorate.storage.mvcc.key_index import KeyIndex
from quorate.storage.mvcc.revision import parse_revision
from quorate.storage.schema import KEY


def new_store(rows: MemoryRows | None = None) -> Store:
    store = Store(rows or MemoryRows(), DictLeases(), compaction_batch_limit=2)
    store.restore()
    return store


def put(store: Store, key: bytes, value: bytes = b"v") -> None:
    with store.write() as txn:
        txn.put(key, value)


def delete(store: Store, key: bytes) -> None:
    with store.write() as txn:
        txn.delete_range(key)


def revisions(store: Store) -> list[int]:
    return [parse_revision(place)[0] for place, _ in store.rows.scan(KEY)]


@pytest.fixture
def bite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.storage.mvcc.hashes.BITE", 2)


def some_history(rows: MemoryRows | None = None) -> Store:
    """Revisions 2-9: a a b b(deleted) a a(deleted) c a."""
    store = new_store(rows)
    put(store, b"a")
    put(store, b"a")
    put(store, b"b")
    delete(store, b"b")
    put(store, b"a")
    delete(store, b"a")
    put(store, b"c")
    put(store, b"a")
    return store


@pytest.mark.parametrize(
    ("revision", "left"),
    [
        (0, [2, 3, 4, 5, 6, 7, 8, 9]),
        (2, [2, 3, 4, 5, 6, 7, 8, 9]),
        (3, [3, 4, 5, 6, 7, 8, 9]),
        (4, [3, 4, 5, 6, 7, 8, 9]),
        (5, [3, 5, 6, 7, 8, 9]),
        (6, [6, 7, 8, 9]),
        (7, [7, 8, 9]),
        (8, [8, 9]),
        (9, [8, 9]),
    ],
)
@pytest.mark.usefixtures("bite")
def test_of_each_key_the_newest_change_stays_a_tombstone_only_at_the_very_revision(
    revision: int, left: list[int]
) -> None:
    store = some_history()
    before = {at: store.range(b"\0", b"\0", revision=at) for at in range(max(revision, 1), 10)}
    job = store.compact(revision)
    assert store.compacted_revision == revision, "at once"
    assert schema.get_scheduled_compact_revision(store.rows) == revision
    for _ in job:
        assert {at: store.range(b"\0", b"\0", revision=at) for at in before} == before, "readable all the time"
    assert revisions(store) == left
    assert schema.get_finished_compact_revision(store.rows) == revision
    assert {at: store.range(b"\0", b"\0", revision=at) for at in before} == before
    again = new_store(store.rows)  # type: ignore[arg-type]
    assert {at: again.range(b"\0", b"\0", revision=at) for at in before} == before


def test_which_revisions_can_be_compacted() -> None:
    store = some_history()
    with pytest.raises(errors.Compacted):
        store.compact(-1)
    finish(store.compact(0))
    with pytest.raises(errors.Compacted):
        store.compact(0)
    with pytest.raises(errors.FutureRevision):
        store.compact(10)
    finish(store.compact(9))
    with pytest.raises(errors.Compacted):
        store.compact(9)
    with pytest.raises(errors.Compacted):
        store.range(b"a", revision=8)
    with pytest.raises(errors.Compacted):
        store.hash_kv(8)
    with pytest.raises(errors.FutureRevision):
        store.hash_kv(10)
    assert kv(store.range(b"a", revision=9).kvs[0])[2:5] == (9, 9, 1)
    put(store, b"a")
    assert kv(store.range(b"a").kvs[0])[2:5] == (9, 10, 2), "version and create revision outlive compaction"


class RecordedRows(MemoryRows):
    """Remembers what was written, so that a crash after any operation can be tried."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[Bucket, bytes, bytes | None]] = []

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None:
        self.written.append((bucket, key, value))
        super().put(bucket, key, value)

    def delete(self, bucket: Bucket, key: bytes) -> None:
        self.written.append((bucket, key, None))
        super().delete(bucket, key)


@pytest.mark.usefixtures("bite")
def test_after_a_crash_at_any_operation_compaction_ends_the_same() -> None:
    store = some_history(RecordedRows())
    before = store.rows.copy()  # type: ignore[attr-defined]
    written = store.rows.written  # type: ignore[attr-defined]
    written.clear()
    finish(store.compact(7))
    assert len(written) > 5
    for bucket, key, value in written:
        crashed = new_store(before.copy())
        assert crashed.revision == 9
        if crashed.pending_compaction is not None:
            assert crashed.compacted_revision == 7
            put(crashed, b"meanwhile")
            delete(crashed, b"a")
            finish(crashed.pending_compaction)
            assert [r for r in revisions(crashed) if r <= 9] == revisions(store)
            assert new_store(crashed.rows).pending_compaction is None  # type: ignore[arg-type]
            assert finish(crashed.hash_kv(9)) == finish(store.hash_kv(9))
        (before.delete(bucket, key) if value is None else before.put(bucket, key, value))
    assert new_store(before).pending_compaction is None


@pytest.mark.usefixtures("bite")
def test_the_revision_never_goes_down_when_the_newest_rows_are_gone_17780() -> None:
    store = new_store()
    for number in range(2, 9):
        put(store, b"%d" % number)
    for key in (b"4", b"5", b"6"):
        delete(store, key)
    put(store, b"9")
    delete(store, b"9")
    finish(store.compact(12))
    job = store.compact(13)
    while store.rows.get(KEY, b"\0\0\0\0\0\0\0\x0d_\0\0\0\0\0\0\0\0t"):
        store.rows.delete(KEY, b"\0\0\0\0\0\0\0\x0d_\0\0\0\0\0\0\0\0t")  # as versions before 3.5.16 do
    del job
    again = new_store(store.rows)  # type: ignore[arg-type]
    assert again.revision == 13
    assert again.pending_compaction is not None
    finish(again.pending_compaction)
    put(again, b"x")
    assert again.revision == 14
    finish(again.compact(14))
    assert new_store(again.rows).revision == 14  # type: ignore[arg-type]


@pytest.mark.usefixtures("bite")
def test_compactions_run_in_order_and_wait_for_a_hash() -> None:
    store = some_history()
    first, second = store.compact(4), store.compact(8)
    for _ in range(10):
        next(second)
    assert revisions(store) == list(range(2, 10))
    hashing = store.hash_kv(9)
    next(hashing)
    for _ in range(10):
        next(first)
    assert revisions(store) == list(range(2, 10))
    result = finish(hashing)
    finish(first)
    finish(second)
    assert finish(store.hash_kv(9)) == result
    assert result.compact_revision == 8


@pytest.mark.usefixtures("bite")
def test_jobs_of_a_replaced_state_stop_and_hashes_begin_anew() -> None:
    store = some_history()
    job, hashing = store.compact(8), store.hash_kv()
    next(job)
    next(hashing)
    other = some_history()
    finish(other.compact(3))
    store.restore(other.rows)
    assert store.compacted_revision == 3
    assert finish(job) is None
    assert revisions(store) == revisions(other)
    assert finish(hashing) == finish(other.hash_kv())


def naive_hash(changes: list[tuple[bytes, bytes]], compacted: int, revision: int) -> int:
    """The rule of the hash, read aloud."""
    newest: dict[bytes, bytes] = {}
    for place, row in changes:
        if parse_revision(place)[0] <= revision:
            newest[row[2 : 2 + row[1]]] = place
    keep = {place for place in newest.values() if not parse_revision(place)[2]}
    crc = google_crc32c.value(b"key")
    for place, row in changes:
        main, _, tombstone = parse_revision(place)
        if main > revision or (main <= compacted and keep and place not in keep):
            continue
        if main == compacted and tombstone:
            continue
        crc = google_crc32c.extend(crc, place + row)
    return crc


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.usefixtures("bite")
def test_the_hash_is_the_same_however_far_compaction_has_come(seed: int) -> None:
    dice = random.Random(seed)
    store = new_store()
    everything: dict[bytes, bytes] = {}
    for _ in range(40):
        (put if dice.random() < 0.6 else delete)(store, dice.choice([b"a", b"b", b"c", b"d"]))
        everything |= dict(store.rows.scan(KEY))
        if dice.random() < 0.1 and store.compacted_revision < store.revision:
            before = store.compacted_revision
            at = dice.randint(before + 1, store.revision)
            job = store.compact(at)
            rows = sorted(everything.items())
            for _ in job:
                revision = dice.randint(max(at, 1), store.revision)
                if store.index.live_count(b"\0", b"\0") and any(store.index.keys_at(b"\0", b"\0", revision)):
                    assert finish(store.hash_kv(revision)).hash == naive_hash(rows, at, revision)
            left = store.hashes.get(at)
            assert left is not None and left[1:] == (at, before)
            assert at == 0 or finish(store.hash_kv(at)) == left


def test_an_empty_store_hashes_to_the_known_value() -> None:
    store = new_store()
    assert finish(store.hash_kv()) == HashResult(1084519789, 1, -1)


@pytest.mark.usefixtures("bite")
def test_a_finished_compaction_leaves_its_hash_made_with_the_compacted_revision_before() -> None:
    store = some_history()
    at_0 = finish(store.hash_kv(0))
    finish(store.compact(0))
    assert store.hashes.get(0) == HashResult(google_crc32c.value(b"key"), 0, -1)
    assert finish(store.hash_kv(0))._replace(compact_revision=-1) == at_0, "0 is now, not the one left at revision 0"
    assert finish(store.hash_kv(9)).hash == at_0.hash
    at_7 = finish(store.hash_kv(7))
    finish(store.compact(7))
    assert finish(store.hash_kv(7)) == HashResult(at_7.hash, 7, 0)
    finish(store.compact(9))
    assert finish(store.hash_kv(7)) == HashResult(at_7.hash, 7, 0), "although 7 is compacted by now"


def test_the_last_ten_compaction_hashes_are_kept() -> None:
    store = new_store()
    for _ in range(12):
        put(store, b"a")
        finish(store.compact(store.revision))
    assert [result.revision for result in store.hashes.all()] == list(range(4, 14))


@pytest.mark.usefixtures("bite")
def test_a_compaction_after_an_interrupted_one_leaves_no_hash() -> None:
    store = some_history()
    next(store.compact(4))
    store.restore()
    assert store.pending_compaction is not None
    follow_up = store.compact(6)
    finish(store.pending_compaction)
    finish(follow_up)
    assert store.hashes.all() == []
    finish(store.compact(8))
    assert [result.revision for result in store.hashes.all()] == [8]


def test_a_compaction_lets_go_of_the_memory_of_history() -> None:
    index = KeyIndex()
    for main in range(2, 1002):
        index.put(b"k", main, 0)
    index.compact(b"k", 1001)
    assert isinstance(index._records[b"k"], int)
    index.delete(b"k", 1002, 0)
    index.compact(b"k", 1003)
    assert not index._records
    assert not index._dead


@pytest.mark.parametrize("mark", [b"", b"t"])
def test_a_row_without_a_key_that_etcdutl_leaves_to_raise_the_revision_is_lived_with(mark: bytes) -> None:
    """`etcdutl snapshot restore --bump-revision` of 3.6: one empty row, and everything up to it is to be compacted."""
    store = some_history()
    store.rows.put(KEY, (1009).to_bytes(8, "big") + b"_" + bytes(8) + mark, b"")
    schema.put_scheduled_compact_revision(store.rows, 1009)
    store = new_store(store.rows)
    assert store.revision == 1009 and store.compacted_revision == 1009
    assert store.pending_compaction is not None
    before = finish(store.hash_kv())
    finish(store.pending_compaction)
    assert finish(store.hash_kv()) == before
    assert [kv(row)[0] for row in store.range(b"\0", b"\0").kvs] == [b"a", b"c"]
    with pytest.raises(errors.Compacted):
        store.range(b"a", revision=1008)
    put(store, b"d")
    finish(store.compact(1010))
    assert revisions(store) == [8, 9, *([1009] if not mark else []), 1010]
    assert finish(new_store(store.rows).hash_kv()) == finish(store.hash_kv())
