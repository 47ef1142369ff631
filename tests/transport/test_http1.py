"""HTTP/1.1 by hand, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
from grpc_support import until

from quorate.transport import http1
from quorate.transport.mux import Listener, serve
from quorate.transport.web import HttpRequest, HttpResponse, text_response


class Site:
    """A handler that keeps what it saw."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.closed: list[str] = []
        self.gate = asyncio.Event()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        match request.path:
            case "/crash":
                raise ZeroDivisionError("a secret of the server")
            case "/count":
                return HttpResponse(200, [("Content-Type", "text/plain")], self.count())
            case "/crash-late":
                return HttpResponse(200, (), self.crash_late())
            case "/endless":
                return HttpResponse(200, (), self.endless())
            case "/flood":
                return HttpResponse(200, (), self.flood())
            case "/wait":
                await self.gate.wait()
            case "/empty":
                return HttpResponse(204)
            case "/big":
                return HttpResponse(200, (), b"x" * 200_000)
            case "/echo":
                return HttpResponse(200, (), request.body)
        return text_response(404, "404 page not found")

    async def count(self) -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number
            await asyncio.sleep(0)

    async def crash_late(self) -> AsyncIterator[bytes]:
        yield b"so far"
        raise ZeroDivisionError

    async def endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick"
                await asyncio.sleep(0.01)
        finally:
            self.closed.append("endless")

    async def flood(self) -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 100_000
            self.closed.append("chunk")


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[tuple[Site, Listener]]:
    handler = Site()
    listener = await serve(("127.0.0.1", 0), None, handler)
    try:
        yield handler, listener
    finally:
        listener.close()


Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def wire(listener: Listener) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()


async def response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One response: status, headers, body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in head[1:] if line)}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split()[1]), headers, body


