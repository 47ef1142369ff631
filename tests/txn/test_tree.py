"""A txn read by hand is the txn that protobuf reads."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.plain_put import PlainPut
from quorate.txn.ranges import PlainGet
from quorate.txn.tree import Txn, parse_txn, txn_of

KEYS = st.one_of(st.binary(max_size=5), st.just(b"k" * 200))
PUTS = st.builds(rpc.PutRequest, key=KEYS, value=st.binary(max_size=5), lease=st.sampled_from([0, 0, 7]))
RANGES = st.builds(rpc.RangeRequest, key=KEYS, serializable=st.booleans(), limit=st.sampled_from([0, 0, 3]))
DELETES = st.builds(rpc.DeleteRangeRequest, key=KEYS, range_end=KEYS)
COMPARES = st.builds(rpc.Compare, key=KEYS, version=st.integers(0, 3))
LEAVES = st.one_of(
    st.builds(rpc.RequestOp, request_put=PUTS),
    st.builds(rpc.RequestOp, request_range=RANGES),
    st.builds(rpc.RequestOp, request_delete_range=DELETES),
    st.just(rpc.RequestOp()),
)


def txns(ops: st.SearchStrategy[rpc.RequestOp]) -> st.SearchStrategy[rpc.TxnRequest]:
    listed = st.lists(ops, max_size=4)
    return st.builds(rpc.TxnRequest, compare=st.lists(COMPARES, max_size=2), success=listed, failure=listed)


TXNS = txns(st.one_of(LEAVES, LEAVES, LEAVES, st.builds(rpc.RequestOp, request_txn=txns(LEAVES))))
PUT_FIELDS = ("key", "value", "lease", "prev_kv", "ignore_value", "ignore_lease")


def told(request: Any) -> object:
    """All of it, in one form."""
    if isinstance(request, Txn):
        ops = [[(kind, told(asked)) for kind, asked in branch] for branch in (request.success, request.failure)]
        return [told(compare) for compare in request.compare], ops, request.is_read_only, request.is_serializable
    if isinstance(request, PlainGet):
        return told(rpc.RangeRequest(key=request.key, serializable=request.serializable))
    if isinstance(request, PlainPut):
        return told(rpc.PutRequest(key=request.key, value=request.value))
    return request.SerializeToString() if isinstance(request, Message) else request


@given(TXNS)
def test_a_txn_read_by_hand_is_the_one_that_protobuf_reads(message: rpc.TxnRequest) -> None:
    body = message.SerializeToString()
    read = parse_txn(body)
    assert told(read) == told(txn_of(message))
    assert read.size == len(body)


@given(TXNS, st.data())
def test_a_txn_changed_anywhere_is_read_as_protobuf_reads_it(message: rpc.TxnRequest, data: st.DataObject) -> None:
    body = bytearray(message.SerializeToString() or b"\0")
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    try:
        expected = rpc.TxnRequest.FromString(cut)
    except DecodeError:
        with pytest.raises(DecodeError):
            parse_txn(cut)
    else:
        expected.DiscardUnknownFields()
        assert told(parse_txn(cut)) == told(txn_of(expected))


def test_plain_operations_are_read_without_a_message() -> None:
    message = rpc.TxnRequest(
        success=[rpc.RequestOp(request_put=rpc.PutRequest(key=b"k", value=b"v" * 300))],
        failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))],
    )
    read = parse_txn(message.SerializeToString())
    assert [type(asked) for _, asked in read.success + read.failure] == [PlainPut, PlainGet]


def test_only_top_level_ranges_make_a_txn_read_only() -> None:
    def get(**options: bool) -> rpc.RequestOp:
        return rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a", **options))

    def read(*success: rpc.RequestOp, failure: tuple[rpc.RequestOp, ...] = ()) -> Txn:
        return parse_txn(rpc.TxnRequest(success=success, failure=failure).SerializeToString())

    assert read().is_read_only and read().is_serializable
    assert read(get(), failure=(get(),)).is_read_only
    assert not read(get(serializable=True), failure=(get(),)).is_serializable
    assert not read(failure=(rpc.RequestOp(request_put=rpc.PutRequest(key=b"a")),)).is_read_only
    assert not read(rpc.RequestOp(request_txn=rpc.TxnRequest(success=[get()]))).is_read_only
