"""Requests of HTTP/1.1 over real sockets: to our own server, to Python's, and to servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from grpc_support import until
from http1_support import calls, says, stub

from quorate.transport import http1_client, http1_exchange
from quorate.transport.http1_client import HttpClient, HttpError, HttpReply
from quorate.transport.mux import Listener, serve
from quorate.transport.tls import ClientTls, ServerTls, TlsSettings
from quorate.transport.web import HttpRequest, HttpResponse, text_response

PIECE = bytes(65_536)


class Site:
    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.gate = asyncio.Event()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        match request.path:
            case "/in":
                assert request.chunks is not None
                return text_response(200, str(sum([len(piece) async for piece in request.chunks])))
            case "/refuse":
                return text_response(412, "incompatible version")
            case "/wait":
                await self.gate.wait()
            case "/empty":
                return HttpResponse(204)
            case "/big":
                return HttpResponse(200, (), bytes(2_000_000))
            case "/moved":
                return HttpResponse(302, [("Location", "/echo")])
        return HttpResponse(200, [("X-Etcd-Cluster-Id", "cafe")], request.body)


@contextlib.asynccontextmanager
async def site(tls: ServerTls | None = None) -> AsyncIterator[tuple[Site, Listener]]:
    handler = Site()
    streamed = frozenset({"/in", "/refuse"})
    listener = await serve(("127.0.0.1", 0), None, handler, tls=tls, streamed=streamed)
    try:
        yield handler, listener
    finally:
        listener.close()


async def pieces(count: int, ended: list[str] | None = None) -> AsyncIterator[bytes]:
    try:
        for _ in range(count):
            yield PIECE
    finally:
        if ended is not None:
            ended.append("ended")


def url(listener: Listener, path: str = "/echo") -> str:
    return f"http://127.0.0.1:{listener.port}{path}"


async def test_a_request_and_its_answer_are_whole() -> None:
    async with site() as (handler, listener), calls() as client:
        reply = await client.request(
            "POST", url(listener, "/a%20b?x=1"), headers=[("X-Server-From", "1f")], body=b"hello", timeout=5
        )
        assert isinstance(reply, HttpReply)
        assert (reply.status, reply.body) == (200, b"hello")
        assert reply.header("x-ETCD-cluster-id") == "cafe" and reply.header("none") is None
        (request,) = handler.requests
        assert (request.method, request.target, request.body) == ("POST", "/a%20b?x=1", b"hello")
        assert request.header("host") == f"127.0.0.1:{listener.port}"
        assert request.header("x-server-from") == "1f"


async def test_a_get_may_have_a_body_and_an_answer_none() -> None:
    async with site() as (handler, listener), calls() as client:
        assert (await client.request("GET", url(listener), body=b"{}", timeout=5)).body == b"{}"
        assert (await client.request("GET", url(listener, "/empty"), timeout=5)).status == 204
        assert (await client.request("HEAD", url(listener, "/big"), timeout=5)).body == b""
        assert (await client.request("GET", f"http://127.0.0.1:{listener.port}", timeout=5)).status == 200
        assert [request.target for request in handler.requests] == ["/echo", "/empty", "/big", "/"]


async def test_requests_in_a_row_share_a_connection_and_so_many_are_kept() -> None:
    async with site() as (_, listener), calls(idle_per_origin=2) as client:
        for _ in range(3):
            await client.request("POST", url(listener), body=b"x", timeout=5)
        assert listener.connections == 1
        await asyncio.gather(*(client.request("POST", url(listener), body=b"x", timeout=5) for _ in range(8)))
        await until(lambda: listener.connections == 2)


async def test_a_kept_connection_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_client, "IDLE_TIMEOUT", 0.02)
    async with site() as (_, listener), calls() as client:
        await client.request("POST", url(listener), timeout=5)
        await until(lambda: listener.connections == 0)
        assert (await client.request("POST", url(listener), timeout=5)).status == 200


async def test_redirects_are_not_followed() -> None:
    async with site() as (handler, listener), calls() as client:
        reply = await client.request("GET", url(listener, "/moved"), timeout=5)
        assert (reply.status, reply.header("location")) == (302, "/echo")
        assert len(handler.requests) == 1


@pytest.mark.parametrize("size", [None, 200 * len(PIECE)])
async def test_an_iterator_is_sent_as_it_yields(size: int | None) -> None:
    ended: list[str] = []
    async with site() as (handler, listener), calls() as client:
        for _ in range(2):
            body = pieces(200, ended)
            reply = await client.request("POST", url(listener, "/in"), body=body, size=size, timeout=5)
            assert reply.body == b"%d\n" % (200 * len(PIECE))
        assert listener.connections == 1
        framing = {"transfer-encoding", "content-length"} & {name for name, _ in handler.requests[0].headers}
        assert framing == ({"transfer-encoding"} if size is None else {"content-length"})
    assert ended == ["ended"] * 2


async def test_an_early_answer_ends_the_sending() -> None:
    ended: list[str] = []
    async with site() as (_, listener), calls() as client:
        body = pieces(1_000_000, ended)
        reply = await client.request("POST", url(listener, "/refuse"), body=body, timeout=5)
        assert (reply.status, reply.body) == (412, b"incompatible version\n")
        assert ended == ["ended"]
        assert (await client.request("POST", url(listener), body=b"x", timeout=5)).body == b"x"


@pytest.mark.parametrize("size", [1, 10 * len(PIECE)])
async def test_a_body_of_another_size_than_announced_is_an_error(size: int) -> None:
    async with site() as (_, listener), calls() as client:
        with pytest.raises(HttpError):
            await client.request("POST", url(listener, "/in"), body=pieces(2), size=size, timeout=5)
        await until(lambda: listener.connections == 0)


async def test_a_body_that_fails_fails_its_request() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield PIECE
        raise ZeroDivisionError

    async with site() as (_, listener), calls() as client:
        with pytest.raises(ZeroDivisionError):
            await client.request("POST", url(listener, "/in"), body=broken(), timeout=5)
        await until(lambda: listener.connections == 0)


async def test_a_peer_that_reads_slowly_slows_the_sending() -> None:
    seen = 0

    async def count(total: int) -> AsyncIterator[bytes]:
        nonlocal seen
        for _ in range(total):
            seen += 1
            yield PIECE

    gate = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await gate.wait()
        await reader.readexactly(1000 * len(PIECE))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    async with stub(slow) as where, calls() as client:
        size = 1000 * len(PIECE)
        request = asyncio.create_task(client.request("POST", where, body=count(1000), size=size, timeout=5))
        await until(lambda: seen > 0)
        await asyncio.sleep(0.1)
        assert seen < 500
        gate.set()
        assert (await request).status == 204


async def test_a_peer_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_exchange, "STALL_TIMEOUT", 0.05)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with stub(deaf) as where, calls() as client:
        with pytest.raises((OSError, HttpError)):
            await client.request("POST", where, body=pieces(1000), timeout=5)


async def test_the_time_for_the_answer_runs_out() -> None:
    async with site() as (handler, listener), calls() as client:
        await client.request("GET", url(listener), timeout=5)
        with pytest.raises(TimeoutError):
            await client.request("GET", url(listener, "/wait"), timeout=0.05)
        assert len(handler.requests) == 2
        await until(lambda: not client._open)


async def test_a_cancelled_request_hangs_up() -> None:
    async with site() as (handler, listener), calls() as client:
        task = asyncio.create_task(client.request("GET", url(listener, "/wait"), timeout=None))
        await until(lambda: len(handler.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not client._open)


async def test_nobody_there_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    async with calls() as client:
        with pytest.raises(OSError):
            await client.request("GET", f"http://127.0.0.1:{port}/", timeout=5)


@pytest.mark.parametrize(
    "bad", ["", "x", "ftp://h/", "unix://x", "http://", "http://h:x/", "http://h:99999/", "https://h/", "http://[/"]
)
async def test_what_cannot_be_called_is_an_error(bad: str) -> None:
    async with calls() as client:
        with pytest.raises(HttpError):
            await client.request("GET", bad, timeout=5)


async def test_a_request_with_a_line_break_in_it_is_not_sent() -> None:
    async with site() as (handler, listener), calls() as client:
        with pytest.raises(HttpError):
            await client.request("GET", url(listener), headers=[("X", "a\r\nY: b")], timeout=5)
        with pytest.raises(HttpError):
            await client.request("GET", url(listener, "/a b"), timeout=5)
        assert not handler.requests


async def test_a_kept_connection_that_the_peer_closed_costs_one_more_try() -> None:
    served = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers once; hangs up when it is asked again."""
        nonlocal served
        await reader.readuntil(b"\r\n\r\n")
        served += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.readuntil(b"\r\n\r\n")

    async with stub(once) as where, calls() as client:
        for _ in range(3):
            assert (await client.request("GET", where, timeout=5)).body == b"ok"
        assert served == 3
        with pytest.raises((OSError, HttpError)):
            await client.request("GET", where, body=pieces(1), timeout=5)


