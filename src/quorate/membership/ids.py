"""IDs of members and clusters: uint64, hashed from what sets them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def member_id(peer_urls: Iterable[str], token: str = "", seconds: int | None = None) -> int:
    """ID of a member: `token` is the cluster's for initial members, `seconds` Unix time for members added later."""
    text = "".join(sorted(peer_urls)) + token
    if seconds is not None:
        text += str(seconds)
    return _first_8(text.encode())


def cluster_id(member_ids: Iterable[int]) -> int:
    """ID of the cluster that begins with these members."""
    return _first_8(b"".join(number.to_bytes(8, "big") for number in sorted(member_ids)))


def _first_8(data: bytes) -> int:
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8], "big")
