"""HTTP/1.1 for the side doors: health, metrics, the JSON gateway, the wires between members.

One connection serves one request at a time: read whole, hand to the handler, write the answer, next. h11 knows the
grammar (RFC 9112); this module knows the socket, the limits and the clock. Handlers are coroutine functions from
`HttpRequest` to `HttpResponse`; what they raise becomes a 500 and a line in the log.

Two kinds of exchange last longer than that. A request for a streamed path is handed over with its head, and its body is
read at the handler's pace. An answer with an attached body has its head sent, and then the connection is the writer's
until one side ends it. A request that offers another protocol may be answered with who speaks it: then the connection
is theirs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any, cast

import h11

from quorate.transport.body import BodyReader, BodyWriter
from quorate.transport.sockets import StallWatch, notice_dead_peer, peer_name
from quorate.transport.web import (
    BODY_LIMIT,
    HttpHandler,
    HttpRequest,
    HttpResponse,
    answer,
    close_body,
    find_header,
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

PIECE_TIMEOUT = 60.0
"""Seconds a streamed body may pause while its reader has room; the whole of it may take as long as it likes."""

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

    def __init__(
        self,
        handler: HttpHandler,
        on_close: Callable[[Http1Connection], None],
        streamed: frozenset[str] = frozenset(),
    ) -> None:
        self._handler = handler
        self._on_close = on_close
        self._streamed = streamed
        self._loop = asyncio.get_running_loop()
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._asked: HttpRequest | None = None
        """Whose body is being read."""
        self._body = bytearray()
        self._reader: BodyReader | None = None
        self._writer: BodyWriter | None = None
        self._successor: asyncio.Protocol | None = None
        """Speaks another protocol on this connection now."""
        self._ahead = 0
        self._task: asyncio.Task[None] | None = None
        self._own_pace = False
        """The request is of a streamed path: its handler hears of a lost peer by the body, and is not cancelled."""
        self._serving: HttpRequest | None = None
        self._streaming = False
        self._draining = False
        self._deaf = False
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
        if self._reader is not None:
            self._fail_body(f"connection lost: {exc}" if exc else "connection closed")
        if self._task is not None and (not self._own_pace or self._is_tied()):
            self._task.cancel()
        if self._writer is not None:
            self._writer.lost()
        if self._successor is not None:
            self._successor.connection_lost(exc)
        self._on_close(self)

    def data_received(self, data: bytes) -> None:
        if self._successor is not None:
            self._successor.data_received(data)
            return
        if self._deaf:
            return
        self._h11.receive_data(data)
        if self._task is None or self._reader is not None:
            self._advance()
        else:
            self._ahead += len(data)
            if self._ahead > PIPELINE_LIMIT:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        """A client may close its side and wait for the answer; of a stream it would never hear an end."""
        if self._reader is not None:
            self._fail_body("body ended midway")
        if self._task is None or self._streaming or self._is_tied():
            return False
        self._draining = True
        return True

    def pause_writing(self) -> None:
        if self._successor is not None:
            self._successor.pause_writing()
        elif self._writer is None:
            self._writable = self._loop.create_future()
            self._stall.start()

    def resume_writing(self) -> None:
        if self._successor is not None:
            self._successor.resume_writing()
        self._stall.stop()
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    def drain(self) -> None:
        """Close as soon as no request is being answered."""
        self._draining = True
        if self._writer is not None:
            self._writer.close()
        elif self._task is None:  # as of one that has a successor
            self._transport.close()

    def abort(self) -> None:
        """Close now, whatever is going on."""
        self._transport.abort()

    def _advance(self) -> None:
        """Take events until a request is to be served or more bytes are needed."""
        while (self._task is None or self._reader is not None) and not self._deaf and not self._transport.is_closing():
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                if self._reader is not None:
                    self._fail_body(str(error))
                else:
                    self._refuse(error.error_status_hint)
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                if self._h11.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._take(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._disarm()
                self._end_body()
            else:
                self._transport.close()

    def _begin(self, head: h11.Request) -> None:
        self._body.clear()
        request = self._asked = self._request(head)
        if request.path not in self._streamed:
            self._arm(BODY_TIMEOUT)
            return
        self._own_pace = True
        self._reader = BodyReader(self._hold)
        request.chunks = self._reader
        self._arm(PIECE_TIMEOUT)
        self._task = self._loop.create_task(self._serve(request))

    def _take(self, data: bytes) -> None:
        if self._reader is not None:
            if not self._reader.held:
                self._arm_piece()
            self._reader.feed(bytes(data))
            return
        self._body += data
        if len(self._body) > BODY_LIMIT:
            self._refuse(413)

    def _end_body(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            self._transport.resume_reading()
            reader.end()
        else:
            assert self._asked is not None
            self._asked.body = bytes(self._body)
            self._task = self._loop.create_task(self._serve(self._asked))

    def _fail_body(self, reason: str) -> None:
        """The handler hears that the rest will not come, and may still answer."""
        assert self._reader is not None
        self._disarm()
        self._reader.fail(reason)
        self._reader = None
        self._draining = self._deaf = True

    def _hold(self, hold: bool) -> None:
        """The reader of a streamed body lags, or has caught up. What it does not want it need not be sent in time."""
        if self._reader is None:
            return
        if hold:
            self._disarm()
            self._transport.pause_reading()
        else:
            self._arm_piece()
            self._transport.resume_reading()

    def _arm_piece(self) -> None:
        """Who is being answered already may say more when it likes."""
        if not self._streaming:
            self._arm(PIECE_TIMEOUT)

    def _request(self, head: h11.Request) -> HttpRequest:
        return HttpRequest(
            method=head.method.decode("latin-1"),
            target=head.target.decode("latin-1"),
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers],
            peer=peer_name(self._transport),
            extra=self._transport.get_extra_info,
        )

    def _is_tied(self) -> bool:
        return self._serving is not None and self._serving.tied

    async def _serve(self, request: HttpRequest) -> None:
        """Answer one request and go on to the next."""
        self._serving = request
        try:
            response = await answer(self._handler, request)
            try:
                if not self._transport.is_closing():
                    await self._respond(request, response)
            finally:
                await close_body(response)
        except asyncio.CancelledError:
            self._transport.abort()
            raise
        except Exception:
            # The answer has begun, so a broken connection is the only way left to say that it failed.
            _log.exception("answering %s %s failed", request.method, request.path)
            self._transport.abort()
            return
        self._task = self._serving = None
        self._own_pace = self._streaming = False
        if self._writer is None and self._successor is None:
            self._next_request()

    async def _respond(self, request: HttpRequest, response: HttpResponse) -> None:
        headers = [("Date", http_date()), *response.headers]
        if response.upgrade is not None:
            self._hand_over(headers, response.upgrade)
            return
        whole = isinstance(response.body, bytes)
        if (
            whole
            and find_header(headers, "content-length") is None
            and response.status >= 200
            and response.status != 204
        ):
            headers.append(("Content-Length", str(len(cast(bytes, response.body)))))
        if self._draining or self._reader is not None:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(response.status).phrase if response.status in HTTPStatus._value2member_map_ else ""
        start = h11.Response(status_code=response.status, headers=headers, reason=reason.encode())
        silent = request.method == "HEAD" or response.status in (204, 304)
        if isinstance(response.body, bytes):
            body = [] if silent or not response.body else [h11.Data(data=response.body)]
            self._send(start, *body, h11.EndOfMessage())
            if self._writable is not None:
                await self._writable  # what a peer does not read bounds what it may ask for
            return
        self._streaming = True
        self._disarm()
        self._send(start)
        if not isinstance(response.body, AsyncIterator):
            if silent:
                self._transport.close()
                return
            self._deaf = True
            self._writer = BodyWriter(self._transport, chunked=self._h11.their_http_version != b"1.0")
            response.body(self._writer)
            return
        async for chunk in response.body:
            if self._transport.is_closing():
                raise asyncio.CancelledError
            if chunk and not silent:
                self._send(h11.Data(data=chunk))
            if self._writable is not None:
                await self._writable
        self._send(h11.EndOfMessage())

    def _hand_over(self, headers: list[tuple[str, str]], successor: asyncio.Protocol) -> None:
        """Answer 101, and let another protocol have the connection and what came for it already."""
        self._disarm()
        self._send(h11.InformationalResponse(status_code=101, headers=headers, reason=b"Switching Protocols"))
        self._successor = successor
        self._transport.resume_reading()
        successor.connection_made(self._transport)
        if early := self._h11.trailing_data[0]:
            successor.data_received(early)

    def _next_request(self) -> None:
        """After an answer: the next cycle of a connection that stays, the end of one that does not."""
        if self._transport.is_closing():
            return
        if self._h11.their_state in (h11.SEND_BODY, h11.ERROR):
            self._linger()
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
        self._linger()

    def _linger(self) -> None:
        """Hang up on a peer that may still be sending."""
        self._deaf = True
        self._reader = None
        self._arm(LINGER)
        self._transport.resume_reading()
        try:
            if self._transport.can_write_eof():
                self._transport.write_eof()
        except OSError:
            # The peer has gone already, and the loop has not heard of it.
            self._transport.abort()

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
