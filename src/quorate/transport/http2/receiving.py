"""The receiving half of a connection: what the frames of streams mean (RFC 9113 §5.1, §6, §8.1)."""

from __future__ import annotations

from quorate.transport.http2 import frames
from quorate.transport.http2.decoder import Decoder
from quorate.transport.http2.errors import ErrorCode, RemoteProtocolError
from quorate.transport.http2.events import (
    DataReceived,
    HeadersReceived,
    StreamReset,
)
from quorate.transport.http2.fields import INTERIM, REQUEST, RESPONSE, TRAILERS, Block
from quorate.transport.http2.frames import END_HEADERS, END_STREAM, MAX_31
from quorate.transport.http2.limits import (
    MAX_CONTINUATIONS,
    MAX_HEADER_BLOCK,
    MAX_IDLE_FRAMES,
    MAX_WASTED_STREAMS,
    Limits,
)
from quorate.transport.http2.sending import Sender
from quorate.transport.http2.streams import BODY, ENDED, IDLE, Stream


class Assembly:
    """A header block that goes on in CONTINUATION frames (§6.10)."""

    __slots__ = ("end_stream", "frames", "parts", "size", "stream_id")

    def __init__(self, stream_id: int, end_stream: bool, first: bytes) -> None:
        self.stream_id = stream_id
        self.end_stream = end_stream
        self.parts = [first]
        self.size = len(first)
        self.frames = 0


