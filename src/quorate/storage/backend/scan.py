"""One bite of a scan: rows of the file, with the rows that only memory has laid over them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import islice

import lmdb

from quorate.storage.backend.writer import Changes

Row = tuple[bytes, bytes]


class Place:
    """Where a scan stands: the next row's key is > `key` (or >= `key`, before the first bite) and < `end`."""

    def __init__(self, start: bytes, end: bytes | None) -> None:
        self.key = start
        self.end = end
        self.started = False

    def go_on_behind(self, key: bytes) -> None:
        self.key = key
        self.started = True


def stored_bite(
    txn: lmdb.Transaction[bytes], handle: lmdb._Database, place: Place, rows: int
) -> tuple[list[Row], bool]:
    """Up to `rows` rows of the file from `place` on, and whether there may be more of them."""
    with txn.cursor(handle) as cursor:
        if not cursor.set_range(place.key):
            return [], False
        if place.started and cursor.key() == place.key and not cursor.next():
            return [], False
        bite = list(islice(cursor.iternext(), rows))
    more = len(bite) == rows
    if place.end is not None and bite and bite[-1][0] >= place.end:
        del bite[bisect_left(bite, (place.end,)) :]
        more = False
    return bite, more


class Overlay:
    """The keys that memory holds for a bucket, sorted once for as long as they stay the same."""

    def __init__(self) -> None:
        self._layers: tuple[Changes, ...] = ()
        self._newest = -1
        self._keys: list[bytes] = []

    def merge(self, layers: tuple[Changes, ...], stored: list[Row], more: bool, place: Place) -> list[Row]:
        """`stored` as it reads with `layers` over it: up to its last row when there is more, else up to the end."""
        keys = self._sorted(layers)
        first = (bisect_right if place.started else bisect_left)(keys, place.key)
        if more:
            last = bisect_right(keys, stored[-1][0])
        else:
            last = len(keys) if place.end is None else bisect_left(keys, place.end)
        if first >= last:
            return stored
        merged = dict(stored)
        for key in keys[first:last]:
            value = next(layer[key] for layer in layers if key in layer)
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
        return sorted(merged.items())

    def _sorted(self, layers: tuple[Changes, ...]) -> list[bytes]:
        # Only the newest layer grows, and a key once in a layer stays in it: its length tells whether it changed.
        if layers is not self._layers or len(layers[0]) != self._newest:
            self._keys = sorted(set().union(*layers))
            self._layers, self._newest = layers, len(layers[0])
        return self._keys
