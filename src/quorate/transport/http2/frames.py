"""The frame layout of RFC 9113 §4.1 and §6: numbers, and the frames that are built in one piece.

```
+-----------------+--------+---------+-+------------------+---------
| length (24)     | type 8 | flags 8 |R| stream id (31)   | payload
+-----------------+--------+---------+-+------------------+---------
```
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from quorate.transport.http2.errors import ErrorCode, RemoteProtocolError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: Frame header: length and type in one word, flags, stream id.
HEAD: Final = Struct(">IBI")
HEAD_SIZE: Final = 9
SETTING: Final = Struct(">HI")
WORD: Final = Struct(">I")
TWO_WORDS: Final = Struct(">II")

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

#: Largest stream id and largest window: 31 bits (RFC 9113 §4.1, §6.9.1).
MAX_31: Final = 2**31 - 1
#: Windows and frame size before any SETTINGS (RFC 9113 §6.5.2, §6.9.2).
DEFAULT_WINDOW: Final = 65_535
SMALLEST_FRAME_LIMIT: Final = 16_384
LARGEST_FRAME_LIMIT: Final = 2**24 - 1


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(key, value) for key, value in values.items()))


def rst_stream(stream_id: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream_id, WORD.pack(code))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, WORD.pack(increment))


def goaway(last_stream_id: int, code: int, debug: bytes) -> bytes:
    return frame(GOAWAY, 0, 0, TWO_WORDS.pack(last_stream_id, code) + debug)


def parse_settings(payload: bytes, *, from_server: bool) -> dict[int, int]:
    """The last value of each setting. Raises RemoteProtocolError with the code of RFC 9113 §6.5.2."""
    if len(payload) % 6:  # §6.5
        raise RemoteProtocolError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS length is not a multiple of 6")
    values: dict[int, int] = {}
    for key, value in SETTING.iter_unpack(payload):
        if key == ENABLE_PUSH and (value > 1 or (value and from_server)):
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "bad SETTINGS_ENABLE_PUSH")
        if key == INITIAL_WINDOW_SIZE and value > MAX_31:
            raise RemoteProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
        if key == MAX_FRAME_SIZE and not SMALLEST_FRAME_LIMIT <= value <= LARGEST_FRAME_LIMIT:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "bad SETTINGS_MAX_FRAME_SIZE")
        values[key] = value
    return values


def unpad(kind: int, flags: int, payload: bytes) -> bytes:
    """Payload without padding and priority fields (RFC 9113 §6.1, §6.2)."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise RemoteProtocolError(ErrorCode.FRAME_SIZE_ERROR, "padded frame without a pad length")
        start, end = 1, end - payload[0]
    if kind == HEADERS and flags & PRIORITY_FLAG:
        start += 5
        if start > len(payload):
            raise RemoteProtocolError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority fields")
    if start > end:
        raise RemoteProtocolError(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
    return payload[start:end]
