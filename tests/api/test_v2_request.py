"""What members of 3.5 put into the log of themselves means the same as what later ones put there."""

from __future__ import annotations

import pytest

from quorate.api.encode import varint
from quorate.api.internal import decode_request, encode_request
from quorate.api.pb import etcdserver_pb2, membership_pb2, raft_internal_pb2, rpc_pb2

ATTRIBUTES = "/0/members/8957f7d40e7c4e51/attributes"
OTHER_FIELDS = bytes.fromhex("28 00 32 00 38 00 48 00 50 00 58 00 60 00 68 00 70 00 78 00 80 01 00")
"""A member of 3.5 writes every field, also those it did not set."""


def v2(method: str, path: str, value: str, request_id: int = 0x1234567890ABCDEF) -> bytes:
    request = etcdserver_pb2.Request(ID=request_id, Method=method, Path=path, Val=value)
    return request.SerializeToString() + OTHER_FIELDS


def nested(data: bytes) -> bytes:
    """The same inside an InternalRaftRequest, as its field 2."""
    return b"\x08\x05\x12" + varint(len(data)) + data


@pytest.mark.parametrize("wrap", [bytes, nested, lambda data: nested(data)[2:]], ids=["bare", "nested", "without id"])
def test_name_and_client_urls_are_read(wrap) -> None:  # type: ignore[no-untyped-def]
    data = wrap(v2("PUT", ATTRIBUTES, '{"name":"m1","clientURLs":["http://a:1","http://a:2"]}'))
    kind, request, request_id, _ = decode_request(data)
    assert kind == "cluster_member_attr_set"
    assert request_id == 0x1234567890ABCDEF
    assert request == membership_pb2.ClusterMemberAttrSetRequest(
        member_ID=0x8957F7D40E7C4E51,
        member_attributes=membership_pb2.Attributes(name="m1", client_urls=["http://a:1", "http://a:2"]),
    )


@pytest.mark.parametrize("value", ["{}", '{"name":null,"clientURLs":null,"more":1}'])
def test_attributes_may_be_missing(value: str) -> None:
    _, request, *_ = decode_request(v2("PUT", ATTRIBUTES, value))
    assert request.member_attributes == membership_pb2.Attributes()


def test_the_cluster_version_is_read() -> None:
    kind, request, *_ = decode_request(v2("PUT", "/0/version", "3.5.0"))
    assert (kind, request.ver) == ("cluster_version_set", "3.5.0")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/1/key"),
        ("DELETE", "/0/version"),
        ("POST", ATTRIBUTES),
        ("SYNC", ""),
        ("QGET", "/1"),
        ("PUT", "/0/members/x/attributes"),
        ("PUT", "/0/members/8957f7d40e7c4e51/raftAttributes"),
    ],
)
@pytest.mark.parametrize("wrap", [bytes, nested], ids=["bare", "nested"])
def test_any_other_request_of_v2_is_refused_by_name(wrap, method: str, path: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=f"API v2, which is gone: {method} {path}"):
        decode_request(wrap(v2(method, path, "x")))


def test_damaged_attributes_are_refused() -> None:
    for value in ("", "[]", "{", "7"):
        with pytest.raises(ValueError):
            decode_request(v2("PUT", ATTRIBUTES, value))


def test_requests_of_v3_that_begin_alike_stay_what_they_are() -> None:
    internal = raft_internal_pb2.InternalRaftRequest
    old = internal(ID=300, put=rpc_pb2.PutRequest(key=b"k")).SerializeToString()
    assert old[:1] == b"\x08"
    assert decode_request(old)[:3:2] == ("put", 300)
    for kind, message in (("put", rpc_pb2.PutRequest(key=b"PUT")), ("range", rpc_pb2.RangeRequest(key=b"PUT"))):
        data = encode_request(kind, message.SerializeToString(), 7)
        assert decode_request(data)[:3] == (kind, message, 7)


@pytest.mark.parametrize("data", [b"\x08", b"\x12", b"\x08\xff", b"\x12\xff\xff", b"\x12\x05PUT", b"\x08\x01\x12"])
def test_data_that_breaks_off_is_an_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Exception) as caught:
        decode_request(data)
    assert type(caught.value).__name__ in ("DecodeError", "ValueError")
