"""The outcome of a call: a code and a text, as an exception and as trailers.

Sources: gRPC over HTTP/2 protocol ("Responses", "HTTP2 Transport Mapping: Errors"); gRPC status codes.
"""

from __future__ import annotations

from functools import lru_cache

from quorate.api.errors import Code, EtcdError
from quorate.transport.http2 import ErrorCode, Headers

DEADLINE_TEXT = "context deadline exceeded"
CANCELLED_TEXT = "context canceled"


class Status(Exception):
    """A call ended with `code` (never OK) and `message`. Raised by handlers and by the client alike."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(code, message)
        self.code = Code(code) if 0 <= code <= 16 else Code.UNKNOWN
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def deadline_exceeded() -> Status:
    """The status of a call whose time is over."""
    return Status(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT)


def status_of(error: BaseException) -> tuple[Code, str] | None:
    """Code and text of an error that has a status of its own; None for one nobody foresaw."""
    if isinstance(error, EtcdError):
        return error.code, error.text
    if isinstance(error, Status):
        return error.code, error.message
    from asyncio import CancelledError  # a caller without an event loop does not need it

    return (Code.CANCELLED, CANCELLED_TEXT) if isinstance(error, CancelledError) else None


OK_TRAILERS: Headers = ((b"grpc-status", b"0"),)


@lru_cache(maxsize=256)
def trailers_of(code: int, message: str) -> Headers:
    """The trailers of a status. One object per status, so that the encoder may know the block again."""
    if code == 0:
        return OK_TRAILERS
    return ((b"grpc-status", b"%d" % code), (b"grpc-message", percent_encode(message)))


def status_of_trailers(headers: Headers) -> tuple[int, str] | None:
    """Code and text in a block of headers, or None when it carries no status. An unreadable code is UNKNOWN."""
    code: int | None = None
    message = ""
    for name, value in headers:
        if name == b"grpc-status":
            code = int(value) if value.isdigit() else Code.UNKNOWN
        elif name == b"grpc-message":
            message = percent_decode(value)
    return None if code is None else (code, message)


def percent_encode(text: str) -> bytes:
    """`grpc-message`: printable ASCII but `%` stands for itself, every other byte of the UTF-8 text is %XX."""
    raw = text.encode("utf-8", "replace")
    if raw.isascii() and text.isprintable() and b"%" not in raw:
        return raw
    return b"".join(b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in raw)


def percent_decode(value: bytes) -> str:
    """The text of a `grpc-message`. Broken escapes stay as they are: a bad message must not hide the status."""
    if b"%" not in value:
        return value.decode("utf-8", "replace")
    head, *parts = value.split(b"%")
    out = [head]
    for part in parts:
        try:
            out.append(bytes.fromhex(part[:2].decode("ascii")) + part[2:] if len(part) >= 2 else b"%" + part)
        except ValueError:
            out.append(b"%" + part)
    return b"".join(out).decode("utf-8", "replace")


_CODE_OF_HTTP = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}

_CODE_OF_RESET = {
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


def status_of_http(http_status: int) -> Status:
    """What a client makes of an answer that is not gRPC (gRPC "HTTP to gRPC status code mapping")."""
    code = _CODE_OF_HTTP.get(http_status, Code.UNKNOWN)
    return Status(code, f"unexpected HTTP status code received from server: {http_status}")


def status_of_reset(code: int) -> Status:
    """What a client makes of RST_STREAM (gRPC over HTTP/2, "Errors")."""
    known = code in ErrorCode._value2member_map_
    name = ErrorCode(code).name if known else str(code)
    status = _CODE_OF_RESET.get(ErrorCode(code), Code.INTERNAL) if known else Code.INTERNAL
    return Status(status, f"stream terminated by RST_STREAM with error code: {name}")
