"""Requests, as people say them. `get`, `put` and `delete` also stand for operations of a transaction, and so does
`txn`; `value`, `version`, `create_revision`, `mod_revision` and `lease` of a key are compared by Python's operators.

    txn([value("k") == "old", version("l") > 3], [put("k", "new")], [get("k")])
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from quorate.api.pb import rpc_pb2 as pb
from quorate.pkg.key_prefix import prefix_end

Key = str | bytes
Sort = Literal["key", "version", "create", "mod", "value"]

FROM_KEY = b"\0"
"""As range end: everything from the key on."""

_TARGETS = {
    "key": pb.RangeRequest.KEY,
    "version": pb.RangeRequest.VERSION,
    "create": pb.RangeRequest.CREATE,
    "mod": pb.RangeRequest.MOD,
    "value": pb.RangeRequest.VALUE,
}


def to_bytes(key: Key) -> bytes:
    """Text is UTF-8."""
    return key.encode() if isinstance(key, str) else key


def key_range(key: Key, range_end: Key | None, prefix: bool) -> tuple[bytes, bytes]:
    """Key and end as the wire has them. Raises ValueError for a prefix with an end."""
    first = to_bytes(key)
    if not prefix:
        return first, b"" if range_end is None else to_bytes(range_end)
    if range_end is not None:
        raise ValueError("a prefix has its own range end")
    return (first, prefix_end(first)) if first else (FROM_KEY, FROM_KEY)


def get(
    key: Key,
    range_end: Key | None = None,
    *,
    prefix: bool = False,
    limit: int = 0,
    revision: int = 0,
    sort: Sort | None = None,
    descending: bool = False,
    serializable: bool = False,
    keys_only: bool = False,
    count_only: bool = False,
    min_mod_revision: int = 0,
    max_mod_revision: int = 0,
    min_create_revision: int = 0,
    max_create_revision: int = 0,
) -> pb.RangeRequest:
    """One key, or those from `key` to before `range_end` (b"\\0": to the last), or those that begin with `key`."""
    first, end = key_range(key, range_end, prefix)
    request = pb.RangeRequest(key=first, range_end=end, limit=limit, revision=revision, serializable=serializable)
    if sort is not None or descending:
        request.sort_target = _TARGETS[sort or "key"]
        request.sort_order = pb.RangeRequest.DESCEND if descending else pb.RangeRequest.ASCEND
    if keys_only or count_only:
        request.keys_only, request.count_only = keys_only, count_only
    if min_mod_revision or max_mod_revision or min_create_revision or max_create_revision:
        request.min_mod_revision, request.max_mod_revision = min_mod_revision, max_mod_revision
        request.min_create_revision, request.max_create_revision = min_create_revision, max_create_revision
    return request


def put(
    key: Key,
    value: Key = b"",
    *,
    lease: int = 0,
    prev_kv: bool = False,
    ignore_value: bool = False,
    ignore_lease: bool = False,
) -> pb.PutRequest:
    """`ignore_value` and `ignore_lease` keep what the key has."""
    request = pb.PutRequest(key=to_bytes(key), value=to_bytes(value), lease=lease)
    if prev_kv or ignore_value or ignore_lease:
        request.prev_kv, request.ignore_value, request.ignore_lease = prev_kv, ignore_value, ignore_lease
    return request


def delete(
    key: Key, range_end: Key | None = None, *, prefix: bool = False, prev_kv: bool = False
) -> pb.DeleteRangeRequest:
    """Keys as in `get`."""
    first, end = key_range(key, range_end, prefix)
    return pb.DeleteRangeRequest(key=first, range_end=end, prev_kv=prev_kv)


def txn(compares: Iterable[pb.Compare], then: Iterable[Any] = (), otherwise: Iterable[Any] = ()) -> pb.TxnRequest:
    """`then` is done if all compares hold, else `otherwise`; each operation is one of this module's requests."""
    return pb.TxnRequest(
        compare=list(compares), success=[_op(request) for request in then], failure=[_op(other) for other in otherwise]
    )


_KINDS = {
    pb.RangeRequest: "request_range",
    pb.PutRequest: "request_put",
    pb.DeleteRangeRequest: "request_delete_range",
    pb.TxnRequest: "request_txn",
}


def _op(request: Any) -> pb.RequestOp:
    kind = _KINDS.get(type(request))
    if kind is None:
        raise TypeError(f"{request!r} is no operation")
    op = pb.RequestOp()
    getattr(op, kind).CopyFrom(request)
    return op


class Target:
    """Something of a key that can be compared; each comparison is a condition of a transaction."""

    __slots__ = ("_end", "_field", "_key", "_kind")
    __hash__ = None  # type: ignore[assignment]  # == gives no truth

    def __init__(self, kind: Any, field: str, key: Key, range_end: Key | None, prefix: bool) -> None:
        self._kind, self._field = kind, field
        self._key, self._end = key_range(key, range_end, prefix)

    def __eq__(self, other: Any) -> pb.Compare:  # type: ignore[override]
        return self._compare(pb.Compare.EQUAL, other)

    def __ne__(self, other: Any) -> pb.Compare:  # type: ignore[override]
        return self._compare(pb.Compare.NOT_EQUAL, other)

    def __gt__(self, other: Any) -> pb.Compare:
        return self._compare(pb.Compare.GREATER, other)

    def __lt__(self, other: Any) -> pb.Compare:
        return self._compare(pb.Compare.LESS, other)

    def _compare(self, result: Any, other: Any) -> pb.Compare:
        wanted = to_bytes(other) if self._field == "value" else other
        compare = pb.Compare(key=self._key, range_end=self._end, target=self._kind, result=result)
        setattr(compare, self._field, wanted)
        return compare


def value(key: Key, range_end: Key | None = None, *, prefix: bool = False) -> Target:
    return Target(pb.Compare.VALUE, "value", key, range_end, prefix)


def version(key: Key, range_end: Key | None = None, *, prefix: bool = False) -> Target:
    """0 for a key that is not there."""
    return Target(pb.Compare.VERSION, "version", key, range_end, prefix)


def create_revision(key: Key, range_end: Key | None = None, *, prefix: bool = False) -> Target:
    """0 for a key that is not there."""
    return Target(pb.Compare.CREATE, "create_revision", key, range_end, prefix)


def mod_revision(key: Key, range_end: Key | None = None, *, prefix: bool = False) -> Target:
    """0 for a key that is not there."""
    return Target(pb.Compare.MOD, "mod_revision", key, range_end, prefix)


def lease(key: Key, range_end: Key | None = None, *, prefix: bool = False) -> Target:
    return Target(pb.Compare.LEASE, "lease", key, range_end, prefix)
