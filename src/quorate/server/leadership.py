"""Who leads, since when, and who wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.api import errors


class Leadership:
    """What one member knows of the leader. Times are those of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.leader_id = 0
        self.changes = 0
        self.elected_at = 0.0
        """When the present or last leader was first heard of."""
        self.lost_at = 0.0
        """When a leader was last lost."""
        self.on_change: list[Callable[[], None]] = []
        """Called when another member leads than before, or none does."""
        self._known: asyncio.Future[None] = loop.create_future()

    def led_by(self, leader_id: int) -> None:
        """Raft says who leads; 0 for nobody."""
        if leader_id == self.leader_id:
            return
        now = self._loop.time()
        if self.leader_id:
            self.lost_at = now
        self.leader_id = leader_id
        if leader_id:
            self.changes += 1
            self.elected_at = now
            if not self._known.done():
                self._known.set_result(None)
        elif self._known.done():
            self._known = self._loop.create_future()
        for tell in list(self.on_change):
            tell()

    def known(self) -> asyncio.Future[None]:
        """Done when there is a leader. May be cancelled. Fails with Stopped."""
        return asyncio.shield(self._known)

    def stop(self) -> None:
        """Nobody waits for a leader any more."""
        if not self._known.done():
            self._known.set_exception(errors.Stopped())
            self._known.exception()  # nobody may be waiting
