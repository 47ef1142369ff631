"""A database file as objects: the part of LMDB that the backend uses, on a `Disk`.

`Table` is what the file holds, and at the same time the environment that gives transactions on it. A transaction that
writes changes the rows at once, for nothing comes between its first row and its last. One that reads sees the rows of
any moment, the newest; what must stay as it was reads a `Picture`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from sortedcontainers import SortedDict

PAGE_BYTES = 4096
ROW_BYTES = 16
"""What a row takes beside its key and value."""
ROOT_PAGES = 2

Rows = dict[bytes, bytes]
"""Sorted by key (a SortedDict)."""
Row = tuple[bytes, bytes]


class Table:
    """Rows by bucket name. `whole` is false until the file is synced for the first time: a power loss before that
    leaves something which is no database."""

    def __init__(self) -> None:
        self.buckets: dict[bytes, Rows] = {}
        self.whole = False
        self._taken: dict[bytes, int] = {}
        """Bytes of the rows of each bucket."""
        self._shared: set[bytes] = set()
        """Buckets that a picture has, too: they are copied before they are changed."""
        self._largest = 0

    @property
    def size(self) -> int:
        """Bytes of the file; it does not shrink."""
        in_use = ROOT_PAGES + sum(self.pages(name) for name in self.buckets)
        self._largest = max(self._largest, in_use * PAGE_BYTES)
        return self._largest

    def pages(self, name: bytes) -> int:
        return -(-self._taken[name] // PAGE_BYTES)

    def power_loss(self) -> None:
        """Whole batches are here, and nothing else ever was."""

    def make_bucket(self, name: bytes) -> bytes:
        """The handle of bucket `name`."""
        if name not in self.buckets:
            self.buckets[name] = SortedDict()
            self._taken[name] = 0
        return name

    def picture(self) -> Picture:
        """The rows of now, to stay as they are."""
        self._shared.update(self.buckets)
        return Picture(dict(self.buckets))

    def begin(self, write: bool = False) -> Transaction:
        return Transaction(self.buckets, self, write)

    def put(self, name: bytes, rows: Sequence[Row], append: bool) -> None:
        """Set rows that come in ascending order, behind the last one if `append`."""
        bucket = self._own(name)
        assert not append or not bucket or rows[0][0] > next(reversed(bucket)), "rows appended before the last"
        assert all(before[0] < after[0] for before, after in pairwise(rows)), "rows out of order"
        taken = self._taken[name]
        for key, value in rows:
            old = bucket.get(key)
            taken += len(value) - len(old) if old is not None else len(key) + len(value) + ROW_BYTES
            bucket[key] = value
        self._taken[name] = taken

    def delete(self, name: bytes, key: bytes) -> bool:
        value = self._own(name).pop(key, None)
        if value is not None:
            self._taken[name] -= len(key) + len(value) + ROW_BYTES
        return value is not None

    def _own(self, name: bytes) -> Rows:
        if name in self._shared:
            self._shared.discard(name)
            self.buckets[name] = self.buckets[name].copy()
        return self.buckets[name]


class Picture:
    """The environment of a view."""

    def __init__(self, buckets: dict[bytes, Rows]) -> None:
        self._buckets = buckets

    def begin(self) -> Transaction:
        return Transaction(self._buckets)


class Transaction:
    """What the backend asks of an lmdb.Transaction; a handle is the name of its bucket."""

    def __init__(self, buckets: dict[bytes, Rows], table: Table | None = None, write: bool = False) -> None:
        self.buckets = buckets
        self._table = table
        self._write = write

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, *_: object) -> None: ...

    def abort(self) -> None: ...

    def get(self, key: bytes, default: bytes | None, handle: bytes) -> bytes | None:
        return self.buckets[handle].get(key, default)

    def cursor(self, handle: bytes) -> Cursor:
        return Cursor(self, handle)

    def put(self, handle: bytes, rows: Sequence[Row], append: bool) -> None:
        assert self._write and self._table is not None, "the transaction only reads"
        self._table.put(handle, rows, append)

    def delete(self, key: bytes, *, db: bytes) -> bool:
        assert self._write and self._table is not None, "the transaction only reads"
        return self._table.delete(db, key)

    def stat(self, handle: bytes | None = None) -> dict[str, int]:
        leaves = 0 if handle is None or self._table is None else self._table.pages(handle)
        return {"branch_pages": 0, "leaf_pages": leaves, "overflow_pages": 0}


class Cursor:
    """What the backend asks of an lmdb.Cursor."""

    def __init__(self, transaction: Transaction, handle: bytes) -> None:
        self._rows: Any = transaction.buckets[handle]
        self._transaction = transaction
        self._handle = handle
        self._key = b""

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None: ...

    def key(self) -> bytes:
        return self._key

    def set_range(self, key: bytes) -> bool:
        return self._stand_at(next(self._rows.irange(key), None))

    def next(self) -> bool:
        return self._stand_at(next(self._rows.irange(self._key, inclusive=(False, True)), None))

    def last(self) -> bool:
        return self._stand_at(next(reversed(self._rows), None))

    def iternext(self) -> Iterator[Row]:
        """Rows from where the cursor stands on."""
        rows = self._rows
        for key in rows.irange(self._key):
            yield key, rows[key]

    __iter__ = iternext

    def putmulti(self, rows: Sequence[Row], *, append: bool) -> None:
        self._transaction.put(self._handle, rows, append)

    def _stand_at(self, key: bytes | None) -> bool:
        self._key = key or b""
        return key is not None
