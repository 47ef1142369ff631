"""HTTP/1.1 for the side doors: health, metrics, the JSON gateway, the wires between members.

One connection serves one request at a time: read whole, hand to the handler, write the answer, next. h11 knows the
grammar (RFC 9112); this module knows the socket, the limits and the clock. Handlers are coroutine functions from
`HttpRequest` to `HttpResponse`; what they raise becomes a 500 and a line in the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import h11

from quorate.transport.sockets import StallWatch, notice_dead_peer, peer_name
from quorate.transport.web import (
    BODY_LIMIT,
    Fields,
    HttpHandler,
    HttpRequest,
    HttpResponse,
    answer,
    http_date,
    text_response,
)

HEAD_LIMIT = 65_536
"""Bytes of request line and headers; more is answered with 431."""

PIPELINE_LIMIT = 65_536
"""Bytes a peer may send ahead while its request is being answered; then it is not read."""

HEAD_TIMEOUT = 20.0
"""Seconds from the first byte of a request to the end of its headers."""

BODY_TIMEOUT = 300.0
"""Seconds the body may take; etcd gives a request as long."""

IDLE_TIMEOUT = 300.0
"""Seconds a connection may wait for its next request."""

LINGER = 0.5
"""Seconds a refused peer may go on sending into the void: hanging up at once could destroy the answer on its way."""

STALL_TIMEOUT = 20.0
"""Seconds a full socket may take no byte before it is closed."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())

__all__ = ["Http1Connection", "HttpHandler", "HttpRequest", "HttpResponse", "text_response"]


class Http1Connection(asyncio.Protocol):
    """The server's end of one HTTP/1 connection. `on_close` is called once, when the socket is gone."""

    def __init__(self, handler: HttpHandler, on_close: Callable[[Http1Connection], None]) -> None:
        self._handler = handler
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._ahead = 0
        self._task: asyncio.Task[None] | None = None
        self._streaming = False
        self._draining = False
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None
        self._writable: asyncio.Future[None] | None = None
        self._stall: StallWatch = cast(StallWatch, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._stall = StallWatch(self._transport, STALL_TIMEOUT)
        notice_dead_peer(transport)
        self._arm(HEAD_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()
        self._on_close(self)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._h11.receive_data(data)
        if self._task is None:
            self._advance()
        else:
            self._ahead += len(data)
            if self._ahead > PIPELINE_LIMIT:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        """A client may close its side and wait for the answer; of a stream it would never hear an end."""
        if self._task is None or self._streaming:
            return False
        self._draining = True
        return True

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()
        self._stall.start()

    def resume_writing(self) -> None:
        self._stall.stop()
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    def drain(self) -> None:
        """Close as soon as no request is being answered."""
        self._draining = True
        if self._task is None:
            self._transport.close()

    def abort(self) -> None:
        """Close now, whatever is going on."""
        self._transport.abort()

    def _advance(self) -> None:
        """Take events until a request is whole or more bytes are needed."""
        while self._task is None and not self._refused and not self._transport.is_closing():
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint)
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                if self._h11.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                return
            if isinstance(event, h11.Request):
                self._head = event
                self._body.clear()
                self._arm(BODY_TIMEOUT)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_LIMIT:
                    self._refuse(413)
            elif isinstance(event, h11.EndOfMessage):
                self._disarm()
                self._task = self._loop.create_task(self._serve(self._request()))
            else:
                self._transport.close()

    def _request(self) -> HttpRequest:
        assert self._head is not None
        head = self._head
        return HttpRequest(
            method=head.method.decode("latin-1"),
            target=head.target.decode("latin-1"),
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers],
            body=bytes(self._body),
            peer=peer_name(self._transport),
            extra=self._transport.get_extra_info,
        )

    async def _serve(self, request: HttpRequest) -> None:
        """Answer one request and go on to the next."""
        try:
            await self._respond(request, await answer(self._handler, request))
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        except Exception:
            # The answer has begun, so a broken connection is the only way left to say that it failed.
            _log.exception("answering %s %s failed", request.method, request.path)
            self._transport.abort()
            return
        self._task = None
        self._streaming = False
        self._next_request()

    async def _respond(self, request: HttpRequest, response: HttpResponse) -> None:
        headers = [("Date", http_date()), *response.headers]
        whole = isinstance(response.body, bytes)
        if whole and not _has(headers, "content-length") and response.status >= 200 and response.status != 204:
            headers.append(("Content-Length", str(len(cast(bytes, response.body)))))
        if self._draining:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(response.status).phrase if response.status in HTTPStatus._value2member_map_ else ""
        start = h11.Response(status_code=response.status, headers=headers, reason=reason.encode())
        silent = request.method == "HEAD" or response.status in (204, 304)
        if isinstance(response.body, bytes):
            body = [] if silent or not response.body else [h11.Data(data=response.body)]
            self._send(start, *body, h11.EndOfMessage())
            return
        self._streaming = True
        self._send(start)
        async for chunk in response.body:
            if self._transport.is_closing():
                raise asyncio.CancelledError
            if chunk and not silent:
                self._send(h11.Data(data=chunk))
            if self._writable is not None:
                await self._writable
        self._send(h11.EndOfMessage())

    def _next_request(self) -> None:
        """After an answer: the next cycle of a connection that stays, the end of one that does not."""
        if self._transport.is_closing():
            return
        if self._draining or self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            self._transport.close()
            return
        self._h11.start_next_cycle()
        self._ahead = 0
        self._arm(IDLE_TIMEOUT)
        self._transport.resume_reading()
        self._advance()

    def _refuse(self, status: int) -> None:
        """Answer what cannot be read or will not be, and hang up: where the next request starts is unknown."""
        text = HTTPStatus(status).phrase
        body = f"{status} {text}".encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            start = h11.Response(status_code=status, headers=headers, reason=text.encode())
            self._send(start, h11.Data(data=body), h11.EndOfMessage())
        self._refused = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._arm(LINGER)

    def _send(self, *events: Any) -> None:
        data = b"".join(self._h11.send(event) or b"" for event in events)
        self._stall.written += len(data)
        self._transport.write(data)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, self._transport.close)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _has(headers: Fields, name: str) -> bool:
    return any(key.lower() == name for key, _ in headers)
