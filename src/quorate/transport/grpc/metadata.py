"""Metadata and time-outs as they travel in request headers.

Keys are lower-case; keys that end in `-bin` carry bytes in base64, padded or not; all others carry text.
Source: gRPC over HTTP/2 protocol ("Requests", "Custom-Metadata", "Timeout").
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence

from quorate.transport.http2 import Headers

Pairs = Sequence[tuple[str, str | bytes]]

_NOT_METADATA = frozenset(
    (b"content-type", b"te", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding", b"grpc-message-type")
)
_KEY = re.compile(rb"[a-z0-9_.\-]+")


class Metadata:
    """What the caller sent beside the message: an immutable list of key and value."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[tuple[str, str | bytes]] = ()) -> None:
        self._items = tuple(items)

    @classmethod
    def of_headers(cls, headers: Headers) -> Metadata:
        """Everything that is neither HTTP's nor gRPC's own. Raises ValueError for base64 that is none."""
        items: list[tuple[str, str | bytes]] = []
        for name, value in headers:
            if name[:1] == b":" or name in _NOT_METADATA:
                continue
            if name.endswith(b"-bin"):
                items.extend((name.decode(), decode_binary(part)) for part in value.split(b","))
            else:
                # Bytes that are not UTF-8 survive as surrogates: who cares checks, nobody else fails.
                items.append((name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")))
        return cls(items)

    def get(self, key: str) -> str | None:
        """First text under `key`, or None."""
        for name, value in self._items:
            if name == key and isinstance(value, str):
                return value
        return None

    def get_bytes(self, key: str) -> bytes | None:
        """First value under a `-bin` key, or None."""
        for name, value in self._items:
            if name == key and isinstance(value, bytes):
                return value
        return None

    def get_all(self, key: str) -> list[str | bytes]:
        """All values under `key`, in the order sent."""
        return [value for name, value in self._items if name == key]

    def __iter__(self) -> Iterator[tuple[str, str | bytes]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        # Keys only: values may be tokens, and reprs end in logs.
        return f"Metadata({[name for name, _ in self._items]})"


def encode_metadata(pairs: Pairs) -> Headers:
    """Header fields of metadata to send. Raises ValueError for keys or values that headers cannot carry."""
    return tuple(_encode_pair(key, value) for key, value in pairs)


def decode_binary(value: bytes) -> bytes:
    """Bytes of a `-bin` value. Raises ValueError when it is not base64."""
    value = value.strip()
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"malformed binary metadata: {error}") from None


_UNIT = {
    ord("H"): 3600.0,
    ord("M"): 60.0,
    ord("S"): 1.0,
    ord("m"): 1e-3,
    ord("u"): 1e-6,
    ord("n"): 1e-9,
}


def decode_timeout(value: bytes) -> float:
    """Seconds of a `grpc-timeout`: up to eight digits and a unit. Raises ValueError for anything else."""
    unit = _UNIT.get(value[-1]) if value else None
    digits = value[:-1]
    if unit is None or not digits.isdigit() or len(digits) > 8:
        raise ValueError(f"malformed grpc-timeout: {value.decode('latin-1')}")
    return int(digits) * unit


def encode_timeout(seconds: float) -> bytes:
    """`grpc-timeout` of at least `seconds`, in the finest unit that eight digits hold."""
    if seconds <= 0:
        return b"0n"
    for unit, factor in ((b"n", 1e9), (b"u", 1e6), (b"m", 1e3), (b"S", 1.0), (b"M", 1 / 60)):
        count = -int(-seconds * factor // 1)
        if count < 100_000_000:
            return b"%d%s" % (count, unit)
    return b"%dH" % min(-int(-seconds / 3600 // 1), 99_999_999)


def _encode_pair(key: str, value: str | bytes) -> tuple[bytes, bytes]:
    name = key.lower().encode("ascii", "replace")
    if not _KEY.fullmatch(name) or name.startswith(b"grpc-"):
        raise ValueError(f"invalid metadata key {key!r}")
    if name.endswith(b"-bin"):
        raw = value if isinstance(value, bytes) else value.encode()
        return name, base64.b64encode(raw).rstrip(b"=")
    text = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    if any(byte < 0x20 or byte == 0x7F for byte in text):
        raise ValueError(f"invalid metadata value for {key!r}")
    return name, text
