"""The judge of watches itself: each promise of a watch, broken once, is named; what a member may say passes."""

from __future__ import annotations

import pytest

from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.guarantees import check_told
from quorate.testing.history import Compaction
from quorate.testing.story import Event, Row, Story
from quorate.testing.watching import STREAM_ID, Watch

EVENTS: list[Event] = [
    (2, b"a", b"1"),
    (3, b"b", b"2"),
    (4, b"a", b"3"),
    (4, b"b", b"4"),
    (5, b"x", b"5"),
    (6, b"a", None),
    (7, b"a", b"6"),
    (8, b"b", b"7"),
]
STORY = Story(EVENTS)
NOPUT, NODELETE = pb.WatchCreateRequest.NOPUT, pb.WatchCreateRequest.NODELETE


def key_value(key: bytes, row: Row) -> kv_pb2.KeyValue:
    value, created, changed, version = row
    return kv_pb2.KeyValue(key=key, value=value, create_revision=created, mod_revision=changed, version=version)


def true_event(revision: int, key: bytes, *, prev: bool = False) -> kv_pb2.Event:
    """As it happened."""
    now, before = STORY.get(key, revision), STORY.get(key, revision - 1)
    if now is None:
        event = kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=key, mod_revision=revision))
    else:
        event = kv_pb2.Event(kv=key_value(key, now))
    if prev and before is not None:
        event.prev_kv.CopyFrom(key_value(key, before))
    return event


def tell(*events: tuple[int, bytes], fragment: bool = False, prev: bool = False) -> pb.WatchResponse:
    made = [true_event(*event, prev=prev) for event in events]
    return pb.WatchResponse(header=pb.ResponseHeader(revision=8), events=made, fragment=fragment)


def changed_event(revision: int, key: bytes, **fields: object) -> pb.WatchResponse:
    """A response with one event, of which some fields of its pair are not as they were."""
    answer = tell((revision, key))
    answer.events[0].kv.MergeFrom(kv_pb2.KeyValue(**fields))  # type: ignore[arg-type]
    return answer


def with_prev(revision: int, key: bytes, row: Row) -> pb.WatchResponse:
    answer = tell((revision, key))
    answer.events[0].prev_kv.CopyFrom(key_value(key, row))
    return answer


def progress(revision: int, watch_id: int = STREAM_ID) -> pb.WatchResponse:
    return pb.WatchResponse(header=pb.ResponseHeader(revision=revision), watch_id=watch_id)


def ended(compacted: int = 0) -> pb.WatchResponse:
    return pb.WatchResponse(canceled=True, compact_revision=compacted)


def watch(*told: pb.WatchResponse, created_at: int = 8, left: bool = False, **asked: object) -> Watch:
    """Of a and b from revision 3 on, if nothing else is said."""
    request = pb.WatchCreateRequest(**{"key": b"a", "range_end": b"c", "start_revision": 3, **asked})  # type: ignore[arg-type]
    created = pb.WatchResponse(header=pb.ResponseHeader(revision=created_at), created=True)
    return Watch(0, request, [(float(at), answer) for at, answer in enumerate((created, *told))], left)


COMPACTIONS = [Compaction(4, 0.0), Compaction(7, 5.0)]
"""Asked for at seconds 0 and 5; the first response after the creation comes at second 1."""

ALL = [(3, b"b"), (4, b"a"), (4, b"b"), (6, b"a"), (7, b"a"), (8, b"b")]


@pytest.mark.parametrize(
    "right",
    [
        watch(),
        watch(tell(*ALL)),
        watch(*(tell(*group) for group in ([ALL[0]], ALL[1:3], [ALL[3]], [ALL[4]], [ALL[5]]))),
        watch(tell(*ALL), progress(8), progress(8, watch_id=3)),
        watch(tell(*ALL[:3]), progress(5), tell(*ALL[3:])),
        watch(tell(*ALL[:2], fragment=True), tell(*ALL[2:]), progress(8), fragment=True),
        watch(tell(*ALL[:2], fragment=True), fragment=True),
        watch(tell((6, b"a")), progress(8), filters=[NOPUT]),
        watch(tell(*ALL[:3], *ALL[4:]), progress(8), filters=[NODELETE]),
        watch(progress(8), filters=[NOPUT, NODELETE]),
        watch(tell((5, b"x")), key=b"c", range_end=b"\0"),
        watch(tell((7, b"a")), progress(8), key=b"a", range_end=b"", start_revision=7),
        watch(tell((8, b"b")), start_revision=0, created_at=7),
        watch(progress(7), tell((8, b"b")), start_revision=0, created_at=7),
        watch(progress(9), start_revision=9),
        watch(tell(*ALL, prev=True), prev_kv=True),
        watch(tell(*ALL[:3]), tell(*ALL[3:], prev=True), prev_kv=True, start_revision=3),
        watch(ended(compacted=4)),
        watch(ended(), left=True),
        watch(tell(*ALL[:3]), progress(5), progress(5), progress(5), ended(compacted=7)),
    ],
)
def test_what_a_member_may_say_passes(right: Watch) -> None:
    assert check_told(right, STORY, COMPACTIONS) == []


