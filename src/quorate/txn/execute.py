"""Put, delete and txn on one write transaction of the store; all members run this on the same entries in one order.

An error raised here follows from the request and the store alone, and is raised before the first change, so it is a
result like any other: every member finds the same one and the store stays as it was. A txn is judged in etcd's order:
all compares of the tree, then all its puts, then all its ranges, each against the state before the txn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from quorate.api import encode, errors
from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.plain_put import PlainPut
from quorate.storage.mvcc import Mode, Store
from quorate.txn.ranges import PlainGet, View, run_range
from quorate.txn.tree import PUT, RANGE, TXN, Op, Txn


class Writer(View, Protocol):
    """A write transaction."""

    @property
    def revision(self) -> int: ...

    def put(self, key: bytes, value: bytes, lease: int = ...) -> int: ...

    def delete_range(self, key: bytes, range_end: bytes = ...) -> Sequence[bytes]: ...


class Leases(Protocol):
    """All that a put must ask about leases."""

    def exists(self, lease_id: int) -> bool: ...


def put(writer: Writer, request: rpc.PutRequest | PlainPut, leases: Leases) -> bytes:
    """Body of a PutResponse. Raises LeaseNotFound, KeyNotFound (ignore_value or ignore_lease without the key)."""
    if isinstance(request, PlainPut):
        writer.put(request.key, request.value)
        return encode.put_body(None)
    if request.lease and not leases.exists(request.lease):
        raise errors.LeaseNotFound()
    row = None
    if request.prev_kv or request.ignore_value or request.ignore_lease:
        row = _newest(writer, request.key)
    value, lease = request.value, request.lease
    if request.ignore_value or request.ignore_lease:
        if row is None:
            raise errors.KeyNotFound()
        kept = kv_pb2.KeyValue.FromString(row)
        value = kept.value if request.ignore_value else value
        lease = kept.lease if request.ignore_lease else lease
    writer.put(request.key, value, lease)
    return encode.put_body(row if request.prev_kv else None)


def delete_range(writer: Writer, request: rpc.DeleteRangeRequest) -> bytes:
    """Body of a DeleteRangeResponse."""
    kvs: Sequence[bytes] = writer.range(request.key, request.range_end).kvs if request.prev_kv else ()
    return encode.delete_range_body(len(writer.delete_range(request.key, request.range_end)), kvs)


def txn(store: Store, request: Txn, leases: Leases) -> tuple[int, bytes]:
    """Run a txn that may write: (revision of the store after it, body). Raises what its operations raise."""
    branch = _take(store, request)
    ops = list(_all_ops(branch)) if branch.nested else branch.ops
    for kind, asked in ops:
        if kind == PUT and not isinstance(asked, PlainPut):
            _check_put(store, asked, leases)
    _check_ranges(store, ops)
    store.counts.txns += len([kind for kind, _ in ops if kind != TXN]) > 1
    with store.write() as writer:
        body = _run(writer, branch, leases)
        return writer.revision, body


def read_txn(store: Store, request: Txn) -> tuple[int, bytes]:
    """Run a read-only txn: (revision of the store, body)."""
    succeeded = _holds_all(store, request.compare)
    ops = request.success if succeeded else request.failure
    _check_ranges(store, ops)
    store.counts.txns += len(ops) > 1
    responses = []
    revision = store.revision
    for _, asked in ops:
        if isinstance(asked, PlainGet):
            row = store.get(asked.key)
            body = b"" if row is None else encode.get_body(row)
        else:
            body = run_range(store, asked).body()
        responses.append(encode.response_op(encode.RANGE_OP, revision, body))
    return revision, encode.txn_body(succeeded, responses)


class _Branch(NamedTuple):
    """The branch that a txn takes, by the state before any change; of the txns among its operations, in order, too."""

    succeeded: bool
    ops: list[Op]
    nested: list[_Branch]


def _take(view: View, request: Txn) -> _Branch:
    """Judge the compares of the whole tree, depth first."""
    succeeded = _holds_all(view, request.compare)
    ops = request.success if succeeded else request.failure
    return _Branch(succeeded, ops, [_take(view, asked) for kind, asked in ops if kind == TXN])


def _all_ops(branch: _Branch) -> Iterator[Op]:
    """Nested ones included."""
    nested = iter(branch.nested)
    for op in branch.ops:
        yield op
        if op[0] == TXN:
            yield from _all_ops(next(nested))


def _check_ranges(store: Store, ops: Iterable[Op]) -> None:
    """Find a revision that cannot be read before the first change is made; only 0 means the newest here."""
    for kind, request in ops:
        if kind == RANGE and not isinstance(request, PlainGet) and (revision := request.revision):
            if revision > store.revision:
                raise errors.FutureRevision()
            if revision < store.compacted_revision:
                raise errors.Compacted()


def _check_put(store: Store, request: rpc.PutRequest, leases: Leases) -> None:
    if (request.ignore_value or request.ignore_lease) and _newest(store, request.key) is None:
        raise errors.KeyNotFound()
    if request.lease and not leases.exists(request.lease):
        raise errors.LeaseNotFound()


def _run(writer: Writer, branch: _Branch, leases: Leases) -> bytes:
    """Execute the branch in list order; its encoded responses are the body."""
    responses = []
    nested = iter(branch.nested)
    plainly = b""  # the answer to every plain put of this txn
    for kind, request in branch.ops:
        match kind:
            case "request_put" if isinstance(request, PlainPut):
                body = put(writer, request, leases)
                plainly = plainly or encode.response_op(encode.PUT_OP, writer.revision, body)
                responses.append(plainly)
            case "request_put":
                body = put(writer, request, leases)
                responses.append(encode.response_op(encode.PUT_OP, writer.revision, body))
            case "request_range":
                body = run_range(writer, request).body()
                responses.append(encode.response_op(encode.RANGE_OP, writer.revision, body))
            case "request_delete_range":
                body = delete_range(writer, request)
                responses.append(encode.response_op(encode.DELETE_RANGE_OP, writer.revision, body))
            case "request_txn":
                body = _run(writer, next(nested), leases)
                responses.append(encode.response_op(encode.TXN_OP, None, body))
    return encode.txn_body(branch.succeeded, responses)


def _newest(view: View, key: bytes) -> bytes | None:
    kvs = view.range(key).kvs
    return kvs[0] if kvs else None


def _holds_all(view: View, compares: Sequence[rpc.Compare]) -> bool:
    return not compares or all(_holds(view, compare) for compare in compares)


_ABSENT = kv_pb2.KeyValue()


def _holds(view: View, compare: rpc.Compare) -> bool:
    """True when every key in the compare's range satisfies it; no key counts as one with all numbers zero."""
    rows = view.range(compare.key, compare.range_end, mode=Mode.FULL).kvs
    if not rows:
        # A value that does not exist equals nothing, not even the empty value.
        return compare.target != rpc.Compare.VALUE and _satisfies(_ABSENT, compare)
    return all(_satisfies(kv_pb2.KeyValue.FromString(row), compare) for row in rows)


def _satisfies(kv: kv_pb2.KeyValue, compare: rpc.Compare) -> bool:
    """Compare by target; an undeclared target compares as equal, an undeclared result holds, as in etcd."""
    have: int | bytes = 0
    want: int | bytes = 0
    match compare.target:
        case rpc.Compare.VERSION:
            have, want = kv.version, compare.version
        case rpc.Compare.CREATE:
            have, want = kv.create_revision, compare.create_revision
        case rpc.Compare.MOD:
            have, want = kv.mod_revision, compare.mod_revision
        case rpc.Compare.VALUE:
            have, want = kv.value, compare.value
        case rpc.Compare.LEASE:
            have, want = kv.lease, compare.lease
    match compare.result:
        case rpc.Compare.EQUAL:
            return have == want
        case rpc.Compare.NOT_EQUAL:
            return have != want
        case rpc.Compare.GREATER:
            return have > want  # type: ignore[operator]
        case rpc.Compare.LESS:
            return have < want  # type: ignore[operator]
    return True