async def test_what_may_have_been_done_is_not_asked_for_a_second_time() -> None:
    bodies: list[bytes] = []

    async def does_not_say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes every request; hangs up before the second answer."""
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            bodies.append(await reader.readexactly(2))
            if len(bodies) % 2:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with stub(does_not_say) as where, calls() as client:
        assert (await client.request("POST", where, body=b"p1", timeout=5)).body == b"ok"
        with pytest.raises((OSError, HttpError)):
            await client.request("POST", where, body=b"p2", timeout=5)
        assert bodies == [b"p1", b"p2"]


async def test_a_new_connection_that_is_closed_is_not_tried_again() -> None:
    asked = 0

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")

    async with stub(never) as where, calls() as client:
        with pytest.raises((OSError, HttpError)):
            await client.request("POST", where, timeout=5)
        assert asked == 1


async def test_an_answer_that_began_is_not_asked_for_again() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with stub(says(ok, b"HTTP/1.1 200 OK\r\nContent-Le")) as where, calls() as client:
        await client.request("POST", where, timeout=5)
        with pytest.raises(HttpError):
            await client.request("POST", where, timeout=5)


@pytest.mark.parametrize(
    "answer",
    [
        b"NONSENSE\r\n\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
        b"",
    ],
)
async def test_an_answer_that_is_none_is_an_error(answer: bytes) -> None:
    async with stub(says(answer)) as where, calls() as client:
        with pytest.raises((HttpError, ConnectionError)):
            await client.request("GET", where, timeout=5)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1001\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n", b"\r\n"]
)
async def test_an_answer_above_the_limit_is_an_error(framing: bytes) -> None:
    async with stub(says(b"HTTP/1.1 200 OK\r\n" + framing + bytes(1001))) as where, calls() as client:
        with pytest.raises(HttpError, match="longer than 1000 bytes"):
            await client.request("GET", where, timeout=5, body_limit=1000)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    ],
)
async def test_answers_end_in_every_way_the_grammar_knows(answer: bytes) -> None:
    async with stub(says(answer)) as where, calls() as client:
        for _ in range(2):
            assert (await client.request("GET", where, timeout=5)).body == b"ok"


async def test_bytes_nobody_asked_for_end_a_kept_connection() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with stub(says(ok + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")) as where, calls() as client:
        for _ in range(3):
            assert (await client.request("GET", where, timeout=5)).body == b"ok"


async def test_bytes_behind_an_answer_are_no_answer_to_the_next_request() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    bad = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"
    async with stub(says(ok + bad, ok, ok)) as where, calls() as client:
        for _ in range(3):
            assert (await client.request("POST", where, timeout=5)).body == b"ok"


async def test_a_closed_client_fails_what_is_under_way_and_what_comes_later() -> None:
    async with site() as (handler, listener), calls() as client:
        task = asyncio.create_task(client.request("GET", url(listener, "/wait"), timeout=None))
        await client.request("GET", url(listener), timeout=5)
        await until(lambda: len(handler.requests) == 2)
        await client.close()
        with pytest.raises(HttpError):
            await task
        with pytest.raises(HttpError):
            await client.request("GET", url(listener), timeout=5)
        handler.gate.set()
        await until(lambda: listener.connections == 0)


async def test_small_writes_are_not_held_back_by_the_kernel() -> None:
    async with site() as (handler, listener), calls() as client:
        await client.request("GET", url(listener), timeout=5)
        (kept,) = client._open
        for sock in (handler.requests[0].extra("socket"), kept.transport.get_extra_info("socket")):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- foreign servers, TLS ---------------------------------------------------------------------------------------------


class Foreign(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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


async def test_a_foreign_server_is_understood(foreign: str) -> None:
    async with calls() as client:
        for body in (b"", b"hello", bytes(3_000_000)):
            assert (await client.request("POST", foreign, body=body, timeout=5)).body == body
        size = 50 * len(PIECE)
        assert len((await client.request("POST", foreign, body=pieces(50), size=size, timeout=5)).body) == size
        reply = await client.request("GET", foreign, timeout=5)
        assert reply.status == 501


async def test_requests_run_over_tls_and_only_to_who_is_trusted(certificate: Path) -> None:
    server = ServerTls(TlsSettings(cert_file=str(certificate), key_file=str(certificate)))
    async with site(server) as (_, listener):
        where = url(listener).replace("http://", "https://")
        trusting = HttpClient(tls=ClientTls(TlsSettings(trusted_ca_file=str(certificate))), connect_timeout=5)
        assert (await trusting.request("POST", where, body=b"hi", timeout=5)).body == b"hi"
        size = 200 * len(PIECE)
        streamed = where.replace("/echo", "/in")
        assert (await trusting.request("POST", streamed, body=pieces(200), timeout=5)).body == b"%d\n" % size
        assert (
            await trusting.request("POST", where.replace("/echo", "/refuse"), body=pieces(200), timeout=5)
        ).status == 412
        await trusting.close()
        doubting = HttpClient(tls=ClientTls(TlsSettings()), connect_timeout=5)
        with pytest.raises(OSError):
            await doubting.request("POST", where, timeout=5)
        await doubting.close()
