"""Lets watchers that lag behind catch up: soon after they appear, then as often as there is more to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.storage.mvcc import WatchableStore

VICTIM_RETRY_INTERVAL = 0.01
"""Seconds until events that a full stream refused are offered again."""


class WatchSync:
    """Drives the unsynced watchers of a store."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, store: WatchableStore, fail: Callable[[BaseException], None]
    ) -> None:
        self._loop = loop
        self._store = store
        self._fail = fail
        self._timer: asyncio.TimerHandle | None = None

    def poke(self) -> None:
        """Look for watchers that lag behind in the next turn."""
        if self._timer is None:
            self._timer = self._loop.call_later(0, self._sync)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _sync(self) -> None:
        # Streams that refuse events again poke; the timer that has just run answers for that.
        try:
            more = self._store.sync_watchers()
            behind = self._store.retry_victims()
        except Exception as err:
            self._fail(err)
            return
        self._timer = None
        if more or behind:
            self._timer = self._loop.call_later(0 if more else VICTIM_RETRY_INTERVAL, self._sync)