async def test_a_request_reaches_the_handler_as_it_was_sent() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(
            b"POST /echo%20me/../x?a=1&b=&a=2%203 HTTP/1.1\r\nHost: here\r\nX-Y: z\r\nContent-Length: 4\r\n\r\nbody"
        )
        status, headers, body = await response(reader)
        assert (status, body) == (404, b"404 page not found\n")
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert headers["date"].endswith(" GMT")
        (request,) = handler.requests
        assert request.method == "POST"
        assert request.target == "/echo%20me/../x?a=1&b=&a=2%203"
        assert request.path == "/echo me/../x"
        assert request.query == {"a": ["1", "2 3"], "b": [""]}
        assert (request.header("host"), request.header("x-y"), request.header("none")) == ("here", "z", None)
        assert request.body == b"body"
        assert request.peer.startswith("127.0.0.1:")
        assert request.extra("peername")[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("//double//slash", "//double//slash"),
        ("http://host/absolute?x=1", "/absolute"),
        ("*", "*"),
        ("http://[/", "http://[/"),
        ("/%ff", "/\ufffd"),
    ],
)
async def test_odd_targets_have_a_path(target: str, path: str) -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(f"OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        await response(reader)
        assert handler.requests[0].path == path


async def test_a_connection_serves_request_after_request() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        for number in range(3):
            body = b"%d" % number
            writer.write(b"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n" + body)
            assert (await response(reader))[2] == body
        assert len(handler.requests) == 3
        assert listener.connections == 1


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        for number in range(5):
            writer.write(b"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n%d" % number)
        assert [(await response(reader))[2] for _ in range(5)] == [b"%d" % number for number in range(5)]


async def test_a_peer_that_sends_far_ahead_is_not_read_and_loses_nothing() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: len(handler.requests) == 1)
        big = b"x" * 1_000_000
        for _ in range(10):
            writer.write(b"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + big)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await writer.drain()
        assert len(handler.requests) == 1
        handler.gate.set()
        assert (await response(reader))[0] == 404
        for _ in range(10):
            assert (await response(reader))[2] == big


async def test_requests_sent_ahead_wait_until_the_answers_before_them_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "STALL_TIMEOUT", 0.1)
    async with site() as (handler, listener), wire(listener) as (_, writer):
        writer.write(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n" * 200)
        await until(lambda: handler.requests and listener.connections == 0)
        assert len(handler.requests) < 200


async def test_a_chunked_request_is_one_body() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(
            b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert (await response(reader))[2] == b"abcde"


async def test_a_caller_that_asks_first_is_told_to_continue() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 \r\n\r\n"
        writer.write(b"ok")
        assert (await response(reader))[2] == b"ok"


async def test_an_iterator_is_sent_in_chunks_as_it_yields() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /count HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
        for _ in range(2):
            status, headers, body = await response(reader)
            assert (status, headers["transfer-encoding"], body) == (200, "chunked", b"0\n1\n2\n")


async def test_an_http10_caller_gets_the_end_of_the_connection() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /count HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n0\n1\n2\n")


async def test_head_and_204_have_no_body() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\nHEAD /count HTTP/1.1\r\nHost: h\r\n\r\n")
        writer.write(b"GET /empty HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answers = (await reader.read()).split(b"\r\n\r\n")
        assert [answer.split(b"\r\n")[0] for answer in answers] == [
            b"HTTP/1.1 404 Not Found",
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 204 No Content",
            b"",
        ]
        assert b"Content-Length: 19" in answers[0]
        assert b"Content-Length" not in answers[2]


async def test_a_caller_that_half_closes_still_gets_its_answer() -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        writer.write_eof()
        await until(lambda: len(handler.requests) == 1)
        await asyncio.sleep(0.01)
        handler.gate.set()
        assert (await reader.read()).startswith(b"HTTP/1.1 404 Not Found\r\n")


async def test_a_handler_that_fails_is_a_500_and_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        with caplog.at_level(logging.ERROR):
            writer.write(b"GET /crash HTTP/1.1\r\nHost: h\r\n\r\n")
            status, headers, body = await response(reader)
        assert (status, body) == (500, b"Internal Server Error\n")
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert "a secret of the server" in caplog.text
        writer.write(b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await response(reader))[0] == 200
    assert capfd.readouterr().err == ""


async def test_an_answer_that_fails_on_its_way_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(b"GET /crash-late HTTP/1.1\r\nHost: h\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not (await reader.read()).endswith(b"0\r\n\r\n")
        assert "answering GET /crash-late failed" in caplog.text


async def test_a_caller_that_leaves_ends_the_stream() -> None:
    async with site() as (handler, listener):
        async with wire(listener) as (reader, writer):
            writer.write(b"GET /endless HTTP/1.1\r\nHost: h\r\n\r\n")
            await reader.readuntil(b"tick")
        await until(lambda: handler.closed == ["endless"])
        await until(lambda: listener.connections == 0)


async def test_a_slow_reader_slows_the_stream_and_a_stuck_one_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "STALL_TIMEOUT", 0.1)
    async with site() as (handler, listener), wire(listener) as (_, writer):
        writer.write(b"GET /flood HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: listener.connections == 0)
        assert 0 < len(handler.closed) < 1000


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 300_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
async def test_a_request_that_is_none_is_refused(sent: bytes, status: int) -> None:
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(sent)
        answered, headers, _ = await response(reader)
        assert (answered, headers["connection"]) == (status, "close")
        assert await reader.read() == b""
        assert not handler.requests


async def test_a_body_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "BODY_LIMIT", 1000)
    async with site() as (handler, listener), wire(listener) as (reader, writer):
        writer.write(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))
        assert (await response(reader))[0] == 413
        assert not handler.requests


@pytest.mark.parametrize(
    ("limit", "sent"),
    [
        ("HEAD_TIMEOUT", b"GET / HTTP/1.1\r\nHost: h\r\n"),
        ("BODY_TIMEOUT", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhalf"),
        ("IDLE_TIMEOUT", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ],
)
async def test_a_peer_that_takes_too_long_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, limit: str, sent: bytes
) -> None:
    monkeypatch.setattr(http1, limit, 0.05)
    async with site() as (_, listener), wire(listener) as (reader, writer):
        writer.write(sent)
        await reader.read()
        await until(lambda: listener.connections == 0)


async def test_a_request_may_trickle_in() -> None:
    async with site() as (_, listener), wire(listener) as (reader, writer):
        for byte in b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await response(reader))[2] == b"ok"
