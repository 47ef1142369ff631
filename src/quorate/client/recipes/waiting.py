"""Waiting for the store: until something happens, the time is over, or the session that waits is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from quorate.client.client import Client
from quorate.client.errors import Compacted, DeadlineExceeded
from quorate.client.results import Event
from quorate.client.session import Session

T = TypeVar("T")


class Deadline:
    """So many seconds from now on; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds, 0 when it has passed."""
        return None if self._at is None else max(self._at - time.monotonic(), 0.0)


async def in_time(work: Coroutine[Any, Any, T], deadline: Deadline, session: Session | None = None) -> T:
    """What `work` returns. It is cancelled when the time is over, or the session lost.

    Raises DeadlineExceeded, SessionLost, and what `work` raises.
    """
    tasks: list[asyncio.Task[Any]] = [asyncio.ensure_future(work)]
    if session is not None:
        tasks.append(asyncio.ensure_future(session.lost.wait()))
    try:
        await asyncio.wait(tasks, timeout=deadline.left(), return_when=asyncio.FIRST_COMPLETED)
        if session is not None:
            session.check()
        if not tasks[0].done():
            raise DeadlineExceeded()
        result: T = tasks[0].result()
        return result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # whoever asks no more has been told of something else


async def deletion(client: Client, key: bytes, revision: int) -> None:
    """Return when `key`, which was there at `revision`, may have been deleted: look again."""
    with suppress(Compacted):
        async with client.watch(key, start_revision=revision + 1, without=("put",)) as watch:
            await watch.next()


async def put_under(client: Client, prefix: bytes, revision: int) -> Event | None:
    """The first put after `revision` of a key that begins with `prefix`; None when it can be known no more."""
    with suppress(Compacted):
        async with client.watch(prefix, prefix=True, start_revision=revision + 1, without=("delete",)) as watch:
            return await watch.next()
    return None
