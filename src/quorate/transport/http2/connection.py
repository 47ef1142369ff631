"""One HTTP/2 connection, either side: the door, the loop over the frames, and the frames of the connection itself.

Sections are of RFC 9113.
"""

from __future__ import annotations

from quorate.transport.http2 import frames
from quorate.transport.http2.errors import ErrorCode, GoingAwayError, RemoteProtocolError, TooManyStreamsError
from quorate.transport.http2.events import (
    DataReceived,
    Event,
    GoAwayReceived,
    Headers,
    PingAcked,
    PingReceived,
    SettingsReceived,
    StreamReset,
)
from quorate.transport.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    MAX_31,
    PADDED,
    PREFACE,
    SETTINGS,
)
from quorate.transport.http2.limits import MAX_FRAME_SIZE, MAX_QUEUED_ACKS, SETTINGS_COST, Limits
from quorate.transport.http2.streams import BODY, ENDED, IDLE, Stream
from quorate.transport.http2.whole import WholeCalls

_unpack = HEAD.unpack_from

DEFAULT_LIMITS = Limits()


class Connection(WholeCalls):
    """The machine. The edge calls `receive` with what it read and writes `output` once per turn of its loop.

    With `whole`, calls that come in one piece are told in one event.
    """

    def __init__(self, *, client: bool, limits: Limits = DEFAULT_LIMITS, whole: bool = False) -> None:
        super().__init__(client=client, limits=limits, whole=whole)

    def start(self) -> None:
        """Queue our preface (§3.4)."""
        limits = self._limits
        values = {
            frames.INITIAL_WINDOW_SIZE: limits.stream_window,
            frames.MAX_HEADER_LIST_SIZE: limits.max_header_list,
        }
        if self._client:
            self._out.append(PREFACE)
            values[frames.ENABLE_PUSH] = 0
        else:
            values[frames.MAX_CONCURRENT_STREAMS] = limits.max_concurrent_streams
        self._out.append(frames.settings(values))
        if limits.connection_window > frames.DEFAULT_WINDOW:
            self._out.append(frames.window_update(0, limits.connection_window - frames.DEFAULT_WINDOW))

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the peer in pieces of any size; what they mean.

        Never raises for a fault of the peer: the GOAWAY or RST_STREAM that the RFC names is queued, and an event
        tells. After `ConnectionClosed` everything is ignored.
        """
        if self._closed is None:
            if self._partial:
                data = self._partial + data
            try:
                self._partial = data[self._parse(data) :]
            except RemoteProtocolError as error:
                self._partial = b""
                self._close(error.code, error.reason)
        events = self._events
        self._events = []
        return events

    def _parse(self, data: bytes) -> int:
        """Handle all complete frames; how many bytes they took. The commonest frames are handled in line."""
        pos = 0
        if not self._greeted:
            pos = self._greet(data)
            if not self._greeted:
                return 0
        end = len(data)
        streams = self._streams
        blocks = self._decoder.blocks
        append = self._events.append
        take = (self._take_replies if self._client else self._take_requests) if self._whole else None
        while pos + 9 <= end:
            head, flags, stream_id = _unpack(data, pos)
            length = head >> 8
            if length > MAX_FRAME_SIZE:  # §4.2
                raise RemoteProtocolError(ErrorCode.FRAME_SIZE_ERROR, "frame larger than SETTINGS_MAX_FRAME_SIZE")
            start = pos + 9
            after = start + length
            if after > end:
                break
            pos = after
            kind = head & 0xFF
            if kind == DATA:
                stream = streams.get(stream_id)
                if (
                    stream is not None
                    and stream.remote == BODY
                    and 0 < length <= stream.window
                    and length <= self._window
                    and not flags & PADDED
                    and stream.body_left < 0
                    and self._assembly is None
                ):
                    self._idle_frames = 0
                    self._window -= length
                    stream.unacked += length
                    if flags & END_STREAM:
                        append(DataReceived(stream_id, data[start:after], True))
                        self._end_remote(stream)
                    else:
                        stream.window -= length
                        append(DataReceived(stream_id, data[start:after], False))
                    continue
            elif kind == HEADERS and flags == END_HEADERS and take is not None and self._assembly is None:
                block = blocks.get(data[start:after])
                if block is not None:
                    whole = take(data, start, after, stream_id, block)
                    if whole:
                        pos = whole
                        continue
            self._handle(kind, flags, stream_id & MAX_31, data[start:after])
        return pos

    def open_stream(self, headers: Headers, end_stream: bool) -> int:
        """Client: send a request; its stream id.

        Raises TooManyStreamsError (wait for a stream to end) and GoingAwayError (use another connection).
        """
        assert self._client
        stream_id = self._next_id
        if self._closed is not None or self._going_away or stream_id > MAX_31:
            raise GoingAwayError("the connection takes no new streams")
        if len(self._streams) >= self._max_streams:
            raise TooManyStreamsError(f"the peer allows {self._max_streams} streams")
        self._next_id += 2
        stream = Stream(stream_id, ENDED if end_stream else BODY, IDLE, self._limits.stream_window)
        self._streams[stream_id] = stream
        self._write_headers(stream_id, headers, end_stream)
        return stream_id

    def send_unary_request(self, headers: Headers, data: bytes) -> int:
        """Client: a request of one message in one go; its stream id. Raises as `open_stream` does."""
        ready = self._encoder.blocks.get(id(headers))
        stream_id = self._next_id
        size = len(data)
        if (
            ready is None
            or self._closed is not None
            or self._going_away
            or stream_id > MAX_31
            or len(self._streams) >= self._max_streams
            or size > self._frame_limit
            or size > self._send_window
            or size > self._initial_window
        ):
            stream_id = self.open_stream(headers, False)
            self.send_data(stream_id, data, True)
            return stream_id
        self._next_id = stream_id + 2
        self._send_window -= size
        stream = self._streams[stream_id] = Stream(stream_id, ENDED, IDLE, self._limits.stream_window)
        stream.credit = -size
        word = stream_id.to_bytes(4, "big")
        self._out += (ready[1], word, ready[3], (size << 16 | END_STREAM).to_bytes(5, "big"), word, data)
        return stream_id

    def reset_stream(self, stream_id: int, code: int) -> None:
        """RST_STREAM; queued output of the stream is dropped, late frames of the peer are ignored (§6.4)."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._forget(stream)
            self._write_reset(stream_id, code)

    def ping(self, data: bytes) -> None:
        """PING with 8 bytes of the caller's; `PingAcked` brings them back (§6.7)."""
        assert len(data) == 8
        if self._closed is None:
            self._out.append(frames.frame(frames.PING, 0, 0, data))

    def go_away(self, code: int = ErrorCode.NO_ERROR, debug: bytes = b"", *, last_stream_id: int | None = None) -> None:
        """Take no new streams (§6.8).

        With NO_ERROR this is the graceful drain: a server's first call announces it and still takes what is on its
        way (last stream id 2^31-1), the second, a round trip later, names the real last stream (or the given one).
        Open streams go on; `drained` tells when the last has ended. Any other code ends the connection at once:
        `closed` is set.
        """
        if self._closed is not None:
            return
        if code != ErrorCode.NO_ERROR:
            self._close(code, debug.decode("utf-8", "replace"), last_stream_id, debug)
            return
        if not self._client and not self._going_away and last_stream_id is None:
            self._out.append(frames.goaway(MAX_31, code, debug))
        elif self._last_accepted == MAX_31:
            self._last_accepted = self._highest if last_stream_id is None else last_stream_id
            self._out.append(frames.goaway(self._last_accepted, code, debug))
        self._going_away = True

    @property
    def drained(self) -> bool:
        """No stream is open and none will be: the connection can be closed once the output is written."""
        if self._streams:
            return False
        return self._going_away if self._client else self._last_accepted < MAX_31

    # -- the peer's side ------------------------------------------------------------------------------------------

    def _greet(self, data: bytes) -> int:
        """Check the peer's preface (§3.4); the position after it, with `_greeted` once SETTINGS is seen to follow."""
        start = 0
        if not self._client:
            if not data.startswith(PREFACE[: len(data)]):
                raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 connection preface")
            start = len(PREFACE)
        if len(data) < start + 5:
            return 0
        if data[start + 3] != SETTINGS or data[start + 4] & ACK:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._greeted = True
        return start

    def _handle(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        assembly = self._assembly
        if assembly is not None and (kind != CONTINUATION or stream_id != assembly.stream_id):  # §6.10
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "frame inside a header block")
        if kind < len(_HANDLERS):
            _HANDLERS[kind](self, flags, stream_id, payload)
        else:
            self._count_idle(1)  # §5.5: unknown frames are ignored

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        """§6.5"""
        if stream_id:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        self._count_idle(SETTINGS_COST)
        if flags & ACK:
            if payload:
                raise RemoteProtocolError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS ACK with a payload")
            return
        values = frames.parse_settings(payload, from_server=self._client)
        self._queue_ack(frames.frame(SETTINGS, ACK, 0, b""))
        if frames.HEADER_TABLE_SIZE in values:
            self._encoder.resize(values[frames.HEADER_TABLE_SIZE])
        self._max_streams = values.get(frames.MAX_CONCURRENT_STREAMS, self._max_streams)
        self._frame_limit = values.get(frames.MAX_FRAME_SIZE, self._frame_limit)
        if frames.INITIAL_WINDOW_SIZE in values:
            self._set_initial_window(values[frames.INITIAL_WINDOW_SIZE])
        self._events.append(SettingsReceived(values))

    def _set_initial_window(self, size: int) -> None:
        """§6.9.2: all streams' windows move, below zero too, but not above 2^31-1."""
        grown = size > self._initial_window
        self._initial_window = size
        if not grown:
            return
        if size + self._highest_credit > MAX_31:
            self._highest_credit = max((stream.credit for stream in self._streams.values()), default=0)
            if size + self._highest_credit > MAX_31:
                raise RemoteProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window above 2^31-1")
        if self._pending:
            for stream in [stream for stream in self._streams.values() if stream.queue is not None]:
                self._resume(stream, -1)

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        """§6.7"""
        if stream_id:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise RemoteProtocolError(ErrorCode.FRAME_SIZE_ERROR, "PING length is not 8")
        if flags & ACK:
            self._events.append(PingAcked(payload))
        else:
            self._queue_ack(frames.frame(frames.PING, ACK, 0, payload))
            self._events.append(PingReceived(payload))

    def _on_goaway(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """§6.8"""
        if stream_id:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise RemoteProtocolError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY shorter than 8")
        last, code = frames.TWO_WORDS.unpack_from(payload)
        last &= MAX_31
        if last > self._peer_last:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "GOAWAY with a larger last stream")
        self._peer_last = last
        self._count_idle(1)
        self._events.append(GoAwayReceived(last, code, payload[8:]))
        if self._client:
            self._going_away = True
            for stream in [stream for stream in self._streams.values() if stream.stream_id > last]:
                self._forget(stream)
                self._events.append(StreamReset(stream.stream_id, ErrorCode.REFUSED_STREAM, True))

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """§6.9"""
        if len(payload) != 4:
            raise RemoteProtocolError(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE length is not 4")
        increment = int.from_bytes(payload, "big") & MAX_31
        if not stream_id:
            if not increment:
                raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self._send_window += increment
            if self._send_window > MAX_31:  # §6.9.1
                raise RemoteProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window above 2^31-1")
            self._resume_ready()
            return
        self._check_not_idle(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            return  # §5.1 closed: may come late
        if not increment:
            self._fault(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        stream.credit += increment
        if self._initial_window + stream.credit > MAX_31:
            self._fault(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
            return
        self._highest_credit = max(self._highest_credit, stream.credit)
        if stream.queue is not None:
            self._resume(stream, -1)

    def _queue_ack(self, ack: bytes) -> None:
        self._queued_acks += 1
        if self._queued_acks > MAX_QUEUED_ACKS:  # §10.5
            raise RemoteProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames to acknowledge")
        self._out.append(ack)


#: By frame type.
_HANDLERS = (
    Connection._on_data,
    Connection._on_headers,
    Connection._on_priority,
    Connection._on_rst_stream,
    Connection._on_settings,
    Connection._on_push_promise,
    Connection._on_ping,
    Connection._on_goaway,
    Connection._on_window_update,
    Connection._on_continuation,
)
