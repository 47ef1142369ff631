"""How often values were how large: counts by upper bound, as Prometheus wants them.

One thread observes; another may read meanwhile, and sees each observation whole or half, never a broken one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import inf


class Histogram:
    """`bounds` are the greatest values of each bucket, ascending; there is one more for what is above all."""

    __slots__ = ("_bounds", "_counts", "first", "low", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.first = self._bounds[0]
        """The lowest bound."""
        self.low = 0
        """Values that were not above it and did not come by `observe`: who has many adds one here, and the value to
        `sum`."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return self.low + sum(self._counts)

    def buckets(self) -> list[tuple[float, int]]:
        """Upper bounds, the last one infinite, and how many values were not above each."""
        below = accumulate(self._counts, initial=self.low)
        next(below)
        return list(zip((*self._bounds, inf), below, strict=True))


SYNC_SECONDS = tuple(0.001 * 2**power for power in range(14))
"""Bounds from 1 ms to 8 s: for whatever waits for a disk."""


def doubling(first: float, count: int) -> list[float]:
    """`count` bounds, each twice the one before."""
    return [first * 2**power for power in range(count)]
