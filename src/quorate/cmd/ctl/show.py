"""Answers as text: header and key blocks of `fields`, JSON as Go writes the structs, tables.

A line is str or bytes; keys and values stay the bytes that they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quorate.api.pb.fields import FIELDS
from quorate.api.plain import Message
from quorate.pkg.gotext import json_string, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Line = str | bytes
    Lines = Iterable[Line]

CELL_WIDTH = 30
"""Characters in a line of a table's cell."""
FORMATS = ("simple", "fields", "json", "protobuf", "table")


class Flat(dict[str, Any]):
    """A mapping that JSON shows with all its members, zero or not, unlike a Message."""


def json_of(value: Any) -> str:
    """One value as Go's JSON."""
    if isinstance(value, Message):
        return "{" + ",".join(_members(value)) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json_string(value)
    if isinstance(value, bytes):
        return f'"{_base64(value)}"'
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_string(name)}:{json_of(item)}" for name, item in value.items()) + "}"
    return "[" + ",".join(map(json_of, value)) + "]"


def members_of(message: Message) -> dict[str, Any]:
    """The fields of a message that JSON shows, in order: what is zero or did not come is left out."""
    found: dict[str, Any] = {}
    for _, name, kind, _, oneof in FIELDS[message.kind]:
        value = message.values.get(name)
        if value is None or not (value or oneof or kind in FIELDS):
            continue
        if oneof:
            found[oneof[0].upper() + oneof[1:]] = {name: value}
        else:
            found[name] = value
    return found


def _members(message: Message) -> list[str]:
    return [f'"{name}":{json_of(value)}' for name, value in members_of(message).items()]


def _base64(value: bytes) -> str:
    import binascii

    return binascii.b2a_base64(value, newline=False).decode()


def header_fields(header: Message) -> list[Line]:
    """The header of an answer."""
    return [
        f'"ClusterID" : {header.cluster_id}',
        f'"MemberID" : {header.member_id}',
        f'"Revision" : {header.revision}',
        f'"RaftTerm" : {header.raft_term}',
    ]


def kv_fields(kv: Message, prefix: str = "") -> list[Line]:
    """A pair, or with `Prev` one that was there before."""
    return [
        f'"{prefix}Key" : {quote(kv.key)}',
        f'"{prefix}CreateRevision" : {kv.create_revision}',
        f'"{prefix}ModRevision" : {kv.mod_revision}',
        f'"{prefix}Version" : {kv.version}',
        f'"{prefix}Value" : {quote(kv.value)}',
        f'"{prefix}Lease" : {kv.lease}',
    ]


def kv_lines(kv: Message, as_hex: bool, value_only: bool = False) -> list[Line]:
    """Key and value, a line each."""
    pair = [kv.value] if value_only else [kv.key, kv.value]
    return [hexed(text) if as_hex else text for text in pair]


def hexed(text: bytes) -> str:
    """Bytes as `\\x66\\x6f\\x6f`."""
    return "".join(f"\\x{byte:02x}" for byte in text)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[Line]:
    """A table with borders: heads in capitals in the middle, cells at the right. Words that do not fit into a line of
    a cell go on in the next one."""
    heads = [head.upper() for head in heads]
    texts_of = [list(row) for row in rows]
    cells = [[wrapped(cell, CELL_WIDTH) for cell in row] for row in texts_of]
    widths = [len(head) for head in heads]
    for row, lines_of in zip(texts_of, cells, strict=True):
        for column, cell in enumerate(row):
            longest = max(len(line) for line in lines_of[column])
            widths[column] = max(widths[column], longest, min(len(cell), CELL_WIDTH))
    border = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines: list[Line] = [
        border,
        "|" + "|".join(f" {_centred(h, w)} " for h, w in zip(heads, widths, strict=True)) + "|",
    ]
    lines.append(border)
    for row_lines in cells:
        for number in range(max(len(cell) for cell in row_lines)):
            texts = [cell[number] if number < len(cell) else "" for cell in row_lines]
            lines.append("|" + "|".join(f" {t:>{w}} " for t, w in zip(texts, widths, strict=True)) + "|")
    return [*lines, border]


def wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words, of which none is longer than `width` unless one word is, broken so that what stays empty
    at their ends, squared and summed up, is least; what stays empty of the last one does not count."""
    if len(text) <= width:
        return [text]
    words = text.split(" ")
    width = max(width, *map(len, words))
    costs, ends = [0] * (len(words) + 1), [len(words)] * len(words)
    for start in range(len(words) - 1, -1, -1):
        if len(" ".join(words[start:])) <= width:
            continue
        options = []
        for end in range(start + 1, len(words)):
            room = width - len(" ".join(words[start:end]))
            if room < 0:
                break
            options.append((room * room + costs[end], end))
        costs[start], ends[start] = min(options)
    lines, start = [], 0
    while start < len(words):
        lines.append(" ".join(words[start : ends[start]]))
        start = ends[start]
    return lines


def _centred(text: str, width: int) -> str:
    left = (width - len(text)) // 2
    return " " * left + text + " " * (width - len(text) - left)


def flat(header: Message, values: Mapping[str, Any]) -> Flat:
    """A struct with the header's members among its own, as the client's own answers have them."""
    return Flat({**members_of(header), **values})
