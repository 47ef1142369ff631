"""Which ranges may take the shortest way."""

import pytest
from google.protobuf.message import DecodeError

from quorate.api.pb import rpc_pb2 as rpc
from quorate.txn.ranges import PlainGet, parse_range


def parsed(request: rpc.RangeRequest) -> rpc.RangeRequest | PlainGet:
    return parse_range(request.SerializeToString())


@pytest.mark.parametrize("key", [b"k", b"\0", b"8\1", b"k8\1", b"k" * 125 + b"8\1"])
@pytest.mark.parametrize("serializable", [False, True])
def test_a_get_of_one_key_is_plain(key: bytes, serializable: bool) -> None:
    assert parsed(rpc.RangeRequest(key=key, serializable=serializable)) == PlainGet(key, serializable)


@pytest.mark.parametrize("serializable", [False, True])
def test_a_range_with_any_other_field_is_not_plain(serializable: bool) -> None:
    for field in rpc.RangeRequest.DESCRIPTOR.fields:
        if field.name in ("key", "serializable"):
            continue
        request = rpc.RangeRequest(key=b"k", serializable=serializable)
        setattr(request, field.name, b"l" if field.type == field.TYPE_BYTES else 1)
        assert parsed(request) == request, field.name
    for key in (b"", b"k" * 128):
        request = rpc.RangeRequest(key=key, serializable=serializable)
        assert parsed(request) == request


@pytest.mark.parametrize(
    "body", [b"", b"\x0a\0", b"\x0a\0\x38\x01", b"\x38\x01", b"\x0a\x01k\x38\0", b"\x0a\x01k\x0a\x01l"]
)
def test_what_only_looks_like_a_plain_get_is_read_as_any_other(body: bytes) -> None:
    assert parse_range(body) == rpc.RangeRequest.FromString(body)


@pytest.mark.parametrize("body", [b"\x0a", b"\x0a\x02k", b"\x0a\x05k\x38\x01"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_range(body)
