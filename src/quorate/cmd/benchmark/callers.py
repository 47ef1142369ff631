"""Callers: generators that yield requests and are resumed with replies; how many of them make load, and how fast."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterator
from time import perf_counter, time

from quorate.cmd.benchmark.wire import Wire
from quorate.transport.grpc import Status

Until = Callable[[bytes], bool]
Request = tuple[str, bytes] | tuple[str, bytes, Until] | None
"""Path and message; with a condition, a call that is given up when a message fulfils it; None: wait for the rate."""

Script = Generator[Request, bytes, None]
"""Yields a request, receives its reply, or Status is raised in it."""


CATCH_UP_SECONDS = 0.05


class Tally:
    """What became of the requests of one kind."""

    def __init__(self, sample: bool) -> None:
        self.seconds = array("d")
        self.ends = array("d")
        """Unix times, if they are kept."""
        self.errors: dict[str, int] = {}
        self._sample = sample

    def add(self, began: float) -> None:
        """A request that began at `began`, by `perf_counter`, has succeeded."""
        self.seconds.append(perf_counter() - began)
        if self._sample:
            self.ends.append(time())

    def fail(self, status: Status) -> None:
        """A request has failed."""
        self.errors[status.message] = self.errors.get(status.message, 0) + 1

    @property
    def done(self) -> int:
        return len(self.seconds) + sum(self.errors.values())


class Limiter:
    """Lets `rate` callers a second go on, evenly; those too many wait in order."""

    def __init__(self, rate: float) -> None:
        self._gap = 1.0 / rate
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.time()
        self._waiting: deque[Caller] = deque()

    def pass_or_wait(self, caller: Caller) -> None:
        """Resume the caller, now or when its turn comes."""
        self._waiting.append(caller)
        if len(self._waiting) == 1:
            self._loop.call_at(self._next, self._release)

    def _release(self) -> None:
        now = self._loop.time()
        while self._waiting and self._next <= now:
            # What was missed a moment ago is made up for, what a stall has cost is not: that would be a burst.
            self._next = max(self._next + self._gap, now - CATCH_UP_SECONDS)
            self._waiting.popleft().step(b"")
        if self._waiting:
            self._loop.call_at(self._next, self._release)


class Caller:
    """Runs one script on one connection."""

    __slots__ = ("_body", "_limiter", "_resume", "_script", "_stream_id", "_until", "_wire", "finished")

    def __init__(
        self, wire: Wire, script: Script, finished: Callable[[BaseException | None], None], limiter: Limiter | None
    ) -> None:
        self.finished = finished
        self._wire = wire
        self._script = script
        self._resume = script.send
        self._limiter = limiter
        self._body = b""
        self._until: Until | None = None
        self._stream_id = 0

    def start(self) -> None:
        """Run to the first request."""
        self._run(lambda: next(self._script))

    def step(self, reply: bytes) -> None:
        """Hand over a reply and send the next request."""
        try:
            request = self._resume(reply)
        except StopIteration:
            self.finished(None)
        except Exception as error:
            self.finished(error)
        else:
            if request is not None and len(request) == 2:
                self._wire.call(request[0], request[1], self)
            else:
                self._special(request)

    def message(self, body: bytes) -> None:
        if self._until is not None and self._until(body):
            self._until = None
            self._wire.drop(self._stream_id)
            self.step(body)
        else:
            self._body = body

    def end(self, error: Status | None) -> None:
        self._until = None
        if error is None:
            self.step(self._body)
        else:
            self._run(lambda: self._script.throw(error))

    def _run(self, advance: Callable[[], Request]) -> None:
        try:
            request = advance()
        except StopIteration:
            self.finished(None)
        except Exception as error:
            self.finished(error)
        else:
            self._special(request)

    def _special(self, request: Request) -> None:
        if request is None:
            if self._limiter is None:
                self.step(b"")
            else:
                self._limiter.pass_or_wait(self)
        elif len(request) == 3:
            self._until = request[2]
            self._stream_id = self._wire.call(request[0], request[1], self, False)
        else:
            self._wire.call(request[0], request[1], self)


async def drive(wires: list[Wire], scripts: Iterator[Script], limiter: Limiter | None = None) -> None:
    """Run all scripts to their end, the n-th on connection n mod conns. Raises what a script raises."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    callers: list[Caller] = []
    left = 0

    def finished(error: BaseException | None) -> None:
        nonlocal left
        left -= 1
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        elif not left:
            done.set_result(None)

    callers = [Caller(wires[n % len(wires)], script, finished, limiter) for n, script in enumerate(scripts)]
    left = len(callers)
    if not left:
        return
    for caller in callers:
        caller.start()
    await done
