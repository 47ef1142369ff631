"""Is a header list well-formed, and what is it? (RFC 9113 §8.2, §8.3)

Each field is judged once, when it enters a table, and its verdict kept beside it; a block is judged by the union of
its fields' verdicts and their order.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from quorate.transport.http2.events import Headers

# Kinds of blocks.
MALFORMED: Final = 0
REQUEST: Final = 1
RESPONSE: Final = 2
INTERIM: Final = 3
TRAILERS: Final = 4


class Block(NamedTuple):
    """A decoded header block. `kind` is one of the constants above; `length` its content-length, -1 without."""

    headers: Headers
    kind: int
    length: int


# Verdicts of fields; 0 is a regular field in order.
METHOD: Final = 1
SCHEME: Final = 2
PATH: Final = 4
AUTHORITY: Final = 8
STATUS: Final = 16
PSEUDO: Final = METHOD | SCHEME | PATH | AUTHORITY | STATUS
CONNECT: Final = 32  # rides on METHOD
EARLY: Final = 64  # rides on STATUS: 1xx
LENGTH: Final = 128
BAD: Final = 256

_KINDS = {
    METHOD | SCHEME | PATH: REQUEST,  # §8.3.1: these three are not optional
    METHOD | SCHEME | PATH | AUTHORITY: REQUEST,
    METHOD | CONNECT | AUTHORITY: REQUEST,  # §8.5: just these two
    STATUS: RESPONSE,  # §8.3.2
    STATUS | EARLY: INTERIM,
    0: TRAILERS,
}
_PSEUDO_FIELDS = {b":scheme": SCHEME, b":path": PATH, b":authority": AUTHORITY}

#: §8.2.1: visible ASCII without upper case and without a colon (a leading one makes a pseudo-header field).
_NAME = re.compile(rb"[!-9;-@\[-~]+")
#: §8.2.1: NUL, CR and LF nowhere, no space or tab at either end.
_BAD_VALUE = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_DIGITS = re.compile(rb"[0-9]{1,18}")

#: §8.2.2
_CONNECTION_FIELDS = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


def verdict(name: bytes, value: bytes) -> int:
    """What one field is, whatever stands around it."""
    if _BAD_VALUE.search(value):
        return BAD
    if name[:1] == b":":
        return _pseudo_verdict(name, value)
    if not _NAME.fullmatch(name) or name in _CONNECTION_FIELDS or (name == b"te" and value != b"trailers"):
        return BAD
    if name == b"content-length":
        return LENGTH if _DIGITS.fullmatch(value) else BAD
    return 0


def judge(fields: Iterable[tuple[bytes, bytes]], union: int) -> Block:
    """The block of these fields. `union` of their verdicts, BAD when their order breaks §8.3.

    A malformed block is a stream error PROTOCOL_ERROR (§8.1.1).
    """
    headers = tuple(fields)
    length = -1
    if union & LENGTH:
        lengths = {int(value) for name, value in headers if name == b"content-length"}
        if len(lengths) > 1:
            union |= BAD
        length = lengths.pop()
    return Block(headers, _KINDS.get(union & ~LENGTH, MALFORMED), length)


def _pseudo_verdict(name: bytes, value: bytes) -> int:
    if name == b":status":
        if len(value) != 3 or not value.isdigit() or value < b"100" or value == b"101":  # §8.6: no 101
            return BAD
        return STATUS | EARLY if value < b"200" else STATUS
    if name == b":method":
        if value == b"CONNECT":
            return METHOD | CONNECT
        return METHOD if _NAME.fullmatch(value.lower()) else BAD
    if not value and name != b":authority":
        return BAD
    return _PSEUDO_FIELDS.get(name, BAD)
