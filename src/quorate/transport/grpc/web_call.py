"""A web request that came over HTTP/2, on a connection whose other streams are gRPC calls.

Over TLS a client of the side doors (curl, a browser) speaks whatever ALPN offers, and that is HTTP/2.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from quorate.transport.grpc.flow import Outlet
from quorate.transport.grpc.limits import SOCKET_HIGH
from quorate.transport.http2 import ErrorCode, Headers
from quorate.transport.web import (
    BODY_LIMIT,
    HttpHandler,
    HttpRequest,
    HttpResponse,
    answer,
    close_body,
    http_date,
    text_response,
)

if TYPE_CHECKING:
    from quorate.transport.grpc.connection import ServerConnection

_log = logging.getLogger(__name__)

_HOP_BY_HOP = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"))
"""Fields that HTTP/2 does not carry (RFC 9113 §8.2.2)."""


class WebCall:
    """Collects the body, runs the handler in a task, sends what it answers."""

    def __init__(self, connection: ServerConnection, stream_id: int, headers: Headers, handler: HttpHandler) -> None:
        self._connection = connection
        self._stream_id = stream_id
        self._headers = headers
        self._handler = handler
        self._body = bytearray()
        self._outlet = Outlet(connection, stream_id)
        self._task: asyncio.Task[None] | None = None
        self._peer_ended = False

    def feed(self, data: bytes, end_stream: bool) -> None:
        """More of the body came."""
        self._connection.machine.acknowledge(self._stream_id, len(data))
        if self._task is not None:
            return
        self._body += data
        self._peer_ended = end_stream
        if len(self._body) > BODY_LIMIT:
            self._start(_too_large)
        elif end_stream:
            self._start(self._handler)

    def cancel(self) -> None:
        """The caller is gone."""
        self._outlet.shut()
        if self._task is not None:
            self._task.cancel()

    def _start(self, handler: HttpHandler) -> None:
        self._task = self._connection.loop.create_task(self._serve(handler))

    async def _serve(self, handler: HttpHandler) -> None:
        request = self._request()
        try:
            response = await answer(handler, request)
            try:
                await self._respond(request, response)
            finally:
                await close_body(response)
        except asyncio.CancelledError:
            raise
        except Exception:
            # The answer has begun, so a reset is the only way left to say that it failed.
            _log.exception("answering %s %s failed", request.method, request.path)
            self._connection.machine.reset_stream(self._stream_id, ErrorCode.INTERNAL_ERROR)
        self._outlet.shut()
        self._connection.finish_web(self._stream_id, self._peer_ended)

    def _request(self) -> HttpRequest:
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers]
        pseudo = {name: value for name, value in fields if name.startswith(":")}
        headers = [field for field in fields if field[0] not in pseudo]
        if ":authority" in pseudo:
            headers.append(("host", pseudo[":authority"]))
        return HttpRequest(
            method=pseudo.get(":method", ""),
            target=pseudo.get(":path", ""),
            headers=headers,
            body=bytes(self._body),
            peer=self._connection.peer,
            extra=self._connection.transport.get_extra_info,
        )

    async def _respond(self, request: HttpRequest, response: HttpResponse) -> None:
        machine = self._connection.machine
        silent = request.method == "HEAD" or response.status in (204, 304)
        if response.upgrade is not None or not isinstance(response.body, bytes | AsyncIterator):
            # What is attached, or takes over, writes to its own socket, which the streams of HTTP/2 share.
            machine.reset_stream(self._stream_id, ErrorCode.HTTP_1_1_REQUIRED)
            return
        headers = _response_headers(response)
        if silent or not response.body:
            machine.send_headers(self._stream_id, headers, True)
            return
        machine.send_headers(self._stream_id, headers, False)
        if isinstance(response.body, bytes):
            self._outlet.put(response.body, True)
            return
        self._connection.wake()
        async for chunk in response.body:
            self._outlet.put(chunk)
            if self._outlet.pending > SOCKET_HIGH:
                await self._outlet.drain()
        self._outlet.put(b"", True)


def _response_headers(response: HttpResponse) -> Headers:
    fields = [(name.lower(), value) for name, value in response.headers]
    if isinstance(response.body, bytes) and response.status != 204 and "content-length" not in dict(fields):
        fields.append(("content-length", str(len(response.body))))
    fields.append(("date", http_date()))
    kept = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in fields if name not in _HOP_BY_HOP)
    return ((b":status", b"%d" % response.status), *kept)


async def _too_large(request: HttpRequest) -> HttpResponse:
    return text_response(413, "Request Entity Too Large")
