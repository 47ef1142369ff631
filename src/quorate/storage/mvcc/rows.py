"""Hand-written mvccpb.KeyValue and mvccpb.Event: the bytes that rest in the store and travel in replies and watches.

    KeyValue  1 key | 2 create_revision | 3 mod_revision | 4 version | 5 value | 6 lease
    Event     1 type (DELETE = 1) | 2 kv | 3 prev_kv

A put's row is its KeyValue whole, a tombstone's row has only the key. Range replies and events join these bytes as they
are. proto3 leaves out a field that is 0 or empty; every function is compared with protobuf's own bytes in the tests.
"""

from __future__ import annotations

from quorate.api.encode import field, varint
from quorate.api.pb import kv_pb2

_KEY = b"\x0a"
_CREATE = b"\x10"
_MOD = b"\x18"
_VERSION = b"\x20"
_VALUE = b"\x2a"
_LEASE = b"\x30"
_EVENT_KV = b"\x12"
_EVENT_PREV_KV = b"\x1a"
_DELETE_EVENT = b"\x08\x01"

parse_key_value = kv_pb2.KeyValue.FromString


def encode_key_value(key: bytes, create: int, mod: int, version: int, value: bytes, lease: int) -> bytes:
    """A put's row: serialized KeyValue. Key is not empty; create, mod and version are positive."""
    mod_bytes = _revision(mod)
    return b"".join(
        (
            _KEY,
            varint(len(key)),
            key,
            _CREATE,
            mod_bytes if create == mod else _revision(create),
            _MOD,
            mod_bytes,
            _VERSION,
            varint(version),
            _VALUE + varint(len(value)) if value else b"",
            value,
            _LEASE + varint(lease) if lease else b"",
        )
    )


def encode_without_value(key: bytes, create: int, mod: int, version: int) -> bytes:
    """What a keys-only range shows of a key: everything the index knows."""
    return field(_KEY, key) + b"".join((_CREATE, _revision(create), _MOD, _revision(mod), _VERSION, varint(version)))


def encode_tombstone(key: bytes) -> bytes:
    """A tombstone's row."""
    return field(_KEY, key)


def key_of(row: bytes) -> bytes:
    """Key of a stored row; empty for the row that etcd leaves when a restore raises the revision."""
    if not row:
        return b""
    size = row[1]
    if size < 0x80:
        return row[2 : 2 + size]
    return parse_key_value(row).key


def encode_put_event(row: bytes, prev_row: bytes | None = None) -> bytes:
    """Event of a put, from its row and, where asked for, the row before."""
    event = field(_EVENT_KV, row)
    return event if prev_row is None else event + field(_EVENT_PREV_KV, prev_row)


def encode_delete_event(key: bytes, mod: int, prev_row: bytes | None = None) -> bytes:
    """Event of a delete: its kv has only the key and the revision of the delete."""
    event = _DELETE_EVENT + field(_EVENT_KV, field(_KEY, key) + _MOD + _revision(mod))
    return event if prev_row is None else event + field(_EVENT_PREV_KV, prev_row)


def _revision(n: int) -> bytes:
    """Varint of a positive revision; unrolled, because a put needs two of them."""
    if n < 0x200000:
        if n < 0x80:
            return varint(n)
        if n < 0x4000:
            return bytes((n & 0x7F | 0x80, n >> 7))
        return bytes((n & 0x7F | 0x80, n >> 7 & 0x7F | 0x80, n >> 14))
    if n < 0x10000000:
        return bytes((n & 0x7F | 0x80, n >> 7 & 0x7F | 0x80, n >> 14 & 0x7F | 0x80, n >> 21))
    return varint(n)
