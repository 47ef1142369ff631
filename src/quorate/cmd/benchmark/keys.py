"""Keys and values as etcd's `benchmark` makes them, and encoded requests that carry them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from quorate.api.encode import field, varint

KEY, VALUE = b"\x0a", b"\x12"
"""Tags of PutRequest's fields; those of RangeRequest are the same."""


def numbered_key(number: int, size: int) -> bytes:
    """`size` bytes: the number as a zig-zag varint, then zeros. A size too small for it cuts it."""
    return varint(number << 1)[:size].ljust(size, b"\0")


def numbers(settings: dict[str, Any], first: int, step: int) -> Iterator[int]:
    """Endless numbers below the key space: in turn from `first` by `step`, or drawn."""
    space = settings["key_space_size"]
    if settings.get("sequential_keys"):
        number = first
        while True:
            yield number % space
            number += step
    dice = random.Random()
    while True:
        yield dice.randrange(space)


def make_value(size: int) -> bytes:
    """Random bytes: a store that compresses shall not win by it."""
    return random.randbytes(size)


def puts(settings: dict[str, Any], first: int, step: int) -> Iterator[bytes]:
    """Endless encoded PutRequests."""
    tail = field(VALUE, make_value(settings["val_size"]))
    size = settings["key_size"]
    prefix = settings.get("prefix", "").encode()
    for number in numbers(settings, first, step):
        yield field(KEY, prefix + numbered_key(number, size)) + tail
