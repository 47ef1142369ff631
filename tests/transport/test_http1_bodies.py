"""Bodies that last, at the server: read as they come, written from wherever the news is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from grpc_support import until

from quorate.transport import body, http1
from quorate.transport.body import BodyWriter
from quorate.transport.mux import Listener, serve
from quorate.transport.web import HttpRequest, HttpResponse, text_response

STREAMED = frozenset({"/in", "/refuse", "/slow"})
POST = b"POST %b HTTP/1.1\r\nHost: h\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Site:
    """Takes bodies in, gives open ends out, and keeps what it saw."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.errors: list[Exception] = []
        self.writers: list[BodyWriter] = []
        self.closed = 0
        self.gate = asyncio.Event()
        self.finished = 0

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        match request.path:
            case "/in" | "/slow":
                assert request.chunks is not None and request.body == b""
                return await self.take(request, request.chunks)
            case "/refuse":
                return text_response(412, "cluster ID mismatch")
            case "/out":
                return HttpResponse(200, [("X-Y", "z")], self.attach)
            case "/bad-attach":
                return HttpResponse(200, (), self.fail)
        assert request.chunks is None
        return HttpResponse(200, (), request.body)

    async def take(self, request: HttpRequest, chunks: AsyncIterator[bytes]) -> HttpResponse:
        self.pieces.append(b"")
        try:
            async for piece in chunks:
                if request.path == "/slow":
                    await self.gate.wait()
                self.pieces.append(piece)
        except ConnectionError as error:
            self.errors.append(error)
            if request.query:
                raise
            return text_response(500, "failed to save")
        if request.query:
            await self.gate.wait()
        self.finished += 1
        return text_response(200, str(self.size))

    def attach(self, writer: BodyWriter) -> None:
        writer.on_close = self.count
        self.writers.append(writer)

    def count(self) -> None:
        self.closed += 1

    def fail(self, writer: BodyWriter) -> None:
        raise ZeroDivisionError


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[tuple[Site, Listener]]:
    handler = Site()
    listener = await serve(("127.0.0.1", 0), None, handler, streamed=STREAMED)
    try:
        yield handler, listener
    finally:
        listener.close()


