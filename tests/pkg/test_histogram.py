"""Counts by upper bound."""

from __future__ import annotations

from quorate.pkg.histogram import Histogram, doubling


def test_values_are_counted_under_every_bound_that_is_not_below_them() -> None:
    seen = Histogram(doubling(0.1, 3))
    for value in (0.05, 0.1, 0.3, 9.0):
        seen.observe(value)
    assert seen.buckets() == [("0.1", 2), ("0.2", 2), ("0.4", 3), ("+Inf", 4)]
    assert seen.sum == 9.45
