"""Ranges of keys, merged: does what a user was granted, piece by piece, cover what he asks for?"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

OPEN_END = b"\0"
"""As the end of a range: every key from the first on."""

Range = tuple[bytes, bytes]
"""Key and range end as requests have them: an empty end stands for the one key, `OPEN_END` for no end."""


class Ranges:
    """A set of keys, kept as ranges that do not touch, in order."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[Range]) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes | None] = []
        """Exclusive; None is no end, and nothing comes behind it."""
        for start, end in sorted(_half_open(ranges), key=lambda found: found[0]):
            self._add(start, end)

    def covers(self, key: bytes, range_end: bytes) -> bool:
        """True when every key of the range is in here; of a range that ends before it begins, when its first is."""
        place = bisect_right(self._starts, key) - 1
        if place < 0:
            return False
        end = self._ends[place]
        if end is None:
            return True
        return key < end and range_end != OPEN_END and range_end <= end

    def _add(self, start: bytes, end: bytes | None) -> None:
        """The starts come in order."""
        if not self._starts or ((last := self._ends[-1]) is not None and last < start):
            self._starts.append(start)
            self._ends.append(end)
        elif last is not None and (end is None or end > last):
            self._ends[-1] = end


def _half_open(ranges: Iterable[Range]) -> Iterable[tuple[bytes, bytes | None]]:
    """Start and exclusive end of each that holds a key at all."""
    for key, range_end in ranges:
        if range_end == OPEN_END:
            yield key, None
        elif not range_end:
            yield key, key + b"\0"
        elif key < range_end:
            yield key, range_end


def is_grantable(key: bytes, range_end: bytes) -> bool:
    """True for a range that a permission may name: it has a key, and does not end before it begins (etcd 15294)."""
    return bool(key) and (not range_end or range_end == OPEN_END or key < range_end)
