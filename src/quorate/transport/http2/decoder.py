"""Header blocks in (RFC 7541).

A block made only of indexed fields is kept by its bytes until the dynamic table changes: a client that repeats its
header list costs one dict lookup per request. Literals hardly ever repeat, as a deadline that counts down, or always
do, as one that is given anew to every call: then two such blocks follow each other, and the second is kept. (The
decoder of the `hpack` library takes 18 µs for the block of a client that sets a new deadline with every call, this one
a third of that.)
"""

from __future__ import annotations

from quorate.transport.http2.errors import ErrorCode, RemoteProtocolError
from quorate.transport.http2.fields import BAD, PSEUDO, Block, judge, verdict
from quorate.transport.http2.limits import CACHED_BLOCK_BYTES, CACHED_BLOCKS, DECODER_TABLE_SIZE
from quorate.transport.http2.tables import STATIC, huffman_decode

Field = tuple[bytes, bytes]
Entry = tuple[Field, int, int]  # with its verdict and its size

#: RFC 7541 §4.1
ENTRY_OVERHEAD = 32


def _entry(name: bytes, value: bytes) -> Entry:
    return (name, value), verdict(name, value), len(name) + len(value) + ENTRY_OVERHEAD


#: RFC 7541 Appendix A; index 0 is no field.
_STATIC: tuple[Entry, ...] = tuple(_entry(*field) for field in ((b"", b""), *STATIC))
_STATIC_SIZE = len(_STATIC) - 1

#: Octets after the prefix of an integer: enough for any 32-bit number (RFC 7541 §5.1 lets us stop there).
_INTEGER_OCTETS = 5

#: How a block's fields came: all of them indexed; some as literals; some so that they must not be met again.
_INDEXED, _LITERAL, _ONCE = 0, 1, 2


class Decoder:
    """One direction's decoding context. After an exception it is unusable, as the connection is."""

    def __init__(self, max_header_list: int) -> None:
        #: Blocks that leave the dynamic table alone, valid as long as it stands. Read by the fast path.
        self.blocks: dict[bytes, Block] = {}
        self._last = b""
        self._max_header_list = max_header_list
        self._table: list[Entry] = []  # oldest first
        self._table_size = 0
        self._table_limit = DECODER_TABLE_SIZE

    def decode(self, raw: bytes) -> Block | None:
        """The checked header list, or None when it is larger than `max_header_list` (the context stays right).

        Raises RemoteProtocolError COMPRESSION_ERROR (RFC 9113 §4.3).
        """
        block = self.blocks.get(raw)
        if block is not None:
            return block
        try:
            block, kept = self._parse(raw)
        except IndexError as error:
            raise _bad_block() from error
        if block is None:
            return None
        if len(raw) > CACHED_BLOCK_BYTES:
            return block
        if kept == _INDEXED or (kept == _LITERAL and raw == self._last):
            if len(self.blocks) >= CACHED_BLOCKS:
                self.blocks.clear()
            self.blocks[raw] = block
        self._last = raw if kept == _LITERAL else b""
        return block

    def _parse(self, raw: bytes) -> tuple[Block | None, int]:
        """The block (None when too large), and what speaks against keeping it: _INDEXED, _LITERAL or _ONCE.

        IndexError when it is cut short or names an entry that no table has.
        """
        fields: list[Field] = []
        budget = self._max_header_list
        kept = _INDEXED
        union = 0
        regular = False
        table = self._table
        pos, end = 0, len(raw)
        while pos < end:
            octet = raw[pos]
            pos += 1
            if octet & 0x80:  # §6.1 indexed
                index = octet & 0x7F
                if index == 0x7F:
                    index, pos = _integer(raw, pos, 0x7F)
                # §2.3.3: the dynamic table follows the static one, newest first
                if index > _STATIC_SIZE:
                    field, judged, size = table[_STATIC_SIZE - index]
                elif index:
                    field, judged, size = _STATIC[index]
                else:
                    raise _bad_block()
            elif octet & 0xE0 == 0x20:  # §6.3 size update, allowed at the start only (§4.2)
                if fields or budget < 0:
                    raise _bad_block()
                pos = self._resize(raw, pos)
                kept |= _ONCE
                continue
            else:  # §6.2 literal: with indexing it changes the table; what must never be indexed is a secret
                kept |= _ONCE if octet & 0x50 else _LITERAL
                (field, judged, size), pos = self._literal(raw, pos, octet)
            budget -= size
            if budget < 0:
                # RFC 9113 §10.5.1: still decoded to the end for the context's sake, but not kept
                fields.clear()
                continue
            if not judged & PSEUDO:
                regular = True
            elif regular or judged & union & PSEUDO:
                judged = BAD  # RFC 9113 §8.3: before all regular fields, and none twice
            union |= judged
            fields.append(field)
        return (judge(fields, union) if budget >= 0 else None), kept

    def _literal(self, raw: bytes, pos: int, octet: int) -> tuple[Entry, int]:
        """RFC 7541 §6.2: with indexing (§6.2.1), without, or never (§6.2.2, §6.2.3)."""
        mask = 0x3F if octet & 0x40 else 0x0F
        index = octet & mask
        if index == mask:
            index, pos = _integer(raw, pos, mask)
        if not index:
            name, pos = _string(raw, pos)
        elif index > _STATIC_SIZE:
            name = self._table[_STATIC_SIZE - index][0][0]
        else:
            name = _STATIC[index][0][0]
        value, pos = _string(raw, pos)
        entry = _entry(name, value)
        if octet & 0x40:
            self.blocks.clear()
            self._table.append(entry)
            self._table_size += entry[2]
            if self._table_size > self._table_limit:
                self._evict()
        return entry, pos

    def _resize(self, raw: bytes, pos: int) -> int:
        """RFC 7541 §6.3: the size update before `pos`."""
        size = raw[pos - 1] & 0x1F
        if size == 0x1F:
            size, pos = _integer(raw, pos, 0x1F)
        if size > DECODER_TABLE_SIZE:
            raise _bad_block()
        self.blocks.clear()
        self._table_limit = size
        self._evict()
        return pos

    def _evict(self) -> None:
        """RFC 7541 §4.3, §4.4: an entry larger than the whole table leaves it empty."""
        while self._table_size > self._table_limit:
            self._table_size -= self._table.pop(0)[2]


def _bad_block() -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.COMPRESSION_ERROR, "bad header block")


def _integer(raw: bytes, pos: int, prefix: int) -> tuple[int, int]:
    """The rest of an integer whose prefix bits are all ones (RFC 7541 §5.1), and the position after it."""
    value = prefix
    for shift in range(0, 7 * _INTEGER_OCTETS, 7):
        octet = raw[pos]
        pos += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, pos
    raise _bad_block()


def _string(raw: bytes, pos: int) -> tuple[bytes, int]:
    """A string literal (RFC 7541 §5.2), and the position after it."""
    octet = raw[pos]
    length = octet & 0x7F
    pos += 1
    if length == 0x7F:
        length, pos = _integer(raw, pos, 0x7F)
    end = pos + length
    if end > len(raw):
        raise _bad_block()
    text = raw[pos:end]
    return (huffman_decode(text) if octet & 0x80 else text), end
