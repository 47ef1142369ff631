"""Error codes of RFC 9113 §7, and who is to blame."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """Codes carried by RST_STREAM and GOAWAY (RFC 9113 §7). A peer may send others: events carry plain ints."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ProtocolError(Exception):
    """Root of both blames."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something the protocol forbids at this point. Nothing was sent."""


class TooManyStreamsError(LocalProtocolError):
    """The peer's SETTINGS_MAX_CONCURRENT_STREAMS is reached: wait until a stream ends (RFC 9113 §5.1.2)."""


class GoingAwayError(LocalProtocolError):
    """This connection takes no new streams any more, for good: open another connection (RFC 9113 §6.8)."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol, and the whole connection with it (RFC 9113 §5.4.1).

    Stays inside the room: `Connection.receive` turns it into a GOAWAY and an event.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
