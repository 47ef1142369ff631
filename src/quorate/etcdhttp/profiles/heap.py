"""What is allocated and stays: the account that `tracemalloc` keeps, which is off unless somebody looks.

While it is kept every allocation costs twice as much, so it is kept for a while only. A process that was started with
PYTHONTRACEMALLOC=16 keeps it always; then all there is shows, at once.
"""

from __future__ import annotations

import asyncio
import time
import tracemalloc

from quorate.etcdhttp.profiles.format import Profile
from quorate.etcdhttp.profiles.stacks import Place

FRAMES = 16
"""Frames of an allocation that are kept."""
KINDS = (("inuse_objects", "count"), ("inuse_space", "bytes"))


async def heap_profile(seconds: float) -> Profile:
    """What was allocated in so many seconds from now and is still there; all of it where the account is always kept."""
    profile = Profile(KINDS, time.time())
    began = time.monotonic()
    if tracemalloc.is_tracing():
        _fill(profile)
    else:
        tracemalloc.start(FRAMES)
        try:
            await asyncio.sleep(seconds)
            _fill(profile)
        finally:
            tracemalloc.stop()
    profile.seconds = time.monotonic() - began
    return profile


def _fill(profile: Profile) -> None:
    for allocated in tracemalloc.take_snapshot().statistics("traceback"):
        stack = tuple(
            Place(f"line {frame.lineno}", frame.filename, frame.lineno) for frame in reversed(allocated.traceback)
        )
        profile.add("heap", stack, (allocated.count, allocated.size))
