"""The store: keys at revisions. Writes go through one transaction at a time, reads see any revision not compacted."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from enum import IntEnum
from types import TracebackType
from typing import NamedTuple, Protocol

from quorate.api import errors
from quorate.storage import schema
from quorate.storage.backend import Bucket
from quorate.storage.mvcc import compaction, hashes
from quorate.storage.mvcc.events import Change
from quorate.storage.mvcc.key_index import KeyIndex
from quorate.storage.mvcc.revision import (
    MAX_MAIN,
    VERSION_SHIFT,
    create_of,
    main_of,
    make_stamp,
    make_tombstone,
    parse_revision,
    revision_bytes,
    row_key,
    version_of,
)
from quorate.storage.mvcc.rows import (
    encode_key_value,
    encode_tombstone,
    encode_without_value,
    parse_key_value,
)
from quorate.storage.schema import KEY

FIRST_REVISION = 1
"""Revision of an empty store."""
NEVER_COMPACTED = -1


class Rows(schema.Store, Protocol):
    """What the store needs of a backend."""

    def get_many(self, bucket: Bucket, keys: Sequence[bytes]) -> list[bytes]: ...


class LeaseAttachments(Protocol):
    """Which key hangs on which lease. A lease given to a put exists: whoever applies the put has checked."""

    def attach(self, lease_id: int, key: bytes) -> None: ...

    def detach(self, lease_id: int, key: bytes) -> None: ...

    def lease_of(self, key: bytes) -> int:
        """0 for none."""
        ...


class Mode(IntEnum):
    """How much a range tells of each key."""

    FULL = 0
    KEYS = 1
    """Key, create_revision, mod_revision and version; no value, no lease."""
    COUNT = 2
    """Nothing: only how many there are."""


class RangeResult(NamedTuple):
    """`kvs` are serialized KeyValues in key order, `count` the keys in range, `revision` the store's at reading."""

    kvs: list[bytes]
    count: int  # type: ignore[assignment]
    revision: int


class Counts:
    """What has been done to a store since it was made; restores do not begin it anew."""

    __slots__ = ("compacted_rows", "delete_ranges", "put_bytes", "puts", "ranges", "txns")

    def __init__(self) -> None:
        self.puts = 0
        self.put_bytes = 0
        """Bytes of their keys and values."""
        self.delete_ranges = 0
        self.ranges = 0
        """Reads of keys or ranges, those of transactions and compares among them."""
        self.txns = 0
        """Transactions of more than one of these; who runs one counts it."""
        self.compacted_rows = 0
        """Rows that compactions have removed."""


