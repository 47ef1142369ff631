"""A get of one key as it is now, the commonest call of all: its request and its answer by hand.

    RangeRequest    0a <length> key [38 01: serializable]
    RangeResponse   0a <length> header [12 <length> KeyValue 20 01: a count of one]

A message of three levels costs more to make and to take apart than all else that a client does for a call. What does
not look like this is left to protobuf.
"""

from __future__ import annotations

from functools import lru_cache

from quorate.api.encode import varint
from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.results import GetResult, Header, make_get, to_get, to_header, to_kv

_parse_kv = kv_pb2.KeyValue.FromString


def encode_get(key: bytes, serializable: bool) -> bytes:
    """The request."""
    size = len(key)
    head = b"\x0a%c" % size if size < 0x80 else b"\x0a" + varint(size)
    return head + key + b"\x38\x01" if serializable else head + key


def read_answer(body: bytes) -> GetResult:
    """The answer in `body`. Raises DecodeError."""
    size = len(body)
    if size > 2 and body[0] == 0x0A and (length := body[1]) < 0x80:
        end = 2 + length
        if end == size:
            return make_get(_header(body[2:]), (), False, 0)
        if size > end + 4 and body[end] == 0x12 and body[-2:] == b"\x20\x01":
            length, start = body[end + 1], end + 2
            if length > 0x7F and body[start] < 0x80:  # two bytes: up to 16 KiB
                length, start = length & 0x7F | body[start] << 7, start + 1
            if start + length == size - 2:
                return make_get(_header(body[2:end]), (to_kv(_parse_kv(body[start:-2])),), False, 1)
    return to_get(pb.RangeResponse.FromString(body))


@lru_cache(maxsize=64)
def _header(data: bytes) -> Header:
    """Answers of one member have the same header until something is written."""
    return to_header(pb.ResponseHeader.FromString(data))
