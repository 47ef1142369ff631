"""Streams of HTTP/1.1 over real sockets: from our own server, from Python's, and from servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from grpc_support import until
from http1_support import calls, says, stub

from quorate.transport.body import BodyWriter
from quorate.transport.http1_client import ClientStream, HttpClient, HttpError
from quorate.transport.mux import Listener, serve
from quorate.transport.tls import ClientTls, ServerTls, TlsSettings
from quorate.transport.web import HttpRequest, HttpResponse, text_response

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Ear:
    """Hears a stream."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.outcomes: list[Exception | None] = []
        self.hook: Callable[[], None] = lambda: None

    @property
    def heard(self) -> bytes:
        return b"".join(self.pieces)

    def received(self, piece: bytes) -> None:
        assert piece and not self.outcomes
        self.pieces.append(piece)
        self.hook()

    def closed(self, outcome: Exception | None) -> None:
        self.outcomes.append(outcome)


async def tune(client: HttpClient, where: str, ear: Ear, timeout: float | None = 5) -> ClientStream:
    return await client.stream(
        "GET", where, headers=[("X-Raft-To", "2")], received=ear.received, closed=ear.closed, timeout=timeout
    )


class Station:
    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.writers: list[BodyWriter] = []
        self.gate = asyncio.Event()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        match request.path:
            case "/gone":
                return text_response(410, "removed member", [("X-Server-Version", "3.5.1")])
            case "/big":
                return HttpResponse(500, (), bytes(2_000_000))
            case "/none":
                return HttpResponse(204)
            case "/wait":
                await self.gate.wait()
            case "/whole":
                return text_response(200, "that is all")
        return HttpResponse(200, [("X-Server-Version", "3.5.1")], self.writers.append)


@contextlib.asynccontextmanager
async def station(tls: ServerTls | None = None) -> AsyncIterator[tuple[Station, Listener, str]]:
    handler = Station()
    listener = await serve(("127.0.0.1", 0), None, handler, tls=tls)
    scheme = "http" if tls is None else "https"
    try:
        yield handler, listener, f"{scheme}://127.0.0.1:{listener.port}/stream"
    finally:
        listener.close()


async def test_what_is_written_at_one_end_is_heard_at_the_other() -> None:
    ear = Ear()
    async with station() as (handler, listener, where), calls() as client:
        stream = await tune(client, where, ear)
        assert (stream.status, stream.header("x-server-version"), stream.reply) == (200, "3.5.1", b"")
        assert stream.peer == f"127.0.0.1:{listener.port}"
        assert handler.requests[0].header("x-raft-to") == "2"
        (out,) = handler.writers
        for size in (1, 100, 1_000_000):
            out.write(b"x" * size)
        await until(lambda: len(ear.heard) == 1_000_101)
        out.close()
        await until(lambda: ear.outcomes == [None])


async def test_a_message_arrives_while_the_stream_stays_open() -> None:
    ear = Ear()
    async with station() as (handler, _, where), calls() as client:
        await tune(client, where, ear)
        for number in range(100):
            handler.writers[0].write(b"%03d" % number)
            await until(lambda: len(ear.heard) == 3 * (number + 1))  # noqa: B023
        assert not ear.outcomes


async def test_the_caller_hangs_up() -> None:
    ear = Ear()
    async with station() as (handler, listener, where), calls() as client:
        stream = await tune(client, where, ear)
        gone: list[bool] = []
        handler.writers[0].on_close = lambda: gone.append(True)
        stream.close()
        handler.writers[0].write(b"late")
        await until(lambda: ear.outcomes == [None] and gone == [True])
        stream.close()
        assert ear.pieces == [] and ear.outcomes == [None]
        await until(lambda: listener.connections == 0)


async def test_hanging_up_from_within_stops_at_once() -> None:
    ear = Ear()
    async with station() as (handler, _, where), calls() as client:
        stream = await tune(client, where, ear)
        ear.hook = stream.close
        handler.writers[0].write(b"one")
        await until(lambda: len(ear.outcomes) == 1)
        handler.writers[0].write(b"two")
        assert (ear.pieces, ear.outcomes) == ([b"one"], [None])


async def test_a_listener_that_fails_ends_the_stream() -> None:
    ear = Ear()

    def fail() -> None:
        raise ZeroDivisionError

    async with station() as (handler, listener, where), calls() as client:
        await tune(client, where, ear)
        ear.hook = fail
        handler.writers[0].write(b"one")
        await until(lambda: listener.connections == 0)
        assert [type(outcome) for outcome in ear.outcomes] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("path", "status", "reply"),
    [("/gone", 410, b"removed member\n"), ("/none", 204, b""), ("/big", 500, bytes(65_536))],
)
async def test_any_other_status_is_an_answer_and_no_stream(path: str, status: int, reply: bytes) -> None:
    ear = Ear()
    async with station() as (_, listener, where), calls() as client:
        stream = await tune(client, where.replace("/stream", path), ear)
        assert (stream.status, stream.reply) == (status, reply)
        await until(lambda: listener.connections == 0)
        stream.close()
        assert not ear.pieces and not ear.outcomes


async def test_a_stream_with_a_length_ends_with_it() -> None:
    ear = Ear()
    async with station() as (_, _, where), calls() as client:
        await tune(client, where.replace("/stream", "/whole"), ear)
        await until(lambda: ear.outcomes == [None])
        assert ear.heard == b"that is all\n"


async def test_the_head_has_to_come_in_time() -> None:
    ear = Ear()
    async with station() as (handler, _, where), calls() as client:
        with pytest.raises(TimeoutError):
            await tune(client, where.replace("/stream", "/wait"), ear, 0.05)
        handler.gate.set()
        await until(lambda: not client._open)
        assert not ear.pieces and not ear.outcomes


