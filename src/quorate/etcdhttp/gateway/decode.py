"""JSON to messages, by the rules of protobuf's JSON mapping.

A field may be called by its declared name or by the lowerCamelCase form of it. 64-bit numbers may be strings, bytes are
base64 in either alphabet, padded or not, enums are names or numbers. Unknown fields are ignored, so are unknown names
of enums; null is as good as nothing. What does not fit is told with its line and column, as Go's protojson tells it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from quorate.etcdhttp.gateway.syntax import (
    EXPLAINED,
    TOO_DEEP,
    BodyError,
    Number,
    line_and_column,
    locate,
    read_value,
    token_at,
)

_NUMBER = re.compile(r"(-?)(0|[1-9]\d*)(?:\.(\d+))?(?:[eE]([+-]?\d{1,9}))?", re.ASCII)
_MOST_DIGITS = 20
"""Of a 64-bit number."""

M = TypeVar("M", bound=Message)


class _Misfit(Exception):
    """A value that does not fit where `path` leads: of each object and array the number of the member to go into.

    The complaint is `before`, the token as written, and `after`."""

    def __init__(self, path: list[int], before: str, after: str = "", *, name: bool = False) -> None:
        super().__init__(before)
        self.path = path
        self.before = before
        self.after = after
        self.name = name


class _Unfit(Exception):
    """A value is not of its field's kind."""


class _Field(NamedTuple):
    name: str
    kind: str
    shown: str
    """Its name in complaints."""
    repeated: bool
    oneof: str
    convert: Callable[[Any], Any] | None
    """Raises _Unfit; returns None for what counts as absent. None for messages."""


def read_message(kind: type[M], text: str) -> M:
    """The message that the first value of `text` is; an empty one when there is none. Raises BodyError."""
    message = kind()
    value = read_value(text)
    if value is None:
        return message
    try:
        _fill(message, value, [])
    except _Misfit as misfit:
        raise BodyError(_complain(text, misfit)) from None
    except RecursionError:
        raise BodyError(TOO_DEEP) from None
    return message


def _complain(text: str, misfit: _Misfit) -> str:
    """What does not fit, and where; of a long text not where."""
    if len(text) > EXPLAINED:
        return f"proto: {misfit.before.rstrip(': ')}{misfit.after}"
    at = locate(text, misfit.path, misfit.name)
    line, column = line_and_column(text, at)
    kind = "syntax error " if misfit.before.startswith("unexpected token") else ""
    return f"proto: {kind}(line {line}:{column}): {misfit.before}{token_at(text, at)}{misfit.after}"


def _fill(message: Message, value: Any, path: list[int]) -> None:
    """Set what an object says. Raises _Misfit."""
    if type(value) is not tuple:
        raise _Misfit(path, "unexpected token ")
    fields = _fields(message.DESCRIPTOR)
    seen: set[str] = set()
    for number, (name, given) in enumerate(value):
        field = fields.get(name)
        if field is None:
            continue
        here = [*path, number]
        if field.name in seen:
            raise _Misfit(here, "duplicate field ", name=True)
        seen.add(field.name)
        if given is None:
            continue
        if field.oneof:
            if field.oneof in seen:
                raise _Misfit(here, "error parsing ", f", oneof {field.oneof} is already set", name=True)
            seen.add(field.oneof)
        _set(message, field, given, here)


def _set(message: Message, field: _Field, given: Any, path: list[int]) -> None:
    if field.repeated:
        if type(given) is not list:
            raise _Misfit(path, "unexpected token ")
        items = getattr(message, field.name)
        for number, item in enumerate(given):
            if field.convert is None:
                _fill(items.add(), item, [*path, number])
            elif (converted := _convert(field, item, [*path, number])) is not None:
                items.append(converted)
    elif field.convert is None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        _fill(inner, given, path)
    elif (converted := _convert(field, given, path)) is not None:
        setattr(message, field.name, converted)


def _convert(field: _Field, value: Any, path: list[int]) -> Any:
    assert field.convert is not None
    try:
        return field.convert(value)
    except _Unfit:
        raise _Misfit(path, f"invalid value for {field.kind} field {field.shown}: ") from None


