"""When this member has known no leader for too long: long-lived calls that asked for one are ended.

A client that opens a stream with `hasleader` would rather go elsewhere than hang on a member that is cut off from the
others. A stream is dear to open anew, so it is ended only when several looks in a row, an election timeout apart, have
found no leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quorate.pkg.jsonlog import get_log

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

MAX_MISSES = 3
"""Looks in a row without a leader."""


class LeaderWatch:
    """Knows who wants to be told that there is no leader."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._interval = server.config.election_timeout
        self._look_at = asyncio.get_running_loop().time() + self._interval
        self._misses = 0
        self._guards: dict[object, Callable[[], None]] = {}

    def __len__(self) -> int:
        """Calls that are guarded now."""
        return len(self._guards)

    @contextmanager
    def guard(self, end: Callable[[], None]) -> Iterator[None]:
        """Inside, `end` is called once if this member is without a leader for too long; it must not raise."""
        key = object()
        self._guards[key] = end
        try:
            yield
        finally:
            self._guards.pop(key, None)

    def tick(self, now: float) -> None:
        """Look for a leader when it is time to."""
        if now < self._look_at:
            return
        self._look_at = now + self._interval
        self._misses = 0 if self._server.leader_id else self._misses + 1
        if self._misses >= MAX_MISSES and self._guards:
            log.warn("no leader: ending the streams that require one", streams=len(self._guards))
            guards, self._guards = self._guards, {}
            for end in guards.values():
                end()
