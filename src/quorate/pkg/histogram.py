"""How often values were how large: counts by upper bound, as Prometheus wants them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """`bounds` are the greatest values of each bucket, ascending; there is one more for what is above all."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, int]]:
        """Upper bounds, the last one `+Inf`, and how many values were not above each."""
        names = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


def doubling(first: float, count: int) -> list[float]:
    """`count` bounds, each twice the one before."""
    return [first * 2**power for power in range(count)]
