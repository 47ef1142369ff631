"""Linearizable reads without the log (Raft thesis §6.4): one round of ReadIndex for all readers of a turn.

    barrier() ──► next round ──► raft confirms index ──► applied up to it ──► readers go on

A reader that comes while a round is under way waits for the next one: the running round may have been confirmed before
that reader's request began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.api import errors
from quorate.server.slow import SlowRequests

RETRY_INTERVAL = 0.5
"""Seconds after which an unanswered round is asked for again; the request or its answer may have been lost."""


class Reads:
    """The rounds of one member.

    `start_round(context)` asks raft for a read index, `poke` has `begin` called at the end of this loop turn.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout: float,
        next_id: Callable[[], int],
        start_round: Callable[[bytes], None],
        poke: Callable[[], None],
        slow: SlowRequests,
    ) -> None:
        self._loop = loop
        self._timeout = timeout
        self._next_id = next_id
        self._start_round = start_round
        self._poke = poke
        self._slow = slow
        self._waiting: asyncio.Future[None] | None = None
        self._running: asyncio.Future[None] | None = None
        self._context = b""
        self._asked_at = self._begun = 0.0
        self._confirmed: int | None = None
        self.failed = 0
        """Rounds that ended with an error, but for those at the end of the server."""

    def barrier(self) -> asyncio.Future[None]:
        """A future, shared by readers, that is done once local state is fresh enough. Fails with Timeout,
        LeaderChanged or Stopped. Do not cancel it."""
        if self._waiting is None:
            self._waiting = self._loop.create_future()
            self._poke()
        return self._waiting

    def begin(self) -> None:
        """Start a round for whoever waits, unless one is under way."""
        if self._waiting is None or self._running is not None:
            return
        self._running, self._waiting = self._waiting, None
        self._confirmed = None
        self._context = self._next_id().to_bytes(8, "big")
        self._asked_at = self._begun = self._loop.time()
        self._start_round(self._context)

    def confirmed(self, context: bytes, index: int, applied: int) -> None:
        """Raft confirmed a round; answers to rounds given up are ignored."""
        if self._running is not None and context == self._context:
            self._confirmed = index
            self.applied(applied)

    def applied(self, index: int) -> None:
        """State is now at `index`; let the readers of a confirmed round go on when that is enough."""
        if self._running is not None and self._confirmed is not None and index >= self._confirmed:
            self._finish(None)

    def tick(self, now: float) -> None:
        """Ask again for an unanswered round, give up one that took too long."""
        if self._running is None:
            return
        if now >= self._begun + self._timeout:
            self.failed += 1
            self._finish(errors.Timeout())
        elif self._confirmed is None and now - self._asked_at >= RETRY_INTERVAL:
            self._asked_at = now
            self._start_round(self._context)

    def leader_changed(self) -> None:
        """Another member leads: an unconfirmed round was asked of the one before."""
        if self._running is not None and self._confirmed is None:
            self.failed += 1
            self._finish(errors.LeaderChanged())

    def fail(self, error: Callable[[], errors.EtcdError]) -> None:
        """Fail the running round and everyone who waits for the next one."""
        if self._running is not None:
            self._finish(error())
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            _settle(waiting, error())

    def _finish(self, error: errors.EtcdError | None) -> None:
        assert self._running is not None
        running, self._running = self._running, None
        took = self._loop.time() - self._begun
        if took > self._slow.limit:
            self._slow.read_round(took)
        _settle(running, error)
        if self._waiting is not None:
            self._poke()


def _settle(future: asyncio.Future[None], error: errors.EtcdError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # readers may all be gone; that is no reason for a warning
