"""A revision as a row's key, and as the packed stamp of the key index.

Row key (peer reference: bucket `key`), big-endian, so that byte order is revision order:

    main: 8 bytes | `_` | sub: 8 bytes | `t` (tombstones only)

Stamp: one int for one change of one key. Low bits first, so that the stamp of a key that was put once, alone in its
transaction, stays below 2^60 and takes 32 bytes of memory:

    main: 56 bits | version: 48 bits | main - create_revision: 56 bits | sub: 32 bits

A tombstone has version 0, as no living key has. 0 itself is no stamp: it stands for "no such key".
"""

from __future__ import annotations

from struct import Struct

TOMBSTONE_MARK = b"t"

MAIN_MASK = (1 << 56) - 1
VERSION_SHIFT = 56
VERSION_MASK = (1 << 48) - 1
AGE_SHIFT = VERSION_SHIFT + 48
SUB_SHIFT = AGE_SHIFT + 56
MAX_MAIN = MAIN_MASK
"""Largest main revision a store can hold."""

_pack = Struct(">QcQ").pack
_unpack_from = Struct(">QxQ").unpack_from
_PLAIN_BYTES = 17


def revision_bytes(main: int, sub: int, tombstone: bool = False) -> bytes:
    """Row key of a revision: 17 bytes, or 18 for a tombstone."""
    key = _pack(main, b"_", sub)
    return key + TOMBSTONE_MARK if tombstone else key


def parse_revision(key: bytes) -> tuple[int, int, bool]:
    """(main, sub, is a tombstone) of a row key."""
    main, sub = _unpack_from(key)
    return main, sub, len(key) > _PLAIN_BYTES


def make_stamp(main: int, sub: int, create: int, version: int) -> int:
    """Stamp of a put; version counts from 1."""
    return main | version << VERSION_SHIFT | main - create << AGE_SHIFT | sub << SUB_SHIFT


def make_tombstone(main: int, sub: int) -> int:
    return main | sub << SUB_SHIFT


def main_of(stamp: int) -> int:
    return stamp & MAIN_MASK


def sub_of(stamp: int) -> int:
    return stamp >> SUB_SHIFT


def version_of(stamp: int) -> int:
    """0 for a tombstone."""
    return stamp >> VERSION_SHIFT & VERSION_MASK


def create_of(stamp: int) -> int:
    """Create revision of the life the stamp belongs to; meaningless for a tombstone."""
    return (stamp & MAIN_MASK) - (stamp >> AGE_SHIFT & MAIN_MASK)


def row_key(stamp: int) -> bytes:
    """Row key of a put."""
    return _pack(stamp & MAIN_MASK, b"_", stamp >> SUB_SHIFT)
