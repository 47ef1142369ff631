"""What our client makes of servers that answer oddly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from grpc_support import PREFIX, channel_to, outcome, until

from quorate.api.errors import Code
from quorate.transport.grpc import ChannelLimits
from quorate.transport.grpc.framing import frame, frame_gzip
from quorate.transport.http2 import Connection, ErrorCode, Headers, HeadersReceived, Limits

HEAD: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))
OK: Headers = ((b"grpc-status", b"0"),)

Script = Callable[[Connection, int], None]


@contextlib.asynccontextmanager
async def scripted(script: Script, limits: Limits | None = None) -> AsyncIterator[tuple[int, list[int]]]:
    """A server that runs a script for each request; the port, and the ids of the streams it saw."""
    seen: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        machine = Connection(client=False, limits=limits or Limits())
        machine.start()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                for event in machine.receive(data):
                    if isinstance(event, HeadersReceived):
                        seen.append(event.stream_id)
                        script(machine, event.stream_id)
                writer.write(machine.output())
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()


def answers(*parts: Headers | bytes, ended: bool = True) -> Script:
    """A script that sends headers and data one after another."""

    def script(machine: Connection, stream_id: int) -> None:
        for number, part in enumerate(parts):
            last = ended and number == len(parts) - 1
            if isinstance(part, bytes):
                machine.send_data(stream_id, part, last)
            else:
                machine.send_headers(stream_id, part, last)

    return script


def resets(code: int) -> Script:
    return lambda machine, stream_id: machine.reset_stream(stream_id, code)


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        (answers(((b":status", b"502"), (b"content-type", b"text/html")), b"<p>"), 14, "received from server: 502"),
        (answers(((b":status", b"404"),)), 12, "HTTP status code received from server: 404"),
        (answers(((b":status", b"200"), (b"content-type", b"text/html")), b"<p>"), 2, "content-type 'text/html'"),
        (answers((*HEAD, (b"grpc-status", b"5"), (b"grpc-message", b"gone%21"))), 5, "gone!"),
        (answers(((b":status", b"415"), (b"grpc-status", b"3"), (b"grpc-message", b"no"))), 3, "no"),
        (answers(HEAD, frame(b"x"), ((b"other", b"0"),)), 13, "without sending grpc-status"),
        (answers(HEAD, frame(b"x")), 13, "without sending trailers"),
        (answers(HEAD, OK), 13, "received no response message"),
        (answers((*HEAD, *OK)), 13, "received no response message"),
        (answers(HEAD, frame(b"a") + frame(b"b"), OK), 13, "expected one response message"),
        (answers(HEAD, frame(b"a"), frame(b""), OK), 13, "expected one response message"),
        (answers(HEAD, frame_gzip(b"a"), OK), 13, "compressed flag set with identity or empty encoding"),
        (answers((*HEAD, (b"grpc-encoding", b"snappy")), frame(b"a"), OK), 13, 'for grpc-encoding "snappy"'),
        (answers(HEAD, frame(b"a"), ((b"grpc-status", b"77"),)), 2, ""),
        (resets(ErrorCode.CANCEL), 1, "RST_STREAM with error code: CANCEL"),
        (resets(ErrorCode.ENHANCE_YOUR_CALM), 8, "ENHANCE_YOUR_CALM"),
        (resets(ErrorCode.INTERNAL_ERROR), 13, "INTERNAL_ERROR"),
        (resets(99), 13, "RST_STREAM with error code: 99"),
    ],
)  # fmt: skip
async def test_an_odd_answer_is_a_status(script: Script, code: int, text: str) -> None:
    async with scripted(script) as (port, _), channel_to(port) as channel:
        found, message = await outcome(channel.unary(PREFIX + "Echo", b"x", timeout=5.0))
        assert found == code
        assert text in message


async def drained(port: int) -> tuple[int, str]:
    """How a stream ends, whatever messages come before."""
    async with channel_to(port) as channel:
        stream = channel.stream(PREFIX + "Chat", timeout=5.0)

        async def read() -> None:
            while await stream.receive() is not None:
                pass

        return await outcome(read())


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (answers(((b":status", b"503"),)), 14),
        (answers(HEAD, frame(b"x"), ((b"grpc-status", b"9"),)), 9),
        (answers(HEAD, b"\0\0\0\0\5abc", OK), 13),
        (answers(HEAD, b"\7\0\0\0\5abc"), 13),
        (answers(HEAD, frame(b"x")), 13),
        (resets(ErrorCode.PROTOCOL_ERROR), 13),
    ],
)
async def test_an_odd_end_of_a_stream_is_a_status(script: Script, code: int) -> None:
    async with scripted(script) as (port, _):
        assert (await drained(port))[0] == code


async def test_gzip_from_a_server_is_understood() -> None:
    gzip_head = (*HEAD, (b"grpc-encoding", b"gzip"))
    async with scripted(answers(gzip_head, frame_gzip(b"a" * 1000), OK)) as (port, _), channel_to(port) as channel:
        for _ in range(3):
            assert await channel.unary(PREFIX + "Echo", b"") == b"a" * 1000
        stream = channel.stream(PREFIX + "Chat")
        assert await stream.receive() == b"a" * 1000


async def test_a_reply_may_come_in_pieces() -> None:
    pieces = [bytes([byte]) for byte in frame(b"slowly")]
    async with scripted(answers(HEAD, *pieces, OK)) as (port, _), channel_to(port) as channel:
        assert await channel.unary(PREFIX + "Echo", b"") == b"slowly"


async def test_a_refused_call_is_tried_again_and_then_given_up() -> None:
    async with scripted(resets(ErrorCode.REFUSED_STREAM)) as (port, seen), channel_to(port) as channel:
        assert (await outcome(channel.unary(PREFIX + "Echo", b"")))[0] == 14
        assert seen == [1, 3, 5]


async def test_calls_the_server_never_saw_go_to_a_new_connection() -> None:
    """GOAWAY that leaves out what was sent: those calls are safe to repeat."""
    served: list[int] = []

    def script(machine: Connection, stream_id: int) -> None:
        if not served:
            machine.go_away()
            machine.go_away(last_stream_id=0)
        else:
            answers(HEAD, frame(b"%d" % stream_id), OK)(machine, stream_id)
        served.append(stream_id)

    async with scripted(script) as (port, _), channel_to(port) as channel:
        assert await channel.unary(PREFIX + "Echo", b"", timeout=5.0) == b"1"
        assert await channel.unary(PREFIX + "Echo", b"", timeout=5.0) == b"3"
        assert served == [1, 1, 3]


async def test_why_a_server_went_away_is_told() -> None:
    def script(machine: Connection, stream_id: int) -> None:
        machine.go_away(ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings", last_stream_id=stream_id)

    async def handle(port: int) -> tuple[int, str]:
        async with channel_to(port) as channel:
            call = asyncio.create_task(outcome(channel.unary(PREFIX + "Echo", b"", timeout=5.0)))
            await until(lambda: channel._connection is None and bool(channel._leaving))
            next(iter(channel._leaving)).transport.abort()
            return await call

    async with scripted(script) as (port, _):
        code, text = await handle(port)
        assert code == 14
        assert "GOAWAY" in text
        assert text.endswith("too_many_pings")


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "SETTINGS"), (b"\0" * 100, "SETTINGS"), (b"", "")],
)
async def test_a_server_of_another_kind_is_unavailable(greeting: bytes, reason: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with channel_to(server.sockets[0].getsockname()[1]) as channel:
        code, text = await outcome(channel.unary(PREFIX + "Echo", b""))
        assert code == 14
        assert text.startswith('connection error: desc = "error reading server preface: ')
        assert reason in text
        assert (await outcome(channel.stream(PREFIX + "Chat").receive()))[0] == 14
    server.close()


async def test_a_server_that_always_goes_away_is_given_up() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        machine = Connection(client=False)
        machine.start()
        machine.go_away()
        machine.go_away()
        writer.write(machine.output())
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with channel_to(server.sockets[0].getsockname()[1]) as channel:
        assert (await outcome(channel.unary(PREFIX + "Echo", b"", timeout=5.0)))[0] == 14
        assert (await outcome(channel.stream(PREFIX + "Chat", timeout=5.0).receive()))[0] == 14
    server.close()


async def test_connecting_takes_no_longer_than_its_limit() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with channel_to(port, limits=ChannelLimits(connect_timeout=0.05)) as channel:
        code, text = await outcome(channel.unary(PREFIX + "Echo", b""))
        assert code == 14
        assert text.endswith('i/o timeout"')
    server.close()


async def test_each_call_ends_at_its_own_deadline_whichever_came_first() -> None:
    """They share one timer."""
    seconds = [30.0, 0.3, 0.05, 0.2, 0.1]
    ended: list[tuple[float, float]] = []
    loop = asyncio.get_running_loop()

    async with scripted(lambda machine, stream_id: None) as (port, seen), channel_to(port) as channel:
        begun = loop.time()

        async def call(timeout: float) -> None:
            code, _ = await outcome(channel.unary(PREFIX + "Echo", b"", timeout=timeout))
            assert code == Code.DEADLINE_EXCEEDED
            ended.append((timeout, loop.time() - begun))

        calls = [asyncio.create_task(call(timeout)) for timeout in seconds]
        await asyncio.wait(calls[1:])
        assert [timeout for timeout, _ in ended] == sorted(seconds[1:])
        assert all(took >= timeout - 0.002 for timeout, took in ended), ended
        await until(lambda: len(seen) == len(seconds))
        calls[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await calls[0]


async def test_a_call_that_is_started_needs_a_connection_and_room() -> None:
    one = Limits(max_concurrent_streams=1)
    async with scripted(answers(HEAD, frame(b"x"), OK), one) as (port, _), channel_to(port) as channel:
        path = PREFIX + "Echo"
        assert channel.start(path, b"", 5.0, ()) is None, "not connected"
        assert await channel.unary(path, b"", timeout=5.0) == b"x"
        started = channel.start(path, b"", 5.0, ())
        assert started is not None
        assert channel.start(path, b"", 5.0, ()) is None, "one stream at a time"
        assert await started.future == b"x"
        given_up = channel.start(path, b"", 5.0, ())
        assert given_up is not None
        given_up.give_up()
        assert await channel.unary(path, b"", timeout=5.0) == b"x", "its stream is free again"
