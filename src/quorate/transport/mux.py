"""One listener for gRPC and HTTP/1: the first bytes of a connection say which it is.

A connection that begins with the HTTP/2 client preface (RFC 9113 §3.4) speaks gRPC, any other HTTP/1. The choice is
made once, then the chosen protocol owns the socket.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from quorate.transport.grpc import GrpcServer, ServerConnection
from quorate.transport.http1 import Http1Connection
from quorate.transport.http2 import PREFACE
from quorate.transport.tls import Acceptor, ServerTls
from quorate.transport.web import HttpHandler

FIRST_BYTES_TIMEOUT = 20.0
"""Seconds a new connection may take to show what it speaks, once it is encrypted where it is to be."""

BACKLOG = 4096
"""Connections the kernel holds that are not accepted yet."""

Served = ServerConnection | Http1Connection


async def serve(
    where: socket.socket | tuple[str, int],
    grpc: GrpcServer | None,
    http: HttpHandler | None,
    *,
    tls: ServerTls | None = None,
    streamed: frozenset[str] = frozenset(),
) -> Listener:
    """Listen at a bound socket or at (host, port). A kind of connection without a server is closed at once.

    With `tls` HTTP/2 carries both kinds, for its clients speak what ALPN offers: a request whose content type is not
    gRPC's goes to `http`. For the paths in `streamed` HTTP/1 hands `http` the head of a request, and its body as
    `chunks`.
    """
    if tls is not None and grpc is None and http is not None:
        grpc = GrpcServer({})
    listener = Listener(grpc, http, encrypted=tls is not None, streamed=streamed)
    loop = asyncio.get_running_loop()
    if tls is not None:
        listener.server = Acceptor(_listen(where), tls, listener.accept)
    elif isinstance(where, socket.socket) and where.family == socket.AF_UNIX:
        listener.server = await loop.create_unix_server(listener.accept, sock=where, backlog=BACKLOG)
    elif isinstance(where, socket.socket):
        listener.server = await loop.create_server(listener.accept, sock=where, backlog=BACKLOG)
    else:
        host, port = where
        listener.server = await loop.create_server(listener.accept, host, port, backlog=BACKLOG)
    return listener


def serve_inside(grpc: GrpcServer, http: HttpHandler | None = None) -> Listener:
    """A listener without a socket, for callers in this process: who connects gets the protocol of `accept`."""
    listener = Listener(grpc, http, encrypted=False, streamed=frozenset())
    listener.server = _NoSocket()
    return listener


class _NoSocket:
    """What a listener without a socket listens at."""

    def close(self) -> None:
        """Nobody listens."""


def _listen(where: socket.socket | tuple[str, int]) -> socket.socket:
    if not isinstance(where, socket.socket):
        where = socket.create_server(where, family=socket.AF_INET6 if ":" in where[0] else socket.AF_INET)
    where.listen(BACKLOG)
    where.setblocking(False)
    return where


class Listener:
    """A listening socket and the connections it accepted."""

    def __init__(
        self, grpc: GrpcServer | None, http: HttpHandler | None, *, encrypted: bool, streamed: frozenset[str]
    ) -> None:
        self.server: asyncio.Server | asyncio.AbstractServer | Acceptor | _NoSocket = cast(asyncio.Server, None)
        self._grpc = grpc
        self._http = http
        self._web = http if encrypted else None
        self._streamed = streamed
        self._fresh: set[_FirstBytes] = set()
        self._served: set[Served] = set()
        self._empty: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def port(self) -> int:
        """The port bound, for those who asked for port 0."""
        return int(cast(asyncio.Server, self.server).sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Connections open now."""
        handshakes = self.server.handshakes if isinstance(self.server, Acceptor) else 0
        return handshakes + len(self._fresh) + len(self._served)

    def accept(self) -> asyncio.Protocol:
        """The protocol of a connection that has not said anything yet."""
        return _FirstBytes(self, self._fresh)

    def close(self) -> None:
        """Stop listening and drop every connection; their calls are cancelled."""
        self._closed = True
        self.server.close()
        for connection in [*self._fresh, *self._served]:
            connection.abort()

    async def drain(self, grace: float) -> None:
        """Stop listening, let the calls under way end, then close. What is left after `grace` seconds is dropped."""
        self._closed = True
        self.server.close()
        for fresh in list(self._fresh):
            fresh.abort()
        for connection in list(self._served):
            connection.drain()
        if self._served:
            self._empty = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._empty], timeout=grace)
        self.close()

    def begin(self, transport: asyncio.Transport) -> bool:
        """Whether a new connection may say what it wants. One that was accepted while the loop was about to close the
        listener is made after that, and must not be served for ever."""
        if self._closed:
            transport.abort()
        return not self._closed

    def take(self, transport: asyncio.Transport, first: bytes) -> None:
        """Give the socket to the protocol its first bytes ask for."""
        chosen: Served
        http2 = first.startswith(PREFACE)
        if http2 and self._grpc is not None:
            chosen = self._grpc.connection(self._forget, self._web)
        elif not http2 and self._http is not None:
            chosen = Http1Connection(self._http, self._forget, self._streamed)
        else:
            transport.abort()
            return
        self._served.add(chosen)
        transport.set_protocol(chosen)
        chosen.connection_made(transport)
        chosen.data_received(first)

    def _forget(self, connection: Served) -> None:
        self._served.discard(connection)
        if not self._served and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)


class _FirstBytes(asyncio.Protocol):
    """A connection until it is known what it speaks."""

    def __init__(self, listener: Listener, fresh: set[_FirstBytes]) -> None:
        self._listener = listener
        self._fresh = fresh
        self._first = b""
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._listener.begin(self._transport):
            return
        self._fresh.add(self)
        self._timer = asyncio.get_running_loop().call_later(FIRST_BYTES_TIMEOUT, self.abort)

    def data_received(self, data: bytes) -> None:
        self._first += data
        if len(self._first) < len(PREFACE) and PREFACE.startswith(self._first):
            return
        self._leave()
        self._listener.take(self._transport, self._first)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def abort(self) -> None:
        """Drop a connection that has not said what it wants."""
        self._transport.abort()

    def _leave(self) -> None:
        self._fresh.discard(self)
        if self._timer is not None:
            self._timer.cancel()
