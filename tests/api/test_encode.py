"""Hand-written encoders give exactly protobuf's bytes."""

from hypothesis import given
from hypothesis import strategies as st

from quorate.api import encode
from quorate.api.pb import kv_pb2, rpc_pb2

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
KV = st.builds(
    kv_pb2.KeyValue,
    key=st.binary(max_size=300),
    value=st.binary(max_size=3000),
    create_revision=INT64,
    mod_revision=INT64,
    version=INT64,
    lease=INT64,
)


def header_of(cluster_id: int, member_id: int, revision: int, term: int) -> rpc_pb2.ResponseHeader:
    return rpc_pb2.ResponseHeader(cluster_id=cluster_id, member_id=member_id, revision=revision, raft_term=term)


@given(UINT64, UINT64, INT64, UINT64)
def test_header_equals_protobufs(cluster_id: int, member_id: int, revision: int, term: int) -> None:
    encoder = encode.HeaderEncoder(cluster_id, member_id)
    want = rpc_pb2.PutResponse(header=header_of(cluster_id, member_id, revision, term))
    got = rpc_pb2.PutResponse.FromString(encoder.encode(revision, term))
    assert got == want
    assert encoder.encode(revision, term) == encoder.encode(revision, term)


@given(st.lists(KV, max_size=4), st.booleans(), st.integers(0, 2**63 - 1))
def test_range_body_equals_protobufs(kvs: list[kv_pb2.KeyValue], more: bool, count: int) -> None:
    want = rpc_pb2.RangeResponse(kvs=kvs, more=more, count=count).SerializeToString()
    assert encode.range_body([kv.SerializeToString() for kv in kvs], more, count) == want


@given(st.none() | KV, st.integers(0, 2**40), st.lists(KV, max_size=3))
def test_write_bodies_equal_protobufs(prev: kv_pb2.KeyValue | None, deleted: int, kvs: list[kv_pb2.KeyValue]) -> None:
    assert encode.put_body(prev and prev.SerializeToString()) == rpc_pb2.PutResponse(prev_kv=prev).SerializeToString()
    want = rpc_pb2.DeleteRangeResponse(deleted=deleted, prev_kvs=kvs).SerializeToString()
    assert encode.delete_range_body(deleted, [kv.SerializeToString() for kv in kvs]) == want


@given(st.booleans(), st.integers(1, 2**62), KV)
def test_txn_body_equals_protobufs(succeeded: bool, revision: int, kv: kv_pb2.KeyValue) -> None:
    header = rpc_pb2.ResponseHeader(revision=revision)
    nested = rpc_pb2.TxnResponse(header=rpc_pb2.ResponseHeader(), succeeded=True)
    want = rpc_pb2.TxnResponse(
        succeeded=succeeded,
        responses=[
            rpc_pb2.ResponseOp(response_range=rpc_pb2.RangeResponse(header=header, kvs=[kv], count=1)),
            rpc_pb2.ResponseOp(response_put=rpc_pb2.PutResponse(header=header, prev_kv=kv)),
            rpc_pb2.ResponseOp(response_delete_range=rpc_pb2.DeleteRangeResponse(header=header, deleted=1)),
            rpc_pb2.ResponseOp(response_txn=nested),
        ],
    )
    row = kv.SerializeToString()
    got = encode.txn_body(
        succeeded,
        [
            encode.response_op(encode.RANGE_OP, revision, encode.range_body([row], False, 1)),
            encode.response_op(encode.PUT_OP, revision, encode.put_body(row)),
            encode.response_op(encode.DELETE_RANGE_OP, revision, encode.delete_range_body(1, [])),
            encode.response_op(encode.TXN_OP, None, encode.txn_body(True, [])),
        ],
    )
    assert got == want.SerializeToString()


@given(INT64, st.lists(KV, max_size=3), st.booleans())
def test_watch_response_decodes_to_what_was_meant(watch_id: int, kvs: list[kv_pb2.KeyValue], fragment: bool) -> None:
    events = [kv_pb2.Event(kv=kv) for kv in kvs]
    encoder = encode.HeaderEncoder(1, 2)
    want = rpc_pb2.WatchResponse(header=header_of(1, 2, 3, 4), watch_id=watch_id, events=events, fragment=fragment)
    got = encode.watch_response(encoder.encode(3, 4), watch_id, [e.SerializeToString() for e in events], fragment)
    assert rpc_pb2.WatchResponse.FromString(got) == want


@given(st.lists(INT64, max_size=5), st.lists(KV, max_size=3))
def test_watch_responses_are_those_of_each_watcher(watch_ids: list[int], kvs: list[kv_pb2.KeyValue]) -> None:
    header = encode.HeaderEncoder(1, 2).encode(3, 4)
    events = [kv_pb2.Event(kv=kv).SerializeToString() for kv in kvs]
    got = encode.watch_responses(header, watch_ids, events)
    assert got == [encode.watch_response(header, watch_id, events) for watch_id in watch_ids]
