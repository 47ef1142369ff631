"""A caller's connection of HTTP/1: one request, its answer, and again.

h11 knows the grammar (RFC 9112). What this module adds: the answer is bounded, a body that is streamed waits for the
socket, and an answer that comes before the body is sent ends the sending.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, cast

import h11

from quorate.transport.sockets import StallWatch, notice_dead_peer
from quorate.transport.web import Fields, HttpError, find_header

HEAD_LIMIT = 65_536
"""Bytes of status line and headers of an answer."""

STALL_TIMEOUT = 20.0
"""Seconds a full socket may take no byte of a request before the connection is dropped."""


class HttpReply(NamedTuple):
    """An answer, whole. Header names are lower-case."""

    status: int
    headers: Fields
    body: bytes

    def header(self, name: str) -> str | None:
        """First value of a header, whatever the case of its name, or None."""
        return find_header(self.headers, name)


class ClientConnection(asyncio.Protocol):
    """The caller's end. `on_close` is called once, when the socket is gone."""

    def __init__(self, on_close: Callable[[ClientConnection], None]) -> None:
        self.lost = False
        """The socket is gone."""
        self.heard = False
        """A byte of the answer to the present request has come."""
        self.expiry: asyncio.TimerHandle | None = None
        """When the connection will have been idle too long; its pool's."""
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._limit = 0
        self._reply: asyncio.Future[HttpReply] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._stall: StallWatch = cast(StallWatch, None)

    @property
    def reusable(self) -> bool:
        """Whether another request may follow."""
        return not self.lost and not self.transport.is_closing() and self._h11.our_state is h11.IDLE

    async def exchange(
        self, head: h11.Request, body: bytes | AsyncIterator[bytes], timeout: float | None, limit: int
    ) -> HttpReply:
        """Send a request, return its answer; `timeout` seconds are counted from the end of the sending.

        Raises OSError, TimeoutError, HttpError; the connection is good for nothing more then.
        """
        if self.lost:
            raise ConnectionResetError("connection closed by the peer")
        reply: asyncio.Future[HttpReply] = self._loop.create_future()
        self._reply = reply
        self._head, self._limit, self.heard = None, limit, False
        try:
            self._send(head)
            await self._send_body(body, reply)
            async with asyncio.timeout(timeout):
                answer = await reply
        except h11.LocalProtocolError as error:
            self.transport.abort()
            raise HttpError(f"request that is none: {error}") from error
        except BaseException:
            self.transport.abort()
            raise
        finally:
            _forget(reply)
            self._reply = None
            self._body = bytearray()
        # Bytes behind the answer would be taken for the next one.
        at_end = self._h11.their_state is h11.DONE and not self._h11.trailing_data[0]
        if self._h11.our_state is h11.DONE and at_end:
            self._h11.start_next_cycle()
        else:
            self.transport.abort()
        return answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._stall = StallWatch(self.transport, STALL_TIMEOUT)
        notice_dead_peer(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.resume_writing()
        self._fail(exc or HttpError("connection ended before the answer did"))
        self._on_close(self)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self._reply is None:
            # Nothing was asked (RFC 9112 §9.2).
            self.transport.abort()
            return
        self._h11.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        if self._reply is not None and self.heard:
            self._h11.receive_data(b"")
            self._advance()
        return False

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()
        self._stall.start()

    def resume_writing(self) -> None:
        self._stall.stop()
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    async def _send_body(self, body: bytes | AsyncIterator[bytes], reply: asyncio.Future[HttpReply]) -> None:
        """Send it at the pace of the socket, as far as the peer wants it."""
        if isinstance(body, bytes):
            self._send(h11.Data(data=body), h11.EndOfMessage())
            await self._drained(reply)
            return
        async for piece in body:
            if reply.done():
                return
            self._send(h11.Data(data=piece))
            await self._drained(reply)
        if not reply.done():
            self._send(h11.EndOfMessage())
            await self._drained(reply)

    async def _drained(self, reply: asyncio.Future[HttpReply]) -> None:
        while self._writable is not None and not reply.done():
            await asyncio.wait((self._writable, reply), return_when=asyncio.FIRST_COMPLETED)

    def _send(self, *events: Any) -> None:
        data = b"".join(self._h11.send(event) or b"" for event in events)
        self._stall.written += len(data)
        if not self.transport.is_closing():
            self.transport.write(data)

    def _advance(self) -> None:
        while self._reply is not None and not self._reply.done():
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._fail(HttpError(f"malformed answer: {error}"))
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                self._head = event
                self._body = bytearray()
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._limit:
                    self._fail(HttpError(f"answer longer than {self._limit} bytes"))
            elif isinstance(event, h11.EndOfMessage):
                assert self._head is not None
                self._reply.set_result(HttpReply(self._head.status_code, fields(self._head), bytes(self._body)))
            elif isinstance(event, h11.ConnectionClosed):
                self._fail(HttpError("connection ended before the answer did"))

    def _fail(self, error: Exception) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)


def fields(head: h11.Response) -> Fields:
    """Header fields as text."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]


def _forget(reply: asyncio.Future[HttpReply]) -> None:
    """Nobody will ask for the outcome."""
    if reply.done():
        if not reply.cancelled():
            reply.exception()
    else:
        reply.cancel()
