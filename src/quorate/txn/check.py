"""Rules a request must obey whatever the store holds. Order of checks and texts are etcd's: clients see both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as rpc

_SORT_ORDERS = frozenset(rpc.RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(rpc.RangeRequest.SortTarget.values())


def check_range(request: rpc.RangeRequest) -> None:
    """Raises EmptyKey, InvalidSortOption."""
    if not request.key:
        raise errors.EmptyKey()
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise errors.InvalidSortOption()


def check_put(request: rpc.PutRequest) -> None:
    """Raises EmptyKey, ValueProvided, LeaseProvided."""
    if not request.key:
        raise errors.EmptyKey()
    if request.ignore_value and request.value:
        raise errors.ValueProvided()
    if request.ignore_lease and request.lease:
        raise errors.LeaseProvided()


def check_delete_range(request: rpc.DeleteRangeRequest) -> None:
    """Raises EmptyKey."""
    if not request.key:
        raise errors.EmptyKey()


def check_txn(request: rpc.TxnRequest, max_ops: int) -> None:
    """All rules of a whole txn tree: operation counts, each operation's own rules, then overlaps.

    Raises what the other checks raise, and TooManyOps, KeyNotFound (an operation that says nothing), DuplicateKey.
    """
    _check_operations(request, max_ops)
    _written(request.success)
    _written(request.failure)


def is_read_only(request: rpc.TxnRequest) -> bool:
    """True when both branches hold nothing but ranges; such a txn need not be agreed on."""
    return all(op.HasField("request_range") for op in _both(request))


def is_serializable(request: rpc.TxnRequest) -> bool:
    """True when every range of both branches may be answered from local state. True for an empty txn."""
    return all(op.request_range.serializable for op in _both(request) if op.HasField("request_range"))


def _both(request: rpc.TxnRequest) -> Iterable[rpc.RequestOp]:
    yield from request.success
    yield from request.failure


def _check_operations(request: rpc.TxnRequest, max_ops: int) -> None:
    count = max(len(request.compare), len(request.success), len(request.failure))
    if count > max_ops:
        raise errors.TooManyOps()
    for compare in request.compare:
        if not compare.key:
            raise errors.EmptyKey()
    for op in _both(request):
        match op.WhichOneof("request"):
            case "request_range":
                check_range(op.request_range)
            case "request_put":
                check_put(op.request_put)
            case "request_delete_range":
                check_delete_range(op.request_delete_range)
            case "request_txn":
                _check_operations(op.request_txn, max_ops - count)
            case _:
                raise errors.KeyNotFound()


Interval = tuple[bytes, bytes]
Puts = dict[bytes, bool]
"""Keys that a list of operations puts, and whether the put keeps the stored value or lease."""


def _written(ops: Sequence[rpc.RequestOp]) -> tuple[Puts, list[Interval]]:
    """What a list of operations puts and deletes, nested ones included; raises DuplicateKey on overlap.

    A nested put is held against this level's deletes and those of earlier siblings only, so the order of siblings
    matters; etcd's clients have come to rely on what it accepts, so it is kept.
    """
    deletes = [_interval(op.request_delete_range) for op in ops if op.HasField("request_delete_range")]
    puts: Puts = {}
    for op in ops:
        if op.HasField("request_txn"):
            _add_nested(op.request_txn, puts, deletes)
    for op in ops:
        if op.HasField("request_put"):
            put = op.request_put
            _add_put(put.key, put.ignore_value or put.ignore_lease, puts, deletes)
    return puts, deletes


def _add_nested(txn: rpc.TxnRequest, puts: Puts, deletes: list[Interval]) -> None:
    """Count both branches of a nested txn against the enclosing list; only one of them will run."""
    then_puts, then_deletes = _written(txn.success)
    else_puts, else_deletes = _written(txn.failure)
    for key, keeps in then_puts.items():
        _add_put(key, keeps, puts, deletes)
    for key, keeps in else_puts.items():
        if key in then_puts:
            puts[key] |= keeps
        else:
            _add_put(key, keeps, puts, deletes)
    deletes += then_deletes
    deletes += else_deletes


def _add_put(key: bytes, keeps: bool, puts: Puts, deletes: Sequence[Interval]) -> None:
    if key in puts:
        raise errors.DuplicateKey()
    for start, end in deletes:
        # etcd lets "from key" deletes (end `\\0`) pass. A put that keeps what such a delete removed has nothing to
        # keep: etcd crashes on it, here it is refused.
        if start <= key and (key < end or (keeps and end == b"\0")):
            raise errors.DuplicateKey()
    puts[key] = keeps


def _interval(request: rpc.DeleteRangeRequest) -> Interval:
    """The half-open interval a delete covers."""
    return request.key, request.range_end or request.key + b"\0"
