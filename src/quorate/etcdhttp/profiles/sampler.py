"""A thread that looks, a hundred times a second, where all others are, and what processor time each had since.

A thread that waits has none, so it does not show; one that works in C code that keeps the interpreter lock shows with
all of its time at the next line of Python. The kernel counts the time, and so waiting for the lock is no work either.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from quorate.etcdhttp.profiles.format import Profile
from quorate.etcdhttp.profiles.stacks import thread_stacks

INTERVAL = 0.01
"""Seconds between two looks."""
KINDS = (("samples", "count"), ("cpu", "nanoseconds"))

_TASKS = Path("/proc/self/task")


class Sampler:
    """Takes one profile, from its start until it is stopped."""

    def __init__(self) -> None:
        self.profile = Profile(KINDS, time.time(), int(INTERVAL * 1e9))
        self._seen: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quorate-profile", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what was seen is in `profile`."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        self._look(count=False)
        while not self._stop.wait(INTERVAL):
            self._look()
        self.profile.seconds = time.monotonic() - began

    def _look(self, count: bool = True) -> None:
        for thread, stack in thread_stacks():
            if thread is self._thread or thread.native_id is None:
                continue
            now = processor_time(thread.native_id)
            took = now - self._seen.get(thread.native_id, 0)
            self._seen[thread.native_id] = now
            if count and took > 0:
                self.profile.add(thread.name, stack, (1, took))


def processor_time(native_id: int) -> int:
    """Nanoseconds that a thread of this process has run; 0 for one that has ended, or where that is not told."""
    try:
        return int((_TASKS / str(native_id) / "schedstat").read_bytes().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