class Store:
    """Keys at revisions, kept as rows of bucket `key`. Call `restore` before anything else."""

    def __init__(
        self, rows: Rows, leases: LeaseAttachments, *, compaction_batch_limit: int = compaction.BATCH_LIMIT
    ) -> None:
        self.rows = rows
        self.leases = leases
        self.index = KeyIndex()
        self.hashes = hashes.HashCache()
        self.jobs = compaction.Jobs()
        self.compaction_batch_limit = compaction_batch_limit
        self.revision = FIRST_REVISION
        self.compacted_revision = NEVER_COMPACTED
        self.pending_compaction: Generator[None, None, None] | None = None
        """After `restore`: the rest of a compaction that had not finished, to be run to its end."""
        self.counts = Counts()
        self._writing = False

    def restore(self, rows: Rows | None = None) -> None:
        """Read everything anew from the rows, or from other rows that replace them; leases re-attach their keys.

        Jobs begun before stop by themselves. A compaction that was scheduled and not finished is scheduled again.
        """
        assert not self._writing, "restore inside a write transaction"
        self.rows = rows if rows is not None else self.rows
        self.index = KeyIndex()
        self.hashes = hashes.HashCache()
        self.jobs = compaction.Jobs()
        self.revision = FIRST_REVISION
        self.index.load(self._stored_changes())
        compaction.restore(self)

    def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        revision: int = 0,
        limit: int = 0,
        mode: Mode = Mode.FULL,
        counted: bool = True,
    ) -> RangeResult:
        """Keys in [key, range_end) at `revision` (0 or less: now), at most `limit` of them if it is positive.

        An empty range_end means the one key, `\\0` everything from key on. `count` is the number of keys before the
        limit; with `counted` off it stops at the limit, which spares a reader in pages the rest of the range.
        Raises Compacted, FutureRevision.
        """
        return self.range_as_of(self.revision, key, range_end, revision, limit, mode, counted)

    def get(self, key: bytes) -> bytes | None:
        """Serialized KeyValue of the key as it is now; what `range` gives for it, by the shortest way."""
        self.counts.ranges += 1
        stamp = self.index.latest(key)
        return self.rows.get(KEY, row_key(stamp)) if stamp else None

    def get_all(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The same for several keys."""
        self.counts.ranges += len(keys)
        stamps = [self.index.latest(key) for key in keys]
        rows = self.rows.get_many(KEY, [row_key(stamp) for stamp in stamps if stamp])
        if len(rows) == len(keys):
            return rows
        found = iter(rows)
        return [next(found) if stamp else None for stamp in stamps]

    def write(self) -> WriteTxn:
        """A write transaction, for use in a `with` statement; the only one at that time."""
        assert not self._writing, "a write transaction is open, or failed halfway"
        self._writing = True
        return WriteTxn(self, [] if self.wants_changes() else None)

    def compact(self, revision: int) -> Generator[None, None, None]:
        """Make history before `revision` unreadable at once; the job returned removes it in bites.

        Run the job to its end before that of the next compaction. Raises Compacted, FutureRevision.
        """
        if revision <= self.compacted_revision:
            raise errors.Compacted()
        if revision > self.revision:
            raise errors.FutureRevision()
        return compaction.schedule(self, revision)

    def hash_kv(self, revision: int = 0) -> Generator[None, None, hashes.HashResult]:
        """Job that ends with the hash of all that is readable at `revision` (0: now). Compaction waits for it.

        A negative revision is before everything: the hash is that of no rows, as in etcd. Raises Compacted,
        FutureRevision, at once or, when a compaction comes between two bites, by the job.
        """
        cached = self.hashes.get(revision) if revision else None  # 0 is now, though 0 can be compacted to
        if cached is None:
            if 0 < revision < self.compacted_revision:
                raise errors.Compacted()
            if revision > self.revision:
                raise errors.FutureRevision()
        return hashes.hash_kv(self, max(revision, -1) or self.revision, cached)

    # For the transaction and for other modules of the room.

    def range_as_of(
        self, current: int, key: bytes, range_end: bytes, revision: int, limit: int, mode: Mode, counted: bool
    ) -> RangeResult:
        """`range`, when `current` is the newest revision there is (a transaction sees its own)."""
        self.counts.ranges += 1
        if revision > current:
            raise errors.FutureRevision()
        index = self.index
        if revision <= 0 or revision == current:
            if not range_end:
                stamp = index.latest(key)
                return RangeResult(self._read([key], [stamp], mode) if stamp else [], 1 if stamp else 0, current)
            if mode is Mode.COUNT:
                return RangeResult([], index.live_count(key, range_end), current)
            keys = index.live_keys(key, range_end, limit)
            count = index.live_count(key, range_end) if counted and 0 < limit == len(keys) else len(keys)
            return RangeResult(self._read(keys, index.live_stamps(keys), mode), count, current)
        if revision < self.compacted_revision:
            raise errors.Compacted()
        return self._range_in_history(current, key, range_end, revision, limit, mode, counted)

    def row_before(self, key: bytes, main: int) -> bytes | None:
        """Row of the key as it was just before revision `main`; None if it was not there or that is compacted."""
        if main - 1 < self.compacted_revision:
            return None
        stamp = self.index.at(key, main - 1)
        return self.rows.get(KEY, row_key(stamp)) if stamp else None

    def wants_changes(self) -> bool:
        """Whether anyone is to be told what a transaction changes."""
        return False

    def committed(self, revision: int, changes: list[Change] | None) -> None:
        """A transaction that changed something has ended."""
        self.revision = revision

    def end_write(self) -> None:
        self._writing = False

    def _range_in_history(
        self, current: int, key: bytes, range_end: bytes, revision: int, limit: int, mode: Mode, counted: bool
    ) -> RangeResult:
        keys: list[bytes] = []
        stamps: list[int] = []
        count = 0
        for found, stamp in self.index.keys_at(key, range_end, revision):
            if not 0 < limit <= count:
                keys.append(found)
                stamps.append(stamp)
            elif not counted:
                break
            count += 1
        return RangeResult(self._read(keys, stamps, mode), count, current)

    def _read(self, keys: list[bytes], stamps: list[int], mode: Mode) -> list[bytes]:
        if mode is Mode.FULL:
            if len(stamps) == 1:
                row = self.rows.get(KEY, row_key(stamps[0]))
                assert row is not None, "a row that the index knows is missing"
                return [row]
            return self.rows.get_many(KEY, [row_key(stamp) for stamp in stamps])
        if mode is Mode.KEYS:
            return [
                encode_without_value(key, create_of(stamp), main_of(stamp), version_of(stamp))
                for key, stamp in zip(keys, stamps, strict=True)
            ]
        return []

    def _stored_changes(self) -> Iterator[tuple[bytes, int]]:
        """(key, stamp) of every row in order; on the way the newest revision is found and leases are attached."""
        leases: dict[bytes, int] = {}
        main = FIRST_REVISION
        for place, row in self.rows.scan(KEY):
            main, sub, tombstone = parse_revision(place)
            kv = parse_key_value(row)
            key = kv.key
            if tombstone:
                stamp = make_tombstone(main, sub)
            elif sub == 0 and kv.version == 1:
                # As in make_stamp; most keys are put once and alone, and there may be millions.
                stamp = main | 1 << VERSION_SHIFT
            elif row:
                stamp = make_stamp(main, sub, kv.create_revision, kv.version)
            else:
                # A restore that raised the revision: to etcd a living key without a name, which no request can ask for.
                stamp = make_stamp(main, sub, main, 1)
            lease = kv.lease
            if lease:
                leases[key] = lease
            elif leases:
                leases.pop(key, None)
            yield key, stamp
        assert main <= MAX_MAIN, "a revision in the store is too large"
        self.revision = max(self.revision, main)
        for key, lease in leases.items():
            self._attach(lease, key)

    def _attach(self, lease: int, key: bytes) -> None:
        try:
            self.leases.attach(lease, key)
        except errors.LeaseNotFound:
            # etcd starts in spite of a key whose lease is gone, and leaves the key alone.
            return


class WriteTxn:
    """Changes that share one main revision and are numbered from 0 by their sub. Its reads see them.

    There is no way back: an exception after the first change leaves the store unfit for writing, so whatever a request
    can be refused for must be checked before.
    """

    __slots__ = ("_changes", "_main", "_store", "_sub")

    def __init__(self, store: Store, changes: list[Change] | None) -> None:
        self._store = store
        self._main = store.revision + 1
        self._sub = 0
        self._changes = changes

    @property
    def changed(self) -> bool:
        return self._sub > 0

    @property
    def revision(self) -> int:
        """Revision of the store as this transaction sees it: one more once it has changed something."""
        return self._main if self._sub else self._main - 1

    def put(self, key: bytes, value: bytes, lease: int = 0) -> int:
        """Set a key and move it to `lease` (0: none); the revision of the change."""
        store = self._store
        counts = store.counts
        counts.puts += 1
        counts.put_bytes += len(key) + len(value)
        main, sub = self._main, self._sub
        attached = store.leases.lease_of(key)
        if attached != lease:
            if attached:
                store.leases.detach(attached, key)
            if lease:
                store.leases.attach(lease, key)
        create, version = store.index.put(key, main, sub)
        row = encode_key_value(key, create, main, version, value, lease)
        store.rows.put(KEY, revision_bytes(main, sub), row)
        self._sub = sub + 1
        if self._changes is not None:
            self._changes.append(Change(key, main, row, False))
        return main

    def delete_range(self, key: bytes, range_end: bytes = b"") -> list[bytes]:
        """Delete every key in range; the keys deleted, in order."""
        self._store.counts.delete_ranges += 1
        keys = self._store.index.live_keys(key, range_end)
        for key in keys:
            self._delete(key)
        return keys

    def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        *,
        revision: int = 0,
        limit: int = 0,
        mode: Mode = Mode.FULL,
        counted: bool = True,
    ) -> RangeResult:
        """As Store.range, with the changes made so far."""
        return self._store.range_as_of(self.revision, key, range_end, revision, limit, mode, counted)

    def __enter__(self) -> WriteTxn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        store = self._store
        if self._sub:
            if kind is not None:
                return
            store.committed(self._main, self._changes)
        store.end_write()

    def _delete(self, key: bytes) -> None:
        store = self._store
        main, sub = self._main, self._sub
        attached = store.leases.lease_of(key)
        if attached:
            store.leases.detach(attached, key)
        store.index.delete(key, main, sub)
        row = encode_tombstone(key)
        store.rows.put(KEY, revision_bytes(main, sub, tombstone=True), row)
        self._sub = sub + 1
        if self._changes is not None:
            self._changes.append(Change(key, main, row, True))
