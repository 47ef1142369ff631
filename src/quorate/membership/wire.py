"""Members as peers tell them over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterable

from quorate.storage.schema import MemberRecord, encode_json


def encode_members(members: Iterable[MemberRecord]) -> bytes:
    """The JSON array of `members`, and a newline."""
    return b"[%b]\n" % b",".join(encode_json(member.fields()) for member in members)


def decode_members(body: bytes) -> list[MemberRecord]:
    """Members by ID from a JSON array of them. Raises ValueError."""
    try:
        rows = json.loads(body)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("not a list of members")
        members = sorted(MemberRecord.of_fields(row) for row in rows)
    except (TypeError, RecursionError) as err:
        raise ValueError(f"not a list of members: {err}") from None
    if any(not 0 < member.id < 1 << 64 for member in members):
        raise ValueError("a member without an ID")
    return members
