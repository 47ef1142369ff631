"""Long jobs of the store in bites, so that requests never wait for one.

A job is a generator: deleting what a compaction left unreadable, hashing a database. It takes one bite, then everything
else has a turn. Jobs run one after the other, in the order in which they came. An EtcdError is a result; what else a
job raises stops the member.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from quorate.api.errors import EtcdError

BITE_PAUSE = 0.01
SHORT_PAUSE = 0.001
"""Seconds between two bites: of a job that nobody waits for, and of one whose result is wanted."""

Job = Generator[None, None, Any]


class JobDropped(Exception):
    """The rows that the job worked on have been replaced; whoever wants its result asks again."""


class Jobs:
    """Runs long jobs of the store one after the other: deleting, hashing."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, fail: Callable[[BaseException], None], pause: float = BITE_PAUSE
    ) -> None:
        """`pause` is in seconds, between two bites of a job that nobody waits for."""
        self._loop = loop
        self._fail = fail
        self._pause = pause
        self._jobs: deque[tuple[Job, asyncio.Future[Any], float]] = deque()
        self._stopped = False
        self._next_bite: asyncio.Handle | None = None

    def submit(self, job: Job, pause: float | None = None) -> asyncio.Future[Any]:
        """Start `job` behind those that run; the future gets what it returns with its last bite, and cancelling it
        gives the job up. `pause` is in seconds, for a job whose result is wanted."""
        done: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.append((job, done, self._pause if pause is None else pause))
        if len(self._jobs) == 1:
            self._next_bite = self._loop.call_soon(self._bite)
        return done

    def idle(self) -> asyncio.Future[None]:
        """Done when everything submitted so far has ended, in whatever way."""
        idle: asyncio.Future[None] = self._loop.create_future()
        if self._jobs:
            self._jobs[-1][1].add_done_callback(lambda _: None if idle.done() else idle.set_result(None))
        else:
            idle.set_result(None)
        return idle

    def drop(self) -> None:
        """Give up everything that is under way: its rows are about to be replaced."""
        jobs, self._jobs = self._jobs, deque()
        if self._next_bite is not None:
            self._next_bite.cancel()
        for job, done, _ in jobs:
            job.close()
            if not done.done():
                done.set_exception(JobDropped())
                done.exception()  # nobody may be waiting

    def stop(self) -> None:
        """Take no more bites; what is left is resumed at the next start."""
        self._stopped = True
        for _, done, _ in self._jobs:
            done.cancel()
        self._jobs.clear()

    def _bite(self) -> None:
        if self._stopped:
            return
        job, done, pause = self._jobs[0]
        if done.cancelled():
            job.close()
            self._jobs.popleft()
            self._next()
            return
        try:
            next(job)
        except StopIteration as end:
            self._jobs.popleft()
            if not done.done():
                done.set_result(end.value)
            self._next()
        except EtcdError as err:
            self._jobs.popleft()
            if not done.done():
                done.set_exception(err)
            self._next()
        except Exception as err:
            self._fail(err)
        else:
            self._next_bite = self._loop.call_later(pause, self._bite)

    def _next(self) -> None:
        if self._jobs:
            self._next_bite = self._loop.call_soon(self._bite)
