"""Calls as the client sees them: one reply to wait for, or a stream of messages both ways."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from quorate.api.errors import Code
from quorate.transport.grpc.flow import Inbox, Outlet
from quorate.transport.grpc.framing import PREFIX_SIZE, MessageReader, frame, is_whole
from quorate.transport.grpc.status import CANCELLED_TEXT, Status, deadline_exceeded
from quorate.transport.http2 import ErrorCode

if TYPE_CHECKING:
    from quorate.transport.grpc.client import ClientConnection

_EMPTY = b"\0(empty)"
"""Stands for a reply of no bytes, to be told from no reply by identity."""


class UnaryExchange:
    """One request is out; `future` gets the reply's bytes or a Status, by `deadline` on the loop's clock."""

    __slots__ = ("_body", "_connection", "_encoding", "_reader", "_stream_id", "deadline", "future")

    def __init__(
        self, connection: ClientConnection, stream_id: int, future: asyncio.Future[bytes], deadline: float
    ) -> None:
        self.future = future
        self.deadline = deadline
        self._connection = connection
        self._stream_id = stream_id
        self._body = b""
        self._encoding = ""
        self._reader: MessageReader | None = None

    def head(self, encoding: str) -> None:
        """The response headers are good."""
        self._encoding = encoding

    def feed(self, data: bytes) -> None:
        """Some of the reply. A reply in one piece, as most are, is kept as it came. Raises Status."""
        limit = self._connection.limits.max_receive_message
        if not self._body and self._reader is None and is_whole(data, limit + PREFIX_SIZE):
            self._body = data[PREFIX_SIZE:] or _EMPTY
            return
        self._connection.machine.acknowledge(self._stream_id, len(data))
        if self._reader is None:
            self._reader = MessageReader(limit, self._encoding)
        for message in self._reader.feed(data):
            if self._body:
                raise Status(Code.INTERNAL, "cardinality violation: expected one response message")
            self._body = message or _EMPTY

    def answer(self, data: bytes) -> bool:
        """All of a reply that ended well; False, and nothing done, when it is not just one plain message."""
        whole = is_whole(data, self._connection.limits.max_receive_message + PREFIX_SIZE)
        if self._body or self._reader is not None or not whole:
            return False
        if not self.future.done():
            self.future.set_result(data[PREFIX_SIZE:])
        return True

    def give_up(self) -> None:
        """Whoever waited does so no more: the server is told."""
        self._connection.forget(self._stream_id, ErrorCode.CANCEL)

    def end(self, error: Status | None) -> None:
        """The call is over."""
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        elif not self._body:
            text = "cardinality violation: received no response message from non-server-streaming RPC"
            self.future.set_exception(Status(Code.INTERNAL, text))
        else:
            self.future.set_result(b"" if self._body is _EMPTY else self._body)


class ClientStream:
    """A stream of messages both ways. One consumer may `receive` at a time.

    Until the connection stands, what is sent is kept; the call's outcome is told by `receive` alone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float | None) -> None:
        self._loop = loop
        self._early: list[tuple[bytes, bool]] = []
        self._half_closed = False
        self._connection: ClientConnection | None = None
        self._outlet: Outlet | None = None
        self._inbox: Inbox | None = None
        self._opened: asyncio.Future[None] = loop.create_future()
        self._failure: Status | None = None
        self._timer = loop.call_at(deadline, self._expire) if deadline is not None else None
        self.opening: asyncio.Task[None] | None = None
        """The task that waits for a connection, if one was not there."""

    @property
    def closed(self) -> bool:
        """Whether the call is over; messages may still lie here."""
        return self._failure is not None or (self._outlet is not None and self._outlet.closed)

    @property
    def pending(self) -> int:
        """Bytes sent that have not left."""
        return sum(len(data) for data, _ in self._early) if self._outlet is None else self._outlet.pending

    def send(self, message: bytes) -> None:
        """Queue a message; never waits. On a call that is over it goes nowhere."""
        assert not self._half_closed, "send after half_close"
        self._put(frame(message), False)

    def half_close(self) -> None:
        """No more will be sent."""
        if not self._half_closed:
            self._put(b"", True)
            self._half_closed = True

    async def drain(self) -> None:
        """Wait until little is pending, or the call is over."""
        await self._wait_open()
        if self._outlet is not None:
            await self._outlet.drain()

    async def receive(self) -> bytes | None:
        """The next message; None after the last of a call that ended well. Raises Status for one that did not."""
        if self._inbox is None:
            await self._wait_open()
        if self._inbox is None:
            assert self._failure is not None
            raise self._failure
        return await self._inbox.take()

    def __aiter__(self) -> ClientStream:
        return self

    async def __anext__(self) -> bytes:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    def cancel(self) -> None:
        """Give up: the server's handler is cancelled, `receive` raises CANCELLED."""
        self.give_up(Status(Code.CANCELLED, CANCELLED_TEXT))

    def give_up(self, status: Status) -> None:
        """End the call from this side."""
        if self.closed:
            return
        if self.opening is not None:
            self.opening.cancel()
        if self._connection is not None and self._outlet is not None:
            self._connection.forget(self._outlet.stream_id, ErrorCode.CANCEL)
        if self._inbox is not None:
            self._inbox.discard()
        self.end(status)

    def start(self, connection: ClientConnection, stream_id: int, outlet: Outlet) -> None:
        """The stream is open on a connection."""
        self._connection = connection
        self._outlet = outlet
        self._inbox = Inbox(connection, stream_id, MessageReader(connection.limits.max_receive_message))
        for data, end_stream in self._early:
            outlet.put(data, end_stream)
        self._early.clear()
        self._set_opened()

    def head(self, encoding: str) -> None:
        """The response headers are good."""
        assert self._inbox is not None
        self._inbox.set_encoding(encoding)

    def feed(self, data: bytes) -> None:
        """Some of the reply. Raises Status for what breaks the framing."""
        assert self._inbox is not None
        self._inbox.feed(data)

    def end(self, error: Status | None) -> None:
        """The call is over."""
        if self._timer is not None:
            self._timer.cancel()
        if self._outlet is not None:
            self._outlet.shut()
        if self._inbox is None:
            self._failure = error
        elif error is not None:
            self._inbox.fail(error)
        else:
            try:
                self._inbox.end()
            except Status as cut:
                self._inbox.fail(cut)
        self._set_opened()

    @property
    def half_closed(self) -> bool:
        """Whether this side has said that it is done."""
        return self._half_closed

    def _put(self, data: bytes, end_stream: bool) -> None:
        if self.closed:
            return
        if self._outlet is None:
            self._early.append((data, end_stream))
        else:
            self._outlet.put(data, end_stream)

    async def _wait_open(self) -> None:
        if not self._opened.done():
            await asyncio.shield(self._opened)

    def _set_opened(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _expire(self) -> None:
        self.give_up(deadline_exceeded())


Exchange = UnaryExchange | ClientStream
