"""The clocks of simulated machines, and the functions of `time` that read them.

Code under simulation asks `loop.time()` and also `time.time()`, `time.monotonic()` and `time.perf_counter()`. While a
simulation runs these answer with the clock of the member whose code asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EPOCH = 1_767_225_600.0
"""Unix time at which every simulation begins: a fixed day, so that nothing depends on the real one."""

UPTIME = 1000.0
"""Seconds a machine's monotonic clock shows at the begin. Not 0: nobody may take 0 for a time long ago."""


class MachineClock:
    """The clocks of one machine: a monotonic one that may run fast, slow or leap, a wall clock that may be set.

    Times are in seconds; `now` is the one true time of the simulation. Restarts of the member keep the clocks.
    """

    def __init__(self) -> None:
        self.wall_offset = 0.0
        """Seconds by which the wall clock differs from the monotonic one; may change at any time, either way."""
        self._rate = 1.0
        self._true = 0.0
        self._shown = UPTIME

    def shown(self, now: float) -> float:
        """What the monotonic clock shows at `now`."""
        return self._shown + (now - self._true) * self._rate

    def true(self, shown: float) -> float:
        """When the monotonic clock shows `shown`, if nothing happens to it."""
        return self._true + (shown - self._shown) / self._rate

    def wall(self, now: float) -> float:
        """Unix time on this machine."""
        return EPOCH + self.shown(now) - UPTIME + self.wall_offset

    def set_rate(self, now: float, rate: float) -> None:
        """Run `rate` times as fast as true time from now on."""
        assert rate > 0, "clocks go forward"
        self._shown, self._true, self._rate = self.shown(now), now, rate

    def leap(self, now: float, seconds: float) -> None:
        """Show `seconds` more at once, as after the sleep of a virtual machine."""
        assert seconds >= 0, "a monotonic clock does not go back"
        self._shown, self._true = self.shown(now) + seconds, now


@contextmanager
def simulated_time(monotonic: Callable[[], float], wall: Callable[[], float]) -> Iterator[None]:
    """The functions of the `time` module answer by these. A sleep takes no time: what blocks for real says so to its
    loop (`MemberLoop.block`)."""
    real_gmtime = time.gmtime

    def gmtime(seconds: float | None = None, /) -> time.struct_time:
        return real_gmtime(wall() if seconds is None else seconds)

    stand_ins: dict[str, Callable[..., object]] = {
        "time": wall,
        "monotonic": monotonic,
        "perf_counter": monotonic,
        "gmtime": gmtime,
        "sleep": lambda seconds: None,
    }
    kept = {name: getattr(time, name) for name in stand_ins}
    for name, stand_in in stand_ins.items():
        setattr(time, name, stand_in)
    try:
        yield
    finally:
        for name, real in kept.items():
            setattr(time, name, real)
