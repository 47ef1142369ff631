"""Calls that come in one piece: requests, or replies, whose frames follow each other in one read.

That is nearly every unary call, and where there are many of them, many alike follow each other: with the very same
header block. Frame by frame each would cost three events and the changes of a stream's state between them; here the
frames are looked at together, and one event tells of all. Whatever is not plain (another frame between, padding, a
window too small, a block not seen before) is left to the loop over the frames, which knows all the rules.
Sections are of RFC 9113.
"""

from __future__ import annotations

from quorate.transport.http2.events import RepliesReceived, RequestsReceived
from quorate.transport.http2.fields import REQUEST, RESPONSE, TRAILERS, Block
from quorate.transport.http2.frames import DATA, END_HEADERS, END_STREAM, HEAD, HEADERS
from quorate.transport.http2.limits import MAX_ALIKE, MAX_FRAME_SIZE, Limits
from quorate.transport.http2.receiving import Receiver
from quorate.transport.http2.streams import ENDED, IDLE, Stream

_unpack = HEAD.unpack_from


class WholeCalls(Receiver):
    """With `whole` they are told as RequestsReceived and RepliesReceived."""

    def __init__(self, *, client: bool, limits: Limits, whole: bool) -> None:
        super().__init__(client=client, limits=limits)
        self._whole = whole
        self._largest_whole = min(limits.stream_window, MAX_FRAME_SIZE)

    def _take_requests(self, data: bytes, start: int, pos: int, stream_id: int, block: Block) -> int:
        """The new request whose HEADERS have a block seen before, from `start` to `pos`, and those that follow with
        the same one, if their bodies are there: the position after them. 0, and nothing done, when there is none."""
        if block.kind != REQUEST or block.length >= 0:
            return 0
        raw, end, opening = data[start:pos], len(data), pos - start << 8 | HEADERS
        streams, window = self._streams, self._limits.stream_window
        highest, limit = self._highest, self._last_accepted
        room = min(self._limits.max_concurrent_streams - len(streams), MAX_ALIKE)
        ids: list[int] = []
        bodies: list[bytes] = []
        after = 0
        while pos + 9 <= end and highest < stream_id <= limit and stream_id & 1 and len(ids) < room:
            head, flags, number = _unpack(data, pos)
            size = head >> 8
            tail = pos + 9 + size
            if (
                head & 0xFF != DATA
                or flags != END_STREAM
                or number != stream_id
                or tail > end
                or not 0 < size <= self._largest_whole
                or size > self._window
            ):
                break
            streams[stream_id] = Stream(stream_id, IDLE, ENDED, window)
            ids.append(stream_id)
            bodies.append(data[pos + 9 : tail])
            self._window -= size
            self._grant(size)
            highest, after, pos = stream_id, tail, tail + 9 + len(raw)
            if pos > end:
                break
            head, flags, stream_id = _unpack(data, tail)
            if head != opening or flags != END_HEADERS or data[tail + 9 : pos] != raw:
                break
        if ids:
            self._idle_frames = 0
            self._highest = highest
            self._events.append(RequestsReceived(block.headers, ids, bodies))
        return after

    def _take_replies(self, data: bytes, start: int, pos: int, stream_id: int, block: Block) -> int:
        """The same for the rest of a reply, and those that follow with the same blocks."""
        if block.kind != RESPONSE or block.length >= 0:
            return 0
        raw, end, opening = data[start:pos], len(data), pos - start << 8 | HEADERS
        ids: list[int] = []
        bodies: list[bytes] = []
        trailers, last = None, b""
        after = 0
        while pos + 18 <= end and len(ids) < MAX_ALIKE:
            stream = self._streams.get(stream_id)
            head, flags, number = _unpack(data, pos)
            size = head >> 8
            tail = pos + 9 + size
            if (
                stream is None
                or head & 0xFF != DATA
                or flags
                or number != stream_id
                or tail + 9 > end
                or not 0 < size <= self._largest_whole
                or size > self._window
                or size > stream.window
                or stream.remote != IDLE
                or stream.local != ENDED
            ):
                break
            head, flags, number = _unpack(data, tail)
            behind = tail + 9 + (head >> 8)
            if head & 0xFF != HEADERS or flags != END_HEADERS | END_STREAM or number != stream_id or behind > end:
                break
            if trailers is None:
                last = data[tail + 9 : behind]
                trailers = self._decoder.blocks.get(last)
                if trailers is None or trailers.kind != TRAILERS:
                    return 0
            elif data[tail + 9 : behind] != last:
                break
            del self._streams[stream_id]
            ids.append(stream_id)
            bodies.append(data[pos + 9 : tail])
            self._window -= size
            self._grant(size)
            after, pos = behind, behind + 9 + len(raw)
            if pos > end:
                break
            head, flags, stream_id = _unpack(data, behind)
            if head != opening or flags != END_HEADERS or data[behind + 9 : pos] != raw:
                break
        if trailers is not None and ids:
            self._idle_frames = 0
            self._events.append(RepliesReceived(block.headers, trailers.headers, ids, bodies))
        return after
