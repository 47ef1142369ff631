"""The sending half of a connection: frames out, within the peer's windows (RFC 9113 §5.2, §6.9)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from quorate.transport.http2 import frames
from quorate.transport.http2.encoder import Encoder
from quorate.transport.http2.errors import ErrorCode, LocalProtocolError
from quorate.transport.http2.events import ConnectionClosed, Event, Headers, StreamWindow
from quorate.transport.http2.frames import CONTINUATION, END_HEADERS, END_STREAM, HEAD, HEADERS
from quorate.transport.http2.limits import REMEMBERED_RESETS, Limits
from quorate.transport.http2.streams import BODY, ENDED, Stream

_pack = HEAD.pack


class Sender:
    """What both roles do to answer. All methods only queue: `output` takes what may be written.

    Sending on a stream that has ended in the meantime (reset, refused, connection closed) does nothing, because the
    peer may end it at any moment; sending out of order raises LocalProtocolError.
    """

    def __init__(self, *, client: bool, limits: Limits) -> None:
        self._client = client
        self._limits = limits
        self._closed: ConnectionClosed | None = None
        self._events: list[Event] = []
        self._out: list[bytes | memoryview] = []
        self._queued_acks = 0
        self._encoder = Encoder()
        self._streams: dict[int, Stream] = {}
        self._next_id = 1  # client: of the next stream
        self._highest = 0  # of the streams opened by the peer
        self._wasted = 0
        self._resets: OrderedDict[int, None] = OrderedDict()  # reset by us, late frames may come
        self._resets_floor = 0  # all ids up to here count as reset by us
        # the peer's word
        self._send_window = frames.DEFAULT_WINDOW
        self._initial_window = frames.DEFAULT_WINDOW
        self._frame_limit = frames.SMALLEST_FRAME_LIMIT
        # streams with output that only the connection's window holds back, in turn
        self._ready: OrderedDict[int, Stream] = OrderedDict()
        self._pending = 0
        self.released = 0
        """Bytes of DATA that have waited for the peer's windows and do so no more."""

    # -- the door ------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> ConnectionClosed | None:
        """Set once the GOAWAY that ends the connection is queued: write `output()`, then close the socket."""
        return self._closed

    def output(self) -> bytes:
        """Everything that may be written now; b"" for nothing."""
        out = self._out
        if not out:
            return b""
        self._queued_acks = 0
        data = b"".join(out)
        out.clear()
        return data

    def pending(self) -> int:
        """Bytes of DATA waiting for the peer's windows, on all streams.

        A peer that opens no window keeps them waiting for ever: the edge gives it a time. More than
        `Limits.max_pending` closes the connection.
        """
        return self._pending

    def pending_of(self, stream_id: int) -> int:
        """The same for one stream; 0 when it is gone."""
        stream = self._streams.get(stream_id)
        return stream.queued if stream is not None else 0

    def send_headers(self, stream_id: int, headers: Headers, end_stream: bool) -> None:
        """A response, or trailers (with `end_stream`, after queued DATA)."""
        stream = self._sendable(stream_id)
        if stream is None:
            return
        if stream.local == BODY and not end_stream:
            raise LocalProtocolError("trailers must end the stream")  # §8.1
        stream.local = BODY
        if stream.queue is not None:
            stream.trailers = headers
            stream.ending = True
            return
        self._write_headers(stream_id, headers, end_stream)
        if end_stream:
            self._end_local(stream)

    def send_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        """DATA, cut to the peer's frame size; what its windows do not take yet waits here."""
        stream = self._sendable(stream_id)
        if stream is None:
            return
        if stream.local != BODY:
            raise LocalProtocolError("DATA before HEADERS")
        size = len(data)
        if (
            stream.queue is None
            and size <= self._frame_limit
            and size <= self._send_window
            and size <= self._initial_window + stream.credit
        ):
            self._send_window -= size
            stream.credit -= size
            self._out += (_pack(size << 8, end_stream, stream_id), data)
            if end_stream:
                self._end_local(stream)
        else:
            self._enqueue(stream, data, end_stream)

    def send_unary_replies(
        self, stream_ids: Sequence[int], headers: Headers, bodies: Sequence[bytes], trailers: Headers
    ) -> None:
        """Response headers, one message and trailers in one go, for calls that are answered together: the hot path
        of a server."""
        blocks, streams = self._encoder.blocks, self._streams
        for stream_id, data in zip(stream_ids, bodies, strict=True):
            stream = streams.get(stream_id)
            first = blocks.get(id(headers))
            last = blocks.get(id(trailers))
            size = len(data)
            if (
                stream is None
                or first is None
                or last is None
                or stream.local
                or size > self._frame_limit
                or size > self._send_window
                or size > self._initial_window + stream.credit
            ):
                self.send_headers(stream_id, headers, False)
                self.send_data(stream_id, data, False)
                self.send_headers(stream_id, trailers, True)
                continue
            self._send_window -= size
            word = stream_id.to_bytes(4, "big")
            data_head = (size << 16).to_bytes(5, "big")
            self._out += (first[1], word, first[3], data_head, word, data, last[2], word, last[3])
            stream.credit -= size
            stream.local = ENDED
            if stream.remote == ENDED:
                del streams[stream_id]
                if self._wasted:
                    self._wasted -= 1

    # -- for the receiving half ----------------------------------------------------------------------------------

    def _resume(self, stream: Stream, most: int) -> None:
        """A window has opened: write up to `most` frames of what waits."""
        before = stream.queued
        self._drain(stream, most)
        if before > self._limits.low_mark >= stream.queued:
            self._events.append(StreamWindow(stream.stream_id))

    def _resume_ready(self) -> None:
        """The connection's window has opened: streams share it, a frame each in turn."""
        while self._ready and self._send_window > 0:
            self._resume(self._ready.popitem(last=False)[1], 1)

    def _write_reset(self, stream_id: int, code: int) -> None:
        self._out.append(frames.rst_stream(stream_id, code))
        self._remember_reset(stream_id)

    def _remember_reset(self, stream_id: int) -> None:
        self._resets[stream_id] = None
        if len(self._resets) > REMEMBERED_RESETS:
            self._resets_floor = max(self._resets_floor, self._resets.popitem(last=False)[0])

    def _was_reset(self, stream_id: int) -> bool:
        """Did we reset it? Then the peer's frames may have been on their way (§5.1, closed)."""
        return stream_id in self._resets or stream_id <= self._resets_floor

    def _close(self, code: int, reason: str, last_stream_id: int | None = None, debug: bytes | None = None) -> None:
        """§5.4.1: say why, and do no more."""
        last = self._highest if last_stream_id is None else last_stream_id
        self._out.append(frames.goaway(last, code, reason.encode() if debug is None else debug))
        self._streams.clear()
        self._ready.clear()
        self._pending = 0
        self._closed = ConnectionClosed(int(code), reason)
        self._events.append(self._closed)

    # -- inside --------------------------------------------------------------------------------------------------

    def _sendable(self, stream_id: int) -> Stream | None:
        stream = self._streams.get(stream_id)
        if stream is None:
            known = stream_id < self._next_id if self._client else stream_id <= self._highest
            if not known:
                raise LocalProtocolError(f"stream {stream_id} was never opened")
            return None
        if stream.ending or stream.local == ENDED:
            raise LocalProtocolError(f"stream {stream_id} has been ended")
        return stream

    def _write_headers(self, stream_id: int, headers: Headers, end_stream: bool) -> None:
        ready = self._encoder.blocks.get(id(headers))
        if ready is not None:
            self._out += (ready[2] if end_stream else ready[1], stream_id.to_bytes(4, "big"), ready[3])
            return
        block = self._encoder.encode(headers)
        limit = self._frame_limit
        flags = END_STREAM if end_stream else 0
        if len(block) <= limit:
            self._out += (_pack(len(block) << 8 | HEADERS, flags | END_HEADERS, stream_id), block)
            return
        # §6.10: what one frame cannot hold goes on in CONTINUATION frames, nothing in between
        self._out += (_pack(limit << 8 | HEADERS, flags, stream_id), block[:limit])
        for start in range(limit, len(block), limit):
            part = block[start : start + limit]
            last = END_HEADERS if start + limit >= len(block) else 0
            self._out += (_pack(len(part) << 8 | CONTINUATION, last, stream_id), part)

    def _enqueue(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        if self._pending > self._limits.max_pending:
            self._close(ErrorCode.ENHANCE_YOUR_CALM, "too much output waits for flow control")
            return
        if stream.queue is None:
            stream.queue = deque()
        stream.queue.append(memoryview(data))
        stream.queued += len(data)
        self._pending += len(data)
        stream.ending = end_stream
        self._drain(stream, -1)

    def _drain(self, stream: Stream, most: int) -> None:
        """Write what the windows allow of a stream's queue, `most` frames (-1: all), and what follows the queue."""
        queue = stream.queue
        assert queue is not None
        stream_id = stream.stream_id
        while queue and most:
            chunk = queue[0]
            size = len(chunk)
            part = min(size, self._frame_limit, self._send_window, self._initial_window + stream.credit)
            if part <= 0 and size:
                break
            # §6.9.1: a frame without bytes needs no window
            part = max(part, 0)
            if part == size:
                queue.popleft()
            else:
                queue[0] = chunk[part:]
                chunk = chunk[:part]
            self._send_window -= part
            stream.credit -= part
            stream.queued -= part
            self._pending -= part
            self.released += part
            most -= 1
            end = stream.ending and not queue and stream.trailers is None
            self._out += (_pack(part << 8, end, stream_id), chunk)
        if queue:
            if self._initial_window + stream.credit > 0:
                self._ready[stream_id] = stream
            return
        stream.queue = None
        self._ready.pop(stream_id, None)
        if stream.trailers is not None:
            self._write_headers(stream_id, stream.trailers, True)
            stream.trailers = None
        if stream.ending:
            self._end_local(stream)

    def _end_local(self, stream: Stream) -> None:
        stream.local = ENDED
        if stream.remote == ENDED:
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        """Both sides have ended: the stream is closed, and was worth its while."""
        del self._streams[stream.stream_id]
        if self._wasted:
            self._wasted -= 1
