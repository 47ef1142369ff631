"""Keep the processors from sleeping while clients call one after another.

A member that serves one client at a time sleeps twice a request, for the socket and for the disk, and on a virtual
machine waking up costs more than the request (ADR 3). Linux lets a process forbid that for as long as it keeps a file
open (Documentation/power/pm_qos_interface). It holds for the whole machine, and an idle processor that may not sleep
takes as much power as a busy one: so the file is open only while calls come quickly and leave time idle, and not at all
where many processors would be kept awake for one client.

    calls of the last tenth of a second ──► many, and the process idle in between ──► hold ──► fewer, or busy ──► let go
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from quorate.pkg import jsonlog

log = jsonlog.get_log("quorate.cmd.wakefulness")

DEVICE = Path("/dev/cpu_dma_latency")
NO_LATENCY = bytes(4)
"""Microseconds that waking up may take, as a 32-bit integer."""
MOST_PROCESSORS = 8
LOOK_SECONDS = 0.1
MANY = 20
"""Calls or changes between two looks, of which it pays to answer each one sooner."""
BUSY = 0.85
"""Of one processor's time: who uses more hardly ever sleeps."""


class Wakefulness:
    """`work()` tells how many calls and changes there have been so far. Belongs to the running loop."""

    def __init__(self, work: Callable[[], int], device: Path = DEVICE) -> None:
        self._work = work
        self._device = device
        self._loop = asyncio.get_running_loop()
        self._seen = (work(), self._loop.time(), time.process_time())
        self._held: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        if (os.cpu_count() or 1) <= MOST_PROCESSORS and os.access(device, os.W_OK):
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    @property
    def held(self) -> bool:
        """Whether processors are kept awake now."""
        return self._held is not None

    def close(self) -> None:
        """Let the processors sleep, for good."""
        if self._timer is not None:
            self._timer.cancel()
        self._let_go()

    def _look(self) -> None:
        seen = (self._work(), self._loop.time(), time.process_time())
        done, seconds, used = (now - before for now, before in zip(seen, self._seen, strict=True))
        self._seen = seen
        try:
            if done >= MANY and used < BUSY * seconds:
                self._hold()
            else:
                self._let_go()
        except OSError as err:
            log.warn("the processors cannot be kept awake", device=str(self._device), error=str(err))
            self.close()
            return
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _hold(self) -> None:
        if self._held is None:
            self._held = os.open(self._device, os.O_WRONLY | os.O_CLOEXEC)
            os.write(self._held, NO_LATENCY)

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None