class Receiver(Sender):
    """Frame by frame. A fault of the connection is raised as RemoteProtocolError, a fault of a stream resets it."""

    def __init__(self, *, client: bool, limits: Limits) -> None:
        super().__init__(client=client, limits=limits)
        self._partial = b""  # a frame that has not come whole
        self._greeted = False
        self._assembly: Assembly | None = None
        self._decoder = Decoder(limits.max_header_list)
        self._window = max(limits.connection_window, frames.DEFAULT_WINDOW)
        self._grant_at = self._window // 2
        self._owed = 0  # DATA taken that no WINDOW_UPDATE has told yet
        self._idle_frames = 0
        # the highest credit a stream was ever granted: bounds the windows without asking each stream
        self._highest_credit = 0
        self._max_streams = 2**32 - 1  # client: the peer's SETTINGS_MAX_CONCURRENT_STREAMS
        self._going_away = False  # client: opens no more; server: has announced its GOAWAY
        self._last_accepted = MAX_31  # server: the last stream id of its GOAWAY
        self._peer_last = MAX_31  # the last stream id of the peer's GOAWAY

    def acknowledge(self, stream_id: int, n: int) -> None:
        """The consumer has taken `n` bytes of DATA: grant the peer as many anew, on the stream and the connection.

        Needed for streams that go on. What a stream still holds when the peer ends it, or when it is reset, is
        granted to the connection by itself, and acknowledging it does nothing.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        n = min(n, stream.unacked)
        if n <= 0:
            return
        stream.unacked -= n
        self._grant(n)
        stream.owed += n
        if stream.owed * 2 >= self._limits.stream_window:
            stream.window += stream.owed
            self._out.append(frames.window_update(stream_id, stream.owed))
            stream.owed = 0

    # -- streams -------------------------------------------------------------------------------------------------

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        """§6.1"""
        size = len(payload)
        if size > self._window:  # §6.9.1, padding counts
            raise RemoteProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window")
        self._check_not_idle(stream_id)
        body = frames.unpad(frames.DATA, flags, payload)
        self._window -= size
        stream = self._streams.get(stream_id)
        if stream is None or stream.remote != BODY:
            self._grant(size)
            if stream is None and self._was_reset(stream_id):
                return  # §5.1 closed: was on its way when we reset
            # §8.1: DATA before HEADERS is malformed; §6.1: DATA after the end
            early = stream is not None and stream.remote == IDLE
            self._fault(stream_id, ErrorCode.PROTOCOL_ERROR if early else ErrorCode.STREAM_CLOSED)
            return
        if size > stream.window:
            self._grant(size)
            self._fault(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
            return
        stream.window -= size
        stream.unacked += size
        end_stream = bool(flags & END_STREAM)
        if body or end_stream:
            self._idle_frames = 0
        else:
            self._count_idle(1)
        if stream.body_left >= 0:
            stream.body_left -= len(body)
            if stream.body_left < 0 or (end_stream and stream.body_left):  # §8.1.1
                self._fault(stream_id, ErrorCode.PROTOCOL_ERROR)
                return
        self._events.append(DataReceived(stream_id, body, end_stream))
        if end_stream:
            self._end_remote(stream)
        elif size > len(body):
            self.acknowledge(stream_id, size - len(body))

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        """§6.2"""
        if not stream_id:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        part = frames.unpad(frames.HEADERS, flags, payload)
        end_stream = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            self._on_block(stream_id, end_stream, part)
        else:
            self._assembly = Assembly(stream_id, end_stream, part)

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        """§6.10"""
        assembly = self._assembly
        if assembly is None:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        assembly.parts.append(payload)
        assembly.size += len(payload)
        assembly.frames += 1
        if assembly.size > MAX_HEADER_BLOCK or assembly.frames > MAX_CONTINUATIONS:
            raise RemoteProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")  # §10.5.1
        if flags & END_HEADERS:
            self._assembly = None
            self._on_block(stream_id, assembly.end_stream, b"".join(assembly.parts))

    def _on_block(self, stream_id: int, end_stream: bool, raw: bytes) -> None:
        """A whole header block. It is decoded whatever it is for, because the next one builds on it (§4.3)."""
        stream = self._streams.get(stream_id)
        if stream is None and not self._was_reset(stream_id):
            self._check_new(stream_id)
        block = self._decoder.decode(raw)
        if stream is not None:
            self._on_more_headers(stream, end_stream, block)
        elif stream_id > self._highest and not self._client:
            self._on_request(stream_id, end_stream, block)
        elif not self._was_reset(stream_id):
            self._fault(stream_id, ErrorCode.STREAM_CLOSED)

    def _on_request(self, stream_id: int, end_stream: bool, block: Block | None) -> None:
        """Server: a new stream (§5.1.1)."""
        self._highest = stream_id
        self._idle_frames = 0
        if stream_id > self._last_accepted:
            self._remember_reset(stream_id)  # §6.8: frames beyond our GOAWAY are ignored
            return
        if len(self._streams) >= self._limits.max_concurrent_streams:  # §5.1.2
            self._fault(stream_id, ErrorCode.REFUSED_STREAM)
        elif block is None:
            self._fault(stream_id, ErrorCode.ENHANCE_YOUR_CALM)  # §10.5.1
        elif block.kind != REQUEST or (end_stream and block.length > 0):
            self._fault(stream_id, ErrorCode.PROTOCOL_ERROR)  # §8.1.1
        else:
            stream = Stream(stream_id, IDLE, ENDED if end_stream else BODY, self._limits.stream_window)
            stream.body_left = block.length
            self._streams[stream_id] = stream
            self._events.append(HeadersReceived(stream_id, block.headers, end_stream))

    def _on_more_headers(self, stream: Stream, end_stream: bool, block: Block | None) -> None:
        """Trailers, or a client's response (§8.1)."""
        stream_id = stream.stream_id
        if stream.remote == ENDED:  # §5.1 half-closed (remote)
            self._fault(stream_id, ErrorCode.STREAM_CLOSED)
            return
        if block is None:
            self._fault(stream_id, ErrorCode.ENHANCE_YOUR_CALM)
            return
        if stream.remote == IDLE and block.kind == INTERIM and not end_stream:
            self._count_idle(1)
            return
        if stream.remote == IDLE and block.kind == RESPONSE:
            stream.remote = BODY
            stream.body_left = -1 if end_stream else block.length
        elif stream.remote != BODY or block.kind != TRAILERS or not end_stream or stream.body_left > 0:
            self._fault(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        self._idle_frames = 0
        self._events.append(HeadersReceived(stream_id, block.headers, end_stream))
        if end_stream:
            self._end_remote(stream)

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """§6.3: deprecated, checked and ignored."""
        if not stream_id:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            self._check_not_idle(stream_id, ErrorCode.FRAME_SIZE_ERROR)
            self._fault(stream_id, ErrorCode.FRAME_SIZE_ERROR)
        self._count_idle(1)

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """§6.4"""
        if len(payload) != 4:
            raise RemoteProtocolError(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM length is not 4")
        self._check_not_idle(stream_id)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._count_wasted()
            return
        if stream.local == IDLE:
            self._count_wasted()
        self._forget(stream)
        self._events.append(StreamReset(stream_id, int.from_bytes(payload, "big"), True))

    def _on_push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        """§8.4: a client never pushes, and we as a client have forbidden it."""
        raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE is not allowed")

    # -- inside --------------------------------------------------------------------------------------------------

    def _check_not_idle(self, stream_id: int, code: ErrorCode = ErrorCode.PROTOCOL_ERROR) -> None:
        """§5.1: nothing but HEADERS and PRIORITY may name a stream that was never opened."""
        if self._client:
            known = 0 < stream_id < self._next_id and stream_id & 1
        else:
            known = 0 < stream_id <= self._highest and stream_id & 1
        if not known:
            raise RemoteProtocolError(code, "frame on an idle stream")

    def _check_new(self, stream_id: int) -> None:
        """§5.1.1: may HEADERS name this stream, which is not open?"""
        if self._client:
            self._check_not_idle(stream_id)
        elif not stream_id & 1 or stream_id <= self._highest:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "not a new stream id of a client")

    def _fault(self, stream_id: int, code: ErrorCode) -> None:
        """A stream error (§5.4.2). The caller has seen to it that the stream is not idle."""
        self._count_wasted()
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._forget(stream)
            self._events.append(StreamReset(stream_id, int(code), False))
        self._write_reset(stream_id, code)

    def _forget(self, stream: Stream) -> None:
        """Take a stream that was reset out of everything."""
        self._grant(stream.unacked)
        del self._streams[stream.stream_id]
        self._ready.pop(stream.stream_id, None)
        self._pending -= stream.queued

    def _end_remote(self, stream: Stream) -> None:
        """The peer has ended the stream; what it holds no longer counts against the connection."""
        self._grant(stream.unacked)
        stream.unacked = 0
        stream.remote = ENDED
        if stream.local == ENDED:
            self._end(stream)

    def _grant(self, size: int) -> None:
        """Let the connection's window grow again; told to the peer when half of it is owed (§6.9)."""
        self._owed += size
        if self._owed >= self._grant_at:
            self._window += self._owed
            self._out.append(frames.window_update(0, self._owed))
            self._owed = 0

    def _count_idle(self, cost: int) -> None:
        self._idle_frames += cost
        if self._idle_frames > MAX_IDLE_FRAMES:  # §10.5
            raise RemoteProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames without content")

    def _count_wasted(self) -> None:
        """A server only: a client's streams are its own."""
        if self._client:
            return
        self._wasted += 1
        if self._wasted > MAX_WASTED_STREAMS:  # §10.5
            raise RemoteProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too many streams reset")
