"""A service with every kind of call, and a peer that speaks bare HTTP/2, for the tests of the gRPC room."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from quorate.api.errors import EmptyKey
from quorate.transport.grpc import (
    Bidi,
    Channel,
    Context,
    GrpcServer,
    ServerLimits,
    ServerStreaming,
    Status,
    Stream,
    Together,
    Unary,
)
from quorate.transport.http2 import Connection, Event, Headers, Limits
from quorate.transport.mux import Listener, serve

PREFIX = "/test.Service/"


def text(body: bytes) -> bytes:
    """The parser of the test service: its messages are bytes that do not begin with 0xFF."""
    if body.startswith(b"\xff"):
        raise ValueError("not a message")
    return body


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.002)


class Yields:
    """Awaitable, but no future."""

    def __await__(self) -> Any:
        yield "something"


class Service:
    """What the calls of a test saw and did."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.cancelled: list[str] = []
        self.started: list[str] = []
        self.gate: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.streams: list[Stream] = []
        self.groups: list[list[bytes]] = []

    def methods(self) -> dict[str, Any]:
        return {
            PREFIX + "Echo": Unary(text, self.echo),
            PREFIX + "Alike": Unary(text, self.echo, self.alike),
            PREFIX + "Wait": Unary(text, self.wait),
            PREFIX + "Turns": Unary(text, self.turns),
            PREFIX + "Odd": Unary(text, self.odd),
            PREFIX + "Guarded": Unary(text, self.guarded),
            PREFIX + "Fail": Unary(text, self.fail),
            PREFIX + "Big": Unary(text, self.big),
            PREFIX + "Count": ServerStreaming(text, self.count),
            PREFIX + "Flood": ServerStreaming(text, self.flood),
            PREFIX + "Sum": Bidi(text, self.sum),
            PREFIX + "Chat": Bidi(text, self.chat),
            PREFIX + "Ask": Bidi(text, self.chat, self.ask, self.ask_all),
            PREFIX + "Hang": Bidi(text, self.hang),
        }

    async def echo(self, request: bytes, context: Context) -> bytes:
        self.contexts.append(context)
        return request

    def alike(self, requests: list[bytes], context: Context) -> Together | None:
        """Answers calls together, unless one of them asks for something else."""
        self.groups.append(requests)
        if b"each" in requests:
            return None
        if b"bad" in requests:
            raise EmptyKey
        if b"wait" in requests:
            return self._wait_for_all(requests)
        return [b"all " + request for request in requests]

    async def _wait_for_all(self, requests: list[bytes]) -> list[bytes]:
        try:
            await self.gate
        except asyncio.CancelledError:
            self.cancelled.append("alike")
            raise
        return [b"late " + request for request in requests]

    async def wait(self, request: bytes, context: Context) -> bytes:
        self.started.append("wait")
        try:
            return request + await self.gate
        except asyncio.CancelledError:
            self.cancelled.append("wait")
            raise

    def guarded(self, request: bytes, context: Context) -> Coroutine[Any, Any, bytes]:
        """A handler that judges before there is a coroutine."""
        if request.startswith(b"no"):
            raise EmptyKey
        return self.echo(request, context)

    async def odd(self, request: bytes, context: Context) -> bytes:
        """A handler that does what handlers should not."""
        match request:
            case b"cancelled":
                future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                future.cancel()
                return await future
            case b"generator":
                await Yields()
            case b"timeout":
                async with asyncio.timeout(1):
                    await asyncio.sleep(0)
            case b"stubborn":
                self.started.append("stubborn")
                try:
                    await self.gate
                finally:
                    self.cancelled.append("stubborn")
                    await asyncio.sleep(1)
        return b""

    async def turns(self, request: bytes, context: Context) -> bytes:
        for _ in range(3):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return request

    async def fail(self, request: bytes, context: Context) -> bytes:
        match request:
            case b"etcd":
                raise EmptyKey
            case b"status":
                raise Status(7, "verboten: 100 % ä €\n")
            case b"late":
                await asyncio.sleep(0.001)
                raise Status(5, "late")
            case b"none":
                return None  # type: ignore[return-value]
            case _:
                raise ZeroDivisionError("a secret of the server")

    async def big(self, request: bytes, context: Context) -> bytes:
        return b"x" * int(request)

    async def count(self, request: bytes, stream: Stream) -> None:
        for number in range(int(request)):
            stream.send(b"%d" % number)
            await asyncio.sleep(0)
        if request == b"3":
            raise Status(9, "three is enough")

    async def flood(self, request: bytes, stream: Stream) -> None:
        """Sends as much as is asked for, in pieces of 10,000 bytes, waiting whenever much is pending."""
        self.streams.append(stream)
        for _ in range(int(request)):
            stream.send(b"x" * 10_000)
            if stream.pending > 200_000:
                await stream.drain()

    async def sum(self, stream: Stream) -> None:
        total = 0
        while (message := await stream.receive()) is not None:
            total += int(message)
        stream.send(b"%d" % total)

    def ask(self, request: bytes, stream: Stream) -> bytes | None:
        """Answers at once, unless it is asked to wait."""
        if request == b"bad":
            raise EmptyKey
        return None if request.startswith(b"wait") else b"at once " + request

    def ask_all(self, requests: list[bytes], context: Context) -> list[bytes] | None:
        return None if b"wait" in requests else [b"all " + request for request in requests]

    async def chat(self, stream: Stream) -> None:
        self.contexts.append(stream.context)
        while (message := await stream.receive()) is not None:
            if message == b"bye":
                return
            if message == b"crash":
                raise ZeroDivisionError
            stream.send(b"you said " + message)

    async def hang(self, stream: Stream) -> None:
        self.streams.append(stream)
        self.started.append("hang")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.append("hang")
            raise


