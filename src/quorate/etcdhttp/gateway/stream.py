"""A streaming call without a connection of its own: requests are objects of a body, replies lines of an answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Protocol, cast

from google.protobuf.message import Message

from quorate.api.errors import Code
from quorate.etcdhttp.gateway.decode import read_message
from quorate.etcdhttp.gateway.status import to_status
from quorate.etcdhttp.gateway.syntax import BodyError, ValueSplitter
from quorate.transport.grpc import Bidi, Context, Reply, ServerStreaming, Status, Stream
from quorate.transport.grpc.status import CANCELLED_TEXT, deadline_exceeded
from quorate.transport.grpc.stream import parse
from quorate.transport.grpc.tally import MethodTally

LOW = 64 * 1024
"""Bytes of replies still waiting for the client when a handler that waits in `drain` goes on."""
MANY = 32
"""Messages taken one after the other without a wait, before others get their turn."""


_GONE = Status(Code.CANCELLED, CANCELLED_TEXT)


class Requests(Protocol):
    """Where the messages of the caller come from."""

    async def next(self) -> str | None:
        """The text of the next JSON object; None when no more will come. Raises BodyError, ConnectionError."""
        ...


class BodyRequests:
    """The objects of a body, as its pieces come. One longer than `limit` bytes is refused."""

    def __init__(self, pieces: AsyncIterator[bytes], limit: int) -> None:
        self._pieces = pieces
        self._splitter = ValueSplitter(limit)

    async def next(self) -> str | None:
        while (text := self._splitter.next()) is None:
            if not self._splitter.idle:
                await asyncio.sleep(0)
                continue
            try:
                self._splitter.feed(await anext(self._pieces))
            except StopAsyncIteration:
                self._splitter.end()
                return None
        return text


class StreamCall:
    """One call. The handler sees it as it sees a gRPC stream; the web side takes its replies and closes it."""

    head_sent = False
    """Nothing is answered before the handler begins."""

    def __init__(
        self,
        method: ServerStreaming | Bidi,
        kind: type[Message],
        requests: Requests,
        context: Context,
        max_message: int,
        tally: MethodTally,
    ) -> None:
        self.context = context
        self._tally = tally
        tally.opened += 1
        self._begun = tally.begun()
        self._method = method
        self._kind = kind
        self._requests = requests
        self._max_message = max_message
        self._received = self._taken = 0
        self._replies: deque[bytes] = deque()
        self._waiting = 0
        self._over = False
        self._outcome: Status | None = None
        self._news: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        loop = asyncio.get_running_loop()
        self._timer = None if context.deadline is None else loop.call_at(context.deadline, self._expire)
        self._task = loop.create_task(self._run())

    @property
    def pending(self) -> int:
        """Bytes of replies that the client has not been sent."""
        return self._waiting

    async def receive(self) -> Any:
        """The next message, parsed; None when the caller has sent its last. Raises Status for what is no message."""
        self._received += 1
        if self._received % MANY == 0:
            await asyncio.sleep(0)
        try:
            text = await self._requests.next()
            if text is None:
                return None
            body = read_message(self._kind, text).SerializeToString()
        except BodyError as error:
            raise Status(Code.INVALID_ARGUMENT, str(error)) from None
        except ConnectionError as error:
            raise Status(Code.CANCELLED, f"request did not come whole: {error}") from None
        check_size(body, self._max_message)
        self._tally.received += 1
        self._tally.received_bytes += len(body)
        return parse(self._method.parse, body)

    def send(self, reply: Reply) -> None:
        """Queue a reply. Of a call that is over nobody hears it."""
        if not self._over:
            body = reply if isinstance(reply, bytes) else reply.SerializeToString()
            self._replies.append(body)
            self._waiting += len(body)
            self._tally.sent += 1
            self._tally.sent_bytes += len(body)
            _wake(self._news)

    async def drain(self) -> None:
        """Wait until little is pending, or the call is over."""
        while self._waiting > LOW and not self._over:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def fail(self, error: BaseException) -> None:
        """End the call with an error, whatever the handler is doing; replies that wait are sent before it."""
        if not self._over:
            self._finish(to_status(error, self.context.path))
            self._task.cancel()

    async def take(self) -> bytes | None:
        """The next reply, for the web side; None when there are no more. Raises Status when the call failed."""
        self._taken += 1
        if self._taken % MANY == 0:
            await asyncio.sleep(0)
        while not self._replies:
            if self._over:
                if self._outcome is not None:
                    raise self._outcome
                return None
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        body = self._replies.popleft()
        self._waiting -= len(body)
        if self._waiting <= LOW:
            _wake(self._drained)
        return body

    def close(self) -> None:
        """The caller is gone or has all: stop the handler, and forget what waits."""
        self._finish(_GONE)
        self._replies.clear()
        self._waiting = 0
        self._task.cancel()

    def _expire(self) -> None:
        self.fail(deadline_exceeded())

    async def _run(self) -> None:
        error: BaseException | None = None
        # The handler's view of a stream is what this class has of it.
        stream = cast(Stream, self)
        try:
            if isinstance(self._method, ServerStreaming):
                request = await self.receive()
                if request is None:
                    request = parse(self._method.parse, b"")
                await self._method.handle(request, stream)
            else:
                await self._method.handle(stream)
        except asyncio.CancelledError as cancelled:
            if self._over:
                return
            error = cancelled
        except Exception as raised:
            error = raised
        if not self._over:
            self._finish(None if error is None else to_status(error, self.context.path))

    def _finish(self, outcome: Status | None) -> None:
        if self._over:
            return
        self._over = True
        self._outcome = outcome
        self._tally.ended(Code.OK if outcome is None else outcome.code)
        self._tally.took(self._begun)
        if self._timer is not None:
            self._timer.cancel()
        _wake(self._news)
        _wake(self._drained)


def text_limit(max_message: int) -> int:
    """Bytes of JSON that a message of `max_message` bytes may take: base64 adds a third, names a little."""
    return 2 * max_message


def check_size(body: bytes, limit: int) -> None:
    """Raises Status for a message that gRPC would not take."""
    if len(body) > limit:
        text = f"grpc: received message larger than max ({len(body)} vs. {limit})"
        raise Status(Code.RESOURCE_EXHAUSTED, text)


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
