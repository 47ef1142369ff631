"""Compaction that nobody asked for, by age or by number of revisions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from quorate.pkg.jsonlog import get_log

log = get_log(__name__)

REVISION_MODE_INTERVAL = 300.0
"""Seconds between two looks in revision mode."""
MAX_PERIOD = 3600.0
"""Periodic mode looks at least this often, in seconds."""
SAMPLES_PER_PERIOD = 10


class AutoCompactor:
    """Proposes compactions by age (`periodic`) or by number of revisions (`revision`).

    `retention` is in seconds or revisions. `compact(revision)` proposes one; `leading()` tells whether this member
    should.
    """

    def __init__(
        self,
        mode: str,
        retention: float,
        revision: Callable[[], int],
        compact: Callable[[int], Awaitable[object]],
        leading: Callable[[], bool],
    ) -> None:
        self._retention = retention
        self._revision = revision
        self._compact = compact
        self._leading = leading
        self._last = 0
        self._run = self._by_revision if mode == "revision" else self._by_age

    async def run(self) -> None:
        """Compact for ever; to be cancelled."""
        await self._run()

    async def _by_revision(self) -> None:
        while True:
            await asyncio.sleep(REVISION_MODE_INTERVAL)
            await self._try(self._revision() - int(self._retention))

    async def _by_age(self) -> None:
        """Sample the revision ten times a period; compact once a period to the sample that is `retention` old."""
        period = min(self._retention, MAX_PERIOD)
        interval = period / SAMPLES_PER_PERIOD
        kept = int(self._retention / interval) + 1
        samples: deque[int] = deque(maxlen=kept)
        next_at = len(samples) + kept
        ticks = 0
        while True:
            samples.append(self._revision())
            ticks += 1
            if ticks >= next_at and len(samples) == kept and await self._try(samples[0]):
                next_at = ticks + SAMPLES_PER_PERIOD
            await asyncio.sleep(interval)

    async def _try(self, revision: int) -> bool:
        """Propose a compaction where one makes sense; False when it failed and is to be tried again soon."""
        if not self._leading() or revision <= 0 or revision == self._last:
            return True
        try:
            await self._compact(revision)
        except Exception as err:
            log.warn("failed auto compaction", revision=revision, error=str(err))
            return False
        log.info("completed auto compaction", revision=revision)
        self._last = revision
        return True
