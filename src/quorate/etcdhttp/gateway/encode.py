"""Messages to JSON: declared names in the order of field numbers, zero values left out, 64-bit numbers as strings."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

_WIDE = frozenset((FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64))


class _Field(NamedTuple):
    name: str
    repeated: bool
    convert: Callable[[Any], Any] | None
    """None for what JSON writes as Python has it."""


def write_message(message: Message) -> bytes:
    """A message as one line of JSON, without its end."""
    return write_json(to_json(message))


def write_json(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def to_json(message: Message) -> dict[str, Any]:
    """A message as the values that JSON knows."""
    fields = _fields(message.DESCRIPTOR)
    out: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        name, repeated, convert = fields[descriptor.number]
        if convert is None:
            out[name] = list(value) if repeated else value
        else:
            out[name] = [convert(item) for item in value] if repeated else convert(value)
    return out


@cache
def _fields(descriptor: Descriptor) -> dict[int, _Field]:
    return {field.number: _Field(field.name, field.is_repeated, _converter(field)) for field in descriptor.fields}


def _converter(field: FieldDescriptor) -> Callable[[Any], Any] | None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return to_json
    if field.type in _WIDE:
        return str
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode("ascii")
    if field.type == FieldDescriptor.TYPE_ENUM:
        assert field.enum_type is not None
        return _name_of(field.enum_type)
    return None


def _name_of(enum: EnumDescriptor) -> Callable[[int], str | int]:
    names = {value.number: value.name for value in reversed(enum.values)}
    return lambda number: names.get(number, number)
