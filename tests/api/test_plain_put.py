"""Puts read by hand: the same as protobuf reads, or left to it."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.plain_put import PlainPut, parse_put

KEYS = st.one_of(st.binary(max_size=20), st.sampled_from([b"k" * 127, b"k" * 128, b"k" * 300]))
VALUES = st.one_of(
    st.binary(max_size=20), st.sampled_from([bytes(127), bytes(128), bytes(16383), bytes(16384), bytes(70_000)])
)
FIELDS = ("key", "value", "lease", "prev_kv", "ignore_value", "ignore_lease")


def told(request: rpc.PutRequest | PlainPut) -> list[object]:
    return [getattr(request, name) for name in FIELDS]


@given(KEYS, VALUES, st.sampled_from([0, 0, 0, 5]), st.sampled_from([False, False, False, True]))
def test_a_put_is_read_as_protobuf_reads_it(key: bytes, value: bytes, lease: int, prev_kv: bool) -> None:
    message = rpc.PutRequest(key=key, value=value, lease=lease, prev_kv=prev_kv)
    body = message.SerializeToString()
    read = parse_put(body)
    assert told(read) == told(message)
    assert isinstance(read, PlainPut) == (0 < len(key) < 128 and len(value) < 16384 and not lease and not prev_kv)


@given(st.binary(max_size=40))
@example(b"\x0a\x01k\x12\x80")
@example(b"\x0a\x01k\x12\x80\x80\x01")
@example(b"\x0a\x01k\x12\x00")
@example(b"\x0a\x01k\x12\x01vv")
@example(b"\x0a\x01k\x12\x81\x00v")
@example(b"\x0a\x01k\x12\x01v\x12\x01w")
@example(b"\x0a\x00\x12\x01v")
def test_bytes_that_are_no_plain_put_are_left_to_protobuf(body: bytes) -> None:
    try:
        expected = told(rpc.PutRequest.FromString(body))
    except DecodeError:
        with pytest.raises(DecodeError):
            parse_put(body)
    else:
        assert told(parse_put(body)) == expected
