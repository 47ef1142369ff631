"""How long entries take to be applied, by what they ask for and how that ended."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.pkg.histogram import Histogram, doubling

BOUNDS = doubling(0.0001, 20)
"""Seconds: from 0.1 ms to 52 s."""


class ApplyTimes:
    """One histogram of seconds for each kind of request and each outcome, once there was one."""

    def __init__(self) -> None:
        self.succeeded = Histograms()
        self.failed = Histograms()

    def all(self) -> Iterator[tuple[str, bool, Histogram]]:
        """Kind, whether it succeeded, and its times."""
        for succeeded, histograms in ((True, self.succeeded), (False, self.failed)):
            for kind, seconds in histograms.items():
                yield kind, succeeded, seconds


class Histograms(dict[str, Histogram]):
    """By kind; made when first asked for."""

    def __missing__(self, kind: str) -> Histogram:
        made = self[kind] = Histogram(BOUNDS)
        return made
