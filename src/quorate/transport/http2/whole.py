"""Calls that come in one piece: a request, or a reply, whose frames follow each other in one read.

That is nearly every unary call. Frame by frame it costs three events and the changes of a stream's state between them;
here the frames are looked at together, and one event tells. Whatever is not plain (another frame between, padding, a
window too small, a block not seen before) is left to the loop over the frames, which knows all the rules.
Sections are of RFC 9113.
"""

from __future__ import annotations

from quorate.transport.http2.events import ReplyReceived, RequestReceived
from quorate.transport.http2.fields import REQUEST, RESPONSE, TRAILERS, Block
from quorate.transport.http2.frames import DATA, END_HEADERS, END_STREAM, HEAD, HEADERS
from quorate.transport.http2.limits import MAX_FRAME_SIZE, Limits
from quorate.transport.http2.receiving import Receiver
from quorate.transport.http2.streams import ENDED, IDLE, Stream

_unpack = HEAD.unpack_from
_new = tuple.__new__  # a NamedTuple made by its class costs a Python call more


class WholeCalls(Receiver):
    """With `whole` they are told as RequestReceived and ReplyReceived."""

    def __init__(self, *, client: bool, limits: Limits, whole: bool) -> None:
        super().__init__(client=client, limits=limits)
        self._whole = whole
        self._largest_whole = min(limits.stream_window, MAX_FRAME_SIZE)

    def _take_request(self, data: bytes, pos: int, stream_id: int, block: Block) -> int:
        """The body of the new request whose HEADERS, with a block seen before, end at `pos`, if it is there and ends
        it: the position after it; else 0, and nothing done."""
        end = len(data)
        if (
            pos + 9 > end
            or block.kind != REQUEST
            or not self._highest < stream_id <= self._last_accepted
            or not stream_id & 1
            or block.length >= 0
            or len(self._streams) >= self._limits.max_concurrent_streams
        ):
            return 0
        head, flags, number = _unpack(data, pos)
        size: int = head >> 8
        after = pos + 9 + size
        if (
            head & 0xFF != DATA
            or flags != END_STREAM
            or number != stream_id
            or after > end
            or not 0 < size <= self._largest_whole
            or size > self._window
        ):
            return 0
        self._idle_frames = 0
        self._highest = stream_id
        self._streams[stream_id] = Stream(stream_id, IDLE, ENDED, self._limits.stream_window)
        self._events.append(_new(RequestReceived, (stream_id, block.headers, data[pos + 9 : after])))
        self._window -= size
        self._grant(size)
        return after

    def _take_reply(self, data: bytes, pos: int, stream_id: int, block: Block) -> int:
        """The same for the rest of a reply."""
        end = len(data)
        stream = self._streams.get(stream_id)
        if stream is None or pos + 18 > end or block.kind != RESPONSE or block.length >= 0:
            return 0
        head, flags, number = _unpack(data, pos)
        size = head >> 8
        tail = pos + 9 + size
        if (
            head & 0xFF != DATA
            or flags
            or number != stream_id
            or tail + 9 > end
            or not 0 < size <= self._largest_whole
            or size > self._window
            or size > stream.window
            or stream.remote != IDLE
            or stream.local != ENDED
        ):
            return 0
        head, flags, number = _unpack(data, tail)
        after: int = tail + 9 + (head >> 8)
        if head & 0xFF != HEADERS or flags != END_HEADERS | END_STREAM or number != stream_id or after > end:
            return 0
        trailers = self._decoder.blocks.get(data[tail + 9 : after])
        if trailers is None or trailers.kind != TRAILERS:
            return 0
        self._idle_frames = 0
        del self._streams[stream_id]
        event = (stream_id, block.headers, data[pos + 9 : tail], trailers.headers)
        self._events.append(_new(ReplyReceived, event))
        self._window -= size
        self._grant(size)
        return after
