"""Entry data is an InternalRaftRequest, whoever writes or reads it."""

import pytest

from quorate.api.internal import NOBODY, Caller, decode_request, encode_request
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
