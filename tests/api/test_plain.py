"""The codec without protobuf reads and writes what protobuf writes and reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api import plain
from quorate.api.pb import auth_pb2, kv_pb2, rpc_pb2

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
KV = st.builds(
    kv_pb2.KeyValue, key=st.binary(), value=st.binary(max_size=300), create_revision=INT64, version=INT64, lease=INT64
)
HEADER = st.builds(rpc_pb2.ResponseHeader, cluster_id=UINT64, member_id=UINT64, revision=INT64)
MESSAGES = st.one_of(
    st.builds(rpc_pb2.RangeResponse, header=HEADER, kvs=st.lists(KV), more=st.booleans(), count=INT64),
    st.builds(rpc_pb2.StatusResponse, header=HEADER, version=st.text(), errors=st.lists(st.text())),
    st.builds(rpc_pb2.LeaseTimeToLiveResponse, keys=st.lists(st.binary()), TTL=INT64),
    st.builds(rpc_pb2.WatchCreateRequest, key=st.binary(), filters=st.lists(st.sampled_from([0, 1]))),
    st.builds(auth_pb2.Permission, permType=st.sampled_from([0, 1, 2]), key=st.binary()),
    st.builds(rpc_pb2.ResponseOp, response_put=st.builds(rpc_pb2.PutResponse, prev_kv=KV)),
    st.builds(rpc_pb2.Compare, key=st.binary(), mod_revision=INT64),
)


@given(MESSAGES)
def test_what_protobuf_writes_is_read_and_written_again(message: rpc_pb2.RangeResponse) -> None:
    kind, data = type(message).__name__, message.SerializeToString()
    read = plain.decode(kind, data)
    assert read.raw == data
    assert type(message).FromString(plain.encode(kind, read.values)) == message


def test_a_field_that_did_not_come_has_its_default() -> None:
    reply = plain.decode("RangeResponse", b"")
    assert (reply.header.revision, reply.kvs, reply.more, reply.count) == (0, [], False, 0)
    assert not reply.has("header")
    with pytest.raises(AttributeError):
        _ = reply.nothing


def test_fields_that_are_not_known_are_passed_over() -> None:
    known = rpc_pb2.PutResponse(header=rpc_pb2.ResponseHeader(revision=5)).SerializeToString()
    unknown = b"\xa2\x06\x03abc" + b"\xa8\x06\x07" + b"\xad\x06\0\0\0\0" + b"\xb1\x06\0\0\0\0\0\0\0\0"
    assert plain.decode("PutResponse", unknown + known).header.revision == 5


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x08" + b"\xff" * 11, b"\x0b"])
def test_what_is_no_message_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        plain.decode("RangeResponse", data)
