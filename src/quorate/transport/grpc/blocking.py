"""A caller without an event loop: one connection, made when needed, on a plain socket.

    with BlockingChannel("127.0.0.1", 2379) as channel:
        reply = channel.unary("/etcdserverpb.KV/Range", request, timeout=5.0)

It is for programs that ask a few questions and end: nothing is imported that they do not need. Whoever waits for an
answer reads the socket, so one thread at a time may wait; another one may send on a stream meanwhile.
"""

from __future__ import annotations

import os
import select
import socket
import time
from threading import Lock
from typing import TYPE_CHECKING

from quorate.api.errors import Code
from quorate.transport.grpc.blocking_stream import BlockingStream, fault_of
from quorate.transport.grpc.framing import frame
from quorate.transport.grpc.status import Status, status_of_reset
from quorate.transport.http2.connection import Connection
from quorate.transport.http2.errors import ErrorCode, GoingAwayError, TooManyStreamsError
from quorate.transport.http2.events import DataReceived, GoAwayReceived, HeadersReceived, StreamReset
from quorate.transport.http2.limits import Limits
from quorate.version import QUORATE_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ssl import SSLContext
    from types import TracebackType

    from quorate.transport.http2.events import Event, Headers

MAX_WINDOW = 2_147_483_647
READ_BYTES = 262_144
PING = b"blocking"
WRITE_STALL = 20.0
"""Seconds after which a socket that takes no byte is given up."""


