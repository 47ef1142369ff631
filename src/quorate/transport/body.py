"""Bodies that are not bytes: one that is read while it comes, one that is written from wherever the news is.

Both sit between a connection of HTTP/1 and the handler that was called for its request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

HELD_HIGH = 1_048_576
"""Bytes of a body that may wait for their reader; then the peer is not read on."""

HELD_LOW = 262_144
"""Bytes still waiting when the peer is read again."""

CLOSE_GRACE = 0.5
"""Seconds the last bytes of a closed stream may take to leave."""


class BodyReader:
    """The body of a request, piece by piece as it comes; an asynchronous iterator for one reader.

    Raises ConnectionError, after the pieces that came, when the body will never be whole. `hold(True)` is called when
    too much waits, `hold(False)` when the reader has caught up.
    """

    def __init__(self, hold: Callable[[bool], None]) -> None:
        self.held = False
        self._hold = hold
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._error = ""
        self._wake: asyncio.Future[None] | None = None

    def __aiter__(self) -> BodyReader:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._error:
                raise ConnectionError(self._error)
            if self._ended:
                raise StopAsyncIteration
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        piece = self._pieces.popleft()
        self._waiting -= len(piece)
        if self.held and self._waiting <= HELD_LOW:
            self.held = False
            self._hold(False)
        return piece

    def feed(self, piece: bytes) -> None:
        """More of it came."""
        self._pieces.append(piece)
        self._waiting += len(piece)
        if not self.held and self._waiting > HELD_HIGH:
            self.held = True
            self._hold(True)
        self._notify()

    def end(self) -> None:
        """It is whole."""
        self._ended = True
        self._notify()

    def fail(self, reason: str) -> None:
        """It will not become whole."""
        self._error = reason
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class BodyWriter:
    """The open end of an answer that lasts: what is written goes to the socket at once, without a task.

    Writing never blocks and never raises; what is written after the end is dropped. Who writes watches `pending`:
    nothing else bounds what a slow peer leaves waiting. Over TLS the loop may keep a write until the end of its turn.
    """

    __slots__ = ("_chunked", "_open", "_transport", "on_close")

    def __init__(self, transport: asyncio.Transport, *, chunked: bool) -> None:
        self.on_close: Callable[[], None] | None = None
        """Called once, when the connection is gone, whoever ended it."""
        self._transport = transport
        self._chunked = chunked
        self._open = True

    @property
    def pending(self) -> int:
        """Bytes the socket has not taken yet."""
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send `data` as one chunk (RFC 9112 §7.1); as it is to a peer that knows no chunks. Nothing for no bytes."""
        if data and self._open and not self._transport.is_closing():
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def close(self) -> None:
        """End the body and the connection. A peer that does not take what is left is cut off."""
        if not self._open:
            return
        self._open = False
        if self._transport.is_closing():
            return
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self._transport.close()
        if self._transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(CLOSE_GRACE, self._transport.abort)

    def lost(self) -> None:
        """The connection is gone."""
        self._open = False
        tell, self.on_close = self.on_close, None
        if tell is not None:
            tell()
