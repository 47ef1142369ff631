"""WebSocket, the server's end: one message after the other, both ways, on a connection that was HTTP/1.

`accept` answers the handshake (RFC 6455 §4.2); wsproto knows the frames; this module knows the socket and the limits.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, generate_accept_token

from quorate.transport.sockets import StallWatch
from quorate.transport.web import Fields, HttpRequest, HttpResponse, text_response

HELD_HIGH = 1_048_576
"""Bytes of messages that may wait for their reader; then the peer is not read on."""

MESSAGE_COST = 64
"""Bytes that a message costs beside its own, for there are empty ones."""

CLOSE_GRACE = 2.0
"""Seconds a peer may take to end a connection that was closed."""

STALL_TIMEOUT = 20.0
"""Seconds a full socket may take no byte before it is closed."""

VERSION = "13"

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())

Run = Callable[["WebSocket"], Awaitable[None]]


def wants_websocket(request: HttpRequest) -> bool:
    """Whether a request offers to go on as WebSocket."""
    return (request.header("upgrade") or "").lower() == "websocket"


def accept(request: HttpRequest, run: Run, *, limit: int, protocol: str = "") -> HttpResponse:
    """The answer to a request that `wants_websocket`: 101, or why not.

    `run` is called in a task when the connection is open; its return closes it, and it is cancelled when the peer is
    gone. Messages of more than `limit` bytes are refused. `protocol` is told as the one chosen.
    """
    refused: Fields = (("Sec-WebSocket-Version", VERSION),)
    if request.method != "GET":
        return text_response(405, "Method Not Allowed", refused)
    key = request.header("sec-websocket-key") or ""
    tokens = [token.strip().lower() for token in (request.header("connection") or "").split(",")]
    if "upgrade" not in tokens or request.header("sec-websocket-version") != VERSION or not _is_nonce(key):
        return text_response(400, "Bad Request", refused)
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", generate_accept_token(key.encode("ascii")).decode()),
    ]
    if protocol:
        headers.append(("Sec-WebSocket-Protocol", protocol))
    return HttpResponse(101, headers, upgrade=WebSocket(run, limit))


class WebSocket(asyncio.Protocol):
    """An open connection. Iterating it yields the peer's messages as bytes, until the peer has no more."""

    def __init__(self, run: Run, limit: int) -> None:
        self._run = run
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._frames = Connection(ConnectionType.SERVER)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._stall: StallWatch = cast(StallWatch, None)
        self._task: asyncio.Task[None] | None = None
        self._partial = bytearray()
        self._messages: deque[bytes] = deque()
        self._waiting = 0
        self._held = False
        self._full = False
        self._ended = False
        self._deaf = False
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def __aiter__(self) -> WebSocket:
        return self

    async def __anext__(self) -> bytes:
        while not self._messages:
            if self._ended:
                raise StopAsyncIteration
            self._news = self._loop.create_future()
            await self._news
        message = self._messages.popleft()
        self._waiting -= len(message) + MESSAGE_COST
        self._regulate()
        return message

    async def send(self, text: str) -> None:
        """Send a message, then wait until the socket has room for more. Nothing once the connection is closed."""
        if self._frames.state is ConnectionState.OPEN:
            self._write(TextMessage(data=text))
        while self._full:
            self._room = self._loop.create_future()
            await self._room

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._stall = StallWatch(self._transport, STALL_TIMEOUT)
        self._task = self._loop.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        if self._deaf or self._frames.state is ConnectionState.CLOSED:
            return
        self._frames.receive_data(data)
        for event in self._frames.events():
            self._take(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._full = True
        self._stall.start()
        self._regulate()

    def resume_writing(self) -> None:
        self._full = False
        self._stall.stop()
        self._regulate()
        _wake(self._room)

    def _take(self, event: Event) -> None:
        if isinstance(event, TextMessage | BytesMessage):
            self._partial += event.data.encode() if isinstance(event.data, str) else event.data
            if len(self._partial) > self._limit:
                self._deaf = True
                self._close(CloseReason.MESSAGE_TOO_BIG)
            elif event.message_finished:
                self._messages.append(bytes(self._partial))
                self._waiting += len(self._partial) + MESSAGE_COST
                self._partial.clear()
                self._regulate()
                _wake(self._news)
        elif isinstance(event, Ping):
            self._write(event.response())
        elif isinstance(event, CloseConnection) and self._frames.state is ConnectionState.OPEN:
            self._deaf = True  # it is wsproto's complaint about what came, and nothing behind that has a meaning
            self._close(event.code)
        elif isinstance(event, CloseConnection):
            if self._frames.state is ConnectionState.REMOTE_CLOSING:
                self._write(event.response())
            self._transport.close()

    async def _serve(self) -> None:
        code = CloseReason.NORMAL_CLOSURE
        try:
            await self._run(self)
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("serving a websocket failed")
            code = CloseReason.INTERNAL_ERROR
        self._task = None
        self._close(code)

    def _close(self, code: int) -> None:
        """Say goodbye; the peer answers and hangs up, or is dropped. Nothing more is read from it."""
        self._ended = True
        self._messages.clear()
        self._waiting = 0
        _wake(self._news)
        if self._transport.is_closing():
            return
        if self._frames.state is ConnectionState.OPEN:
            self._write(CloseConnection(code=code))
            self._loop.call_later(CLOSE_GRACE, self._transport.abort)
        else:
            self._transport.close()

    def _write(self, event: Event) -> None:
        try:
            data = self._frames.send(event)
        except LocalProtocolError:
            return  # both have said goodbye
        self._stall.written += len(data)
        self._transport.write(data)

    def _regulate(self) -> None:
        """Read the peer only while what it said is taken and it takes what it is told: pings are answered, too."""
        hold = self._waiting > HELD_HIGH or self._full
        if hold != self._held and not self._transport.is_closing():
            self._held = hold
            if hold:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


def _is_nonce(key: str) -> bool:
    """Sixteen bytes in base64 (RFC 6455 §4.2.1)."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
