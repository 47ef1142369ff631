"""A get of one key by hand is the one that protobuf makes."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.one_key import encode_get, read_answer
from quorate.client.results import to_get

KEYS = st.one_of(st.binary(max_size=5), st.sampled_from([b"k" * 127, b"k" * 128, b"k" * 20_000]))
VALUES = st.one_of(st.binary(max_size=5), st.sampled_from([bytes(100), bytes(16_000), bytes(70_000)]))
NUMBERS = st.sampled_from([0, 1, 127, 128, 2**62])
HEADERS = st.builds(
    pb.ResponseHeader, cluster_id=NUMBERS, member_id=st.just(2**64 - 1), revision=NUMBERS, raft_term=NUMBERS
)
KVS = st.builds(
    kv_pb2.KeyValue, key=KEYS, value=VALUES, create_revision=NUMBERS, mod_revision=NUMBERS, version=NUMBERS,
    lease=st.sampled_from([0, 7, -1]),
)  # fmt: skip


@given(KEYS, st.booleans())
def test_the_request_is_the_message(key: bytes, serializable: bool) -> None:
    message = pb.RangeRequest(key=key, serializable=serializable)
    assert pb.RangeRequest.FromString(encode_get(key, serializable)) == message


@given(HEADERS, st.lists(KVS, max_size=2), st.booleans(), st.integers(0, 300))
def test_the_answer_is_what_the_message_says(
    header: pb.ResponseHeader, kvs: list[kv_pb2.KeyValue], more: bool, count: int
) -> None:
    for said in (count, len(kvs)):
        message = pb.RangeResponse(header=header, kvs=kvs, more=more, count=said)
        assert read_answer(message.SerializeToString()) == to_get(message)
    plain = pb.RangeResponse(header=header, kvs=kvs[:1], count=len(kvs[:1]))
    assert read_answer(plain.SerializeToString()) == to_get(plain)


@given(KVS, st.data())
@example(kv_pb2.KeyValue(key=b"k"), None)
def test_bytes_changed_anywhere_are_read_as_protobuf_reads_them(
    kv: kv_pb2.KeyValue, data: st.DataObject | None
) -> None:
    message = pb.RangeResponse(header=pb.ResponseHeader(revision=5), kvs=[kv], count=1)
    body = bytearray(message.SerializeToString())
    if data is not None:
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        expected = to_get(pb.RangeResponse.FromString(bytes(body)))
    except DecodeError:
        with pytest.raises(DecodeError):
            read_answer(bytes(body))
    else:
        assert read_answer(bytes(body)) == expected
