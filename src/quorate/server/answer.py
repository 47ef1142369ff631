"""A result that one coroutine waits for, handed over without a detour through the event loop.

Asyncio's own future wakes its waiter in the next loop iteration, one callback each. An answer steps a waiting unary
call at once, in the turn that found the result: with thousands of answers a turn the callbacks would cost as much as
the writes, and a lone writer would wait for one more iteration. A task is woken in the usual way, since a task must
not be entered from another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Answer(Generic[Result]):
    """Awaitable once. Looks enough like a future for whoever steps coroutines."""

    __slots__ = ("_asyncio_future_blocking", "_callback", "_context", "_done", "_error", "_loop", "_result")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._done = False

    def __await__(self) -> Generator[Any, None, Result]:
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def resolve(self, result: Result | None, error: BaseException | None = None) -> None:
        """Hand over a result or an error; the first one counts."""
        if self._done:
            return
        self._done = True
        self._result, self._error = result, error
        callback, self._callback = self._callback, None
        if callback is None:
            return
        if self._context is None:
            callback(self)
        else:
            self._loop.call_soon(callback, self, context=self._context)

    # What a future has.

    def done(self) -> bool:
        return self._done

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """A task gives its context along; a unary call does not."""
        assert self._callback is None and not self._done, "an answer has one waiter"
        self._callback, self._context = callback, context

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        found = self._callback is not None
        self._callback = None
        return int(found)

    def cancel(self, msg: object = None) -> bool:
        """The waiting task is cancelled: let it know."""
        if self._done:
            return False
        self.resolve(None, asyncio.CancelledError())
        return True
