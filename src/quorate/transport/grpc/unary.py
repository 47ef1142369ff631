"""A unary call on the server that could not be answered in the turn its request was read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from quorate.api.errors import Code
from quorate.transport.grpc.framing import MessageReader
from quorate.transport.grpc.heads import Head
from quorate.transport.grpc.methods import Context, Reply
from quorate.transport.grpc.status import Status, deadline_exceeded

if TYPE_CHECKING:
    from quorate.transport.grpc.connection import ServerConnection

_log = logging.getLogger(__name__)


class UnaryCall:
    """First collects the request, then steps the handler's coroutine whenever the future it waits for is done.

    No task: a task and its wake-up cost more than the rest of a small call.
    """

    __slots__ = (
        "_begun",
        "_clock",
        "_connection",
        "_context",
        "_coroutine",
        "_future",
        "_head",
        "_peer_ended",
        "_reader",
        "_request",
        "_timer",
        "stream_id",
    )

    def __init__(self, connection: ServerConnection, stream_id: int, head: Head, context: Context) -> None:
        self._begun = connection.loop.time()
        self._clock = 0.0 if head.tally.seconds is None else head.tally.begun()
        self._connection = connection
        self._head = head
        self._context = context
        self._reader: MessageReader | None = None
        self._request: bytes | None = None
        self._coroutine: Coroutine[Any, Any, Reply] | None = None
        self._future: asyncio.Future[Any] | None = None
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

    def _step(self, _: object = None) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._future = None
        try:
            awaited = coroutine.send(None)
        except StopIteration as done:
            self._coroutine = None
            if self._timer is not None:
                self._timer.cancel()
            self._connection.finished(self.stream_id)
            self._ended()
            self._connection.reply(self.stream_id, self._head, done.value)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._coroutine = None
            self.fail(error)
        else:
            self._wait(awaited)

    def _wait(self, awaited: Any) -> None:
        """Step on when `awaited` is done. What a coroutine yields is a future, or None to let others go first."""
        if awaited is None:
            self._connection.loop.call_soon(self._step)
            return
        if not getattr(awaited, "_asyncio_future_blocking", False):
            self.fail(RuntimeError(f"a unary handler may wait for asyncio futures only, not for {awaited!r}"))
            return
        awaited._asyncio_future_blocking = False
        self._future = awaited
        awaited.add_done_callback(self._step)

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
        """End before there is a reply: forget the timer and stop the coroutine where it waits.

        The future it waited for may have others waiting and is left alone, unlike a task would do.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._future is not None:
            self._future.remove_done_callback(self._step)
            self._future = None
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            stop(coroutine)


def stop(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Throw CancelledError into a waiting coroutine. One that goes on waiting is closed."""
    try:
        coroutine.throw(asyncio.CancelledError())
        coroutine.close()
    except (StopIteration, asyncio.CancelledError):
        pass
    except Exception:
        _log.exception("a cancelled handler failed")


async def _return(reply: Reply) -> Reply:
    """A handler that had nothing to wait for."""
    return reply
