"""Which ranges may take the shortest way."""

import pytest

from quorate.api.pb import rpc_pb2 as rpc
from quorate.txn.ranges import is_plain_get


@pytest.mark.parametrize("key", [b"k", b"k" * 127])
@pytest.mark.parametrize("serializable", [False, True])
def test_a_get_of_one_key_is_plain(key: bytes, serializable: bool) -> None:
    assert is_plain_get(rpc.RangeRequest(key=key, serializable=serializable))


@pytest.mark.parametrize("serializable", [False, True])
def test_a_range_with_any_other_field_is_not_plain(serializable: bool) -> None:
    for field in rpc.RangeRequest.DESCRIPTOR.fields:
        if field.name in ("key", "serializable"):
            continue
        request = rpc.RangeRequest(key=b"k", serializable=serializable)
        setattr(request, field.name, b"l" if field.type == field.TYPE_BYTES else 1)
        assert not is_plain_get(request), field.name
    assert not is_plain_get(rpc.RangeRequest(key=b"k" * 128, serializable=serializable))