@contextlib.asynccontextmanager
async def wire(listener: Listener, *, limit: int = 65536) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, limit=limit)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def whole(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of an answer with a Content-Length."""
    start = await head(reader)
    length = int(start.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return start, await reader.readexactly(length)


def reset_at_close(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_a_streamed_body_reaches_its_handler_before_it_is_whole() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(POST % b"/in" + b"Content-Length: 10\r\n\r\nhello")
        await until(lambda: handler.pieces == [b"", b"hello"])
        writer.write(b"world")
        assert (await whole(reader))[1] == b"10\n"
        assert b"".join(handler.pieces) == b"helloworld"


async def test_the_handler_is_called_with_the_head_alone() -> None:
    async with site() as (handler, listener), wire(listener) as (_, writer):
        writer.write(POST % b"/in" + CHUNKED)
        await until(lambda: handler.pieces == [b""])


async def test_a_chunked_body_streams_and_the_connection_goes_on() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        for size in (5, 10):
            writer.write(POST % b"/in" + CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            start, text = await whole(reader)
            assert b"connection: close" not in start.lower()
            assert text == b"%d\n" % size
        writer.write(POST % b"/echo" + b"Content-Length: 2\r\n\r\nok")
        assert (await whole(reader))[1] == b"ok"
        assert listener.connections == 1


async def test_requests_sent_behind_a_streamed_body_are_answered_in_order() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        one = POST % b"/in" + b"Content-Length: 1\r\n\r\nx"
        writer.write(one + POST % b"/echo" + b"Content-Length: 2\r\n\r\nok" + one)
        assert [(await whole(reader))[1] for _ in range(3)] == [b"1\n", b"ok", b"2\n"]


async def test_an_empty_streamed_body_ends_at_once() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /in HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await whole(reader))[1] == b"0\n"


async def test_a_caller_that_asks_first_may_send_a_streamed_body() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(POST % b"/in" + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await head(reader)).startswith(b"HTTP/1.1 100")
        writer.write(b"ok")
        assert (await whole(reader))[1] == b"2\n"


async def test_a_body_has_no_total_limit_and_waits_for_a_reader_that_lags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "BODY_LIMIT", 1000)
    size = 64 * 1_048_576
    sent = 0
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(POST % b"/slow" + b"Content-Length: %d\r\n\r\n" % size)
        piece = bytes(262_144)
        with pytest.raises(TimeoutError):
            while sent < size:
                writer.write(piece)
                sent += len(piece)
                async with asyncio.timeout(0.2):
                    await writer.drain()
        assert sent < size // 2
        handler.gate.set()
        while sent < size:
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
        assert (await whole(reader))[1] == b"%d\n" % size


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\n", CHUNKED + b"5\r\n"])
@pytest.mark.parametrize("abort", [True, False])
async def test_a_peer_that_leaves_midway_is_a_connection_error(framing: bytes, abort: bool) -> None:
    async with site() as (handler, listener):
        async with wire(listener) as (_, writer):
            writer.write(POST % b"/in" + framing + b"hel")
            await until(lambda: handler.size == 3)
            if abort:
                reset_at_close(writer)
        await until(lambda: len(handler.errors) == 1)
        await until(lambda: listener.connections == 0)
        assert handler.finished == 0


async def test_a_peer_that_half_closes_midway_hears_what_became_of_it() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(POST % b"/in" + b"Content-Length: 100\r\n\r\nhel")
        writer.write_eof()
        start, text = await whole(reader)
        assert start.startswith(b"HTTP/1.1 500 ") and text == b"failed to save\n"
        assert str(handler.errors[0]) == "body ended midway"
        assert await reader.read() == b""


@pytest.mark.parametrize(
    "bad", [b"zz\r\n", b"-1\r\n", b"0x5\r\n", b"3\r\nabcdef\r\n", b"fffffffffffffffffffffffffffff\r\n", b"\r\n"]
)
async def test_bad_framing_midway_is_a_connection_error_and_still_answered(bad: bytes) -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(POST % b"/in" + CHUNKED + b"2\r\nok\r\n" + bad)
        start, _ = await whole(reader)
        assert start.startswith(b"HTTP/1.1 500 ") and b"connection: close" in start.lower()
        assert await reader.read() == b""
        assert len(handler.errors) == 1


async def test_a_handler_that_lets_the_error_through_is_a_400_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        with caplog.at_level(logging.INFO):
            writer.write(POST % b"/in?raise=1" + CHUNKED + b"zz\r\n")
            assert (await whole(reader))[0].startswith(b"HTTP/1.1 400 ")
    assert "did not come whole" in caplog.text
    assert "Traceback" not in caplog.text


async def test_an_early_answer_is_heard_by_a_peer_that_is_still_sending() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(POST % b"/refuse" + b"Content-Length: 100000000\r\n\r\n")
        writer.write(bytes(100_000))
        start, text = await whole(reader)
        assert start.startswith(b"HTTP/1.1 412 ") and b"connection: close" in start.lower()
        assert text == b"cluster ID mismatch\n"
        assert await reader.read() == b""


async def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "PIECE_TIMEOUT", 0.05)
    async with site() as (handler, listener), wire(listener) as (_, writer):
        writer.write(POST % b"/in" + b"Content-Length: 100\r\n\r\nhel")
        await until(lambda: len(handler.errors) == 1)
        await until(lambda: listener.connections == 0)


async def test_a_reader_that_lags_costs_its_peer_no_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "PIECE_TIMEOUT", 0.05)
    monkeypatch.setattr(body, "HELD_HIGH", 100)
    monkeypatch.setattr(body, "HELD_LOW", 10)
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(POST % b"/slow" + CHUNKED)
        await until(lambda: len(handler.pieces) == 1)
        # The handler has the first piece in hand; the second one waits, and is above the limit.
        writer.write(b"1\r\nx\r\n3e8\r\n" + bytes(1000) + b"\r\n")
        await asyncio.sleep(0.15)
        assert not handler.errors and listener.connections == 1
        handler.gate.set()
        writer.write(b"0\r\n\r\n")
        assert (await whole(reader))[1] == b"1001\n"


async def test_work_on_a_whole_body_goes_on_when_its_sender_is_gone() -> None:
    async with site() as (handler, listener):
        async with wire(listener) as (_, writer):
            writer.write(POST % b"/in?wait=1" + b"Content-Length: 3\r\n\r\nabc")
            await until(lambda: handler.size == 3)
            reset_at_close(writer)
        await until(lambda: listener.connections == 0)
        handler.gate.set()
        await until(lambda: handler.finished == 1)


async def test_what_is_written_goes_out_chunk_by_chunk_at_once() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /out HTTP/1.1\r\nHost: h\r\n\r\n")
        start = (await head(reader)).lower()
        assert start.startswith(b"http/1.1 200 ok\r\n")
        assert b"transfer-encoding: chunked\r\n" in start and b"x-y: z\r\n" in start
        assert b"content-length" not in start
        (out,) = handler.writers
        sock = writer.get_extra_info("socket")
        out.write(b"hello")
        out.write(b"")
        out.write(b"x" * 300)
        # No turn of the loop between the write and its arrival in the other end's kernel.
        with socket.socket(fileno=os.dup(sock.fileno())) as copy:
            copy.setblocking(False)
            assert copy.recv(1000, socket.MSG_PEEK) == b"5\r\nhello\r\n12c\r\n" + b"x" * 300 + b"\r\n"
        assert out.pending == 0
        out.close()
        assert (await reader.read()).endswith(b"\r\n0\r\n\r\n")
        out.write(b"late")
        out.close()
        await until(lambda: handler.closed == 1)
        await until(lambda: listener.connections == 0)


async def test_a_peer_that_leaves_is_told_once() -> None:
    async with site() as (handler, listener):
        async with wire(listener) as (reader, writer):
            writer.write(b"GET /out HTTP/1.1\r\nHost: h\r\n\r\n")
            await head(reader)
        await until(lambda: handler.closed == 1)
        for _ in range(10):
            handler.writers[0].write(b"late")
        handler.writers[0].close()
        assert handler.closed == 1


async def test_an_http10_peer_gets_the_bytes_as_they_are() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /out HTTP/1.0\r\n\r\n")
        assert b"transfer-encoding" not in (await head(reader)).lower()
        handler.writers[0].write(b"hello")
        handler.writers[0].close()
        assert await reader.read() == b"hello"


async def test_the_head_alone_attaches_nobody() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(b"HEAD /out HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n")
        assert not handler.writers


async def test_a_peer_that_reads_nothing_is_seen_in_pending_and_cut_off_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http1, "STALL_TIMEOUT", 0.01)
    monkeypatch.setattr(body, "CLOSE_GRACE", 0.05)
    async with site() as (handler, listener), wire(listener, limit=1000) as (reader, writer):
        writer.write(b"GET /out HTTP/1.1\r\nHost: h\r\n\r\n")
        await head(reader)
        (out,) = handler.writers
        for _ in range(32):
            out.write(bytes(1_048_576))
        await asyncio.sleep(0.05)
        assert out.pending > 1_048_576
        assert handler.closed == 0
        out.close()
        await until(lambda: handler.closed == 1)


async def test_what_the_peer_says_meanwhile_is_ignored() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /out HTTP/1.1\r\nHost: h\r\n\r\nGET /out HTTP/1.1\r\nHost: h\r\n\r\n")
        await head(reader)
        writer.write(bytes(1_000_000))
        await writer.drain()
        handler.writers[0].write(b"hello")
        assert await reader.readexactly(10) == b"5\r\nhello\r\n"
        assert len(handler.writers) == 1


async def test_an_attachment_that_fails_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /bad-attach HTTP/1.1\r\nHost: h\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        assert "answering GET /bad-attach failed" in caplog.text


async def test_draining_ends_what_would_never_end() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /out HTTP/1.1\r\nHost: h\r\n\r\n")
        await head(reader)
        async with asyncio.timeout(5):
            await listener.drain(60)
        assert await reader.read() == b"0\r\n\r\n"
        assert handler.closed == 1
