"""Signs of life: pings we send into silence, and patience with the pings of others.

Source: gRPC proposal A8 (client side) and A9 (server side); grpc-go's strike rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.transport.grpc.limits import IDLE_PING_INTERVAL, MAX_PING_STRIKES

PING = b"quorate\0"


class Heartbeat:
    """Pings after `time` seconds of silence and calls `dead` when `timeout` seconds more bring nothing.

    `heard` tells when the last byte came; `wanted` whether a ping is in place now.
    """

    def __init__(
        self,
        *,
        time: float,
        timeout: float,
        heard: Callable[[], float],
        wanted: Callable[[], bool],
        ping: Callable[[], None],
        dead: Callable[[], None],
    ) -> None:
        self._time = time
        self._timeout = timeout
        self._heard = heard
        self._wanted = wanted
        self._ping = ping
        self._dead = dead
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        if time > 0:
            self._timer = self._loop.call_later(time, self._look)

    def stop(self) -> None:
        """No more pings."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        silent = self._loop.time() - self._heard()
        if silent < self._time:
            self._timer = self._loop.call_later(self._time - silent, self._look)
        elif not self._wanted():
            self._timer = self._loop.call_later(self._time, self._look)
        else:
            self._ping()
            self._timer = self._loop.call_later(self._timeout, self._judge, self._loop.time())

    def _judge(self, pinged: float) -> None:
        if self._heard() < pinged:
            self._dead()
        else:
            self._look()


class PingPolice:
    """Counts pings that come too early. A reply of ours in between clears the count: pings near work are welcome. So
    they are while a large reply waits for the caller's windows, for callers measure their bandwidth with them."""

    __slots__ = ("_idle_allowed", "_last", "_min_interval", "_released", "_strikes", "forgiven")

    def __init__(self, min_interval: float, idle_allowed: bool) -> None:
        self._min_interval = min_interval
        self._idle_allowed = idle_allowed
        self._last = float("-inf")
        self._strikes = 0
        self._released = 0
        self.forgiven = False

    def too_many(self, now: float, calls: int, released: int) -> bool:
        """A ping came at `now` with so many calls open, and so many bytes sent that have waited. True when it was one
        too many."""
        interval = self._min_interval if calls or self._idle_allowed else IDLE_PING_INTERVAL
        early = self._last + interval > now
        self._last = now
        if self.forgiven or released != self._released:
            self._released = released
            self.forgiven = False
            self._strikes = 0
            return False
        self._strikes += early
        return self._strikes > MAX_PING_STRIKES
