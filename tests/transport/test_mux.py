"""One listener, two protocols: the first bytes choose."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc_support import PREFIX, Peer, Service, request_headers, until

from quorate.transport import mux
from quorate.transport.grpc import Channel, GrpcServer, web_call
from quorate.transport.grpc.framing import frame
from quorate.transport.http2 import PREFACE, DataReceived, ErrorCode, Headers, HeadersReceived, Limits, StreamReset
from quorate.transport.mux import Listener, serve
from quorate.transport.tls import ServerTls, TlsSettings
from quorate.transport.web import HttpRequest, HttpResponse, text_response

ENDED: list[str] = []


async def pieces(count: int) -> AsyncIterator[bytes]:
    if count < 0:
        raise ZeroDivisionError
    for _ in range(count):
        yield b"x" * 100_000


async def endless() -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"tick"
            await asyncio.sleep(0.01)
    finally:
        ENDED.append("endless")


async def web(request: HttpRequest) -> HttpResponse:
    match request.path:
        case "/slow":
            await asyncio.sleep(0.05)
        case "/echo":
            return HttpResponse(200, (), request.body)
        case "/crash":
            raise ZeroDivisionError
        case "/stream":
            return HttpResponse(200, (), pieces(50))
        case "/crash-late":
            return HttpResponse(200, (), pieces(-1))
        case "/endless":
            return HttpResponse(200, [("Connection", "close")], endless())
        case "/attach":
            return HttpResponse(200, (), lambda writer: None)
        case "/host":
            return text_response(200, request.header("host") or "")
    return text_response(200, request.path)


@contextlib.asynccontextmanager
async def both() -> AsyncIterator[Listener]:
    listener = await serve(("127.0.0.1", 0), GrpcServer(Service().methods()), web)
    try:
        yield listener
    finally:
        listener.close()


async def get(port: int, path: str = "/x") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_grpc_and_http_share_a_port() -> None:
    async with both() as listener:
        channel = Channel("127.0.0.1", listener.port)
        assert await channel.unary(PREFIX + "Echo", b"hi") == b"hi"
        assert (await get(listener.port)).endswith(b"\r\n\r\n/x\n")
        await channel.close()
        await until(lambda: listener.connections == 0)


async def test_first_bytes_may_come_one_by_one() -> None:
    async with both() as listener:
        peer = await Peer.connect(listener.port)
        peer.machine.open_stream(request_headers(), False)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        trickled = Peer(reader, _Trickle(writer), peer.machine._limits)  # type: ignore[arg-type]
        stream_id = trickled.call(request_headers(), frame(b"drops"))
        assert (await trickled.event(DataReceived, stream_id)).data == frame(b"drops")
        trickled.close()
        peer.close()


class _Trickle:
    """A writer that hands on one byte at a time."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    def write(self, data: bytes) -> None:
        for byte in data:
            self.writer.write(bytes([byte]))

    def close(self) -> None:
        self.writer.close()


async def test_a_request_that_begins_like_the_preface_is_http() -> None:
    async with both() as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(PREFACE[:5])
        await asyncio.sleep(0.01)
        writer.write(b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 ")
        writer.close()


async def test_a_kind_that_is_not_served_is_hung_up_on() -> None:
    grpc_only = await serve(("127.0.0.1", 0), GrpcServer({}), None)
    http_only = await serve(("127.0.0.1", 0), None, web)
    with contextlib.suppress(ConnectionError):
        assert await get(grpc_only.port) == b""
    peer = await Peer.connect(http_only.port)
    await peer.closed()
    assert (await get(http_only.port)).endswith(b"/x\n")
    grpc_only.close()
    http_only.close()
    peer.close()


async def test_a_connection_that_says_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mux, "FIRST_BYTES_TIMEOUT", 0.05)
    async with both() as listener:
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", listener.port)
        hesitant, hesitant_writer = await asyncio.open_connection("127.0.0.1", listener.port)
        hesitant_writer.write(PREFACE[:10])
        await until(lambda: listener.connections == 2)
        async with asyncio.timeout(5):
            for reader in (silent, hesitant):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
        await until(lambda: listener.connections == 0)
        silent_writer.close()
        hesitant_writer.close()


