"""Numbers and structures of the format; the meta page."""

from __future__ import annotations

import struct
from typing import NamedTuple

PAGE_SIZE = 4096
"""Of the files written here. Read is any size that bbolt can have chosen."""

MIN_PAGE_SIZE = 1 << 10
MAX_PAGE_SIZE = 1 << 24

MAX_KEY_BYTES = 32_768
MAX_VALUE_BYTES = (1 << 31) - 2
MAX_INLINE_BYTES = PAGE_SIZE // 4
"""A bucket of one leaf page not longer than this is kept inline."""

MAX_DEPTH = 64
"""Pages between the root and a row. Branches have two children at least, so no file is this deep."""

PAGE_HEADER = struct.Struct("<QHHI")
LEAF_ELEMENT = struct.Struct("<IIII")
BRANCH_ELEMENT = struct.Struct("<IIQ")
BUCKET_HEADER = struct.Struct("<QQ")
HEADER_BYTES = PAGE_HEADER.size
ELEMENT_BYTES = LEAF_ELEMENT.size
META_BYTES = 64

BRANCH_PAGE = 0x01
LEAF_PAGE = 0x02
META_PAGE = 0x04
FREELIST_PAGE = 0x10

PLAIN_ROW = 0
BUCKET_ROW = 1
"""Flags of a leaf element."""

FIRST_TREE_PAGE = 2
NO_FREELIST = (1 << 64) - 1
LARGE_COUNT = 0xFFFF

_MAGIC = 0xED0CDAED
_VERSION = 2
_FIELDS = struct.Struct("<IIIIQQQQQ")
_CHECKSUM = struct.Struct("<Q")


class BboltError(Exception):
    """What lies at the path is not a bbolt file, or a damaged one. The text names the file, the page and the reason."""


class BboltInUse(BboltError):
    """Another process has the file open for writing."""


class Meta(NamedTuple):
    """One of the two roots of a file. `page_count` is the number of pages in use: the file is that long at least."""

    page_size: int
    root: int
    freelist: int
    page_count: int
    txid: int
    sequence: int = 0

    def encode(self) -> bytes:
        """The body of its page."""
        fields = _FIELDS.pack(
            _MAGIC,
            _VERSION,
            self.page_size,
            0,
            self.root,
            self.sequence,
            self.freelist,
            self.page_count,
            self.txid,
        )
        return fields + _CHECKSUM.pack(_fnv1a(fields))

    @classmethod
    def decode(cls, body: bytes) -> Meta | None:
        """The meta of a page's body, or None when that holds none that is whole."""
        if len(body) < META_BYTES or _CHECKSUM.unpack_from(body, _FIELDS.size)[0] != _fnv1a(body[: _FIELDS.size]):
            return None
        magic, version, page_size, _, root, sequence, freelist, page_count, txid = _FIELDS.unpack_from(body)
        if magic != _MAGIC or version != _VERSION:
            return None
        return cls(page_size, root, freelist, page_count, txid, sequence)


def _fnv1a(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