Serving = tuple[Service, Listener]


@contextlib.asynccontextmanager
async def serving(
    limits: ServerLimits | None = None, http2: Limits | None = None, **options: Any
) -> AsyncIterator[Serving]:
    """The test service on a free port of this machine."""
    service = Service()
    listener = await serve(("127.0.0.1", 0), GrpcServer(service.methods(), limits, http2, **options), None)
    try:
        yield service, listener
    finally:
        listener.close()


@contextlib.asynccontextmanager
async def channel_to(port: int, **options: Any) -> AsyncIterator[Channel]:
    channel = Channel("127.0.0.1", port, **options)
    try:
        yield channel
    finally:
        await channel.close()


async def outcome(call: Awaitable[Any]) -> tuple[int, str]:
    """Code and text of a call that must fail."""
    try:
        result = await call
    except Status as status:
        return int(status.code), status.message
    raise AssertionError(f"the call succeeded: {result!r}")


def request_headers(method: str = "Echo", *extra: tuple[bytes, bytes], **replace: bytes) -> Headers:
    """A request's head, with some fields other than usual: `verb`, `kind`, `path`."""
    return (
        (b":method", replace.get("verb", b"POST")),
        (b":scheme", b"http"),
        (b":path", replace.get("path", (PREFIX + method).encode())),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", replace.get("kind", b"application/grpc")),
        *extra,
    )


class Peer:
    """A client made of the HTTP/2 machine and a socket: does what no good client does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, http2: Limits) -> None:
        self.machine = Connection(client=True, limits=http2)
        self.reader = reader
        self.writer = writer
        self.events: list[Event] = []
        self.machine.start()
        self.flush()

    @classmethod
    async def connect(cls, port: int, http2: Limits | None = None) -> Peer:
        return cls(*await asyncio.open_connection("127.0.0.1", port), http2 or Limits())

    def flush(self) -> None:
        self.writer.write(self.machine.output())

    def call(self, headers: Headers, body: bytes = b"", end_stream: bool = True) -> int:
        """Open a stream, send what is given, return its id."""
        stream_id = self.machine.open_stream(headers, False)
        self.machine.send_data(stream_id, body, end_stream)
        self.flush()
        return stream_id

    async def read(self) -> bool:
        """Take one read's events; False at the end of the connection."""
        data = await self.reader.read(65_536)
        self.events += self.machine.receive(data)
        self.flush()
        return bool(data)

    async def event(self, kind: type[Any], stream_id: int | None = None, seconds: float = 5.0) -> Any:
        """The next event of a kind; earlier ones of it are used up."""
        async with asyncio.timeout(seconds):
            while True:
                for number, event in enumerate(self.events):
                    if isinstance(event, kind) and stream_id in (None, getattr(event, "stream_id", None)):
                        del self.events[number]
                        return event
                if not await self.read():
                    raise EOFError(f"closed; seen: {self.events}")

    async def closed(self, seconds: float = 5.0) -> None:
        """Wait for the server to hang up."""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError):
                while await self.read():
                    pass

    def close(self) -> None:
        self.writer.close()
