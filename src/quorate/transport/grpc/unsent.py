"""Finished calls whose reply the peer's window holds back: a peer that opens no window keeps them for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.transport.http2 import Connection, ErrorCode


class Unsent:
    """Resets those that have lost no byte for `timeout` seconds, and calls `wake` when it has looked."""

    def __init__(
        self, machine: Connection, loop: asyncio.AbstractEventLoop, timeout: float, wake: Callable[[], None]
    ) -> None:
        self._machine = machine
        self._loop = loop
        self._timeout = timeout
        self._wake = wake
        self._left: dict[int, tuple[int, float]] = {}
        """By stream: bytes left, and since when so many."""
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, stream_id: int) -> None:
        """Its trailers are queued; if there is more of it to send, it counts from now on."""
        left = self._machine.pending_of(stream_id)
        if left:
            self._left[stream_id] = (left, self._loop.time())
            if self._timer is None:
                self._timer = self._loop.call_later(self._timeout, self._check)

    def forget(self, stream_id: int) -> None:
        """It was reset."""
        self._left.pop(stream_id, None)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        now = self._loop.time()
        for stream_id, (before, since) in list(self._left.items()):
            left = self._machine.pending_of(stream_id)
            if not left:
                del self._left[stream_id]
            elif left < before:
                self._left[stream_id] = (left, now)
            elif now - since >= self._timeout:
                del self._left[stream_id]
                self._machine.reset_stream(stream_id, ErrorCode.CANCEL)
        if self._left:
            self._timer = self._loop.call_later(self._timeout / 4, self._check)
        self._wake()
