"""Who waits for which entry: request ID to future, given up when the request timeout is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from quorate.api.errors import EtcdError

Result = TypeVar("Result")


class Proposals(Generic[Result]):
    """Futures by request ID, in the order they were made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        self._timeout = timeout
        self._waiting: dict[int, tuple[float, asyncio.Future[Result]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request_id: int) -> asyncio.Future[Result]:
        """A future for the result of `request_id`. It may be cancelled; the entry is applied all the same."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting[request_id] = (self._loop.time() + self._timeout, future)
        return future

    def resolve(self, request_id: int, result: Result | EtcdError) -> None:
        """Hand the result of an applied entry to whoever still waits for it."""
        waiting = self._waiting.pop(request_id, None)
        if waiting is None or waiting[1].done():
            return
        if isinstance(result, EtcdError):
            waiting[1].set_exception(result)
        else:
            waiting[1].set_result(result)

    def drop(self, request_id: int) -> None:
        """Forget a proposal that was never handed to raft."""
        self._waiting.pop(request_id, None)

    def expire(self, now: float, error: Callable[[], EtcdError]) -> None:
        """Fail what has waited its whole time. All wait equally long, so the first that may stay ends the search."""
        for request_id, (deadline, future) in list(self._waiting.items()):
            if deadline > now:
                return
            del self._waiting[request_id]
            if not future.done():
                future.set_exception(error())

    def fail_all(self, error: Callable[[], EtcdError]) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error())
        self._waiting.clear()
