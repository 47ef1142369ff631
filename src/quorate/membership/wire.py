"""Members as peers tell them over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from quorate.storage.schema import MemberRecord, encode_json


def encode_members(members: Iterable[MemberRecord]) -> bytes:
    """The JSON array of `members`, and a newline."""
    return b"[%b]\n" % b",".join(encode_json(member.fields()) for member in members)


def decode_members(body: bytes) -> list[MemberRecord]:
    """Members by ID from a JSON array of them. Raises ValueError."""
    try:
        rows = json.loads(body)
    except RecursionError as err:
        raise ValueError(f"not a list of members: {err}") from None
    if not isinstance(rows, list) or not all(map(_is_member, rows)):
        raise ValueError("not a list of members")
    members = sorted(map(MemberRecord.of_fields, rows))
    if any(not 0 < member.id < 1 << 64 for member in members):
        raise ValueError("a member without an ID")
    return members


def _is_member(row: Any) -> bool:
    """Is every field of the type that it should be? Nulls are as good as nothing."""
    if not isinstance(row, dict) or type(row.get("id")) is not int or not isinstance(row.get("name", ""), str | None):
        return False
    urls = [row.get("peerURLs"), row.get("clientURLs")]
    return all(
        found is None or (isinstance(found, list) and all(isinstance(url, str) for url in found)) for found in urls
    )