@cache
def _fields(descriptor: Descriptor) -> dict[str, _Field]:
    """The fields of a message by both of their names."""
    found: dict[str, _Field] = {}
    for one in descriptor.fields:
        kind, convert = _kind_of(one)
        oneof = one.containing_oneof.full_name.removeprefix("quorate.") if one.containing_oneof else ""
        field = _Field(one.name, kind, one.json_name, one.is_repeated, oneof, convert)
        found[one.json_name] = found[one.name] = field
    return found


def _kind_of(field: FieldDescriptor) -> tuple[str, Callable[[Any], Any] | None]:
    match field.type:
        case FieldDescriptor.TYPE_MESSAGE:
            return "message", None
        case FieldDescriptor.TYPE_INT64:
            return "int64", _integer_of(-(1 << 63), (1 << 63) - 1)
        case FieldDescriptor.TYPE_UINT64:
            return "uint64", _integer_of(0, (1 << 64) - 1)
        case FieldDescriptor.TYPE_INT32:
            return "int32", _integer_of(-(1 << 31), (1 << 31) - 1)
        case FieldDescriptor.TYPE_UINT32:
            return "uint32", _integer_of(0, (1 << 32) - 1)
        case FieldDescriptor.TYPE_BOOL:
            return "bool", _to_bool
        case FieldDescriptor.TYPE_STRING:
            return "string", _to_string
        case FieldDescriptor.TYPE_BYTES:
            return "bytes", _to_bytes
        case FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            return "enum", _enum_of(field.enum_type)
    raise AssertionError(f"{field.full_name}: the API has no field of such a type")


def _to_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise _Unfit
    return value


def _to_string(value: Any) -> str:
    if type(value) is not str:
        raise _Unfit
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Unfit from None
    return value


def _to_bytes(value: Any) -> bytes:
    """Line breaks inside are skipped, as Go skips them."""
    if type(value) is not str:
        raise _Unfit
    alphabet = b"-_" if "-" in value or "_" in value else b"+/"
    padded = len(value) % 4 == 0
    if "\n" in value or "\r" in value:
        value = value.replace("\n", "").replace("\r", "")
    try:
        raw = value.encode("ascii")
        if alphabet == b"-_":
            if b"+" in raw or b"/" in raw:
                raise _Unfit
            raw = raw.replace(b"-", b"+").replace(b"_", b"/")
        if not padded:
            if b"=" in raw:
                raise _Unfit
            raw += b"=" * (-len(raw) % 4)
        return base64.b64decode(raw, validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise _Unfit from None


def _integer_of(low: int, high: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        number = _to_integer(value if type(value) is str else _text_of(value))
        if not low <= number <= high:
            raise _Unfit
        return number

    return convert


def _enum_of(enum: EnumDescriptor) -> Callable[[Any], int | None]:
    numbers = {value.name: value.number for value in enum.values}

    def convert(value: Any) -> int | None:
        if type(value) is str:
            return numbers.get(value)
        number = _to_integer(_text_of(value))
        if not -(1 << 31) <= number < 1 << 31:
            raise _Unfit
        return number

    return convert


def _text_of(value: Any) -> str:
    if type(value) is not Number:
        raise _Unfit
    return value.text


def _to_integer(text: str) -> int:
    """The integer a JSON number stands for, `1e2` and `1.0` included. Raises _Unfit."""
    parts = _NUMBER.fullmatch(text)
    if parts is None:
        raise _Unfit
    sign, whole, fraction, exponent = parts.groups()
    digits = (whole + (fraction or "")).lstrip("0")
    if not digits:
        return 0
    zeros = int(exponent or 0) - len(fraction or "")
    if zeros < 0:
        if digits[zeros:].strip("0"):
            raise _Unfit
        digits, zeros = digits[:zeros], 0
    if not digits or len(digits) + zeros > _MOST_DIGITS:
        raise _Unfit
    return int(sign + digits + "0" * zeros)
