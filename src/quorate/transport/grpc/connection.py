"""The server's end of one connection: events in, calls and replies out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from quorate.api.errors import Code
from quorate.transport.grpc.alike import AlikeCall, run_together
from quorate.transport.grpc.answer import answer_of
from quorate.transport.grpc.edge import Edge
from quorate.transport.grpc.framing import PREFIX_SIZE, frame_gzip, is_whole, pack_prefix
from quorate.transport.grpc.heads import (
    GZIP_RESPONSE_HEADERS,
    RESPONSE_HEADERS,
    Head,
    HeadBook,
    Opening,
    Refusal,
    trailers_only,
)
from quorate.transport.grpc.keepalive import PING, Heartbeat, PingPolice
from quorate.transport.grpc.limits import DRAIN_PING_TIMEOUT, LINGER
from quorate.transport.grpc.methods import Bidi, Context, Reply, Unary
from quorate.transport.grpc.status import OK_TRAILERS, Status, trailers_of
from quorate.transport.grpc.stream import Stream, parse
from quorate.transport.grpc.unary import UnaryCall
from quorate.transport.grpc.unsent import Unsent
from quorate.transport.grpc.web_call import WebCall
from quorate.transport.http2 import (
    Connection,
    DataReceived,
    ErrorCode,
    Event,
    Headers,
    HeadersReceived,
    PingAcked,
    PingReceived,
    RequestsReceived,
    SettingsReceived,
    StreamReset,
    StreamWindow,
)
from quorate.transport.sockets import peer_name
from quorate.transport.web import HttpHandler

if TYPE_CHECKING:
    from quorate.transport.grpc.server import GrpcServer

_DRAIN_PING = b"goodbye!"


class ServerConnection(Edge):
    """Reads requests, runs handlers, writes replies. `on_close` is called once, when the socket is gone.

    `web` answers what is not gRPC; without it such requests are refused.
    """

    def __init__(
        self, server: GrpcServer, on_close: Callable[[ServerConnection], None], web: HttpHandler | None
    ) -> None:
        limits = server.limits
        machine = Connection(client=False, limits=server.http2, whole=True)
        super().__init__(machine, limits.socket_stall_timeout, server.flusher)
        self.limits = limits
        self.peer = ""
        self.police = PingPolice(limits.min_ping_interval, limits.permit_idle_pings)
        self._server = server
        self._run = self._run_timed if server.timed else self._run_at_once
        self.slow_call = server.slow_call
        self._web = web
        self._on_close = on_close
        self._heads: HeadBook = cast(HeadBook, None)
        self._waiting: dict[int, Opening] = {}
        """Unary calls whose message has not come yet, within one read."""
        self._calls: dict[int, UnaryCall | AlikeCall | Stream | WebCall] = {}
        self._unsent = Unsent(machine, self.loop, limits.window_stall_timeout, self.wake)
        self._heard = self.loop.time()
        self._heartbeat: Heartbeat | None = None
        self._last_stream = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._preface_timer: asyncio.TimerHandle | None = None
        self._whole_limit = limits.max_receive_message + PREFIX_SIZE
        self._draining = False
        self._leaving = False
        """The final GOAWAY is out: close when nothing is left to answer."""
        self._deaf = False
        """GOAWAY is out and nothing that still comes in matters."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = peer_name(transport)
        server = self._server
        self._heads = HeadBook(
            server.methods, server.tallies, server.services, self._web is not None, self.peer, transport
        )
        self._heartbeat = Heartbeat(
            time=self.limits.keepalive_time,
            timeout=self.limits.keepalive_timeout,
            heard=lambda: self._heard,
            wanted=lambda: True,
            ping=self._ping,
            dead=self.abort,
        )
        self._preface_timer = self._later(self.limits.preface_timeout, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._heartbeat is not None:
            self._heartbeat.stop()
        for timer in self._timers:
            timer.cancel()
        self._unsent.stop()
        for call in list(self._calls.values()):
            call.cancel()
        self._calls.clear()
        self._on_close(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._heard = self.loop.time()
        self.dirty = True  # what can be answered at once is written when all of it is answered
        waiting = self._waiting
        for event in self.machine.receive(data):
            if type(event) is RequestsReceived:
                self._on_requests(*event)
            elif type(event) is DataReceived:
                stream_id, body, end_stream = event
                opening = waiting.pop(stream_id, None)
                if opening is None:
                    self._on_data(stream_id, body, end_stream)
                elif end_stream and is_whole(body, self._whole_limit):
                    self._run(stream_id, opening, body)
                else:
                    self._open_call(stream_id, opening).feed(body, end_stream)
            elif type(event) is HeadersReceived:
                self._on_headers(*event)
            else:
                self._on_other(event)
        if waiting:
            for stream_id, opening in waiting.items():
                self._open_call(stream_id, opening)
            waiting.clear()
        if self._full:
            self.hold_reading(self.limits.max_unwritten)
        self.flush()

    def flush(self) -> None:
        super().flush()
        if self.machine.closed is not None or (self._leaving and self.machine.released):
            self._say_goodbye()

    def drain(self) -> None:
        """Take no new calls and close when those under way are answered.

        The first GOAWAY names no last stream, for calls may be on their way; the ping's answer says that all of
        them have come (RFC 9113 §6.8).
        """
        if self._draining or not self.connected:
            return
        self._draining = True
        self.machine.go_away()
        self.machine.ping(_DRAIN_PING)
        self._later(DRAIN_PING_TIMEOUT, self._leave)
        self.wake()

    def abort(self) -> None:
        """Close now; calls under way are cancelled."""
        self.transport.abort()

    def begin(self, head: Head, context: Context, body: bytes) -> Reply | Coroutine[Any, Any, Reply]:
        """The reply of a unary handler, or its coroutine, not started. Raises Status when no request can be parsed."""
        method = head.method
        assert isinstance(method, Unary)
        tally = head.tally
        tally.received += 1
        tally.received_bytes += len(body)
        return method.handle(parse(method.parse, body), context)

    def reply(self, stream_id: int, head: Head, reply: Reply) -> None:
        """Answer a unary call with OK."""
        if isinstance(reply, bytes):
            body = reply
        else:
            try:
                body = reply.SerializeToString()
            except Exception as error:
                self.fail_call(stream_id, head, error, True)
                return
        self.reply_all((stream_id,), head, (body,))

    def reply_all(self, stream_ids: Sequence[int], head: Head, bodies: Sequence[bytes]) -> None:
        """The same for calls that are answered together."""
        if head.gzip:
            framed = [frame_gzip(body) for body in bodies]
            self.machine.send_unary_replies(stream_ids, GZIP_RESPONSE_HEADERS, framed, OK_TRAILERS)
        else:
            framed = [pack_prefix(0, len(body)) + body for body in bodies]
            self.machine.send_unary_replies(stream_ids, RESPONSE_HEADERS, framed, OK_TRAILERS)
        tally = head.tally
        tally.succeeded += len(bodies)
        tally.sent_bytes += sum(map(len, bodies))
        self.police.forgiven = True
        if self.machine.pending():
            for stream_id in stream_ids:
                self._unsent.watch(stream_id)
        if not self.dirty:
            self.wake()

    def fail_call(self, stream_id: int, head: Head, error: BaseException, peer_ended: bool) -> None:
        """Answer a call that has sent nothing with the status of an error."""
        code, text = answer_of(error, head.path)
        head.tally.ended(code)
        self._calls.pop(stream_id, None)
        self.machine.send_headers(stream_id, trailers_only(code, text), True)
        self._end(stream_id, peer_ended)

    def finish_stream(self, stream: Stream, error: BaseException | None, peer_ended: bool) -> None:
        """End a streaming call."""
        stream_id = stream.stream_id
        self._calls.pop(stream_id, None)
        code, text = (0, "") if error is None else answer_of(error, stream.head.path)
        stream.head.tally.ended(code)
        if stream.head_sent:
            self.machine.send_headers(stream_id, trailers_of(code, text), True)
        else:
            self.machine.send_headers(stream_id, trailers_only(code, text), True)
        self._end(stream_id, peer_ended)

    def finish_web(self, stream_id: int, peer_ended: bool) -> None:
        """A web request has its whole response."""
        self._calls.pop(stream_id, None)
        self._end(stream_id, peer_ended)

    def under_way(self, stream_id: int, call: AlikeCall) -> None:
        """A call could not be answered in the turn it came in."""
        self._calls[stream_id] = call

    def finished(self, stream_id: int) -> None:
        """A unary call that was under way has its reply."""
        del self._calls[stream_id]

    def _on_requests(self, headers: Headers, stream_ids: list[int], bodies: list[bytes]) -> None:
        """Calls that look alike, each with all of its request."""
        opening = self._heads.open(headers, self._heard)
        limit, room = self._whole_limit, self.machine.pending() <= self.limits.max_unsent
        served = room and type(opening.head) is Head
        if served and len(stream_ids) > 1 and run_together(self, opening, stream_ids, bodies, limit):
            self._last_stream = stream_ids[-1]
            return
        for stream_id, body in zip(stream_ids, bodies, strict=True):
            if served and opening.unary and is_whole(body, limit):
                self._last_stream = stream_id
                self._run(stream_id, opening, body)
            else:
                self._on_headers(stream_id, headers, False)
                self._on_data(stream_id, body, True)

    def _on_headers(self, stream_id: int, headers: Headers, end_stream: bool) -> None:
        if stream_id <= self._last_stream:
            # Trailers of a request carry nothing that gRPC knows but the end.
            self._on_data(stream_id, b"", True)
            return
        self._last_stream = stream_id
        opening = self._heads.open(headers, self._heard)
        head = opening.head
        if type(head) is Head:
            self._on_call(stream_id, opening, head, end_stream)
        elif type(head) is Refusal:
            self.machine.send_headers(stream_id, head.answer, True)
            self._end(stream_id, end_stream)
        else:
            assert self._web is not None
            call = self._calls[stream_id] = WebCall(self, stream_id, headers, self._web)
            if end_stream:
                call.feed(b"", True)

    def _on_call(self, stream_id: int, opening: Opening, head: Head, end_stream: bool) -> None:
        if self.machine.pending() > self.limits.max_unsent:
            # RFC 9113 §8.7: refused before any processing, so the caller may safely try again.
            self.machine.reset_stream(stream_id, ErrorCode.REFUSED_STREAM)
        elif end_stream or type(head.method) is not Unary:
            call = self._open_call(stream_id, opening)
            if end_stream:
                call.feed(b"", True)
        else:
            self._waiting[stream_id] = opening

    def _on_data(self, stream_id: int, body: bytes, end_stream: bool) -> None:
        call = self._calls.get(stream_id)
        if call is not None:
            call.feed(body, end_stream)
        elif stream_id in self._waiting:
            self._open_call(stream_id, self._waiting.pop(stream_id)).feed(body, end_stream)
        elif body:
            self.machine.acknowledge(stream_id, len(body))

    def _on_other(self, event: Event) -> None:
        if isinstance(event, StreamReset):
            self._waiting.pop(event.stream_id, None)
            self._unsent.forget(event.stream_id)
            call = self._calls.pop(event.stream_id, None)
            if call is not None:
                call.cancel()
        elif isinstance(event, StreamWindow):
            outlet = self.undrained.get(event.stream_id)
            if outlet is not None:
                outlet.check_drained()
        elif isinstance(event, PingReceived):
            calls = len(self._calls) + len(self._waiting)
            if self.police.too_many(self._heard, calls, self.machine.released):
                self.machine.go_away(ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")
        elif isinstance(event, PingAcked):
            if event.data == _DRAIN_PING:
                self._leave()
        elif isinstance(event, SettingsReceived) and self._preface_timer is not None:
            self._preface_timer.cancel()

    def _run_at_once(self, stream_id: int, opening: Opening, body: bytes) -> None:
        """Serve a call whose request came in one piece; most handlers answer before their first wait."""
        head = cast(Head, opening.head)
        try:
            coroutine = self.begin(head, opening.context, body[PREFIX_SIZE:])
            if not isinstance(coroutine, CoroutineType):
                self.reply(stream_id, head, cast(Reply, coroutine))
                return
            awaited = coroutine.send(None)
        except StopIteration as done:
            self.reply(stream_id, head, done.value)
        except (Exception, asyncio.CancelledError) as error:
            self.fail_call(stream_id, head, error, True)
        else:
            call = self._calls[stream_id] = UnaryCall(self, stream_id, head, opening.context)
            call.follow(coroutine, awaited)

    def _run_timed(self, stream_id: int, opening: Opening, body: bytes) -> None:
        """The same where calls are timed; one that is under way when this returns times itself."""
        tally = cast(Head, opening.head).tally
        begun = tally.begun()
        self._run_at_once(stream_id, opening, body)
        if stream_id not in self._calls:
            tally.took(begun)

    def _open_call(self, stream_id: int, opening: Opening) -> UnaryCall | Stream:
        """A call that outlives this read."""
        head = cast(Head, opening.head)
        head.tally.opened += 1
        kind = UnaryCall if isinstance(head.method, Unary) else Stream
        call = self._calls[stream_id] = kind(self, stream_id, head, opening.context)
        return call

    def _end(self, stream_id: int, peer_ended: bool) -> None:
        """The trailers are queued. A peer that still sends is told to stop (RFC 9113 §8.1)."""
        self.police.forgiven = True
        if self.machine.pending_of(stream_id):
            self._unsent.watch(stream_id)
        elif not peer_ended:
            self.machine.reset_stream(stream_id, ErrorCode.NO_ERROR)
        self.wake()

    def _ping(self) -> None:
        self.machine.ping(PING)
        self.wake()

    def _leave(self) -> None:
        """All calls sent before the peer heard the first GOAWAY have come: name the last one. Calls that last as long
        as their caller likes would be waited for in vain."""
        if not self._leaving:
            self._leaving = True
            self.machine.go_away()
            for call in list(self._calls.values()):
                if isinstance(call, Stream) and isinstance(call.head.method, Bidi):
                    call.fail(Status(Code.UNAVAILABLE, "the server is closing"))
            self.wake()

    def _say_goodbye(self) -> None:
        """Write what is left and wait a moment for the peer to hang up: hanging up first could lose our last words."""
        if not self._deaf:
            self._deaf = True
            super().flush()
            self._later(LINGER, self.abort)

    def _later(self, seconds: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        timer = self.loop.call_later(seconds, action)
        self._timers.append(timer)
        return timer
