"""HTTP/1.1 for callers: requests over connections that are kept, and streams over connections of their own.

Members call each other with it. It follows no redirects, keeps no cookies, asks no proxies, and gives what the peer
answers, whatever the status.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import h11

from quorate.transport.http1_exchange import ClientConnection, HttpReply
from quorate.transport.http1_stream import ClientStream
from quorate.transport.tls import ClientTls
from quorate.transport.web import BODY_LIMIT, HttpError

IDLE_PER_ORIGIN = 4
"""Connections kept for the next request to the same scheme, host and port."""

IDLE_TIMEOUT = 90.0
"""Seconds a connection is kept; less than servers wait, so that they seldom hang up on a request under way."""

P = TypeVar("P", bound=asyncio.Protocol)

__all__ = ["ClientStream", "HttpClient", "HttpError", "HttpReply"]


class HttpClient:
    """Calls to any number of origins. Constructing does no I/O; belongs to the event loop of its first call.

    https needs `tls`, http does not look at it. `connect_timeout` is in seconds, TLS handshake and all. Calls come from
    `local_address`, an IP address of this machine, if one is given.
    """

    def __init__(
        self,
        *,
        tls: ClientTls | None = None,
        connect_timeout: float,
        idle_per_origin: int = IDLE_PER_ORIGIN,
        local_address: str = "",
    ) -> None:
        self._tls = tls
        self._from = (local_address, 0) if local_address else None
        self._connect_timeout = connect_timeout
        self._idle_per_origin = idle_per_origin
        self._idle: dict[_Origin, list[ClientConnection]] = {}
        self._open: set[ClientConnection | ClientStream] = set()
        self._empty: asyncio.Future[None] | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | AsyncIterator[bytes] = b"",
        size: int | None = None,
        timeout: float | None,
        body_limit: int = BODY_LIMIT,
    ) -> HttpReply:
        """Send a request and return the answer, of at most `body_limit` bytes.

        An iterator is sent as it yields, with a Content-Length when `size` is known; an answer that comes earlier ends
        the sending. The iterator is closed in any case. `timeout` seconds are for the answer, after the body is sent.
        Raises OSError (TimeoutError among them) and HttpError.
        """
        try:
            origin, target = _split(url)
            length = len(body) if isinstance(body, bytes) else size
            head = _head(method, origin, target, headers, framing=_framing(method, length))
            return await self._exchange(origin, head, body, timeout, body_limit)
        finally:
            aclose = getattr(body, "aclose", None)
            if aclose is not None:
                await aclose()

    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        received: Callable[[bytes], None],
        closed: Callable[[Exception | None], None],
        timeout: float | None,
    ) -> ClientStream:
        """Send a request whose answer is a stream; return when its head is in, within `timeout` seconds.

        With status 200 `received` gets the body in pieces, of any size, as they come from the socket; then `closed` is
        called once: with None after the body's proper end or `close`, else with what went wrong (HttpError, OSError,
        or what `received` raised). Either may be called before this returns. With any other status the body is in
        `reply`, the connection is closed, and neither is called. Raises OSError, TimeoutError, HttpError.
        """
        origin, target = _split(url)
        head = _head(method, origin, target, headers, framing=())
        stream = await self._connect(origin, lambda: ClientStream(head, received, closed, self._gone))
        try:
            async with asyncio.timeout(timeout):
                await stream.opened
        except BaseException:
            stream.abandon()
            raise
        return stream

    async def close(self) -> None:
        """Drop every connection; what is under way fails, and so does what is asked later."""
        if self._empty is None:
            self._empty = asyncio.get_running_loop().create_future()
            if not self._open:
                self._empty.set_result(None)
        for connection in list(self._open):
            connection.transport.abort()
        await asyncio.shield(self._empty)

    async def _exchange(
        self,
        origin: _Origin,
        head: h11.Request,
        body: bytes | AsyncIterator[bytes],
        timeout: float | None,
        limit: int,
    ) -> HttpReply:
        connection = self._take(origin)
        if connection is not None:
            try:
                return await self._ask(origin, connection, head, body, timeout, limit)
            except (OSError, HttpError):
                # A kept connection may have been closed by the peer while the request was on its way (RFC 9112 §9.5).
                # Or after it did what a POST asks for: a proposal of raft must not be made twice (RFC 9110 §9.2.2).
                if not connection.lost or connection.heard or head.method != b"GET" or not isinstance(body, bytes):
                    raise
        connection = await self._connect(origin, lambda: ClientConnection(self._gone))
        return await self._ask(origin, connection, head, body, timeout, limit)

    async def _ask(
        self,
        origin: _Origin,
        connection: ClientConnection,
        head: h11.Request,
        body: bytes | AsyncIterator[bytes],
        timeout: float | None,
        limit: int,
    ) -> HttpReply:
        reply = await connection.exchange(head, body, timeout, limit)
        idle = self._idle.get(origin, [])
        if not connection.reusable:
            return reply
        if len(idle) < self._idle_per_origin and self._empty is None:
            self._idle[origin] = [*idle, connection]
            connection.expiry = asyncio.get_running_loop().call_later(IDLE_TIMEOUT, connection.transport.abort)
        else:
            connection.transport.abort()
        return reply

    def _take(self, origin: _Origin) -> ClientConnection | None:
        """A kept connection, the last used first."""
        while idle := self._idle.get(origin):
            connection = idle[-1]
            self._leave_idle(connection)
            if connection.reusable:
                return connection
        return None

    async def _connect(self, origin: _Origin, protocol: Callable[[], P]) -> P:
        if self._empty is not None:
            raise HttpError("client is closed")
        try:
            async with asyncio.timeout(self._connect_timeout):
                if origin.scheme == "https":
                    connection = await self._connect_encrypted(origin, protocol)
                else:
                    loop = asyncio.get_running_loop()
                    _, connection = await loop.create_connection(
                        protocol, origin.host, origin.port, local_addr=self._from
                    )
        except UnicodeError as error:
            raise HttpError(f"no host: {origin.host}") from error
        assert isinstance(connection, ClientConnection | ClientStream)
        if self._empty is not None:
            connection.transport.abort()
            raise HttpError("client is closed")
        if not connection.transport.is_closing():
            self._open.add(connection)
        return connection

    async def _connect_encrypted(self, origin: _Origin, protocol: Callable[[], P]) -> P:
        """Nothing is said before the server is known to be one of those that are meant."""
        if self._tls is None:
            raise HttpError(f"no TLS context for https://{origin.authority}")
        loop = asyncio.get_running_loop()
        transport, silent = await loop.create_connection(
            _Silent,
            origin.host,
            origin.port,
            ssl=self._tls.context(),
            server_hostname=origin.host,
            local_addr=self._from,
        )
        try:
            self._tls.check(transport.get_extra_info("ssl_object"))
            if silent.ended or transport.is_closing():
                raise ConnectionResetError("connection closed by the peer")
        except BaseException:
            transport.abort()
            raise
        connection = protocol()
        transport.set_protocol(connection)
        connection.connection_made(transport)
        return connection

    def _gone(self, connection: ClientConnection | ClientStream) -> None:
        self._open.discard(connection)
        if isinstance(connection, ClientConnection):
            self._leave_idle(connection)
        if self._empty is not None and not self._open and not self._empty.done():
            self._empty.set_result(None)

    def _leave_idle(self, connection: ClientConnection) -> None:
        """It is in use, or gone: it does not expire."""
        if connection.expiry is None:
            return
        connection.expiry.cancel()
        connection.expiry = None
        for origin, idle in self._idle.items():
            if connection in idle:
                idle.remove(connection)
                if not idle:
                    del self._idle[origin]
                return


class _Silent(asyncio.Protocol):
    """A connection on which nobody may speak yet."""

    ended = False

    def data_received(self, data: bytes) -> None:
        self.ended = True

    def eof_received(self) -> None:
        self.ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int
    authority: str
    """What the Host field says."""


def _split(url: str) -> tuple[_Origin, str]:
    """Where to connect, and what to ask for there. Raises HttpError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise HttpError(f"no URL: {url}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpError(f"no http URL: {url}")
    default = 443 if parts.scheme == "https" else 80
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = parts.netloc.rpartition("@")[2]
    return _Origin(parts.scheme, parts.hostname, default if port is None else port, authority), target


def _framing(method: str, length: int | None) -> Sequence[tuple[str, str]]:
    """How the end of the body is told (RFC 9112 §6)."""
    if length is None:
        return (("Transfer-Encoding", "chunked"),)
    return () if length == 0 and method in ("GET", "HEAD") else (("Content-Length", str(length)),)


def _head(
    method: str, origin: _Origin, target: str, headers: Sequence[tuple[str, str]], framing: Sequence[tuple[str, str]]
) -> h11.Request:
    try:
        return h11.Request(method=method, target=target, headers=[("Host", origin.authority), *headers, *framing])
    except (h11.LocalProtocolError, UnicodeError) as error:
        raise HttpError(f"request that is none: {error}") from error
