"""One connection of the load: requests of many callers out, replies in, on the HTTP/2 machine itself.

`quorate.transport.grpc.Channel` makes a future for each call and wakes a task with it; here a reply resumes its caller
at once. The price is that callers are generators, and that what they do between two requests holds up their connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from ssl import SSLContext
from typing import Protocol, cast

from quorate.api.errors import Code
from quorate.client.endpoints import Endpoint
from quorate.transport.grpc import Status
from quorate.transport.grpc.framing import PREFIX_SIZE, MessageReader, frame, is_whole
from quorate.transport.grpc.status import status_of_http, status_of_reset, status_of_trailers
from quorate.transport.http2 import (
    Connection,
    DataReceived,
    ErrorCode,
    GoingAwayError,
    Headers,
    HeadersReceived,
    Limits,
    RepliesReceived,
    SettingsReceived,
    StreamReset,
    TooManyStreamsError,
)

MAX_MESSAGE = 2_147_483_647
RETRY_SECONDS = 0.2
WINDOW = Limits(stream_window=4 * 1_048_576, connection_window=MAX_MESSAGE)
USER_AGENT = b"etcd-benchmark"


class Call(Protocol):
    """Who waits for what a stream brings."""

    def message(self, body: bytes) -> None:
        """A whole message has come."""

    def end(self, error: Status | None) -> None:
        """The call is over; None when it ended well."""


class Wire(asyncio.Protocol):
    """A connection to one endpoint that is made anew when it is lost; calls meanwhile wait for it."""

    def __init__(self, endpoint: Endpoint, ssl: SSLContext | None, token: str) -> None:
        self._endpoint = endpoint
        self._ssl = ssl
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._heads: dict[str, Headers] = {}
        self._machine = cast(Connection, None)
        self._transport: asyncio.Transport | None = None
        self._ready: asyncio.Future[None] | None = None
        self._calls: dict[int, Call] = {}
        self._bodies: dict[int, MessageReader] = {}
        self._open: set[int] = set()
        """Streams that go on; what comes on others is granted anew when they end."""
        self._waiting: deque[tuple[str, bytes, Call, bool]] = deque()
        self._good_trailers: Headers | None = None
        self._dirty = False
        self._closed = False
        self._redial: asyncio.Task[None] | None = None

    async def connect(self, timeout: float) -> None:
        """Try until it stands, for `timeout` seconds (0: for ever). Raises OSError, ssl.SSLError, TimeoutError."""
        async with asyncio.timeout(timeout or None):
            while True:
                try:
                    await self._dial()
                    return
                except ConnectionRefusedError:
                    await asyncio.sleep(RETRY_SECONDS)

    def call(self, path: str, request: bytes, call: Call, ended: bool = True) -> int:
        """Send a request; with `ended` it is the only one of its call. The stream's number, 0 while it waits."""
        if self._transport is None:
            self._waiting.append((path, request, call, ended))
            return 0
        machine = self._machine
        try:
            if ended:
                stream_id = machine.send_unary_request(self._heads.get(path) or self._head(path), frame(request))
            else:
                stream_id = machine.open_stream(self._heads.get(path) or self._head(path), False)
                machine.send_data(stream_id, frame(request), False)
                self._open.add(stream_id)
        except TooManyStreamsError:
            self._waiting.append((path, request, call, ended))
            return 0
        except GoingAwayError:
            self._waiting.append((path, request, call, ended))
            self._transport.abort()
            return 0
        self._calls[stream_id] = call
        if not self._dirty:
            self._dirty = True
            self._loop.call_soon(self.flush)
        return stream_id

    def send(self, stream_id: int, request: bytes) -> None:
        """One more message on a call that was not ended."""
        self._machine.send_data(stream_id, frame(request), False)
        self._wake()

    def drop(self, stream_id: int) -> None:
        """Give up a call: the member is told, its caller is not."""
        if self._calls.pop(stream_id, None) is not None:
            self._bodies.pop(stream_id, None)
            self._open.discard(stream_id)
            self._machine.reset_stream(stream_id, ErrorCode.CANCEL)
            self._wake()

    def flush(self) -> None:
        """Write what is queued."""
        self._dirty = False
        if self._transport is not None:
            output = self._machine.output()
            if output:
                self._transport.write(output)

    def close(self) -> None:
        """Calls under way are left alone."""
        self._closed = True
        self._calls.clear()
        if self._redial is not None:
            self._redial.cancel()
        if self._transport is not None:
            self._machine.go_away()
            self.flush()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._machine.start()
        self.flush()

    def data_received(self, data: bytes) -> None:
        calls = self._calls
        bodies = self._bodies
        self._dirty = True  # what the callers send on is written below
        for event in self._machine.receive(data):
            if type(event) is RepliesReceived:
                for stream_id, body in zip(event.stream_ids, event.bodies, strict=True):
                    call = calls.pop(stream_id, None)
                    if call is not None:
                        if is_whole(body, MAX_MESSAGE):
                            call.message(body[PREFIX_SIZE:])
                        else:
                            self._feed(stream_id, call, body)
                            bodies.pop(stream_id, None)
                        self._end(call, event.trailers)
            elif type(event) is DataReceived:
                stream_id, body, _ = event
                call = calls.get(stream_id)
                if call is None:
                    self._machine.acknowledge(stream_id, len(body))
                elif stream_id not in bodies and is_whole(body, MAX_MESSAGE):
                    if stream_id in self._open:
                        self._machine.acknowledge(stream_id, len(body))
                    call.message(body[PREFIX_SIZE:])
                else:
                    self._feed(stream_id, call, body)
            elif type(event) is HeadersReceived:
                stream_id, headers, ended = event
                if ended:
                    call = calls.pop(stream_id, None)
                    bodies.pop(stream_id, None)
                    if call is not None:
                        self._end(call, headers)
            else:
                self._on_other(event)
        self.flush()
        if self._machine.closed is not None and self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        status = Status(Code.UNAVAILABLE, f"error reading from server: {error or 'EOF'}")
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error or ConnectionResetError("the server speaks no HTTP/2, or asks for TLS"))
            return
        calls = list(self._calls.values())
        self._calls.clear()
        self._bodies.clear()
        self._open.clear()
        if self._closed:
            return
        self._redial = self._loop.create_task(self._reconnect())
        for call in calls:
            call.end(status)

    async def _dial(self) -> None:
        self._machine = Connection(client=True, limits=WINDOW, whole=True)
        self._good_trailers = None
        self._ready = self._loop.create_future()
        host, port, encrypted = self._endpoint
        context = self._ssl if encrypted else None
        if not port:
            name = "localhost" if context is not None else None
            await self._loop.create_unix_connection(lambda: self, host, ssl=context, server_hostname=name)
        else:
            await self._loop.create_connection(lambda: self, host, port, ssl=context)
        await self._ready

    async def _reconnect(self) -> None:
        while not self._closed:
            try:
                await self._dial()
            except OSError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._send_waiting()
                return

    def _send_waiting(self) -> None:
        for _ in range(len(self._waiting)):
            self.call(*self._waiting.popleft())

    def _wake(self) -> None:
        if not self._dirty:
            self._dirty = True
            self._loop.call_soon(self.flush)

    def _head(self, path: str) -> Headers:
        host, port, encrypted = self._endpoint
        name = f"{host}:{port}" if port else "localhost"
        head: Headers = (
            (b":method", b"POST"),
            (b":scheme", b"https" if encrypted else b"http"),
            (b":path", path.encode()),
            (b":authority", name.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", USER_AGENT),
        )
        if self._token:
            head += ((b"token", self._token.encode()),)
        self._heads[path] = head
        return head

    def _feed(self, stream_id: int, call: Call, body: bytes) -> None:
        """A part of a message, or several."""
        self._machine.acknowledge(stream_id, len(body))
        reader = self._bodies.get(stream_id)
        if reader is None:
            reader = self._bodies[stream_id] = MessageReader(MAX_MESSAGE)
        for message in reader.feed(body):
            call.message(message)

    def _end(self, call: Call, trailers: Headers) -> None:
        call.end(None if trailers is self._good_trailers else self._outcome(trailers))
        if self._waiting:
            self._send_waiting()

    def _outcome(self, headers: Headers) -> Status | None:
        found = status_of_trailers(headers)
        if found is None:
            return status_of_http(int(dict(headers).get(b":status", b"0")))
        if found[0] != Code.OK:
            return Status(*found)
        if headers[0][0] != b":status":
            self._good_trailers = headers
        return None

    def _on_other(self, event: object) -> None:
        if isinstance(event, StreamReset):
            call = self._calls.pop(event.stream_id, None)
            self._bodies.pop(event.stream_id, None)
            if call is not None:
                call.end(status_of_reset(event.code))
        elif isinstance(event, SettingsReceived) and self._ready is not None and not self._ready.done():
            self._ready.set_result(None)


class Answer:
    """A call whose one reply somebody awaits."""

    def __init__(self, future: asyncio.Future[bytes]) -> None:
        self._future = future
        self._body = b""

    def message(self, body: bytes) -> None:
        self._body = body

    def end(self, error: Status | None) -> None:
        if self._future.done():
            return
        if error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(self._body)


async def ask(wire: Wire, path: str, request: bytes) -> bytes:
    """One call, for what is not measured. Raises Status."""
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    wire.call(path, request, Answer(future))
    return await future
