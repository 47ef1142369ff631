"""The judge of answers itself: every kind of lie is found, and the truth is not called one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from quorate.api.errors import Code, Compacted, EtcdError, FutureRevision
from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.history import Compaction, Operation, check, check_watch
from quorate.testing.model import evaluate
from quorate.testing.story import Event, Story

EVENTS: list[Event] = [(2, b"k", b"1"), (3, b"k", b"2"), (3, b"l", b"3"), (4, b"k", None), (5, b"k", b"4")]

Row = tuple[bytes, int, int, int] | None
"""Value, revisions of creation and change, version."""


def put_request(key: bytes, value: bytes) -> pb.PutRequest:
    return pb.PutRequest(key=key, value=value)


def answered(request: Any, answer: Any, at: int, invoked: float, returned: float) -> Operation:
    return Operation(0, 0, invoked, request, returned=returned, answer=answer, revision=at)


def put(at: int, value: bytes, invoked: float, returned: float, key: bytes = b"k") -> Operation:
    return answered(put_request(key, value), pb.PutResponse(), at, invoked, returned)


def get(at: int, seen: Row, invoked: float, returned: float, *, old: bool = False, past: int = 0) -> Operation:
    answer = pb.RangeResponse()
    if seen is not None:
        value, created, changed, version = seen
        row = kv_pb2.KeyValue(
            key=b"k", value=value, create_revision=created, mod_revision=changed, version=version, lease=7
        )
        answer = pb.RangeResponse(kvs=[row], count=1)
    made = answered(pb.RangeRequest(key=b"k", serializable=old, revision=past), answer, at, invoked, returned)
    made.client = made.member = 1
    return made


def unknown(request: Any, invoked: float) -> Operation:
    return Operation(0, 0, invoked, request)


def puts(*requests: pb.PutRequest) -> list[pb.RequestOp]:
    return [pb.RequestOp(request_put=request) for request in requests]


def put_responses(count: int) -> list[pb.ResponseOp]:
    return [pb.ResponseOp(response_put=pb.PutResponse()) for _ in range(count)]


def truth() -> list[Operation]:
    both = pb.TxnRequest(success=puts(put_request(b"k", b"2"), put_request(b"l", b"3")))
    return [
        put(2, b"1", 1.0, 1.5),
        answered(both, pb.TxnResponse(succeeded=True, responses=put_responses(2)), 3, 2.0, 2.5),
        answered(pb.DeleteRangeRequest(key=b"k"), pb.DeleteRangeResponse(deleted=1), 4, 3.0, 3.5),
        unknown(put_request(b"k", b"4"), 4.0),
        unknown(put_request(b"k", b"5"), 5.0),
    ]


def test_what_one_store_could_have_said_passes() -> None:
    more = [get(2, (b"1", 2, 2, 1), 1.2, 1.4), get(4, None, 3.6, 3.7), get(5, (b"4", 5, 5, 1), 4.5, 4.6)]
    of_the_past = get(5, (b"2", 2, 3, 2), 4.7, 4.8, past=3)
    stale_but_said_so = get(3, (b"2", 2, 3, 2), 9.0, 9.1, old=True)
    stale_but_said_so.client = 7
    assert check([*truth(), *more, of_the_past, stale_but_said_so], EVENTS) == []


def swapped(at: int, expects: int, *, succeeded: bool) -> list[Operation]:
    compare = pb.Compare(key=b"k", target=pb.Compare.MOD, mod_revision=expects)
    request = pb.TxnRequest(compare=[compare], success=puts(put_request(b"k", b"4")))
    answer = pb.TxnResponse(succeeded=succeeded, responses=put_responses(int(succeeded)))
    return [*truth()[:3], *truth()[4:], answered(request, answer, at, 1.6, 6.0)]


def impossible() -> Operation:
    made = unknown(put_request(b"k", b"4"), 4.0)
    made.refuse(Code.UNAVAILABLE, "Error while dialing: connection refused", 4.1)
    return made


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ([*truth(), put(6, b"9", 6.0, 6.1)], "lost"),
        ([*truth(), put(2, b"9", 1.0, 1.5)], "two writes"),
        (truth()[:3], "nobody asked for"),
        ([*truth()[:2], *truth()[3:]], "nobody asked for"),
        ([*truth()[:3], impossible()], "nobody asked for"),
        ([*truth(), get(3, (b"2", 2, 3, 2), 4.0, 4.1)], "a stale read"),
        ([*truth(), get(4, (b"2", 2, 3, 2), 3.6, 3.7)], "wrong answer"),
        ([*truth(), get(3, (b"2", 2, 3, 1), 2.6, 2.7)], "wrong answer"),
        ([*truth(), get(3, (b"2", 2, 3, 2), 2.6, 2.7, past=2)], "wrong answer"),
        ([*truth(), get(3, (b"2", 2, 3, 2), 2.6, 2.7, past=4)], "of the future"),
        ([*truth(), get(5, (b"4", 5, 5, 1), 3.6, 3.7)], "a write went before"),
        ([*truth(), get(4, None, 3.1, 3.2), get(3, (b"2", 2, 3, 2), 3.3, 3.4, old=True)], "went back"),
        (swapped(5, 3, succeeded=True), "wrong answer"),
        (swapped(4, 0, succeeded=False), "wrong answer"),
    ],
)
def test_a_lie_is_found(operations: Sequence[Operation], says: str) -> None:
    assert says in "\n".join(check(operations, EVENTS))


def refused(past: int, error: type[EtcdError], invoked: float, returned: float) -> Operation:
    made = Operation(1, 1, invoked, pb.RangeRequest(key=b"k", revision=past))
    made.refuse(error.code, error.text, returned)
    return made


COMPACTED_AT_4 = [Compaction(3, 3.6, 3.7), Compaction(4, 4.0, 4.2), Compaction(5, 9.0)]


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (refused(6, FutureRevision, 2.0, 2.1), ""),
        (refused(4, FutureRevision, 3.4, 3.6), ""),
        (refused(4, FutureRevision, 3.6, 3.7), "a stale refusal"),
        (refused(3, Compacted, 4.0, 4.1), ""),
        (refused(4, Compacted, 4.3, 4.4), "not compacted"),
        (refused(3, Compacted, 3.7, 3.8), "not compacted"),
        (get(5, (b"2", 2, 3, 2), 4.1, 4.3, past=3), ""),
        (get(5, (b"2", 2, 3, 2), 4.3, 4.4, past=3), "what is compacted"),
        (get(5, (b"2", 2, 3, 2), 4.3, 4.4, past=3, old=True), ""),
    ],
)
def test_only_the_past_is_compacted_and_only_the_future_is_refused_as_such(operation: Operation, says: str) -> None:
    problems = check([*truth(), operation], EVENTS, COMPACTED_AT_4)
    assert (says in "\n".join(problems)) if says else not problems


def test_a_refusal_that_blames_the_request_is_a_problem() -> None:
    made = unknown(put_request(b"k", b"9"), 9.0)
    made.refuse(Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", 9.1)
    assert "refused" in "\n".join(check([*truth(), made], EVENTS))


def test_each_delete_of_unknown_outcome_explains_one_revision_and_the_right_one() -> None:
    wide, narrow = pb.DeleteRangeRequest(key=b"a", range_end=b"c"), pb.DeleteRangeRequest(key=b"a")
    operations = [put(2, b"1", 1.0, 1.1, b"a"), put(4, b"2", 3.0, 3.1, b"a"), put(5, b"3", 4.0, 4.1, b"b")]
    events: list[Event] = [(2, b"a", b"1"), (3, b"a", None), (4, b"a", b"2"), (5, b"b", b"3"), (6, b"a", None)]
    events.append((6, b"b", None))
    # Both may have been revision 3, only one of them revision 6.
    assert check([*operations, unknown(wide, 1.5), unknown(narrow, 1.6)], events) == []
    assert "at revision 6" in check([*operations, unknown(narrow, 1.5), unknown(narrow, 1.6)], events)[0]
    assert "nobody asked for" in check([*operations, unknown(wide, 1.5)], events)[0]


def test_a_key_of_a_lease_may_be_deleted_by_nobody() -> None:
    events: list[Event] = [(2, b"lease/a", b"1"), (3, b"lease/a", None)]
    assert check([put(2, b"1", 1.0, 1.5, b"lease/a")], events) == []
    assert check([put(2, b"1", 1.0, 1.5, b"lease/a")], events, free=b"other/")


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (EVENTS[1:], ""),
        (EVENTS[1:3] + EVENTS[4:], "was due"),
        (EVENTS[1:3] + EVENTS[2:], "was due"),
        (EVENTS[1:4], "before"),
        (EVENTS[1:] + EVENTS[4:], "more than happened"),
    ],
)
def test_a_watch_tells_every_event_once(seen: Sequence[Event], says: str) -> None:
    problems = check_watch(seen, EVENTS, 3)
    assert (says in "\n".join(problems)) if says else not problems


NESTED_EVENTS: list[Event] = [(2, b"a", b"1"), (3, b"b", b"2"), (4, b"a", b"3")]


@pytest.mark.parametrize(
    ("version", "inner_succeeded", "changes"),
    [(2, True, {b"b": b"9", b"c": b"8"}), (3, False, {b"a": None, b"b": b"9"})],
)
def test_inner_compares_see_the_state_before_and_inner_reads_the_writes_so_far(
    version: int, inner_succeeded: bool, changes: dict[bytes, bytes | None]
) -> None:
    read = pb.RequestOp(request_range=pb.RangeRequest(key=b"a", range_end=b"d", limit=2))
    inner = pb.TxnRequest(
        compare=[
            pb.Compare(key=b"a", target=pb.Compare.VERSION, version=version),
            pb.Compare(key=b"b", target=pb.Compare.VALUE, value=b"2"),  # put by the txn itself before this is run
        ],
        success=[*puts(put_request(b"c", b"8")), read],
        failure=[pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a", prev_kv=True)), read],
    )
    compares = [pb.Compare(key=b"a", range_end=b"c", target=pb.Compare.CREATE, result=pb.Compare.GREATER)]
    compares.append(pb.Compare(key=b"x", target=pb.Compare.MOD, mod_revision=0))
    outer = pb.TxnRequest(compare=compares, success=[*puts(put_request(b"b", b"9")), pb.RequestOp(request_txn=inner)])
    answer, made = evaluate(outer, Story(NESTED_EVENTS), 4)
    assert made == changes
    told = answer.responses[1].response_txn
    assert told.succeeded == inner_succeeded
    shown = told.responses[1].response_range
    b = kv_pb2.KeyValue(key=b"b", value=b"9", create_revision=3, mod_revision=5, version=2)
    if inner_succeeded:
        a = kv_pb2.KeyValue(key=b"a", value=b"3", create_revision=2, mod_revision=4, version=2)
        assert (list(shown.kvs), shown.more, shown.count) == ([a, b], True, 3)
    else:
        assert told.responses[0].response_delete_range.prev_kvs[0].value == b"3"
        assert (list(shown.kvs), shown.more, shown.count) == ([b], False, 1)


@pytest.mark.parametrize(
    ("result", "value", "holds"),
    [
        (pb.Compare.EQUAL, b"", False),
        (pb.Compare.NOT_EQUAL, b"1", False),
        (pb.Compare.LESS, b"1", False),
    ],
)
def test_no_compare_of_a_value_holds_for_a_key_that_is_not_there(result: Any, value: bytes, holds: bool) -> None:
    compare = pb.Compare(key=b"x", target=pb.Compare.VALUE, result=result, value=value)
    answer, _ = evaluate(pb.TxnRequest(compare=[compare]), Story(NESTED_EVENTS), 4)
    assert answer.succeeded is holds
