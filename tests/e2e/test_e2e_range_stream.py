"""RangeStream brings what Range brings, in chunks; what it does not support it says."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from e2e_rpc import RANGE_STREAM, Answer, Client

from quorate.api.pb import rpc_pb2 as pb

UNIMPLEMENTED = 12


def stream(client: Client, **request: Any) -> tuple[list[Any], Answer]:
    """All messages and the end."""
    path, _, answer = RANGE_STREAM
    call = client.channel.unary_stream(path, pb.RangeRequest.SerializeToString, answer.FromString)
    got: list[Any] = []
    try:
        got.extend(message.range_response for message in call(pb.RangeRequest(**request), timeout=20))
    except grpc.RpcError as error:
        return got, Answer(None, error.code().value[0], error.details() or "")  # type: ignore[attr-defined]
    return got, Answer(None)


@pytest.fixture
def filled(client: Client, subject_is_real: bool) -> Client:
    if subject_is_real:
        pytest.skip("3.5.1 has no RangeStream")
    for number in range(700):
        assert client.put(b"k%04d" % number, bytes([number % 256]) * (number % 7 * 400)).ok
    client.call("DeleteRange", pb.DeleteRangeRequest(key=b"k0100", range_end=b"k0110"))
    return client


@pytest.mark.parametrize(
    "request_",
    [
        {"key": b"\0", "range_end": b"\0"},
        {"key": b"k", "range_end": b"l", "limit": 1},
        {"key": b"k", "range_end": b"l", "limit": 15},
        {"key": b"k", "range_end": b"l", "limit": 690},
        {"key": b"k", "range_end": b"l", "revision": 300},
        {"key": b"k", "range_end": b"l", "keys_only": True, "serializable": True},
        {"key": b"k0005"},
        {"key": b"none"},
        {"key": b"z", "range_end": b"a"},
        {"key": b"k", "range_end": b"l", "count_only": True},
    ],
    ids=str,
)
def test_the_chunks_make_the_range(filled: Client, request_: dict[str, Any]) -> None:
    whole = filled.get(**request_).message
    chunks, end = stream(filled, **request_)
    assert end.ok, end
    assert [kv for chunk in chunks for kv in chunk.kvs] == list(whole.kvs)
    assert (chunks[-1].count, chunks[-1].more, chunks[-1].header) == (whole.count, whole.more, whole.header)
    assert all(not chunk.HasField("header") and not chunk.count and not chunk.more for chunk in chunks[:-1])


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({}, 3, "etcdserver: key is not provided"),
        ({"key": b"k", "sort_order": 9}, 3, "etcdserver: invalid sort option"),
        ({"key": b"k", "sort_order": 1}, UNIMPLEMENTED, "RangeStream does not support custom sort orders"),
        ({"key": b"k", "sort_target": 1}, UNIMPLEMENTED, "RangeStream does not support custom sort orders"),
        ({"key": b"k", "min_mod_revision": 1}, UNIMPLEMENTED, "RangeStream does not support revision filters"),
        ({"key": b"k", "revision": 10_000}, 11, "etcdserver: mvcc: required revision is a future revision"),
    ],
    ids=str,
)
def test_what_it_does_not_support_it_says(filled: Client, request_: dict[str, Any], code: int, text: str) -> None:
    _, end = stream(filled, **request_)
    assert (end.code, end.text) == (code, text)
