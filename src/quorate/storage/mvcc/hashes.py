"""Hashes of the key bucket, by which members find out that they hold the same.

CRC-32C over the bytes `key`, then key and value of every row up to a revision, in order. Rows at or below the compacted
revision count only if they are in the keep set (what a compaction at the hashed revision would keep), for members
differ in how far they have removed the rest; a tombstone at exactly the compacted revision never counts, for older
versions remove it. If the keep set is empty nothing is left out: a quirk of etcd that its hashes depend on.

A finished compaction leaves the hash of its revision; the last CACHED are kept, so that members that have since
written different amounts can still compare.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable
from typing import TYPE_CHECKING, NamedTuple

from google_crc32c import extend, value

from quorate.api import errors
from quorate.storage.mvcc.key_index import FROM_KEY
from quorate.storage.mvcc.revision import main_of, parse_revision, revision_bytes, sub_of
from quorate.storage.mvcc.rows import key_of
from quorate.storage.schema import KEY

if TYPE_CHECKING:
    from quorate.storage.mvcc.store import Store

CACHED = 10
BITE = 1000
"""Rows hashed between two yields."""


class HashResult(NamedTuple):
    """CRC-32C of the store at `revision`, when `compact_revision` (-1: never) was the compacted one."""

    hash: int
    revision: int
    compact_revision: int


class HashCache:
    """Hashes of the last compactions."""

    def __init__(self) -> None:
        self._results: dict[int, HashResult] = {}

    def get(self, revision: int) -> HashResult | None:
        return self._results.get(revision)

    def all(self) -> list[HashResult]:
        """By revision, ascending."""
        return [self._results[revision] for revision in sorted(self._results)]

    def add(self, result: HashResult) -> None:
        self._results[result.revision] = result
        if len(self._results) > CACHED:
            del self._results[min(self._results)]


class RowHash:
    """A hash in the making; `any_kept` tells whether the keep set has any revision in it."""

    def __init__(self, compacted: int, any_kept: bool) -> None:
        self._compacted = compacted
        self._any_kept = any_kept
        self._crc: int = value(KEY.name)

    def add(self, rows: Iterable[tuple[bytes, bytes]], unkept: Container[bytes]) -> None:
        """Go on with `rows`; those of them whose key is in `unkept` are not in the keep set."""
        parts = []
        for place, row in rows:
            main, _, tombstone = parse_revision(place)
            if main <= self._compacted:
                if self._any_kept and place in unkept:
                    continue
                if tombstone and main == self._compacted:
                    continue
            parts.append(place)
            parts.append(row)
        self._crc = extend(self._crc, b"".join(parts))

    def result(self, revision: int) -> HashResult:
        return HashResult(self._crc, revision, self._compacted)


def hash_kv(store: Store, revision: int, cached: HashResult | None) -> Generator[None, None, HashResult]:
    """Job that ends with the hash at `revision`, or at once with the cached one."""
    while cached is None:
        if 0 < revision < store.compacted_revision:
            raise errors.Compacted()
        # A store restored meanwhile is another one: begin again.
        cached = yield from _hash_rows(store, revision)
    return cached


def _hash_rows(store: Store, revision: int) -> Generator[None, None, HashResult | None]:
    """None if the store was restored on the way."""
    jobs = store.jobs
    compacted = store.compacted_revision
    any_kept = next(store.index.keys_at(b"\0", FROM_KEY, revision), None) is not None
    row_hash = RowHash(compacted, any_kept)
    end = revision_bytes(revision + 1, 0)
    last = b""
    jobs.hashing += 1
    try:
        while jobs is store.jobs:
            rows = list(store.rows.scan(KEY, last, end, BITE))
            row_hash.add(rows, {place for place, row in rows if not _is_kept(store, place, row, revision, compacted)})
            if len(rows) < BITE:
                return row_hash.result(revision)
            last = rows[-1][0] + b"\0"
            yield
    finally:
        jobs.hashing -= 1
    return None


def _is_kept(store: Store, place: bytes, row: bytes, revision: int, compacted: int) -> bool:
    """Whether a compaction at `revision` would keep this row; asked only for rows where the answer counts."""
    main, sub, tombstone = parse_revision(place)
    if main > compacted:
        return True
    stamp = store.index.at(key_of(row), revision)
    return not tombstone and main_of(stamp) == main and sub_of(stamp) == sub