class BlockingChannel:
    """Calls to one address. A lost connection fails the calls on it with UNAVAILABLE; the next call connects anew.

    `port` 0 means that `host` is the path of a Unix socket. `tls` is told to offer h2; `server_name` is looked for in
    the certificate instead of the host. Times are in seconds; `keepalive_time` 0 sends no pings.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: SSLContext | None = None,
        server_name: str = "",
        authority: str = "",
        connect_timeout: float = 20.0,
        keepalive_time: float = 0.0,
        keepalive_timeout: float = 20.0,
    ) -> None:
        self._host, self._port = host, port
        self._tls = tls
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        self._server_name = server_name or host
        self._authority = authority or (f"{host}:{port}" if port else "localhost")
        self._connect_timeout = connect_timeout
        self._keepalive_time, self._keepalive_timeout = keepalive_time, keepalive_timeout
        self._socket: socket.socket | None = None
        self._lock = Lock()
        self._reset_state()

    def _reset_state(self) -> None:
        self._machine = Connection(client=True, limits=Limits(connection_window=MAX_WINDOW))
        self._calls: dict[int, BlockingStream] = {}
        self._leaving = False
        self._heard = self._pinged = time.monotonic()

    def unary(
        self, path: str, request: bytes, *, timeout: float | None = None, metadata: Sequence[tuple[str, str]] = ()
    ) -> bytes:
        """Call `path` and return the reply. Raises Status."""
        call = self.stream(path, timeout=timeout, metadata=metadata, first=request, last=True)
        reply = call.receive()
        if reply is None or call.receive() is not None:
            raise Status(Code.INTERNAL, "cardinality violation: expected one response message")
        return reply

    def stream(
        self,
        path: str,
        *,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        first: bytes | None = None,
        last: bool = False,
    ) -> BlockingStream:
        """Open a call, with a first message to send, and perhaps no more after it. Raises Status."""
        deadline = None if timeout is None else time.monotonic() + timeout
        headers = self._headers(path, timeout, metadata)
        with self._lock:
            if self._socket is not None and not self._calls:
                self._read()  # nobody has looked since the last call: the server may have left
            if self._socket is None or self._leaving:
                self._connect(deadline)
            try:
                stream_id = self._machine.open_stream(headers, False)
            except (GoingAwayError, TooManyStreamsError) as error:
                raise Status(Code.UNAVAILABLE, str(error)) from None
            call = self._calls[stream_id] = BlockingStream(self, stream_id, deadline)
            if first is not None:
                self._machine.send_data(stream_id, frame(first), last)
            elif last:
                self._machine.send_data(stream_id, b"", True)
            call.half_closed = last
            self._flush()
        return call

    def close(self) -> None:
        """End the connection; calls under way fail."""
        with self._lock:
            if self._socket is not None:
                self._machine.go_away()
                self._drop(Status(Code.CANCELLED, "grpc: the client connection is closing"))

    def __enter__(self) -> BlockingChannel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _headers(self, path: str, timeout: float | None, metadata: Sequence[tuple[str, str]]) -> Headers:
        headers: Headers = (
            (b":method", b"POST"),
            (b":scheme", b"http" if self._tls is None else b"https"),
            (b":path", path.encode()),
            (b":authority", self._authority.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-accept-encoding", b"gzip"),
            (b"user-agent", b"quorate-python/" + QUORATE_VERSION.encode()),
        )
        if timeout is not None:
            headers += ((b"grpc-timeout", b"%dm" % min(max(1, int(timeout * 1000)), 99_999_999)),)
        return headers + tuple((name.encode(), value.encode()) for name, value in metadata)

    # -- the connection, with the lock held ------------------------------------------------------------------------

    def _connect(self, deadline: float | None) -> None:
        """Raises Status."""
        if self._socket is not None:
            self._drop(Status(Code.UNAVAILABLE, "the server takes no calls"))
        self._reset_state()
        seconds = self._connect_timeout
        if deadline is not None:
            seconds = max(min(seconds, deadline - time.monotonic()), 0.001)
        where = f"{self._host}:{self._port}" if self._port else self._host
        try:
            plain = self._dial(seconds)
        except TimeoutError:
            raise _dial_error(f"Error while dialing: dial tcp {where}: i/o timeout") from None
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
            raise _dial_error(f"Error while dialing: dial tcp {where}: connect: {reason}") from None
        if self._tls is not None:
            try:
                plain = self._tls.wrap_socket(plain, server_hostname=self._server_name)
            except (OSError, ValueError) as error:
                plain.close()
                raise _dial_error(f"authentication handshake failed: {error}") from None
        plain.setblocking(False)
        self._socket = plain
        self._heard = self._pinged = time.monotonic()
        self._machine.start()

    def _dial(self, seconds: float) -> socket.socket:
        if not self._port:
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(seconds)
            made.connect(self._host)
            return made
        # As bytes: a name in letters of its own would import a codec that takes longer than the whole call.
        host: str | bytes = self._host.encode() if self._host.isascii() else self._host
        made = socket.create_connection((host, self._port), seconds)  # type: ignore[arg-type]
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _flush(self) -> None:
        """Write what waits. A connection that is lost meanwhile fails its calls."""
        data = memoryview(self._machine.output())
        until = time.monotonic() + WRITE_STALL
        while data and self._socket is not None:
            try:
                data = data[self._socket.send(data) :]
                until = time.monotonic() + WRITE_STALL
            except OSError as error:
                if not _would_block(error):
                    self._drop(Status(Code.UNAVAILABLE, f"error writing to server: {error}"))
                elif time.monotonic() > until:
                    self._drop(Status(Code.UNAVAILABLE, "error writing to server: i/o timeout"))
                else:
                    select.select([], [self._socket], [], 1.0)

    def _drop(self, why: Status) -> None:
        """The connection is over."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.end(why)

    def _read(self) -> None:
        """Take what the socket has, and tell the calls."""
        while self._socket is not None:
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError as error:
                if not _would_block(error):
                    self._drop(Status(Code.UNAVAILABLE, f"error reading from server: {error}"))
                break
            if not data:
                self._drop(Status(Code.UNAVAILABLE, "error reading from server: EOF"))
                break
            self._heard = time.monotonic()
            for event in self._machine.receive(data):
                self._on_event(event)
            self._flush()
            if self._machine.closed is not None:
                self._drop(Status(Code.UNAVAILABLE, f"connection error: {self._machine.closed.reason}"))

    def _on_event(self, event: Event) -> None:
        if isinstance(event, GoAwayReceived):
            self._leaving = True
            return
        if not isinstance(event, (HeadersReceived, DataReceived, StreamReset)):
            return
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        if isinstance(event, StreamReset):
            self._end(call, status_of_reset(event.code))
        elif isinstance(event, HeadersReceived):
            fault = fault_of(event.headers, call, event.end_stream)
            if fault is not None or event.end_stream:
                self._end(call, fault)
        else:
            try:
                call.feed(event.data)
            except Status as status:
                self._end(call, status)
            if event.end_stream:
                self._end(call, Status(Code.INTERNAL, "server closed the stream without sending trailers"))

    def _end(self, call: BlockingStream, error: Status | None) -> None:
        if self._calls.pop(call.stream_id, None) is not None:
            if error is not None or not call.half_closed:
                self._machine.reset_stream(call.stream_id, ErrorCode.CANCEL if error else ErrorCode.NO_ERROR)
            call.end(error)

    # -- for the calls ---------------------------------------------------------------------------------------------

    def put(self, call: BlockingStream, data: bytes, end: bool) -> None:
        """Send on a call."""
        with self._lock:
            if not call.ended:
                self._machine.send_data(call.stream_id, data, end)
                self._flush()

    def give_up(self, call: BlockingStream, status: Status) -> None:
        """End a call from this side."""
        with self._lock:
            self._end(call, status)
            self._flush()

    def acknowledge(self, call: BlockingStream, size: int) -> None:
        """A call has taken bytes: open the server's window."""
        with self._lock:
            self._machine.acknowledge(call.stream_id, size)
            self._flush()

    def wait(self, deadline: float | None) -> None:
        """Wait until something comes, or the deadline has passed, and take it."""
        held = self._socket
        if held is None:
            return
        now = time.monotonic()
        until = deadline
        if self._keepalive_time > 0:
            silent_until = self._heard + self._keepalive_time
            if self._pinged >= self._heard:
                silent_until = self._pinged + self._keepalive_timeout
            until = silent_until if until is None else min(until, silent_until)
        poll = select.poll()
        poll.register(held, select.POLLIN)
        ready = poll.poll(None if until is None else max(0.0, until - now) * 1000.0)
        with self._lock:
            if ready:
                self._read()
            elif self._keepalive_time > 0 and (deadline is None or time.monotonic() < deadline):
                self._ping_or_drop()

    def _ping_or_drop(self) -> None:
        now = time.monotonic()
        if self._pinged >= self._heard and now >= self._pinged + self._keepalive_timeout:
            self._drop(Status(Code.UNAVAILABLE, "keepalive ping failed to receive ACK within timeout"))
        elif self._pinged < self._heard and now >= self._heard + self._keepalive_time:
            self._pinged = now
            self._machine.ping(PING)
            self._flush()


def _dial_error(text: str) -> Status:
    return Status(Code.UNAVAILABLE, f'connection error: desc = "transport: {text}"')


def _would_block(error: OSError) -> bool:
    """Whether a socket only asks to try again later; TLS has errors of its own for that."""
    return isinstance(error, BlockingIOError) or type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")
