"""The client's end of one connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf

from quorate.api.errors import Code
from quorate.transport.grpc.edge import Edge, Flusher
from quorate.transport.grpc.exchange import ClientStream, Exchange, UnaryExchange
from quorate.transport.grpc.flow import Outlet
from quorate.transport.grpc.framing import frame
from quorate.transport.grpc.heads import is_grpc
from quorate.transport.grpc.keepalive import PING, Heartbeat
from quorate.transport.grpc.limits import BURST_CALLS, SOCKET_STALL_TIMEOUT, SWEEP_PAUSE, ChannelLimits
from quorate.transport.grpc.status import Status, deadline_exceeded, status_of_http, status_of_reset, status_of_trailers
from quorate.transport.http2 import (
    Connection,
    DataReceived,
    ErrorCode,
    GoAwayReceived,
    Headers,
    HeadersReceived,
    Limits,
    RepliesReceived,
    SettingsReceived,
    StreamReset,
    StreamWindow,
)


class Refused(Status):
    """The server did not look at the call: it may be tried again without asking the caller (gRPC A6)."""


class ClientConnection(Edge):
    """Opens streams, matches answers to calls. `on_leave` is called when it takes no more, and when it is gone."""

    def __init__(self, limits: ChannelLimits, http2: Limits, on_leave: Callable[[ClientConnection], None]) -> None:
        super().__init__(Connection(client=True, limits=http2, whole=True), SOCKET_STALL_TIMEOUT, Flusher())
        self.limits = limits
        self._on_leave = on_leave
        self._calls: dict[int, Exchange] = {}
        self._plain_head: Headers | None = None
        """A response head known to be good and without encoding."""
        self._ok_trailers: Headers | None = None
        self._burst = 0
        """Unary calls since the last flush."""
        self._slots: deque[asyncio.Future[None]] = deque()
        self._leaving = False
        self._heard = self.loop.time()
        self._heartbeat: Heartbeat | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_at = inf
        """When to look for unary calls whose time is over: a timer for each would cost as much as sending one."""
        self._why = Status(Code.UNAVAILABLE, "error reading from server: EOF")
        self.ready: asyncio.Future[None] = self.loop.create_future()
        """Done when the server has shown that it speaks HTTP/2; a Status when it has not."""
        self.gone: asyncio.Future[None] = self.loop.create_future()
        """Done when the socket is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._heartbeat = Heartbeat(
            time=self.limits.keepalive_time,
            timeout=self.limits.keepalive_timeout,
            heard=lambda: self._heard,
            wanted=lambda: bool(self._calls) or self.limits.idle_pings,
            ping=self._ping,
            dead=self._lifeless,
        )

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if exc is not None and self._why.message.endswith("EOF"):
            self._why = Status(Code.UNAVAILABLE, f"error reading from server: {exc}")
        if not self.ready.done():
            reason = self._why.message.rpartition(": ")[2]
            self.ready.set_exception(_preface_error(reason))
            self.ready.exception()  # whoever dialled may be gone
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.end(Status(self._why.code, self._why.message))
        self._leaving = True
        self._on_leave(self)
        self._free_all()
        self.gone.set_result(None)

    def unary(self, headers: Headers, request: bytes, future: asyncio.Future[bytes], deadline: float) -> UnaryExchange:
        """Send a request whose reply goes to `future`. Raises TooManyStreamsError or GoingAwayError."""
        stream_id = self.machine.send_unary_request(headers, frame(request))
        exchange = self._calls[stream_id] = UnaryExchange(self, stream_id, future, deadline)
        if deadline < self._sweep_at:
            self._sweep_from(deadline)
        self._burst += 1
        if self._burst >= BURST_CALLS:
            self.flush()
        else:
            self.wake()
        return exchange

    def stream(self, headers: Headers, stream: ClientStream) -> None:
        """Open a stream. Raises TooManyStreamsError or GoingAwayError."""
        stream_id = self.machine.open_stream(headers, False)
        self._calls[stream_id] = stream
        stream.start(self, stream_id, Outlet(self, stream_id))
        self.wake()

    def forget(self, stream_id: int, code: int) -> None:
        """Give up a call: the server is told to stop, its answer ignored."""
        if self._calls.pop(stream_id, None) is not None:
            self.machine.reset_stream(stream_id, code)
            self.wake()
            self._free_slot()

    async def slot(self) -> None:
        """Wait until a call ends or the connection does: the server's limit of streams is reached."""
        waiter: asyncio.Future[None] = self.loop.create_future()
        self._slots.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self._free_slot()
            raise

    def shutdown(self) -> None:
        """Close now; calls under way fail."""
        self._why = Status(Code.CANCELLED, "grpc: the client connection is closing")
        if self.connected:
            self.machine.go_away()
            self.flush()
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        calls = self._calls
        for event in self.machine.receive(data):
            if type(event) is RepliesReceived:
                headers, trailers, stream_ids, bodies = event
                plain = headers is self._plain_head and trailers is self._ok_trailers
                for stream_id, body in zip(stream_ids, bodies, strict=True):
                    call = calls.get(stream_id)
                    if plain and type(call) is UnaryExchange and call.answer(body):
                        del calls[stream_id]
                        if self._slots:
                            self._free_slot()
                    elif call is not None:
                        self._on_reply(stream_id, call, headers, body, trailers)
            elif type(event) is HeadersReceived:
                stream_id, headers, end_stream = event
                call = calls.get(stream_id)
                if call is None:
                    continue
                if end_stream:
                    del calls[stream_id]
                    self._on_end(stream_id, call, headers)
                elif headers is not self._plain_head:
                    self._on_head(stream_id, call, headers)
            elif type(event) is DataReceived:
                stream_id, body, end_stream = event
                call = calls.get(stream_id)
                if call is None:
                    self.machine.acknowledge(stream_id, len(body))
                    continue
                self._feed(stream_id, call, body)
                if end_stream:
                    text = "server closed the stream without sending trailers"
                    self._give_up(stream_id, Status(Code.INTERNAL, text))
            else:
                self._on_other(event)
        self.wake()

    def flush(self) -> None:
        self._burst = 0
        super().flush()
        if self.machine.closed is not None and not self._leaving:
            self._why = Status(Code.UNAVAILABLE, f"connection error: {self.machine.closed.reason}")
            self._leave()
            self.transport.close()
        elif self._leaving and not self._calls and self.connected and not self.transport.is_closing():
            self.transport.close()

    def _on_reply(self, stream_id: int, call: Exchange, headers: Headers, body: bytes, trailers: Headers) -> None:
        """A reply has come in one piece: its parts, one after the other."""
        if headers is not self._plain_head:
            self._on_head(stream_id, call, headers)
        if stream_id in self._calls:
            self._feed(stream_id, call, body)
        if self._calls.pop(stream_id, None) is not None:
            self._on_end(stream_id, call, trailers)

    def _feed(self, stream_id: int, call: Exchange, body: bytes) -> None:
        try:
            call.feed(body)
        except Status as status:
            self._give_up(stream_id, status)

    def _on_head(self, stream_id: int, call: Exchange, headers: Headers) -> None:
        """Response headers not seen before on this connection."""
        fields = dict(headers)
        status = fields.get(b":status", b"")
        if status != b"200" or not is_grpc(fields.get(b"content-type", b"")):
            if status == b"200":
                text = f"unexpected content-type {fields.get(b'content-type', b'').decode('latin-1')!r} from server"
                self._give_up(stream_id, Status(Code.UNKNOWN, text))
            else:
                self._give_up(stream_id, status_of_http(int(status)))
            return
        encoding = fields.get(b"grpc-encoding", b"identity").decode("latin-1")
        if encoding == "identity":
            self._plain_head = headers
        elif encoding == "gzip":
            call.head(encoding)
        else:
            text = f'grpc: Decompressor is not installed for grpc-encoding "{encoding}"'
            self._give_up(stream_id, Status(Code.INTERNAL, text))

    def _on_end(self, stream_id: int, call: Exchange, headers: Headers) -> None:
        """The last block of a call: trailers, or a head that is also the trailers."""
        error: Status | None = None
        if headers is not self._ok_trailers:
            found = status_of_trailers(headers)
            if found is None:
                http_status = dict(headers).get(b":status", b"200")
                if http_status == b"200":
                    error = Status(Code.INTERNAL, "server closed the stream without sending grpc-status")
                else:
                    error = status_of_http(int(http_status))
            elif found[0] != Code.OK:
                error = Status(*found)
            elif headers[0][0] != b":status":
                self._ok_trailers = headers
        call.end(error)
        if type(call) is ClientStream and not call.half_closed:
            self.machine.reset_stream(stream_id, ErrorCode.NO_ERROR)
        if self._slots:
            self._free_slot()

    def _on_other(self, event: object) -> None:
        if isinstance(event, StreamReset):
            call = self._calls.pop(event.stream_id, None)
            if call is not None:
                refused = event.remote and event.code == ErrorCode.REFUSED_STREAM
                status = status_of_reset(event.code)
                call.end(Refused(status.code, status.message) if refused else status)
            self._free_slot()
        elif isinstance(event, StreamWindow):
            outlet = self.undrained.get(event.stream_id)
            if outlet is not None:
                outlet.check_drained()
        elif isinstance(event, GoAwayReceived):
            if event.code != ErrorCode.NO_ERROR:
                debug = event.debug.decode("utf-8", "replace")
                text = f"closing transport due to: connection error: received GOAWAY with code {event.code}: {debug}"
                self._why = Status(Code.UNAVAILABLE, text)
            self._leave()
        elif isinstance(event, SettingsReceived):
            if not self.ready.done():
                self.ready.set_result(None)
            self._free_all()

    def _give_up(self, stream_id: int, status: Status) -> None:
        """End a call whose answer cannot be understood."""
        call = self._calls.get(stream_id)
        if call is not None:
            self.forget(stream_id, ErrorCode.CANCEL)
            call.end(status)

    def _free_slot(self) -> None:
        """A call has ended: let the one that waits longest try."""
        while self._slots:
            waiter = self._slots.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _free_all(self) -> None:
        """The limit itself has changed, or the connection is lost to all who wait."""
        while self._slots:
            self._free_slot()

    def _leave(self) -> None:
        """No new calls; those under way go on as long as the socket does."""
        if not self._leaving:
            self._leaving = True
            self._on_leave(self)
        self._free_all()

    def _sweep_from(self, when: float) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep_at = when
        self._sweeper = self.loop.call_at(when, self._sweep)

    def _sweep(self) -> None:
        """Give up the unary calls whose time is over, and come again for the next one, but not at once."""
        now = self.loop.time()
        self._sweep_at, following = inf, inf
        for stream_id, call in list(self._calls.items()):
            if type(call) is UnaryExchange:
                if call.deadline <= now:
                    self._give_up(stream_id, deadline_exceeded())
                else:
                    following = min(following, call.deadline)
        if following < inf:
            self._sweep_from(max(following, now + SWEEP_PAUSE))

    def _ping(self) -> None:
        self.machine.ping(PING)
        self.wake()

    def _lifeless(self) -> None:
        self._why = Status(Code.UNAVAILABLE, "keepalive ping failed to receive ACK within timeout")
        self.transport.abort()


def _preface_error(reason: str) -> Status:
    return Status(Code.UNAVAILABLE, f'connection error: desc = "error reading server preface: {reason}"')
