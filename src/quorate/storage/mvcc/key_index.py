"""The key index: every revision of every key, ordered by key. Values rest elsewhere, in rows keyed by revision.

A key's revisions fall into generations: from a put that creates it to the tombstone that ends it. A key maps to its
stamps (see `revision`) in order of revision:

    b"a" -> 0x...                      alive, put once, or all but the newest put compacted: one bare stamp
    b"b" -> [put, put, tombstone, put] history, newest last; a tombstone ends a generation

and stands in one of two ordered lists: `live`, or `dead` when its newest stamp is a tombstone. So what is asked most,
the newest revision of a key and the living keys of a range, never looks at history.

Memory of a 40-byte key with one revision: key 80 bytes, dictionary slot 42-84, place in the list ~10, stamp 32.
Semantics are those of etcd's treeIndex: get at a revision, keep set, compaction that spares a tombstone at exactly the
compacted revision.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice

from sortedcontainers import SortedList

from quorate.storage.mvcc.revision import (
    AGE_SHIFT,
    MAIN_MASK,
    SUB_SHIFT,
    VERSION_MASK,
    VERSION_SHIFT,
    main_of,
    make_tombstone,
    version_of,
)

FROM_KEY = b"\0"
"""As the end of a range: everything from its key on."""


class KeyIndex:
    """Stamps of all keys. Ranges are [key, end); an empty end means the one key, FROM_KEY no end."""

    def __init__(self) -> None:
        self._records: dict[bytes, int | list[int]] = {}
        self._live: SortedList = SortedList()
        self._dead: SortedList = SortedList()

    def __len__(self) -> int:
        """Number of living keys."""
        return len(self._live)

    def latest(self, key: bytes) -> int:
        """Newest stamp of a living key, else 0."""
        record = self._records.get(key, 0)
        if record.__class__ is int:
            return record
        stamp: int = record[-1]  # type: ignore[index]
        return stamp if stamp >> VERSION_SHIFT & VERSION_MASK else 0

    def at(self, key: bytes, revision: int) -> int:
        """Stamp of the key as it was at `revision`; 0 if it was not there."""
        stamp = self.last_change(key, revision)
        return stamp if version_of(stamp) else 0

    def last_change(self, key: bytes, revision: int) -> int:
        """Stamp of the key's newest change at or before `revision`, be it a tombstone; 0 if none is known."""
        record = self._records.get(key, 0)
        if isinstance(record, int):
            return record if record & MAIN_MASK <= revision else 0
        place = bisect_right(record, revision, key=main_of)
        return record[place - 1] if place else 0

    def knows(self, key: bytes, main: int, sub: int) -> bool:
        """True unless this revision of the key is unknown or was compacted away."""
        record = self._records.get(key, 0)
        if isinstance(record, int):
            return record & MAIN_MASK == main and record >> SUB_SHIFT == sub
        place = bisect_right(record, main, key=main_of)
        while place and record[place - 1] & MAIN_MASK == main:
            place -= 1
            if record[place] >> SUB_SHIFT == sub:
                return True
        return False

    def put(self, key: bytes, main: int, sub: int) -> tuple[int, int]:
        """Add a put; its (create_revision, version)."""
        records = self._records
        record = records.get(key, 0)
        last: int = record if record.__class__ is int else record[-1]  # type: ignore[index]
        version = (last >> VERSION_SHIFT & VERSION_MASK) + 1
        if version > 1:
            age = main - (last & MAIN_MASK) + (last >> AGE_SHIFT & MAIN_MASK)
            stamp = main | version << VERSION_SHIFT | age << AGE_SHIFT | sub << SUB_SHIFT
        else:
            age = 0
            stamp = main | 1 << VERSION_SHIFT | sub << SUB_SHIFT
            if record:
                self._dead.remove(key)
            self._live.add(key)
        if not record:
            records[key] = stamp
        elif record.__class__ is int:
            records[key] = [last, stamp]
        else:
            record.append(stamp)  # type: ignore[union-attr]
        return main - age, version

    def delete(self, key: bytes, main: int, sub: int) -> None:
        """Add a tombstone to a living key."""
        record = self._records[key]
        if isinstance(record, int):
            self._records[key] = [record, make_tombstone(main, sub)]
        else:
            assert version_of(record[-1]), "tombstone for a key that is not alive"
            record.append(make_tombstone(main, sub))
        self._live.remove(key)
        self._dead.add(key)

    def live_keys(self, key: bytes, end: bytes, limit: int = 0) -> list[bytes]:
        """Living keys of a range in order, at most `limit` of them if it is positive."""
        if not end:
            return [key] if self.latest(key) else []
        found = self._in_range(self._live, key, end)
        return list(islice(found, limit) if limit > 0 else found)

    def live_stamps(self, keys: list[bytes]) -> list[int]:
        """Newest stamp of each of `keys`, all alive."""
        records = [self._records[key] for key in keys]
        return [record if record.__class__ is int else record[-1] for record in records]  # type: ignore[index]

    def live_count(self, key: bytes, end: bytes) -> int:
        """Number of living keys of a range, found without visiting them."""
        if not end:
            return 1 if self.latest(key) else 0
        live = self._live
        stop: int = len(live) if end == FROM_KEY else live.bisect_left(end)
        start: int = live.bisect_left(key)
        return max(stop - start, 0)

    def keys_at(self, key: bytes, end: bytes, revision: int) -> Iterator[tuple[bytes, int]]:
        """Keys of a range as it was at `revision`, each with its stamp, in order."""
        keys: Iterable[bytes] = [key]
        if end:
            keys = self._in_range(self._live, key, end)
            dead = list(self._in_range(self._dead, key, end))
            keys = merge(keys, dead) if dead else keys
        for key in keys:
            stamp = self.at(key, revision)
            if stamp:
                yield key, stamp

    def load(self, changes: Iterable[tuple[bytes, int]]) -> None:
        """Fill an empty index with (key, stamp) in order of revision."""
        records = self._records
        assert not records, "only an empty index can be loaded"
        for key, stamp in changes:
            record = records.get(key)
            if record is None:
                # A tombstone may come first: compaction has removed the puts before it and spared it.
                records[key] = stamp if stamp >> VERSION_SHIFT & VERSION_MASK else [stamp]
            elif record.__class__ is int:
                records[key] = [record, stamp]
            else:
                record.append(stamp)  # type: ignore[union-attr]
        dead = [k for k, r in records.items() if r.__class__ is list and not version_of(r[-1])]
        gone = set(dead)
        self._dead = SortedList(dead)
        self._live = SortedList(k for k in records if k not in gone) if gone else SortedList(records)

    def after(self, key: bytes, limit: int) -> list[bytes]:
        """Up to `limit` keys greater than `key`, dead ones included: for jobs that visit all keys in bites."""
        live = islice(self._live.irange(key, inclusive=(False, False)), limit)
        dead = islice(self._dead.irange(key, inclusive=(False, False)), limit)
        return list(islice(merge(live, dead), limit))

    def compact(self, key: bytes, revision: int) -> bool:
        """Forget what of a key is superseded at `revision`. True if something at or before it remains.

        What remains is the newest change at or before `revision`, unless that is an older tombstone: one at exactly
        `revision` stays, for a watch may begin there.
        """
        record = self._records[key]
        if isinstance(record, int):
            return record & MAIN_MASK <= revision
        place = bisect_right(record, revision, key=main_of)
        if not place:
            return False
        newest = record[place - 1]
        remains = bool(version_of(newest)) or newest & MAIN_MASK == revision
        del record[: place - 1 if remains else place]
        if not record:
            del self._records[key]
            self._dead.remove(key)
        elif len(record) == 1 and version_of(record[0]):
            self._records[key] = record[0]
        return remains

    @staticmethod
    def _in_range(keys: SortedList, key: bytes, end: bytes) -> Iterator[bytes]:
        if end == FROM_KEY:
            return iter(keys.irange(key))
        if end <= key:
            return iter(())
        return iter(keys.irange(key, end, inclusive=(True, False)))