async def test_a_listener_may_be_given_a_bound_socket(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    listener = await serve(sock, None, web)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    writer.write(b"GET /unix HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.read()).endswith(b"/unix\n")
    writer.close()
    listener.close()


async def test_closing_drops_every_connection_and_the_port() -> None:
    async with both() as listener:
        port = listener.port
        _, idle = await asyncio.open_connection("127.0.0.1", port)
        channel = Channel("127.0.0.1", port)
        await channel.unary(PREFIX + "Echo", b"")
        await until(lambda: listener.connections == 2)
        listener.close()
        await until(lambda: listener.connections == 0)
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_connection("127.0.0.1", port)
        idle.close()
        await channel.close()


async def test_draining_lets_http_requests_end_and_drops_idle_connections() -> None:
    async with both() as listener:
        port = listener.port
        slow = asyncio.create_task(get(port, "/slow"))
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        idle_writer.write(b"GET /once HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await idle_reader.read(1000)).endswith(b"/once\n")
        await until(lambda: listener.connections == 2)
        async with asyncio.timeout(3):
            await listener.drain(10)
        assert (await slow).endswith(b"/slow\n")
        assert await idle_reader.read() == b""
        idle_writer.close()


# -- TLS --------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def encrypted(certificate: Path) -> AsyncIterator[tuple[Listener, ssl.SSLContext]]:
    tls = ServerTls(TlsSettings(cert_file=str(certificate), key_file=str(certificate)))
    listener = await serve(("127.0.0.1", 0), GrpcServer(Service().methods()), web, tls=tls)
    try:
        yield listener, ssl.create_default_context(cafile=str(certificate))
    finally:
        listener.close()


async def test_grpc_runs_over_tls(certificate: Path) -> None:
    async with encrypted(certificate) as (listener, trust):
        channel = Channel("127.0.0.1", listener.port, ssl=trust)
        assert await channel.unary(PREFIX + "Echo", b"hi") == b"hi"
        assert len(await channel.unary(PREFIX + "Big", b"5000000")) == 5_000_000
        await channel.close()


async def test_http1_runs_over_tls(certificate: Path) -> None:
    async with encrypted(certificate) as (listener, trust):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust)
        writer.write(b"GET /tls HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await reader.read()).endswith(b"/tls\n")
        writer.close()


async def test_a_server_we_do_not_trust_is_unavailable(certificate: Path) -> None:
    async with encrypted(certificate) as (listener, _):
        channel = Channel("127.0.0.1", listener.port, ssl=ssl.create_default_context())
        with pytest.raises(Exception, match=r"UNAVAILABLE.*authentication handshake failed.*CERTIFICATE_VERIFY_FAILED"):
            await channel.unary(PREFIX + "Echo", b"")
        await channel.close()


def web_request(path: bytes, method: bytes = b"GET", *extra: tuple[bytes, bytes]) -> Headers:
    return (
        (b":method", method),
        (b":scheme", b"https"),
        (b":path", path),
        (b":authority", b"localhost"),
        *extra,
    )


async def fetch(peer: Peer, headers: Headers, body: bytes = b"") -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status, headers and body of a web request over HTTP/2."""
    stream_id = peer.call(headers, body)
    head = await peer.event(HeadersReceived, stream_id)
    fields = dict(head.headers)
    received = b""
    ended = head.end_stream
    while not ended:
        data = await peer.event(DataReceived, stream_id)
        received += data.data
        peer.machine.acknowledge(stream_id, len(data.data))
        peer.flush()
        ended = data.end_stream
    return fields[b":status"], fields, received


async def test_over_tls_http2_carries_both_kinds(certificate: Path) -> None:
    async with encrypted(certificate) as (listener, trust):
        trust.set_alpn_protocols(["h2"])
        peer = Peer(*await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust), Limits())
        status, fields, body = await fetch(peer, web_request(b"/health?x=1"))
        assert (status, body) == (b"200", b"/health\n")
        assert fields[b"content-type"] == b"text/plain; charset=utf-8"
        assert fields[b"content-length"] == b"8"
        assert b"date" in fields
        stream_id = peer.call(request_headers(), frame(b"grpc"))
        assert (await peer.event(DataReceived, stream_id)).data == frame(b"grpc")
        assert (await fetch(peer, web_request(b"/echo", b"POST"), b"x" * 300_000))[2] == b"x" * 300_000
        assert (await fetch(peer, web_request(b"/crash")))[0] == b"500"
        assert (await fetch(peer, web_request(b"/", b"HEAD")))[2] == b""
        status, _, body = await fetch(peer, web_request(b"/stream"))
        assert body == b"x" * 5_000_000
        stream_id = peer.call(web_request(b"/crash-late"))
        assert (await peer.event(StreamReset, stream_id)).code == 2
        assert (await fetch(peer, web_request(b"/host")))[2] == b"localhost\n"
        peer.close()


async def test_over_tls_a_web_body_above_the_limit_is_refused(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_call, "BODY_LIMIT", 1000)
    async with encrypted(certificate) as (listener, trust):
        peer = Peer(*await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust), Limits())
        assert (await fetch(peer, web_request(b"/echo", b"POST"), b"x" * 1001))[0] == b"413"
        peer.close()


async def test_over_tls_a_caller_that_leaves_ends_the_web_stream(certificate: Path) -> None:
    async with encrypted(certificate) as (listener, trust):
        peer = Peer(*await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust), Limits())
        ENDED.clear()
        stream_id = peer.call(web_request(b"/endless"))
        await peer.event(DataReceived, stream_id)
        peer.machine.reset_stream(stream_id, 8)
        peer.flush()
        await until(lambda: ENDED == ["endless"])
        peer.close()


async def test_an_attached_body_needs_http1(certificate: Path) -> None:
    async with encrypted(certificate) as (listener, trust):
        peer = Peer(*await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust), Limits())
        stream_id = peer.call(web_request(b"/attach"))
        assert (await peer.event(StreamReset, stream_id)).code == ErrorCode.HTTP_1_1_REQUIRED
        assert (await fetch(peer, web_request(b"/host")))[0] == b"200"
        peer.close()


async def test_without_tls_http2_is_grpc_alone() -> None:
    async with both() as listener:
        peer = await Peer.connect(listener.port)
        assert (await fetch(peer, web_request(b"/health")))[0] == b"405"
        peer.close()
