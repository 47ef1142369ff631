"""Entry data is an InternalRaftRequest, whoever writes or reads it."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.internal import NOBODY, Caller, decode_request, encode_request, split_request
from quorate.api.pb import membership_pb2, raft_internal_pb2, rpc_pb2

Internal = raft_internal_pb2.InternalRaftRequest


def test_entry_data_is_what_protobuf_would_write() -> None:
    put = rpc_pb2.PutRequest(key=b"k", value=b"v" * 5000, lease=-7)
    want = Internal(put=put, header=raft_internal_pb2.RequestHeader(ID=2**64 - 1))
    assert encode_request("put", put.SerializeToString(), 2**64 - 1) == want.SerializeToString()


def test_fields_behind_the_header_are_read_back() -> None:
    version = membership_pb2.ClusterVersionSetRequest(ver="3.7.0")
    data = encode_request("cluster_version_set", version.SerializeToString(), 5)
    assert decode_request(data) == ("cluster_version_set", version, 5, NOBODY)


@pytest.mark.parametrize("caller", [Caller("root", 7), Caller("ключ", 2**64 - 1), Caller("", 3)])
def test_who_asks_travels_in_the_header(caller: Caller) -> None:
    put = rpc_pb2.PutRequest(key=b"k")
    header = raft_internal_pb2.RequestHeader(ID=5, username=caller.name, auth_revision=caller.revision)
    data = encode_request("put", put.SerializeToString(), 5, caller)
    assert data == Internal(put=put, header=header).SerializeToString()
    assert decode_request(data) == ("put", put, 5, caller)


def test_an_id_in_the_old_place_counts() -> None:
    data = Internal(ID=9, lease_revoke=rpc_pb2.LeaseRevokeRequest(ID=1)).SerializeToString()
    assert decode_request(data).request_id == 9


def test_a_request_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        decode_request(Internal(ID=9).SerializeToString())


@given(st.sampled_from(["put", "txn", "delete_range"]), st.integers(0, 400), st.integers(1, 2**64 - 1))
def test_a_request_that_nobody_in_particular_asked_for_is_split_off_as_it_came(
    kind: str, size: int, request_id: int
) -> None:
    key = bytes(size)
    messages = {
        "put": rpc_pb2.PutRequest(key=key, value=key * 99),
        "txn": rpc_pb2.TxnRequest(compare=[rpc_pb2.Compare(key=key)]),
        "delete_range": rpc_pb2.DeleteRangeRequest(key=key),
    }
    body = messages[kind].SerializeToString()
    data = encode_request(kind, body, request_id)
    fits = kind != "delete_range" and len(body) < 16384
    assert split_request(data) == ((kind, body) if fits else None)


def test_a_request_that_somebody_asked_for_is_not_split_off() -> None:
    assert split_request(encode_request("put", b"\x0a\x01k", 7)) is not None
    assert split_request(encode_request("put", b"\x0a\x01k", 7, Caller("alice", 3))) is None
    assert split_request(encode_request("put", b"\x0a\x01k", 7, Caller("", 3))) is None


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(lambda rest: b"\x22" + rest)))
def test_any_bytes_are_split_as_protobuf_reads_them_or_not_at_all(data: bytes) -> None:
    check_split(data)


@given(st.binary(max_size=30), st.integers(0, 60), st.integers(0, 255))
def test_an_entry_changed_anywhere_is_split_as_protobuf_reads_it_or_not_at_all(
    value: bytes, place: int, octet: int
) -> None:
    body = rpc_pb2.PutRequest(key=b"key", value=value).SerializeToString()
    data = bytearray(encode_request("put", body, 0xF234567890ABCDEF))
    data[place % len(data)] = octet
    check_split(bytes(data))


def check_split(data: bytes) -> None:
    split = split_request(data)
    if split is None:
        return
    kind, body = split
    parse = {"put": rpc_pb2.PutRequest.FromString, "txn": rpc_pb2.TxnRequest.FromString}[kind]
    try:
        expected = decode_request(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            parse(body)
    else:
        assert (kind, parse(body), NOBODY) == (expected.kind, expected.request, expected.caller)
