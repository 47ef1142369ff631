"""What waits on one stream: messages that arrived and nobody took, bytes that were sent and did not leave."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from quorate.transport.grpc.edge import Edge
from quorate.transport.grpc.framing import MessageReader
from quorate.transport.grpc.limits import RECEIVE_AHEAD, STREAM_LOW


class Inbox:
    """Messages of one stream between the socket and the consumer.

    The peer's window is opened again as bytes come in, until more than RECEIVE_AHEAD bytes of whole messages lie
    unread; from then on as they are taken. A message larger than the window thus still arrives.
    """

    __slots__ = ("_edge", "_ended", "_error", "_held", "_messages", "_reader", "_stream_id", "_unread", "_waiter")

    def __init__(self, edge: Edge, stream_id: int, reader: MessageReader) -> None:
        self._edge = edge
        self._stream_id = stream_id
        self._reader = reader
        self._messages: deque[bytes] = deque()
        self._unread = 0
        self._held = 0
        self._ended = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """Bytes arrived. Raises Status for what breaks the framing."""
        for message in self._reader.feed(data):
            self._messages.append(message)
            self._unread += len(message)
        self._held += len(data)
        self._open_window()
        if self._messages:
            self._wake()

    def set_encoding(self, encoding: str) -> None:
        """The peer told its grpc-encoding, before its first message."""
        self._reader.encoding = encoding

    def end(self) -> None:
        """No more will come. Raises Status when the last message is cut short."""
        self._ended = True
        self._wake()
        self._reader.finish()

    def fail(self, error: BaseException) -> None:
        """Nothing will come but this error, after what already lies here."""
        if self._error is None:
            self._error = error
        self._ended = True
        self._wake()

    def discard(self) -> None:
        """The consumer is gone: what it did not take must not hold the connection's window."""
        self._messages.clear()
        self._unread = 0
        self._open_window()

    async def take(self) -> bytes | None:
        """The next message; None when the peer has ended its side. Raises what `fail` was told."""
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            assert self._waiter is None or self._waiter.done(), "one consumer at a time"
            self._waiter = self._edge.loop.create_future()
            await self._waiter
        message = self._messages[0]
        self.drop_first()
        return message

    def first(self) -> bytes | None:
        """The next message, left where it is; None when it has not come."""
        return self._messages[0] if self._messages else None

    def drop_first(self) -> None:
        """The next message is taken."""
        self._unread -= len(self._messages.popleft())
        self._open_window()

    def _open_window(self) -> None:
        if self._held and self._unread <= RECEIVE_AHEAD:
            self._edge.machine.acknowledge(self._stream_id, self._held)
            self._held = 0
            self._edge.wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Outlet:
    """The sending side of one stream: never blocks, tells how much waits, and when it is gone."""

    def __init__(self, edge: Edge, stream_id: int) -> None:
        self.edge = edge
        self.stream_id = stream_id
        self.closed = False
        self.on_drain: Callable[[], None] | None = None
        """Called when `pending` is low again after it was not."""
        self._drained: asyncio.Future[None] | None = None

    @property
    def pending(self) -> int:
        """Bytes sent that have not left: held by the peer's window, or by the connection's socket."""
        return 0 if self.closed else self.edge.machine.pending_of(self.stream_id) + self.edge.backlog

    async def drain(self) -> None:
        """Wait until little is pending, or the stream is closed."""
        if self.pending <= STREAM_LOW:
            return
        if self._drained is None or self._drained.done():
            self._drained = self.edge.loop.create_future()
        self.edge.undrained[self.stream_id] = self
        await asyncio.shield(self._drained)

    def put(self, data: bytes, end_stream: bool = False) -> None:
        """Queue bytes on the stream."""
        self.edge.machine.send_data(self.stream_id, data, end_stream)
        self.edge.wake_for(len(data))
        if self.on_drain is not None and self.pending > STREAM_LOW:
            self.edge.undrained[self.stream_id] = self

    def check_drained(self) -> None:
        """Something left: tell those who wait, if it was enough."""
        if self.pending <= STREAM_LOW:
            self.edge.undrained.pop(self.stream_id, None)
            if self._drained is not None and not self._drained.done():
                self._drained.set_result(None)
            if self.on_drain is not None and not self.closed:
                self.on_drain()

    def shut(self) -> None:
        """The stream is over; nobody need wait for it."""
        self.closed = True
        self.edge.undrained.pop(self.stream_id, None)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
