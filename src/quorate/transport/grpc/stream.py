"""A streaming call on the server, as its handler sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from quorate.api.errors import Code
from quorate.transport.grpc.flow import Inbox, Outlet
from quorate.transport.grpc.framing import MessageReader, frame, frame_gzip
from quorate.transport.grpc.heads import GZIP_RESPONSE_HEADERS, RESPONSE_HEADERS, Head
from quorate.transport.grpc.methods import Bidi, Context, Reply, ServerStreaming
from quorate.transport.grpc.status import Status, deadline_exceeded

if TYPE_CHECKING:
    from quorate.transport.grpc.connection import ServerConnection


class Stream(Outlet):
    """Many messages in, many out. The handler's return ends the call with OK, what it raises with that status.

    `send` queues and never waits: whoever sends much looks at `pending`, waits in `drain` or sets `on_drain`.
    """

    def __init__(self, connection: ServerConnection, stream_id: int, head: Head, context: Context) -> None:
        super().__init__(connection, stream_id)
        self.context = context
        self.on_close: Callable[[], None] | None = None
        """Called once when the call is over, for whatever reason."""
        self.head_sent = False
        self.head = head
        self._clock = head.tally.begun()
        self._connection = connection
        self._inbox = Inbox(connection, stream_id, MessageReader(connection.limits.max_receive_message, head.encoding))
        self._peer_ended = False
        self._timer: asyncio.TimerHandle | None = None
        if context.deadline is not None:
            self._timer = connection.loop.call_at(context.deadline, self.fail, deadline_exceeded())
        self._at_once = head.method.at_once if isinstance(head.method, Bidi) else None
        self._task: asyncio.Task[None] | None = None
        if self._at_once is None:
            self._start()

    async def receive(self) -> Any:
        """The next message, parsed; None when the caller has sent its last. Raises Status for what is no message."""
        body = await self._inbox.take()
        if body is None:
            return None
        self._count_received(body)
        return parse(self.head.method.parse, body)

    def send(self, reply: Reply) -> None:
        """Queue a reply. On a closed stream it goes nowhere: the caller will not hear it."""
        if self.closed:
            return
        body = reply if isinstance(reply, bytes) else reply.SerializeToString()
        self.send_head()
        self.head.tally.sent += 1
        self.head.tally.sent_bytes += len(body)
        self._connection.police.forgiven = True
        self.put(frame_gzip(body) if self.head.gzip else frame(body))

    def send_all(self, bodies: Sequence[bytes]) -> None:
        """Queue several replies, serialized ones, in one piece."""
        if self.closed:
            return
        self.send_head()
        self.head.tally.sent += len(bodies)
        self.head.tally.sent_bytes += sum(map(len, bodies))
        self._connection.police.forgiven = True
        make = frame_gzip if self.head.gzip else frame
        self.put(b"".join([make(body) for body in bodies]))

    def send_head(self) -> None:
        """Send the response headers now; else they go with the first reply."""
        if not self.head_sent and not self.closed:
            self.head_sent = True
            headers = GZIP_RESPONSE_HEADERS if self.head.gzip else RESPONSE_HEADERS
            self._connection.machine.send_headers(self.stream_id, headers, False)
            self._connection.wake()

    def feed(self, data: bytes, end_stream: bool) -> None:
        """More of the request came."""
        try:
            if data:
                self._inbox.feed(data)
                if self._task is None:
                    self._answer_at_once()
            if end_stream:
                self._peer_ended = True
                self._inbox.end()
                if self._task is None:
                    self._finish(None)
        except Status as status:
            self._inbox.discard()
            self.fail(status)

    def cancel(self) -> None:
        """The caller is gone: stop the handler, answer nobody."""
        self.head.tally.ended(Code.CANCELLED)
        self._close()
        if self._task is not None:
            self._task.cancel()

    def fail(self, error: BaseException) -> None:
        """End the call with an error, whatever the handler is doing."""
        if not self.closed:
            self._finish(error)
            if self._task is not None:
                self._task.cancel()

    def _start(self) -> None:
        """From here on the handler has the stream."""
        self._task = self._connection.loop.create_task(self._run())

    def _answer_at_once(self) -> None:
        """Answer what need not wait; a peer that does not take its answers is for the handler, which waits for it."""
        assert self._at_once is not None
        while (message := self._inbox.first()) is not None and not self.closed:
            try:
                request = parse(self.head.method.parse, message)
                reply = None if self.pending else self._at_once(request, self)
            except Exception as error:
                self.fail(error)
                return
            if reply is None:
                self._start()
                return
            self._inbox.drop_first()
            self._count_received(message)
            self.send(reply)

    def _count_received(self, message: bytes) -> None:
        self.head.tally.received += 1
        self.head.tally.received_bytes += len(message)

    async def _run(self) -> None:
        method = self.head.method
        error: BaseException | None = None
        try:
            if isinstance(method, ServerStreaming):
                request = await self.receive()
                if request is None:
                    raise Status(Code.INTERNAL, "unexpected EOF")
                await method.handle(request, self)
            else:
                assert isinstance(method, Bidi)
                await method.handle(self)
        except asyncio.CancelledError as cancelled:
            if self.closed:
                return
            error = cancelled
        except Exception as raised:
            error = raised
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        if self.closed:
            return
        self._close()
        self._connection.finish_stream(self, error, self._peer_ended)

    def _close(self) -> None:
        self.head.tally.took(self._clock)
        if self._timer is not None:
            self._timer.cancel()
        self.shut()
        self._inbox.discard()
        if self.on_close is not None:
            self.on_close()


def parse(parser: Callable[[bytes], Any], body: bytes) -> Any:
    """The request in `body`. Raises Status when it is none."""
    try:
        return parser(body)
    except Exception as error:
        raise Status(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None
