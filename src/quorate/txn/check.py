"""Rules a request must obey whatever the store holds. Order of checks and texts are etcd's: clients see both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.plain_put import PlainPut
from quorate.txn.ranges import PlainGet
from quorate.txn.tree import Op, Txn

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


def check_txn(request: Txn, max_ops: int) -> None:
    """All rules of a whole txn tree: operation counts, each operation's own rules, then overlaps.

    Raises what the other checks raise, and TooManyOps, KeyNotFound (an operation that says nothing), DuplicateKey.
    """
    for branch in _check_operations(request, max_ops):
        _written(branch)


Interval = tuple[bytes, bytes]
Puts = dict[bytes, bool]
"""Keys that a list of operations puts, and whether the put keeps the stored value or lease."""


class _Branch(NamedTuple):
    """The operations of a list that write, by kind: a txn is read through once."""

    puts: list[rpc.PutRequest | PlainPut]
    deletes: list[Interval]
    nested: list[tuple[_Branch, _Branch]]


def _check_operations(request: Txn, max_ops: int) -> tuple[_Branch, _Branch]:
    success, failure = request.success, request.failure
    count = max(len(request.compare), len(success), len(failure))
    if count > max_ops:
        raise errors.TooManyOps()
    for compare in request.compare:
        if not compare.key:
            raise errors.EmptyKey()
    return _check_branch(success, max_ops - count), _check_branch(failure, max_ops - count)


def _check_branch(ops: Sequence[Op], max_ops: int) -> _Branch:
    branch = _Branch([], [], [])
    for kind, request in ops:
        match kind:
            case "request_put":
                if not isinstance(request, PlainPut):
                    check_put(request)
                branch.puts.append(request)
            case "request_range":
                if not isinstance(request, PlainGet):
                    check_range(request)
            case "request_delete_range":
                check_delete_range(request)
                branch.deletes.append(_interval(request))
            case "request_txn":
                branch.nested.append(_check_operations(request, max_ops))
            case _:
                raise errors.KeyNotFound()
    return branch


def _written(branch: _Branch) -> tuple[Puts, list[Interval]]:
    """What a list of operations puts and deletes, nested ones included; raises DuplicateKey on overlap.

    A nested put is held against this level's deletes and those of earlier siblings only, so the order of siblings
    matters; etcd's clients have come to rely on what it accepts, so it is kept.
    """
    deletes = list(branch.deletes)
    puts: Puts = {}
    for nested in branch.nested:
        _add_nested(nested, puts, deletes)
    for put in branch.puts:
        _add_put(put.key, put.ignore_value or put.ignore_lease, puts, deletes)
    return puts, deletes


def _add_nested(branches: tuple[_Branch, _Branch], puts: Puts, deletes: list[Interval]) -> None:
    """Count both branches of a nested txn against the enclosing list; only one of them will run."""
    then_puts, then_deletes = _written(branches[0])
    else_puts, else_deletes = _written(branches[1])
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
