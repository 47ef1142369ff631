"""Counts by upper bound."""

from __future__ import annotations

from math import inf

from quorate.pkg.histogram import Histogram, doubling


def test_values_are_counted_under_every_bound_that_is_not_below_them() -> None:
    seen = Histogram(doubling(0.1, 3))
    for value in (0.05, 0.1, 0.3, 9.0):
        seen.observe(value)
    assert seen.buckets() == [(0.1, 2), (0.2, 2), (0.4, 3), (inf, 4)]
    assert (seen.count, seen.sum) == (4, 9.45)


def test_values_below_the_lowest_bound_may_be_counted_by_hand() -> None:
    seen = Histogram(doubling(0.1, 2))
    seen.observe(0.15)
    seen.low += 2
    seen.sum += 0.05
    assert seen.buckets() == [(seen.first, 2), (0.2, 3), (inf, 3)]
    assert seen.count == 3 and abs(seen.sum - 0.2) < 1e-9
