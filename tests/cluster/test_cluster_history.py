"""The judge itself: every kind of lie is found, and the truth is not called one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from quorate.testing.history import Event, Operation, check, check_watch

EVENTS: list[Event] = [(2, b"k", b"1"), (3, b"k", b"2"), (3, b"l", b"3"), (4, b"k", None), (5, b"k", b"4")]


def put(at: int, value: bytes, invoked: float, returned: float, key: bytes = b"k") -> Operation:
    return Operation(0, 0, invoked, {key: value}, returned=returned, revision=at, effect=True)


def get(at: int, seen: tuple[bytes, int] | None, invoked: float, returned: float, *, old: bool = False) -> Operation:
    reads = {b"k": seen}
    return Operation(1, 1, invoked, serializable=old, returned=returned, revision=at, reads=reads)


def truth() -> list[Operation]:
    both = Operation(0, 0, 2.0, {b"k": b"2", b"l": b"3"}, returned=2.5, revision=3, effect=True)
    delete = Operation(0, 0, 3.0, {b"k": None}, returned=3.5, revision=4, effect=True)
    unknown = Operation(0, 0, 4.0, {b"k": b"4"})
    never = Operation(0, 0, 5.0, {b"k": b"5"})
    return [put(2, b"1", 1.0, 1.5), both, delete, unknown, never]


def test_what_one_store_could_have_said_passes() -> None:
    more = [get(2, (b"1", 2), 1.2, 1.4), get(4, None, 3.6, 3.7), get(5, (b"4", 5), 4.5, 4.6)]
    stale_but_said_so = get(3, (b"2", 3), 9.0, 9.1, old=True)
    stale_but_said_so.client = 7
    assert check([*truth(), *more, stale_but_said_so], EVENTS) == []


def swapped(at: int, expects: int, *, effect: bool) -> list[Operation]:
    operation = Operation(1, 1, 1.6, {b"k": b"4"}, (b"k", expects), returned=6.0, revision=at, effect=effect)
    return [o for o in truth() if o.writes != {b"k": b"4"}] + [operation]


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ([*truth(), put(6, b"9", 6.0, 6.1)], "lost"),
        ([*truth(), put(2, b"9", 1.0, 1.5)], "two writes"),
        (truth()[:3], "nobody asked for"),
        ([*truth()[:3], Operation(0, 0, 4.0, {b"k": b"4"}, impossible=True)], "nobody asked for"),
        ([*truth(), get(3, (b"2", 3), 4.0, 4.1)], "a stale read"),
        ([*truth(), get(4, (b"2", 3), 3.6, 3.7)], "wrong read"),
        ([*truth(), get(5, (b"4", 5), 3.6, 3.7)], "a write went before"),
        ([*truth(), get(4, None, 3.1, 3.2), get(3, (b"2", 3), 3.3, 3.4, old=True)], "went back"),
        (swapped(5, 3, effect=True), "wrong compare"),
        (swapped(4, 0, effect=False), "wrong compare"),
    ],
)
def test_a_lie_is_found(operations: Sequence[Operation], says: str) -> None:
    assert says in "\n".join(check(operations, EVENTS))


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
