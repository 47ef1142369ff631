"""Rules of requests that need no state."""

import pytest

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as rpc
from quorate.txn import check
from quorate.txn.tree import txn_of


def put(key: bytes, **options: bool) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, **options))


def delete(key: bytes, end: bytes = b"") -> rpc.RequestOp:
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, range_end=end))


def get(key: bytes, **options: bool) -> rpc.RequestOp:
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key, **options))


def txn(*success: rpc.RequestOp, failure: tuple[rpc.RequestOp, ...] = ()) -> rpc.RequestOp:
    return rpc.RequestOp(request_txn=rpc.TxnRequest(success=success, failure=failure))


def check_ops(*success: rpc.RequestOp, failure: tuple[rpc.RequestOp, ...] = (), max_ops: int = 128) -> None:
    check.check_txn(txn_of(rpc.TxnRequest(success=success, failure=failure)), max_ops)


@pytest.mark.parametrize(
    "ops",
    [
        (put(b"a"), put(b"a")),
        (put(b"a"), delete(b"a")),
        (delete(b"a"), put(b"a")),
        (delete(b"a", b"c"), put(b"b")),
        (txn(put(b"a")), put(b"a")),
        (put(b"a"), txn(put(b"a"))),
        (txn(put(b"a")), txn(put(b"a"))),
        (txn(delete(b"a", b"c")), put(b"b")),
        (txn(delete(b"x")), txn(put(b"x"))),
        (txn(failure=(put(b"a"),)), put(b"a")),
    ],
)
def test_a_key_is_written_once_in_a_branch(ops: tuple[rpc.RequestOp, ...]) -> None:
    with pytest.raises(errors.DuplicateKey):
        check_ops(*ops)


@pytest.mark.parametrize(
    "ops",
    [
        (put(b"a"), put(b"b"), get(b"a")),
        (delete(b"a", b"c"), delete(b"b", b"d")),
        (delete(b"a", b"c"), put(b"c")),
        (txn(put(b"a"), failure=(put(b"a"),)),),
        (txn(put(b"x")), txn(delete(b"x"))),
        (delete(b"a", b"\0"), put(b"b")),
    ],
)
def test_overlaps_that_etcd_accepts_are_accepted(ops: tuple[rpc.RequestOp, ...]) -> None:
    check_ops(*ops)


def test_the_two_branches_may_write_the_same_key() -> None:
    check_ops(put(b"a"), failure=(put(b"a"),))


@pytest.mark.parametrize("option", ["ignore_value", "ignore_lease"])
def test_a_put_that_keeps_what_the_txn_deletes_is_refused(option: str) -> None:
    with pytest.raises(errors.DuplicateKey):
        check_ops(delete(b"a", b"\0"), put(b"b", **{option: True}))
    with pytest.raises(errors.DuplicateKey):
        check_ops(txn(delete(b"a", b"\0")), txn(put(b"b", **{option: True})))


def test_the_longest_list_counts_and_nested_lists_get_what_is_left() -> None:
    check_ops(put(b"a"), put(b"b"), max_ops=2)
    with pytest.raises(errors.TooManyOps):
        check_ops(put(b"a"), put(b"b"), put(b"c"), max_ops=2)
    check_ops(txn(put(b"a"), put(b"b")), max_ops=3)
    with pytest.raises(errors.TooManyOps):
        check_ops(txn(put(b"a"), put(b"b"), put(b"c")), max_ops=3)


def test_an_operation_that_says_nothing_is_a_missing_key() -> None:
    with pytest.raises(errors.KeyNotFound):
        check_ops(rpc.RequestOp())


def test_fields_are_checked_in_etcds_order() -> None:
    with pytest.raises(errors.EmptyKey):
        check.check_put(rpc.PutRequest(value=b"x", ignore_value=True))
    with pytest.raises(errors.ValueProvided):
        check.check_put(rpc.PutRequest(key=b"k", value=b"x", lease=1, ignore_value=True, ignore_lease=True))
    with pytest.raises(errors.LeaseProvided):
        check.check_put(rpc.PutRequest(key=b"k", lease=1, ignore_lease=True))
    with pytest.raises(errors.InvalidSortOption):
        check.check_range(rpc.RangeRequest(key=b"k", sort_order=9))  # type: ignore[arg-type]
    with pytest.raises(errors.EmptyKey):
        check.check_range(rpc.RangeRequest(sort_order=9))  # type: ignore[arg-type]
    with pytest.raises(errors.EmptyKey):
        check.check_delete_range(rpc.DeleteRangeRequest())
    with pytest.raises(errors.EmptyKey):
        check.check_txn(txn_of(rpc.TxnRequest(compare=[rpc.Compare()], success=[rpc.RequestOp()])), 128)
