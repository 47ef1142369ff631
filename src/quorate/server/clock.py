"""The clock of a member: one tick every heartbeat interval."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Clock:
    """Calls `tick(now)`; after a pause it goes on from there, and does not make up for what it missed: a member that
    slept must not think that it has not heard of anyone for long. An error in a tick stops the member."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interval: float,
        tick: Callable[[float], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._tick = tick
        self._fail = fail
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Tick now, and go on."""
        self._due = self._loop.time()
        self._run()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _run(self) -> None:
        now = self._loop.time()
        try:
            self._tick(now)
        except Exception as err:
            self._fail(err)
            return
        self._due = max(self._due + self._interval, now)
        self._timer = self._loop.call_at(self._due, self._run)
