"""Hand-written encoders for the replies that are sent most often.

A reply is two parts: the header, which only the answering member can fill, and the body, which every member computes
alike. Bodies are joined from stored KeyValue bytes without decoding them. Each function's bytes are compared with
protobuf's own in the tests. Formats: proto3 wire types 0 (varint) and 2 (length-delimited).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

_MASK = (1 << 64) - 1


def _encode_varint(value: int) -> bytes:
    value &= _MASK
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = [_encode_varint(value) for value in range(2048)]
"""Most numbers are lengths of small fields."""


@lru_cache(maxsize=64)
def _encode_tail(value: int) -> bytes:
    return _encode_varint(value)


def varint(value: int) -> bytes:
    """`value` as a protobuf varint; a negative int64 takes ten bytes."""
    if 0 <= value < 2048:
        return _SMALL[value]
    if value >> 32 and value > 0:
        # IDs: numbers that count up share all but their last two bytes.
        return b"%c%c%b" % (value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, _encode_tail(value >> 14))
    return _encode_varint(value)


def field(tag: bytes, data: bytes) -> bytes:
    """A length-delimited field with its one-byte `tag`."""
    size = len(data)
    return b"%b%b%b" % (tag, _SMALL[size] if size < 2048 else _encode_varint(size), data)


class HeaderEncoder:
    """Encodes the header of one member's replies as field 1 of the reply."""

    def __init__(self, cluster_id: int, member_id: int) -> None:
        self._ids = b"\x08" + varint(cluster_id) + b"\x10" + varint(member_id)
        self._last: tuple[int, int] = (-1, -1)
        self._encoded = b""

    def encode(self, revision: int, term: int) -> bytes:
        """ResponseHeader with its tag. The last one is remembered: replies of one turn share it."""
        if (revision, term) != self._last:
            inner = self._ids
            if revision:
                inner += b"\x18" + varint(revision)
            if term:
                inner += b"\x20" + varint(term)
            self._encoded = field(b"\x0a", inner)
            self._last = (revision, term)
        return self._encoded


def range_body(kvs: Sequence[bytes], more: bool, count: int) -> bytes:
    """RangeResponse without header, from serialized KeyValues."""
    parts: list[bytes] = []
    for kv in kvs:  # not `field`: with ten thousand keys the rows would be copied once more
        size = len(kv)
        parts += (b"\x12", _SMALL[size] if size < 2048 else _encode_varint(size), kv)
    if more:
        parts.append(b"\x18\x01")
    if count:
        parts.append(b"\x20" + varint(count))
    return b"".join(parts)


def get_body(kv: bytes) -> bytes:
    """RangeResponse without header, for one key that was asked for and found."""
    return field(b"\x12", kv) + b"\x20\x01"


def put_body(prev_kv: bytes | None) -> bytes:
    """PutResponse without header."""
    return b"" if prev_kv is None else field(b"\x12", prev_kv)


def delete_range_body(deleted: int, prev_kvs: Sequence[bytes]) -> bytes:
    """DeleteRangeResponse without header."""
    head = b"\x10" + varint(deleted) if deleted else b""
    return head + b"".join([field(b"\x1a", kv) for kv in prev_kvs])


RANGE_OP = b"\x0a"
PUT_OP = b"\x12"
DELETE_RANGE_OP = b"\x1a"
TXN_OP = b"\x22"


def response_op(kind: bytes, revision: int | None, body: bytes) -> bytes:
    """One ResponseOp of a TxnResponse; `kind` is one of the *_OP tags. A revision of None leaves its header empty."""
    header = b"\x0a\x00" if revision is None else field(b"\x0a", b"\x18" + varint(revision))
    return field(kind, header + body)


def txn_body(succeeded: bool, responses: Sequence[bytes]) -> bytes:
    """TxnResponse without header, from encoded ResponseOps."""
    head = b"\x10\x01" if succeeded else b""
    return head + b"".join([field(b"\x1a", response) for response in responses])


def watch_response(header: bytes, watch_id: int, events: Sequence[bytes], fragment: bool = False) -> bytes:
    """WatchResponse that delivers serialized `events`; `header` as HeaderEncoder gives it."""
    parts = [header]
    if watch_id:
        parts.append(b"\x10" + varint(watch_id))
    if fragment:
        parts.append(b"\x38\x01")
    parts += [field(b"\x5a", event) for event in events]
    return b"".join(parts)


def watch_responses(header: bytes, watch_ids: Sequence[int], events: Sequence[bytes]) -> list[bytes]:
    """The same for several watchers, a WatchResponse each."""
    body = b"".join([field(b"\x5a", event) for event in events])
    return [b"%b\x10%b%b" % (header, varint(id_), body) if id_ else header + body for id_ in watch_ids]


def split_events(events: Sequence[bytes], size: int) -> list[list[bytes]]:
    """Pieces for one WatchResponse each: of at least one event, and below `size` bytes where that is possible."""
    pieces: list[list[bytes]] = []
    room = 0
    for event in events:
        cost = len(event) + 8
        if not pieces or cost >= room:
            pieces.append([])
            room = size
        pieces[-1].append(event)
        room -= cost
    return pieces
