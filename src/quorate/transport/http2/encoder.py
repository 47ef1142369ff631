"""Header blocks out (RFC 7541).

The first use of a field puts it into the dynamic table, later uses are its index. Entries are never evicted: what
finds no room stays a literal. A `Headers` tuple whose block puts nothing into the table is kept encoded under its
identity, so that a caller who keeps its tuples pays one dict lookup: at once if all its fields are indexed, and when it
comes twice in a row if not. Values that change with every call stay out of the table and do not disturb the rest.
"""

from __future__ import annotations

from quorate.transport.http2.decoder import ENTRY_OVERHEAD
from quorate.transport.http2.events import Headers
from quorate.transport.http2.frames import END_HEADERS, END_STREAM, HEADERS
from quorate.transport.http2.limits import (
    CACHED_HEADERS,
    ENCODER_TABLE_SIZE,
    INDEXED_FIELD_BYTES,
    INDEXED_PATHS,
    INDEXED_VALUES,
)
from quorate.transport.http2.tables import STATIC

Field = tuple[bytes, bytes]

#: Encoded: the tuple itself (keeps its id taken), a frame's first five octets without and with END_STREAM, the block.
Encoded = tuple[Headers, bytes, bytes, bytes]

_STATIC_FIELDS: dict[Field, int] = {}
_STATIC_NAMES: dict[bytes, int] = {}
for _index, _entry in enumerate(STATIC, 1):
    _STATIC_FIELDS[_entry] = _index
    _STATIC_NAMES.setdefault(_entry[0], _index)
_FIRST_DYNAMIC = len(STATIC) + 1

#: Names whose values hardly ever repeat (an empty value does: `grpc-message` beside an OK).
_VOLATILE = frozenset(
    {b"grpc-timeout", b"grpc-message", b"grpc-status-details-bin", b"content-length", b"date", b"etag", b"traceparent"}
)
#: Secrets: never in any table on the way (RFC 7541 §7.1.3).
_SECRET = frozenset({b"authorization", b"token", b"cookie"})


class Encoder:
    """One direction's encoding context."""

    def __init__(self) -> None:
        #: Ready blocks by id of their tuple. Read by the fast path.
        self.blocks: dict[int, Encoded] = {}
        self._limit = ENCODER_TABLE_SIZE
        self._update = b""  # table size update owed to the next block
        self._last: Headers = ()
        self._forget()

    def encode(self, headers: Headers) -> bytes:
        """One header block. Blocks must reach the peer in the order of these calls."""
        found = self.blocks.get(id(headers))
        if found is not None:
            return found[3]
        parts: list[bytes] = []
        if self._update:
            parts.append(self._update)
        inserted, updates = self._inserted, bool(self._update)
        indexed_only = True
        self._update = b""
        for field in headers:
            index = _STATIC_FIELDS.get(field)
            if index is None:
                number = self._fields.get(field)
                if number is None:
                    parts.append(self._literal(field))
                    indexed_only = False
                    continue
                index = _FIRST_DYNAMIC + self._inserted - number
            parts.append(_INDEXED[index])
        block = b"".join(parts)
        changes_table = updates or self._inserted != inserted
        if not changes_table and type(headers) is tuple and (indexed_only or headers is self._last):
            if len(self.blocks) >= CACHED_HEADERS:
                self.blocks.clear()
            opening = (len(block) << 16 | HEADERS << 8 | END_HEADERS).to_bytes(5, "big")
            ending = (len(block) << 16 | HEADERS << 8 | END_HEADERS | END_STREAM).to_bytes(5, "big")
            self.blocks[id(headers)] = (headers, opening, ending, block)
        self._last = headers
        return block

    def resize(self, peer_limit: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE has come: empty the table and say so (RFC 7541 §4.2)."""
        limit = min(peer_limit, ENCODER_TABLE_SIZE)
        if limit == self._limit:
            return
        self._limit = limit
        self._update = b"\x20" + (_integer(0x20, 0x1F, limit) if limit else b"")
        self._forget()

    def _forget(self) -> None:
        self.blocks.clear()
        self._fields: dict[Field, int] = {}  # -> number of its insertion, from 1
        self._names: dict[bytes, int] = {}  # -> number of the newest insertion of this name
        self._values: dict[bytes, int] = {}  # -> how many values of this name are in the table
        self._inserted = 0
        self._size = 0

    def _literal(self, field: Field) -> bytes:
        """RFC 7541 §6.2: with indexing when the field may repeat and finds room."""
        name, value = field
        if self._worth_a_place(name, value):
            encoded = self._named(0x40, 0x3F, name) + _string(value)
            self._inserted += 1
            self._fields[field] = self._names[name] = self._inserted
            self._values[name] = self._values.get(name, 0) + 1
            self._size += len(name) + len(value) + ENTRY_OVERHEAD
            self.blocks.clear()  # all indices have moved
            return encoded
        return self._named(0x10 if name in _SECRET else 0x00, 0x0F, name) + _string(value)

    def _worth_a_place(self, name: bytes, value: bytes) -> bool:
        size = len(name) + len(value) + ENTRY_OVERHEAD
        return (
            (not value or name not in _VOLATILE)
            and name not in _SECRET
            and size <= INDEXED_FIELD_BYTES
            and self._size + size <= self._limit
            and self._values.get(name, 0) < (INDEXED_PATHS if name == b":path" else INDEXED_VALUES)
        )

    def _named(self, pattern: int, mask: int, name: bytes) -> bytes:
        index = _STATIC_NAMES.get(name)
        if index is None:
            number = self._names.get(name)
            if number is None:
                return bytes((pattern,)) + _string(name)
            index = _FIRST_DYNAMIC + self._inserted - number
        return _integer(pattern, mask, index)


def _integer(pattern: int, mask: int, value: int) -> bytes:
    """RFC 7541 §5.1"""
    if value < mask:
        return bytes((pattern | value,))
    octets = bytearray((pattern | mask,))
    value -= mask
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def _string(text: bytes) -> bytes:
    """RFC 7541 §5.2, never Huffman: literals are rare here, and plain ones are cheaper for both ends."""
    return _integer(0x00, 0x7F, len(text)) + text


#: RFC 7541 §6.1, by index: no table of ours holds more entries.
_INDEXED = tuple(_integer(0x80, 0x7F, index) for index in range(_FIRST_DYNAMIC + ENCODER_TABLE_SIZE // ENTRY_OVERHEAD))
