"""Keys that begin alike, as a range."""

from __future__ import annotations

FROM_KEY = b"\0"
"""As the end of a range: all keys from its start on."""


def prefix_end(prefix: bytes) -> bytes:
    """The first key behind all that begin with `prefix`; FROM_KEY where there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else FROM_KEY
