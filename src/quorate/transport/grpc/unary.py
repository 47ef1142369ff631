"""A unary call on the server that could not be answered in the turn its request was read."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from quorate.api.errors import Code
from quorate.transport.grpc.framing import MessageReader
from quorate.transport.grpc.heads import Head
from quorate.transport.grpc.methods import Context, Reply
from quorate.transport.grpc.status import Status, deadline_exceeded
from quorate.transport.grpc.steps import Steps

if TYPE_CHECKING:
    from quorate.transport.grpc.connection import ServerConnection


class UnaryCall(Steps):
    """First collects the request, then steps the handler's coroutine."""

    __slots__ = (
        "_begun",
        "_clock",
        "_connection",
        "_context",
        "_head",
        "_peer_ended",
        "_reader",
        "_request",
        "_timer",
        "stream_id",
    )

    def __init__(self, connection: ServerConnection, stream_id: int, head: Head, context: Context) -> None:
        super().__init__(connection.loop)
        self._begun = connection.loop.time()
        self._clock = 0.0 if head.tally.seconds is None else head.tally.begun()
        self._connection = connection
        self._head = head
        self._context = context
        self._reader: MessageReader | None = None
        self._request: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._peer_ended = False
        self.stream_id = stream_id
        if context.deadline is not None:
            self._timer = connection.loop.call_at(context.deadline, self._expire)

    def feed(self, data: bytes, end_stream: bool) -> None:
        """More of the request came."""
        connection = self._connection
        connection.machine.acknowledge(self.stream_id, len(data))
        self._peer_ended = end_stream
        if self._coroutine is not None:
            return
        if self._reader is None:
            self._reader = MessageReader(connection.limits.max_receive_message, self._head.encoding)
        try:
            for message in self._reader.feed(data):
                if self._request is not None:
                    raise Status(Code.INTERNAL, "cardinality violation: received multiple request messages")
                self._request = message
            if end_stream:
                self._reader.finish()
                self._start()
        except Exception as error:
            self.fail(error)

    def follow(self, coroutine: Coroutine[Any, Any, Reply], awaited: Any) -> None:
        """Take over a coroutine that has run to its first wait."""
        self._peer_ended = True
        self._coroutine = coroutine
        self._wait(awaited)

    def cancel(self) -> None:
        """The caller is gone: stop the handler, answer nobody."""
        self._close()
        self._head.tally.ended(Code.CANCELLED)
        self._head.tally.took(self._clock)

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        self._close()
        self._ended()
        self._connection.fail_call(self.stream_id, self._head, error, self._peer_ended)

    def _start(self) -> None:
        if self._request is None:
            raise Status(Code.INTERNAL, "unexpected EOF")
        self._head.tally.opened -= 1
        answer = self._connection.begin(self._head, self._context, self._request)
        self._request = None
        self._coroutine = answer if isinstance(answer, CoroutineType) else _return(cast(Reply, answer))
        self._step()

    def _returned(self, value: Reply) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._connection.finished(self.stream_id)
        self._ended()
        self._connection.reply(self.stream_id, self._head, value)

    def _ended(self) -> None:
        """The call has its answer: how long it took."""
        if self._clock:
            self._head.tally.took(self._clock)
        took = self._connection.loop.time() - self._begun
        if took > self._connection.limits.slow_unary:
            self._connection.slow_call(self._context, took)

    def _expire(self) -> None:
        self.fail(deadline_exceeded())

    def _close(self) -> None:
        """End before there is a reply."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop()


async def _return(reply: Reply) -> Reply:
    """A handler that had nothing to wait for."""
    return reply