async def test_a_server_that_dies_is_an_error() -> None:
    ear = Ear()
    async with station() as (_, listener, where), calls() as client:
        await tune(client, where, ear)
        listener.close()
        await until(lambda: len(ear.outcomes) == 1)
        assert isinstance(ear.outcomes[0], HttpError | OSError)


async def test_closing_the_client_ends_its_streams() -> None:
    ear = Ear()
    async with station() as (_, listener, where), calls() as client:
        await tune(client, where, ear)
        await client.close()
        assert len(ear.outcomes) == 1
        await until(lambda: listener.connections == 0)
        with pytest.raises(HttpError):
            await tune(client, where, ear)


@pytest.mark.parametrize(
    "bad",
    [b"-1\r\n", b"0x10\r\n", b"ffffffffffffffffff\r\n", b"\r\n", b"zz", b"x" * 1000, b"3\r\nabcdef", b"3\nabc\n"],
)
async def test_bad_framing_ends_the_stream(bad: bytes) -> None:
    ear = Ear()
    async with stub(says(HEAD + b"2\r\nok\r\n" + bad)) as where, calls() as client:
        await tune(client, where, ear)
        await until(lambda: len(ear.outcomes) == 1)
        assert isinstance(ear.outcomes[0], HttpError)


@pytest.mark.parametrize("rest", [b"", b"2", b"2\r\n", b"2\r\no", b"2\r\nok", b"2\r\nok\r\n", b"0\r\n"])
async def test_a_stream_that_stops_midway_did_not_end_well(rest: bytes) -> None:
    ear = Ear()
    async with stub(says(HEAD + rest)) as where, calls() as client:
        await tune(client, where, ear)
        await until(lambda: len(ear.outcomes) == 1)
        assert isinstance(ear.outcomes[0], HttpError)
        assert ear.heard == b"ok"[: max(0, len(rest) - 3)] if rest[:1] == b"2" else not ear.heard


@pytest.mark.parametrize("step", [1, 3])
async def test_a_stream_may_trickle_in(step: int) -> None:
    wire = HEAD + b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n"

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(wire), step):
            writer.write(wire[at : at + step])
            await asyncio.sleep(0)

    ear = Ear()
    async with stub(trickle) as where, calls() as client:
        await tune(client, where, ear)
        await until(lambda: ear.outcomes == [None])
        assert ear.heard == b"hello!"


async def test_a_stream_of_http10_lasts_as_long_as_its_connection() -> None:
    ear = Ear()
    async with stub(says(b"HTTP/1.0 200 OK\r\n\r\nhello")) as where, calls() as client:
        await tune(client, where, ear)
        await until(lambda: ear.outcomes == [None])
        assert ear.heard == b"hello"


@pytest.mark.parametrize(
    "answer", [b"", b"NONSENSE\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, b"HTTP/1.1 500 E\r\nContent-L"]
)
async def test_a_head_that_is_none_is_an_error(answer: bytes) -> None:
    ear = Ear()
    async with stub(says(answer)) as where, calls() as client:
        with pytest.raises((HttpError, ConnectionError)):
            await tune(client, where, ear)
        assert not ear.pieces and not ear.outcomes


async def test_a_head_after_another_that_says_wait_is_the_head() -> None:
    ear = Ear()
    async with stub(says(b"HTTP/1.1 102 Processing\r\n\r\n" + HEAD + b"0\r\n\r\n")) as where, calls() as client:
        assert (await tune(client, where, ear)).status == 200
        await until(lambda: ear.outcomes == [None])


# -- foreign ends, TLS ------------------------------------------------------------------------------------------------


class Foreign(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(1000):
            self.wfile.write(b"%x\r\n" % (number + 1) + b"x" * (number + 1) + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def foreign() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_stream_of_a_foreign_server_is_understood(foreign: str) -> None:
    ear = Ear()
    async with calls() as client:
        await tune(client, foreign, ear)
        await until(lambda: ear.outcomes == [None])
        assert len(ear.heard) == 500_500


async def test_a_foreign_caller_understands_a_stream() -> None:
    def read(port: int) -> tuple[int, list[bytes]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/stream")
        answer = connection.getresponse()
        pieces = [answer.read(5), answer.read1(), answer.read()]
        connection.close()
        return answer.status, pieces

    async with station() as (handler, listener, _):
        caller = asyncio.create_task(asyncio.to_thread(read, listener.port))
        await until(lambda: len(handler.writers) == 1)
        handler.writers[0].write(b"hello")
        handler.writers[0].write(b"world")
        handler.writers[0].write(b"x" * 100_000)
        handler.writers[0].close()
        status, pieces = await caller
        assert (status, b"".join(pieces)) == (200, b"helloworld" + b"x" * 100_000)


async def test_a_stream_runs_over_tls(certificate: Path) -> None:
    server = ServerTls(TlsSettings(cert_file=str(certificate), key_file=str(certificate)))
    ear = Ear()
    async with station(server) as (handler, _, where):
        client = HttpClient(tls=ClientTls(TlsSettings(trusted_ca_file=str(certificate))), connect_timeout=5)
        await tune(client, where, ear)
        for size in (1, 100, 5_000_000):
            handler.writers[0].write(b"x" * size)
        await until(lambda: len(ear.heard) == 5_000_101)
        handler.writers[0].close()
        await until(lambda: len(ear.outcomes) == 1)
        assert ear.outcomes == [None]
        await client.close()
