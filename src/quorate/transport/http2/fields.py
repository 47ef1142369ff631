"""Is a header list well-formed, and what is it? (RFC 9113 §8.2, §8.3)"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from quorate.transport.http2.events import Headers

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


#: §8.2.1: visible ASCII without upper case and without a colon (a leading one makes a pseudo-header field).
_NAME = re.compile(rb"[!-9;-@\[-~]+")
#: §8.2.1: NUL, CR and LF nowhere, no space or tab at either end.
_BAD_VALUE = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_DIGITS = re.compile(rb"[0-9]{1,18}")

#: §8.2.2
_CONNECTION_FIELDS = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_REQUEST_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})


def classify(fields: Iterable[tuple[bytes, bytes]]) -> Block:
    """Check a decoded list. A fault makes the kind MALFORMED: a stream error PROTOCOL_ERROR (§8.1.1)."""
    headers = tuple(fields)
    pseudo: dict[bytes, bytes] = {}
    length = -1
    regular = False
    for name, value in headers:
        if _BAD_VALUE.search(value):
            return Block(headers, MALFORMED, -1)
        if name[:1] == b":":
            # §8.3: all before regular fields, none twice
            if regular or name in pseudo:
                return Block(headers, MALFORMED, -1)
            pseudo[name] = value
            continue
        regular = True
        if not _NAME.fullmatch(name) or name in _CONNECTION_FIELDS or (name == b"te" and value != b"trailers"):
            return Block(headers, MALFORMED, -1)
        if name == b"content-length":
            # §8.1.1 by way of RFC 9110 §8.6: one number
            if not _DIGITS.fullmatch(value) or length not in (-1, int(value)):
                return Block(headers, MALFORMED, -1)
            length = int(value)
    return Block(headers, _kind(pseudo), length)


def _kind(pseudo: dict[bytes, bytes]) -> int:
    if not pseudo:
        return TRAILERS
    if b":status" in pseudo:  # §8.3.2
        status = pseudo[b":status"]
        if len(pseudo) > 1 or len(status) != 3 or not status.isdigit() or status == b"101" or status < b"100":
            return MALFORMED
        return INTERIM if status < b"200" else RESPONSE
    if not pseudo.keys() <= _REQUEST_PSEUDO:
        return MALFORMED
    if pseudo.get(b":method") == b"CONNECT":  # §8.5
        return REQUEST if pseudo.keys() == {b":method", b":authority"} else MALFORMED
    # §8.3.1: these three are not optional and not empty
    return REQUEST if pseudo.get(b":method") and pseudo.get(b":scheme") and pseudo.get(b":path") else MALFORMED
