"""A put of a key and a value and nothing else, which is by far the commonest: read by hand, and quick to look at.

    PutRequest   0a <length> key 12 <length> value          (proto3: what has its default is left out)

A field of a protobuf message makes a new object each time it is asked for, and a put is asked for its key and value by
the checks, the quota, and the store.
"""

from __future__ import annotations

from quorate.api.pb import rpc_pb2 as rpc


class PlainPut:
    """Stands for the PutRequest; the key is not empty."""

    __slots__ = ("key", "value")

    lease = 0
    prev_kv = ignore_value = ignore_lease = False

    def __init__(self, key: bytes, value: bytes) -> None:
        self.key = key
        self.value = value


def parse_put(body: bytes) -> rpc.PutRequest | PlainPut:
    """The request in `body`. Raises DecodeError."""
    return _read(body) or rpc.PutRequest.FromString(body)


def _read(body: bytes) -> PlainPut | None:
    size = len(body)
    if size < 3 or body[0] != 0x0A or not 0 < (length := body[1]) < 0x80:
        return None
    after = 2 + length
    if after == size:
        return PlainPut(body[2:], b"")
    if after + 2 >= size or body[after] != 0x12:
        return None
    length, start = body[after + 1], after + 2
    if length > 0x7F and body[start] < 0x80:  # two bytes: up to 16 KiB
        length, start = length & 0x7F | body[start] << 7, start + 1
    return PlainPut(body[2:after], body[start:]) if start + length == size else None
