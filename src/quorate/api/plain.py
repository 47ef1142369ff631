"""Messages as plain values, for programs that start, ask one question and end.

The protobuf library takes longer to import than such a program has to run; this codec is slower per message and needs
nothing. The fields are those of `pb.fields`.

    data = encode("PutRequest", {"key": b"a", "value": b"1"})
    reply = decode("RangeResponse", data)
    reply.kvs[0].key, reply.header.revision

Source: Protocol Buffers, "Encoding".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quorate.api.pb.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

Field = tuple[int, str, str, bool, str]
"""Number, name, kind, whether repeated, oneof."""

VARINT = 0
FIXED64 = 1
BYTES = 2
FIXED32 = 5

SIGNED = frozenset({"int64", "int32", "enum"})
"""Negative ones are the 64 bits of their two's complement."""
NUMBERS = SIGNED | {"uint64", "uint32", "bool"}
_DEFAULTS = {"bytes": b"", "string": "", "bool": False}

_by_number: dict[str, dict[int, Field]] = {}
_by_name: dict[str, dict[str, Field]] = {}


class Message:
    """A message that was received. Fields are attributes; one that did not come has its default, as in proto3."""

    __slots__ = ("kind", "raw", "values")

    def __init__(self, kind: str, values: dict[str, Any], raw: bytes = b"") -> None:
        self.kind = kind
        self.values = values
        """What came, by name of field."""
        self.raw = raw
        """The bytes it came as."""

    def __getattr__(self, name: str) -> Any:
        found = self.values.get(name)
        if found is not None:
            return found
        field = fields_by_name(self.kind).get(name)
        if field is None:
            raise AttributeError(f"{self.kind} has no field {name!r}")
        _, _, kind, repeated, _ = field
        if repeated:
            return []
        return Message(kind, {}) if kind in FIELDS else _DEFAULTS.get(kind, 0)

    def has(self, name: str) -> bool:
        """Whether the field came: for messages and members of a oneof."""
        return name in self.values

    def __repr__(self) -> str:
        return f"{self.kind}({self.values})"


def fields_by_name(kind: str) -> dict[str, Field]:
    """The fields of a message."""
    found = _by_name.get(kind)
    if found is None:
        found = _by_name[kind] = {field[1]: field for field in FIELDS[kind]}
    return found


def encode(kind: str, values: Mapping[str, Any]) -> bytes:
    """The bytes of a message. Nested messages are mappings, repeated fields lists; defaults are left out unless they
    are in a oneof. Raises KeyError for a field that is none."""
    out = bytearray()
    names = fields_by_name(kind)
    for name in sorted(values, key=lambda name: names[name][0]):
        number, _, sort, repeated, oneof = names[name]
        value = values[name]
        if value is None:
            continue
        if not repeated:
            if value or oneof or sort in FIELDS:
                _put(out, number, sort, value)
        elif sort in NUMBERS:
            packed = bytearray()
            for item in value:
                _put_varint(packed, int(item))
            if packed:
                _put(out, number, "bytes", packed)
        else:
            for item in value:
                _put(out, number, sort, item)
    return bytes(out)


def _put(out: bytearray, number: int, kind: str, value: Any) -> None:
    if kind in NUMBERS:
        _put_varint(out, number << 3)
        _put_varint(out, int(value))
        return
    if kind == "string":
        value = value.encode("utf-8", "surrogateescape")
    elif kind in FIELDS:
        value = encode(kind, value.values if isinstance(value, Message) else value)
    _put_varint(out, number << 3 | BYTES)
    _put_varint(out, len(value))
    out += value


def _put_varint(out: bytearray, value: int) -> None:
    value &= 0xFFFF_FFFF_FFFF_FFFF
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def decode(kind: str, data: bytes) -> Message:
    """The message in these bytes. Fields that are not known are passed over. Raises ValueError for what is no
    message."""
    fields = _by_number.get(kind)
    if fields is None:
        fields = _by_number[kind] = {field[0]: field for field in FIELDS[kind]}
    values: dict[str, Any] = {}
    content: int | bytes | None
    pos, end = 0, len(data)
    try:
        while pos < end:
            tag, pos = _varint(data, pos)
            wire = tag & 7
            if wire == VARINT:
                content, pos = _varint(data, pos)
            elif wire == BYTES:
                size, pos = _varint(data, pos)
                content, pos = data[pos : pos + size], pos + size
            elif wire in (FIXED32, FIXED64):
                content, pos = None, pos + (4 if wire == FIXED32 else 8)
            else:
                raise ValueError(f"{kind}: wire type {wire}")
            field = fields.get(tag >> 3)
            if field is not None and content is not None:
                _take(values, field, content)
    except IndexError:
        raise ValueError(f"{kind}: unexpected EOF") from None
    if pos > end:
        raise ValueError(f"{kind}: unexpected EOF")
    return Message(kind, values, data)


def _take(values: dict[str, Any], field: Field, content: Any) -> None:
    """Put what came under its name."""
    _, name, kind, repeated, _ = field
    if repeated and kind in NUMBERS and isinstance(content, bytes):
        pos = 0
        while pos < len(content):
            number, pos = _varint(content, pos)
            values.setdefault(name, []).append(_number(kind, number))
        return
    if kind in NUMBERS:
        value: Any = _number(kind, content)
    elif kind == "bytes":
        value = content
    elif kind == "string":
        value = content.decode("utf-8", "surrogateescape")
    else:
        value = decode(kind, content)
    if repeated:
        values.setdefault(name, []).append(value)
    else:
        values[name] = value


def _number(kind: str, value: int) -> int | bool:
    if kind == "bool":
        return bool(value)
    if value >= 1 << 63 and kind in SIGNED:
        return value - (1 << 64)
    return value


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    byte = data[pos]
    pos += 1
    if byte < 0x80:
        return byte, pos
    value, shift = byte & 0x7F, 7
    while True:
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")
