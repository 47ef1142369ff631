"""What one store answers to a request, from the story of its changes: etcd's rules of key-value, as small as they go.

    evaluate(request, story, revision) ──► the answer, and what it changes

The state at `revision` is the one that the request meets; what it changes lands at the revision behind. Answers carry
neither headers nor leases, and `plain` takes both from what a member answered, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.story import Row, Story, covers

Changes = dict[bytes, bytes | None]
"""Values put, None for a delete, in the order of their making."""


def evaluate(request: Any, story: Story, revision: int) -> tuple[Any, Changes]:
    """The answer to a RangeRequest, PutRequest, DeleteRangeRequest or TxnRequest, and what it changes."""
    state = _State(story, revision)
    match request:
        case pb.RangeRequest():
            return state.range(request), {}
        case pb.PutRequest():
            return state.put(request), state.changes
        case pb.DeleteRangeRequest():
            return state.delete(request), state.changes
    # All compares of the path taken look at the state before the first change.
    return state.txn(request, _State(story, revision)), state.changes


def plain(answer: Any) -> Any:
    """A copy without headers and leases."""
    copied = type(answer)()
    copied.CopyFrom(answer)
    _strip(copied)
    return copied


def changed(answer: Any) -> bool:
    """Whether an answer says that something was written."""
    match answer:
        case pb.PutResponse():
            return True
        case pb.DeleteRangeResponse():
            return answer.deleted > 0
        case pb.TxnResponse():
            return any(changed(getattr(each, str(each.WhichOneof("response")))) for each in answer.responses)
    return False


def values_of(request: Any) -> list[bytes]:
    """All values that a request may put."""
    match request:
        case pb.PutRequest():
            return [request.value]
        case pb.TxnRequest():
            operations = [*request.success, *request.failure]
            return [v for each in operations for v in values_of(getattr(each, str(each.WhichOneof("request"))))]
    return []


def writes(request: Any) -> bool:
    """Whether a request may change anything."""
    match request:
        case pb.RangeRequest():
            return False
        case pb.TxnRequest():
            operations = [*request.success, *request.failure]
            return any(writes(getattr(each, str(each.WhichOneof("request")))) for each in operations)
    return True


class _State:
    """The keys while a request is carried out."""

    def __init__(self, story: Story, revision: int) -> None:
        self.changes: Changes = {}
        self._story = story
        self._revision = revision
        self._rows: dict[bytes, Row | None] = {}

    def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        found = self._find(request.key, request.range_end, request.revision)
        answer = pb.RangeResponse(count=len(found))
        if request.count_only:
            return answer
        shown = list(found.items())[: request.limit] if request.limit > 0 else found.items()
        answer.more = len(shown) < len(found)
        for key, row in shown:
            answer.kvs.append(_key_value(key, row._replace(value=b"") if request.keys_only else row))
        return answer

    def put(self, request: pb.PutRequest) -> pb.PutResponse:
        former = self._find(request.key, b"").get(request.key)
        new = self._revision + 1
        created, version = (former.created, former.version + 1) if former else (new, 1)
        self._rows[request.key] = Row(request.value, created, new, version)
        self.changes[request.key] = request.value
        answer = pb.PutResponse()
        if request.prev_kv and former is not None:
            answer.prev_kv.CopyFrom(_key_value(request.key, former))
        return answer

    def delete(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        found = self._find(request.key, request.range_end)
        for key in found:
            self._rows[key] = self.changes[key] = None
        answer = pb.DeleteRangeResponse(deleted=len(found))
        if request.prev_kv:
            answer.prev_kvs.extend(_key_value(key, row) for key, row in found.items())
        return answer

    def txn(self, request: pb.TxnRequest, before: _State) -> pb.TxnResponse:
        answer = pb.TxnResponse(succeeded=all(before.holds(compare) for compare in request.compare))
        for operation in request.success if answer.succeeded else request.failure:
            response = answer.responses.add()
            match operation.WhichOneof("request"):
                case "request_range":
                    response.response_range.CopyFrom(self.range(operation.request_range))
                case "request_put":
                    response.response_put.CopyFrom(self.put(operation.request_put))
                case "request_delete_range":
                    response.response_delete_range.CopyFrom(self.delete(operation.request_delete_range))
                case "request_txn":
                    response.response_txn.CopyFrom(self.txn(operation.request_txn, before))
        return answer

    def holds(self, compare: pb.Compare) -> bool:
        """Every key of a compare's range must satisfy it; where there is none, one whose numbers are all 0 must."""
        rows: list[Row | None] = list(self._find(compare.key, compare.range_end).values())
        return all(_holds(compare, row) for row in rows or [None])

    def _find(self, key: bytes, end: bytes, revision: int = 0) -> dict[bytes, Row]:
        if revision > 0:
            return self._story.range(key, end, revision)
        found: dict[bytes, Row | None] = dict(self._story.range(key, end, self._revision))
        found.update((each, row) for each, row in self._rows.items() if covers(key, end, each))
        return {each: row for each, row in sorted(found.items()) if row is not None}


def _holds(compare: pb.Compare, row: Row | None) -> bool:
    version, created, changed, value = (row.version, row.created, row.changed, row.value) if row else (0, 0, 0, b"")
    left: Any
    right: Any
    match compare.target:
        case pb.Compare.VERSION:
            left, right = version, compare.version
        case pb.Compare.CREATE:
            left, right = created, compare.create_revision
        case pb.Compare.MOD:
            left, right = changed, compare.mod_revision
        case _:
            assert compare.target == pb.Compare.VALUE, "leases are not in the story"
            if row is None:
                return False
            left, right = value, compare.value
    match compare.result:
        case pb.Compare.EQUAL:
            return bool(left == right)
        case pb.Compare.NOT_EQUAL:
            return bool(left != right)
        case pb.Compare.GREATER:
            return bool(left > right)
    return bool(left < right)


def _key_value(key: bytes, row: Row) -> kv_pb2.KeyValue:
    return kv_pb2.KeyValue(
        key=key, value=row.value, create_revision=row.created, mod_revision=row.changed, version=row.version
    )


def _strip(answer: Any) -> None:
    answer.ClearField("header")
    match answer:
        case pb.RangeResponse():
            _take_leases(answer.kvs)
        case pb.PutResponse() if answer.HasField("prev_kv"):
            _take_leases([answer.prev_kv])
        case pb.DeleteRangeResponse():
            _take_leases(answer.prev_kvs)
        case pb.TxnResponse():
            for each in answer.responses:
                _strip(getattr(each, str(each.WhichOneof("response"))))


def _take_leases(kvs: Iterable[kv_pb2.KeyValue]) -> None:
    for kv in kvs:
        kv.lease = 0
