"""What clients asked and were told while members failed, and whether one store could have said it all.

Every reply of etcd names the revision at which it holds, so the one order in which everything happened is known and
linearizability needs no search: the order of revisions must agree with the order of real time, and each reply must show
the store as the events up to its revision make it.

    operation  │ invoked ───────────► returned │   at some revision between, if at all
    events     revision 2: k=v   revision 3: k=w, l=x   revision 4: k gone      the same on every member

`check` finds: an acknowledged write that is lost or changed, an event that nobody asked for, a stale or impossible
read, a compare that was decided wrongly, an effect before its cause, and a member whose revision goes back.

Source: Herlihy and Wing, Linearizability (1990); for revisions, etcd's API guarantees.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NEVER = float("inf")

Event = tuple[int, bytes, bytes | None]
"""Revision, key, and the value put, or None for a delete."""

Seen = tuple[bytes, int] | None
"""Value and revision of its last change, or None for a key that is not there."""


@dataclass(slots=True)
class Operation:
    """One request. Times in seconds of one clock. What is not known keeps its default.

    `writes` is what it does if it takes effect, None for a delete; each value is sent once. `expects` is the compare
    that its writes hang on: a key and the revision of its last change, 0 for none. `reads` is what it was shown.
    """

    client: int
    member: int
    invoked: float
    writes: dict[bytes, bytes | None] = field(default_factory=dict)
    expects: tuple[bytes, int] | None = None
    serializable: bool = False
    returned: float = NEVER
    revision: int = 0
    effect: bool = False
    """It was acknowledged and changed something, at `revision`."""
    reads: dict[bytes, Seen] = field(default_factory=dict)
    refusal: str = ""
    impossible: bool = False
    """It failed in a way that rules out that it ever takes effect."""

    @property
    def acknowledged(self) -> bool:
        return self.revision > 0


class Store:
    """The values of all keys at every revision, from the events."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._revisions: dict[bytes, list[int]] = defaultdict(list)
        self._values: dict[bytes, list[bytes | None]] = defaultdict(list)
        for revision, key, value in events:
            self._revisions[key].append(revision)
            self._values[key].append(value)

    def at(self, key: bytes, revision: int) -> Seen:
        """What a read of `key` at `revision` shows."""
        place = bisect_right(self._revisions[key], revision) - 1
        if place < 0:
            return None
        value = self._values[key][place]
        return None if value is None else (value, self._revisions[key][place])


def check(operations: Sequence[Operation], events: Sequence[Event], free: bytes = b"lease/") -> list[str]:
    """All violations found, in words. Keys that begin with `free` may be deleted by nobody: by a lease."""
    problems = _check_writes(operations, events, free)
    store = Store(events)
    for operation in operations:
        if operation.acknowledged:
            problems += _check_reply(operation, store)
    problems += _check_time(operations)
    problems += _check_members(operations)
    return problems


def _check_writes(operations: Sequence[Operation], events: Sequence[Event], free: bytes) -> list[str]:
    """Events and writes belong together one to one. Unknown writes that took effect are given their revision."""
    problems = []
    at: dict[int, dict[bytes, bytes | None]] = defaultdict(dict)
    for revision, key, value in events:
        if key in at[revision]:
            problems.append(f"revision {revision} changes {key!r} twice")
        at[revision][key] = value
    claimed: set[int] = set()
    for operation in operations:
        if operation.effect:
            if operation.revision in claimed:
                problems.append(f"two writes were acknowledged at revision {operation.revision}")
            claimed.add(operation.revision)
            if at.get(operation.revision) != operation.writes:
                problems.append(f"lost: {operation} but there is {at.get(operation.revision)}")
    values = {v: o for o in operations for v in o.writes.values() if v is not None and _open(o)}
    deletes = Counter(key for o in operations if _open(o) for key, v in o.writes.items() if v is None)
    for revision in sorted(at.keys() - claimed):
        became = at[revision]
        cause = next((values[v] for v in became.values() if v is not None and v in values), None)
        if cause is not None and cause.writes == became and not cause.revision:
            cause.revision, cause.effect = revision, True
        elif not all(v is None and (key.startswith(free) or deletes[key] > 0) for key, v in became.items()):
            problems.append(f"nobody asked for {became} at revision {revision}; the nearest is {cause}")
        else:
            deletes.subtract(became.keys())
    return problems


def _open(operation: Operation) -> bool:
    """Whether it may have taken effect without an answer."""
    return not operation.acknowledged and not operation.impossible


def _check_reply(operation: Operation, store: Store) -> list[str]:
    problems = []
    for key, seen in operation.reads.items():
        if (truth := store.at(key, operation.revision)) != seen:
            problems.append(f"wrong read of {key!r}: {operation} but at that revision it is {truth}")
    if operation.expects is not None:
        key, expected = operation.expects
        found = store.at(key, operation.revision - 1 if operation.effect else operation.revision)
        if ((found[1] if found else 0) == expected) != operation.effect:
            problems.append(f"wrong compare: {operation} but {key!r} was {found}")
    return problems


def _check_time(operations: Sequence[Operation]) -> list[str]:
    """What returned before another was invoked must not stand behind it, nor a write beside it."""
    problems = []
    returned: list[tuple[float, int]] = []
    newest = 0
    for operation in sorted((o for o in operations if o.revision and not o.serializable), key=lambda o: o.invoked):
        while returned and returned[0][0] < operation.invoked:
            newest = max(newest, heapq.heappop(returned)[1])
        if operation.revision < newest or (operation.effect and operation.revision == newest):
            kind = "a write went before what was answered earlier" if operation.effect else "a stale read"
            problems.append(f"{kind}: revision {newest} had been answered when this was asked: {operation}")
        heapq.heappush(returned, (operation.returned, operation.revision))
    return problems


def _check_members(operations: Sequence[Operation]) -> list[str]:
    """One client that asks one member twice, one after the other, never sees it go back."""
    problems = []
    newest: dict[tuple[int, int], int] = {}
    for operation in sorted((o for o in operations if o.returned < NEVER and o.revision), key=lambda o: o.invoked):
        pair = (operation.client, operation.member)
        if operation.revision < newest.get(pair, 0):
            problems.append(f"member {operation.member} went back from revision {newest[pair]}: {operation}")
        newest[pair] = max(newest.get(pair, 0), operation.revision)
    return problems


def check_watch(seen: Sequence[Event], events: Sequence[Event], start: int) -> list[str]:
    """A watch of everything from `start` on must have told every event once, in order."""
    expected = [event for event in events if event[0] >= start]
    if list(seen) == expected:
        return []
    for number, (got, wanted) in enumerate(zip(seen, expected, strict=False)):
        if got != wanted:
            return [f"a watch told {got} where {wanted} was due, as event {number}"]
    if len(seen) < len(expected):
        return [f"a watch ended at {seen[-1:]}, {len(expected) - len(seen)} events before {expected[-1]}"]
    return [f"a watch told more than happened: {seen[len(expected)]}"]
