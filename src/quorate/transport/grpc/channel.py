"""The caller's door: a channel to one address, connected when needed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from math import inf
from ssl import SSLContext, SSLError
from typing import TypeVar

from quorate.api.errors import Code
from quorate.transport.grpc.client import ClientConnection, Refused
from quorate.transport.grpc.exchange import ClientStream, UnaryExchange
from quorate.transport.grpc.limits import LINGER, MAX_CACHED_HEADERS, MAX_INT32, MAX_REFUSALS, ChannelLimits
from quorate.transport.grpc.metadata import Pairs, encode_metadata, encode_timeout
from quorate.transport.grpc.status import Status, deadline_exceeded
from quorate.transport.http2 import GoingAwayError, Headers, Limits, TooManyStreamsError
from quorate.version import QUORATE_VERSION

T = TypeVar("T")

_USER_AGENT = b"quorate-python/" + QUORATE_VERSION.encode()

Dial = Callable[[Callable[[], ClientConnection]], Awaitable[tuple[asyncio.BaseTransport, ClientConnection]]]
"""Connects the protocol that the given callable makes, as `loop.create_connection` does. Raises OSError."""


class Channel:
    """Calls to one address over one connection. Constructing does no I/O: the first call connects.

    A lost connection fails the calls on it with UNAVAILABLE; the next call connects anew. With `ssl` the context is
    told to offer `h2`; `server_name` is looked for in the certificate instead of the host. Belongs to the event loop
    of its first call. `dial` connects in its own way; `host` and `port` then only name who is called, in `authority`
    and in errors.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl: SSLContext | None = None,
        server_name: str | None = None,
        authority: str | None = None,
        limits: ChannelLimits | None = None,
        http2: Limits | None = None,
        dial: Dial | None = None,
    ) -> None:
        self.host = host
        self.port = port
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])
        self._ssl = ssl
        self._dial_own = dial
        self._server_name = server_name or host
        self._authority = authority or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self._limits = limits or ChannelLimits()
        # A stream that nobody consumes must not shut the window of all others.
        self._http2 = http2 or Limits(connection_window=MAX_INT32)
        self._connection: ClientConnection | None = None
        self._connecting: asyncio.Task[ClientConnection] | None = None
        self._leaving: set[ClientConnection] = set()
        self._headers: dict[tuple[str, float | None, Pairs], Headers] = {}
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def unary(self, path: str, request: bytes, *, timeout: float | None = None, metadata: Pairs = ()) -> bytes:
        """Call `path` and return the reply. Raises Status."""
        loop = self._loop or self._bind()
        headers = self._request_headers(path, timeout, metadata)
        self._check_size(request)
        deadline = None if timeout is None else loop.time() + timeout
        end = inf if deadline is None else deadline
        refusals = 0
        while True:
            connection = self._connection or await self._connect(deadline)
            try:
                exchange = connection.unary(headers, request, loop.create_future(), end)
            except TooManyStreamsError:
                await _until(connection.slot(), deadline)
                continue
            except GoingAwayError:
                self._forget(connection)
                refusals += 1
                if refusals > MAX_REFUSALS:
                    raise _going_away() from None
                continue
            try:
                return await exchange.future
            except asyncio.CancelledError:
                exchange.give_up()
                raise
            except Refused:
                refusals += 1
                if refusals > MAX_REFUSALS:
                    raise

    def start(self, path: str, request: bytes, timeout: float, metadata: Pairs) -> UnaryExchange | None:
        """Send a call that needs not wait for anything; None, and nothing sent, when it needs `unary`.

        Whoever awaits its future gives it up when cancelled; Refused means that `unary` may try it again.
        """
        connection, loop = self._connection, self._loop
        if connection is None or loop is None or len(request) > self._limits.max_send_message:
            return None
        headers = self._headers.get((path, timeout, metadata)) or self._request_headers(path, timeout, metadata)
        try:
            return connection.unary(headers, request, loop.create_future(), loop.time() + timeout)
        except (TooManyStreamsError, GoingAwayError):
            return None

    def stream(self, path: str, *, metadata: Pairs = (), timeout: float | None = None) -> ClientStream:
        """Open a streaming call. Never raises for the network: the outcome is told by the stream's `receive`."""
        loop = self._loop or self._bind()
        headers = self._request_headers(path, timeout, metadata)
        deadline = None if timeout is None else loop.time() + timeout
        stream = ClientStream(loop, deadline)
        if self._connection is None or not self._try_open(self._connection, headers, stream):
            stream.opening = loop.create_task(self._open(headers, stream))
        return stream

    async def close(self) -> None:
        """Close the connection; calls under way fail with CANCELLED, later ones too."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._leaving.add(self._connection)
        for connection in list(self._leaving):
            connection.shutdown()
        if self._leaving:
            await asyncio.wait([connection.gone for connection in self._leaving], timeout=LINGER)
        for connection in list(self._leaving):
            connection.transport.abort()

    def _bind(self) -> asyncio.AbstractEventLoop:
        """The running loop, asked for once: before Python 3.12 that is a call of the system."""
        self._loop = asyncio.get_running_loop()
        return self._loop

    def _request_headers(self, path: str, timeout: float | None, metadata: Pairs) -> Headers:
        """Headers of a call. The same call gets the same tuple, which the connection then sends as a few bytes."""
        key = (path, timeout, tuple(metadata))
        headers = self._headers.get(key)
        if headers is None:
            headers = (
                (b":method", b"POST"),
                (b":scheme", b"http" if self._ssl is None else b"https"),
                (b":path", path.encode()),
                (b":authority", self._authority.encode()),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"grpc-accept-encoding", b"gzip"),
                (b"user-agent", _USER_AGENT),
            )
            if timeout is not None:
                headers += ((b"grpc-timeout", encode_timeout(timeout)),)
            headers += encode_metadata(metadata)
            if len(self._headers) >= MAX_CACHED_HEADERS:
                self._headers.clear()
            self._headers[key] = headers
        return headers

    def _check_size(self, request: bytes) -> None:
        limit = self._limits.max_send_message
        if len(request) > limit:
            text = f"grpc: trying to send message larger than max ({len(request)} vs. {limit})"
            raise Status(Code.RESOURCE_EXHAUSTED, text)

    async def _open(self, headers: Headers, stream: ClientStream) -> None:
        """Open a stream that found no connection ready."""
        refusals = 0
        try:
            while not stream.closed:
                connection = self._connection or await self._connect(None)
                if self._try_open(connection, headers, stream):
                    return
                if self._connection is connection:
                    await connection.slot()
                    continue
                refusals += 1
                if refusals > MAX_REFUSALS:
                    raise _going_away()
        except Status as status:
            stream.end(status)

    def _try_open(self, connection: ClientConnection, headers: Headers, stream: ClientStream) -> bool:
        try:
            connection.stream(headers, stream)
        except TooManyStreamsError:
            return False
        except GoingAwayError:
            self._forget(connection)
            return False
        return True

    async def _connect(self, deadline: float | None) -> ClientConnection:
        """The connection, made by whoever comes first and awaited by all. Raises Status."""
        if self._closed:
            raise _closing()
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._dial())
            self._connecting.add_done_callback(self._dialled)
        try:
            return await _until(asyncio.shield(self._connecting), deadline)
        except asyncio.CancelledError:
            if self._closed:
                raise _closing() from None
            raise

    def _dialled(self, task: asyncio.Task[ClientConnection]) -> None:
        self._connecting = None
        if not task.cancelled() and task.exception() is None and task.result().connected:
            self._connection = task.result()

    async def _dial(self) -> ClientConnection:
        """A connection that has heard the server's preface. Raises Status."""
        where = f"Error while dialing: dial {f'tcp {self.host}:{self.port}' if self._dial_own is None else self.host}"
        try:
            async with asyncio.timeout(self._limits.connect_timeout):
                return await self._establish()
        except TimeoutError:
            raise _dial_error(f"{where}: i/o timeout") from None
        except SSLError as error:
            raise _dial_error(f"authentication handshake failed: {error}") from None
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
            raise _dial_error(f"{where}: connect: {reason}") from None

    async def _establish(self) -> ClientConnection:
        if self._dial_own is not None:
            _, connection = await self._dial_own(self._make)
        else:
            _, connection = await asyncio.get_running_loop().create_connection(
                self._make,
                self.host,
                self.port,
                ssl=self._ssl,
                server_hostname=self._server_name if self._ssl is not None else None,
            )
        try:
            await connection.ready
        except BaseException:
            connection.transport.abort()
            raise
        return connection

    def _make(self) -> ClientConnection:
        return ClientConnection(self._limits, self._http2, self._forget)

    def _forget(self, connection: ClientConnection) -> None:
        """A connection takes no more calls, or is gone."""
        if self._connection is connection:
            self._connection = None
        if connection.connected:
            self._leaving.add(connection)
        else:
            self._leaving.discard(connection)


def unix_socket(path: str, ssl: SSLContext | None, server_name: str) -> Dial:
    """A `dial` for a Channel: connect to the Unix socket at `path`; `server_name` is looked for in the certificate."""

    async def dial(make: Callable[[], ClientConnection]) -> tuple[asyncio.BaseTransport, ClientConnection]:
        loop = asyncio.get_running_loop()
        name = None if ssl is None else server_name
        return await loop.create_unix_connection(make, path, ssl=ssl, server_hostname=name)

    return dial


async def _until(awaitable: Awaitable[T], deadline: float | None) -> T:
    """Wait, but not beyond the deadline. Raises Status."""
    try:
        async with asyncio.timeout_at(deadline):
            return await awaitable
    except TimeoutError:
        raise deadline_exceeded() from None


def _dial_error(text: str) -> Status:
    return Status(Code.UNAVAILABLE, f'connection error: desc = "transport: {text}"')


def _going_away() -> Status:
    return Status(Code.UNAVAILABLE, "the server takes no calls")


def _closing() -> Status:
    return Status(Code.CANCELLED, "grpc: the client connection is closing")
