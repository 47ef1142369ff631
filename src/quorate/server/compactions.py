"""How long compactions take, and their bites: while one is taken everybody else waits."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing

from quorate.pkg.histogram import Histogram, doubling
from quorate.storage.mvcc import Store


class Compactions:
    """Times the jobs of one store. All durations are in milliseconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.index_bites = Histogram([0.5, *doubling(1, 13)])
        self.row_bites = Histogram(doubling(1, 13))
        self.totals = Histogram(doubling(100, 14))
        """From the first bite of each to its last, the pauses between them included."""
        self.finished_at = 0.0
        """When the last one ended, in Unix seconds; 0 before the first."""

    def timed(self, job: Generator[None, None, None]) -> Generator[None, None, None]:
        """The same job, its bites timed."""
        began = time.monotonic()
        with closing(job):
            while self._bite(job):
                yield
        self.totals.observe((time.monotonic() - began) * 1000)
        self.finished_at = time.time()

    def _bite(self, job: Generator[None, None, None]) -> bool:
        """Take one; False when it was the last."""
        bites = self.row_bites if self._store.jobs.removing else self.index_bites
        began = time.monotonic()
        more = next(job, job) is None
        bites.observe((time.monotonic() - began) * 1000)
        return more
