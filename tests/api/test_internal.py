"""Entry data is an InternalRaftRequest, whoever writes or reads it."""

import pytest

from quorate.api.internal import decode_request, encode_request
from quorate.api.pb import membership_pb2, raft_internal_pb2, rpc_pb2

Internal = raft_internal_pb2.InternalRaftRequest


def test_entry_data_is_what_protobuf_would_write() -> None:
    put = rpc_pb2.PutRequest(key=b"k", value=b"v" * 5000, lease=-7)
    want = Internal(put=put, header=raft_internal_pb2.RequestHeader(ID=2**64 - 1))
    assert encode_request("put", put.SerializeToString(), 2**64 - 1) == want.SerializeToString()


def test_fields_behind_the_header_are_read_back() -> None:
    version = membership_pb2.ClusterVersionSetRequest(ver="3.7.0")
    data = encode_request("cluster_version_set", version.SerializeToString(), 5)
    assert decode_request(data) == ("cluster_version_set", version, 5)


def test_an_id_in_the_old_place_counts() -> None:
    data = Internal(ID=9, lease_revoke=rpc_pb2.LeaseRevokeRequest(ID=1)).SerializeToString()
    assert decode_request(data).request_id == 9


def test_a_request_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        decode_request(Internal(ID=9).SerializeToString())
