"""Do a leader's heartbeats leave in time? When they do not, the others will soon elect somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.pkg.jsonlog import get_log

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

TOLERATED_INTERVALS = 2


class Heartbeats:
    """Looks at every tick how long ago the one before was: each tick of a leader is a heartbeat to every other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._interval = server.config.heartbeat_interval
        self._last: float | None = None
        """When this leader last ticked; None while it does not lead."""
        self.late = 0
        """Heartbeats that left much too late, one for each member they were for."""

    def tick(self, now: float) -> None:
        """One tick, at `now`."""
        server = self._server
        if not server.is_leader:
            self._last = None
            return
        last, self._last = self._last, now
        tolerated = TOLERATED_INTERVALS * self._interval
        others = len(server.transport.peers())
        if last is None or not others or now - last <= tolerated:
            return
        self.late += others
        log.warn(
            "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk",
            heartbeat_interval=f"{self._interval:g}s",
            expected_duration=f"{tolerated:g}s",
            exceeded_duration=f"{now - last - tolerated:.6f}s",
        )