@pytest.mark.parametrize(
    ("promise", "wrong"),
    [
        ("filter", watch(tell((5, b"x")))),
        ("filter", watch(tell((3, b"b")), key=b"a", range_end=b"")),
        ("filter", watch(tell((3, b"b")), filters=[NOPUT])),
        ("filter", watch(tell((6, b"a")), filters=[NODELETE])),
        ("ordered", watch(tell(*ALL[:3]), tell((7, b"a")), tell((6, b"a")))),
        ("ordered", watch(tell((3, b"b"), (4, b"b"), (4, b"a")))),
        ("unique", watch(tell(*ALL[:3]), tell((3, b"b")))),
        ("unique", watch(tell((3, b"b"), (3, b"b")))),
        ("atomic", watch(tell(*ALL[:2]), tell(*ALL[2:]))),
        ("atomic", watch(tell(*ALL[:2]), tell(*ALL[3:]))),
        ("atomic", watch(tell(*ALL[:2]))),
        ("atomic", watch(tell(*ALL[:2], fragment=True), tell(*ALL[2:]))),
        ("reliable", watch(tell(*ALL[:3]), tell(*ALL[4:]))),
        ("reliable", watch(tell(*ALL[:3]), changed_event(6, b"a", mod_revision=9))),
        ("reliable", watch(changed_event(3, b"b", value=b"other"))),
        ("reliable", watch(tell(*ALL), ended())),
        ("reliable", watch(ended(), tell(*ALL), left=True)),
        ("resumable", watch(tell(*ALL[1:]))),
        ("resumable", watch(tell(*ALL), start_revision=4)),
        ("resumable", watch(tell((7, b"a"), (8, b"b")), start_revision=0, created_at=7)),
        ("resumable", watch(ended(compacted=3))),
        ("resumable", watch(ended(compacted=7))),
        ("resumable", watch(ended(compacted=4), start_revision=4)),
        ("resumable", watch(tell(*ALL[:3]), ended(compacted=4))),
        ("bookmarkable", watch(tell(*ALL[:3]), progress(6))),
        ("bookmarkable", watch(tell(*ALL[:3]), progress(6), tell(*ALL[3:]))),
        ("bookmarkable", watch(progress(8))),
        ("bookmarkable", watch(progress(6), start_revision=7)),
        ("prev_kv", watch(tell(*ALL, prev=True))),
        ("prev_kv", watch(tell((6, b"a")), start_revision=6, prev_kv=True)),
        ("prev_kv", watch(with_prev(6, b"a", Row(b"1", 2, 2, 1)), start_revision=6, prev_kv=True)),
        ("prev_kv", watch(with_prev(7, b"a", Row(b"3", 2, 4, 2)), start_revision=7, prev_kv=True)),
        ("is_create", watch(changed_event(7, b"a", create_revision=2), start_revision=7)),
        ("is_create", watch(changed_event(4, b"a", create_revision=4), start_revision=4, range_end=b"")),
        ("is_create", watch(changed_event(8, b"b", version=7), start_revision=8)),
        ("is_create", watch(changed_event(6, b"a", create_revision=2), start_revision=6)),
    ],
)
def test_a_broken_promise_is_named(promise: str, wrong: Watch) -> None:
    (problem,) = check_told(wrong, STORY, COMPACTIONS)
    assert f": {promise}: " in problem


def test_a_pair_of_before_may_be_missing_once_it_is_compacted() -> None:
    def told_at_second(second: int) -> Watch:
        quiet = [progress(5)] * (second - 1)
        return watch(*quiet, tell((6, b"a")), start_revision=0, created_at=5, prev_kv=True)

    assert "prev_kv" in check_told(told_at_second(4), STORY, COMPACTIONS)[0]
    assert check_told(told_at_second(5), STORY, COMPACTIONS) == []


def test_a_watch_goes_on_behind_what_it_was_told() -> None:
    assert watch(tell(*ALL[:3])).next == 5
    assert watch(tell(*ALL[:3]), progress(5)).next == 6
    assert watch(tell(*ALL[:2], fragment=True), fragment=True).next == 3
    assert watch(start_revision=0, created_at=7).next == 8
