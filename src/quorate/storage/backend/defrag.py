"""A defragmentation: rows go into a second file, bucket by bucket in key order, while others are written.

    file in use:  ██████████ copied ██████████|──────── not yet ────────
                   a row changed here is noted ^   here it is copied as it will be then
                   and brought in later        position

So nothing is held still: no reader keeps freed pages from being used, and what waits in memory are the keys changed in
one or two batches. Rows land in full pages. LMDB itself joins two pages only when one is three quarters empty, and
moves single rows to it before it does, so that a file can be mostly air between the rows that a compaction left.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import lmdb

from quorate.storage.backend.file import DefragmentError, Opened
from quorate.storage.backend.twin import Twin
from quorate.storage.backend.writer import Changes

BITE_ROWS = 500
BITE_BYTES = 1 << 18
"""Rows, and bytes of them, copied between two yields: about half a millisecond of work."""

ROWS_PER_SECOND = 200_000
BYTES_PER_SECOND = 100 << 20
"""Bites are larger when they come seldom: a member applies a tenth of this at most, and must not get away."""

LONGEST_PAUSE = 0.05
"""Seconds between two bites that count for that; more would make the next bite be felt."""

SYNC_BYTES = 16 << 20
"""Copied between two syncs. The log's own syncs would have to wait for more."""


class Defragmentation:
    """One run; everything here belongs to the logic thread. `now` tells seconds."""

    def __init__(self, twin: Twin, opened: Opened, txn: lmdb.Transaction[bytes], now: Callable[[], float]) -> None:
        self.twin = twin
        self._given_up = ""
        self._opened = opened
        self._txn = txn
        self._now = now
        self._last = now()
        self._bucket = 0
        self._key = b""
        """All rows of the buckets before, and of this one up to this key, have been copied."""
        self._noted: list[dict[bytes, None]] = [{} for _ in opened.handles]

    def note(self, changes: dict[int, Changes], txn: lmdb.Transaction[bytes]) -> None:
        """These rows have been written to the file; `txn` reads what it holds now."""
        self._txn = txn
        for bucket, rows in changes.items():
            if bucket < self._bucket:
                self._noted[bucket].update(dict.fromkeys(rows))
            elif bucket == self._bucket:
                self._noted[bucket].update(dict.fromkeys(key for key in rows if key <= self._key))

    @property
    def behind(self) -> int:
        """Keys that wait to be brought in."""
        return sum(map(len, self._noted))

    def run(self) -> Generator[None, None, None]:
        """Copy everything, and catch up but for a bite. Raises DefragmentError when it was given up."""
        unsynced = 0
        while self._bucket < len(self._noted):
            unsynced += self._bite()
            yield
            self.check()
            if unsynced >= SYNC_BYTES:
                unsynced = 0
                yield from self._synced()
        yield from self._synced()
        while self._bite() or self.behind > BITE_ROWS:
            yield
            self.check()

    def _synced(self) -> Generator[None, None, None]:
        for _ in self.twin.sync():
            yield
            self.check()
        self.check()

    def rest(self) -> dict[int, Changes]:
        """All that waits, not noted any longer."""
        rest: dict[int, Changes] = {}
        self._take(rest, self.behind, 1 << 62)
        return rest

    def give_up(self, why: str) -> None:
        """End it: the next bite raises, and nothing is left of the second file."""
        self._given_up = why
        self.twin.give_up()

    def check(self) -> None:
        """Raises DefragmentError when it was given up."""
        if self._given_up:
            raise DefragmentError(self._given_up)

    def _bite(self) -> int:
        """Bring in what was noted, then copy from the position on; how many bytes were copied."""
        now = self._now()
        pause, self._last = min(now - self._last, LONGEST_PAUSE), now
        rows = max(BITE_ROWS, int(pause * ROWS_PER_SECOND))
        size = max(BITE_BYTES, int(pause * BYTES_PER_SECOND))
        if self.behind:
            bite: dict[int, Changes] = {}
            self._take(bite, rows, size)
            self.twin.place(bite)
        if self.behind or self._bucket == len(self._noted):
            return 0
        return self._copy(rows, size)

    def _take(self, bite: dict[int, Changes], most: int, most_bytes: int) -> None:
        """Move keys that wait into `bite`, with their values of now."""
        count = size = 0
        for bucket, keys in enumerate(self._noted):
            while keys and count < most and size < most_bytes:
                key, _ = keys.popitem()
                value = self._txn.get(key, None, self._opened.handles[bucket])
                bite.setdefault(bucket, {})[key] = value
                count += 1
                size += len(key) + len(value or b"")

    def _copy(self, most: int, most_bytes: int) -> int:
        rows: list[tuple[bytes, bytes]] = []
        size = 0
        with self._txn.cursor(self._opened.handles[self._bucket]) as cursor:
            more = cursor.set_range(self._key)
            if more and cursor.key() == self._key:
                more = cursor.next()
            for row in cursor.iternext() if more else ():
                rows.append(row)
                size += len(row[0]) + len(row[1])
                if len(rows) >= most or size >= most_bytes:
                    break
        if rows:
            self.twin.append(self._bucket, rows)
            self._key = rows[-1][0]
        else:
            self._bucket += 1
            self._key = b""
        return size
