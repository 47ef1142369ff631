"""What clients asked and were told while members failed, and whether one store could have said it all.

Every reply of etcd names the revision at which it holds, so the one order in which everything happened is known and
linearizability needs no search: the order of revisions must agree with the order of real time, and each reply must be
the one that `model` gives from the events up to its revision.

    operation  │ invoked ───────────► returned │   at some revision between, if at all
    events     revision 2: k=v   revision 3: k=w, l=x   revision 4: k gone      the same on every member

`check` finds: an acknowledged write that is lost or changed, an event that nobody asked for, a stale or impossible
read, a compare that was decided wrongly, an effect before its cause, a read of what is compacted or still to come, and
a member whose revision goes back.

Source: Herlihy and Wing, Linearizability (1990); for revisions, etcd's API guarantees.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from google.protobuf.text_format import MessageToString

from quorate.api.errors import Code, Compacted, FutureRevision
from quorate.testing.model import Changes, changed, evaluate, plain, values_of, writes
from quorate.testing.story import Event, Story

NEVER = float("inf")


@dataclass(slots=True)
class Operation:
    """One request. Times in seconds of one clock. What is not known keeps its default; each value is sent once."""

    client: int
    member: int
    invoked: float
    request: Any
    """RangeRequest, PutRequest, DeleteRangeRequest or TxnRequest."""
    returned: float = NEVER
    answer: Any = None
    revision: int = 0
    """That of the answer."""
    refusal: str = ""
    code: int = 0
    impossible: bool = False
    """It failed in a way that rules out that it ever takes effect."""

    @property
    def acknowledged(self) -> bool:
        return self.answer is not None

    @property
    def effect(self) -> bool:
        """It was acknowledged and changed something, at `revision`."""
        return self.answer is not None and changed(self.answer)

    @property
    def serializable(self) -> bool:
        return bool(getattr(self.request, "serializable", False))

    @property
    def past(self) -> int:
        """The revision that it asks to read at; 0 for the newest."""
        return int(getattr(self.request, "revision", 0))

    def refuse(self, code: int, message: str, now: float) -> None:
        self.code, self.refusal = code, message
        never_sent = code == Code.UNAVAILABLE and "Error while dialing" in message  # nobody listens there
        self.impossible = code in (Code.OUT_OF_RANGE, Code.PERMISSION_DENIED) or never_sent
        if self.impossible:
            self.returned = now

    def __str__(self) -> str:
        told = f"{self.revision}: {_short(self.answer)}" if self.acknowledged else self.refusal or "no answer"
        who = f"client {self.client} at member {self.member}, {self.invoked:.4f} to {self.returned:.4f}"
        return f"{type(self.request).__name__} {_short(self.request)} -> {told} ({who})"


@dataclass(slots=True)
class Compaction:
    """A request to compact; `returned` when it was acknowledged."""

    revision: int
    invoked: float
    returned: float = NEVER


def check(
    operations: Sequence[Operation],
    events: Sequence[Event],
    compactions: Sequence[Compaction] = (),
    free: bytes = b"lease/",
) -> list[str]:
    """All violations found, in words. Keys that begin with `free` may be deleted by nobody: by a lease."""
    story = Story(events)
    problems = _check_events(events)
    problems += _check_writes(operations, story, free)
    for operation in operations:
        if operation.acknowledged:
            problems += _check_answer(operation, story)
        elif operation.code == Code.INVALID_ARGUMENT:
            problems.append(f"refused: {operation}")
    problems += _check_time(operations)
    problems += _check_members(operations)
    problems += _check_compacted(operations, compactions)
    return problems


def _check_events(events: Sequence[Event]) -> list[str]:
    seen = set()
    problems = []
    for revision, key, _ in events:
        if (revision, key) in seen:
            problems.append(f"revision {revision} changes {key!r} twice")
        seen.add((revision, key))
    return problems


def _check_writes(operations: Sequence[Operation], story: Story, free: bytes) -> list[str]:
    """Events and writes belong together one to one. Unknown writes that took effect are given their revision."""
    problems = []
    claimed: set[int] = set()
    for operation in operations:
        if operation.effect:
            if operation.revision in claimed:
                problems.append(f"two writes were acknowledged at revision {operation.revision}")
            claimed.add(operation.revision)
            _, made = evaluate(operation.request, story, operation.revision - 1)
            if story.changes(operation.revision) != made:
                problems.append(f"lost: {operation} but there is {story.changes(operation.revision)}")
    possible = [o for o in operations if not o.acknowledged and not o.impossible and writes(o.request)]
    values = {value: operation for operation in possible for value in values_of(operation.request)}
    deletes: dict[int, Changes] = {}
    for revision in sorted({event[0] for event in story.events} - claimed):
        became = story.changes(revision)
        cause = next((values[v] for v in became.values() if v is not None and v in values), None)
        if all(v is None for v in became.values()):
            if not all(key.startswith(free) for key in became):
                deletes[revision] = became
        elif cause is None or cause.revision or evaluate(cause.request, story, revision - 1)[1] != became:
            problems.append(f"nobody asked for {became} at revision {revision}; the nearest is {cause}")
        else:
            cause.revision = revision
    unknown = [operation for operation in possible if not operation.revision]
    return problems + _check_deletes(unknown, deletes, story)


def _check_deletes(operations: Sequence[Operation], deletes: dict[int, Changes], story: Story) -> list[str]:
    """Deletes have no value to know their cause by: each needs one of its own that may have been it (a matching)."""
    causes: dict[int, int] = {}

    def find_cause(revision: int, tried: set[int]) -> bool:
        for number, operation in enumerate(operations):
            if number in tried or evaluate(operation.request, story, revision - 1)[1] != deletes[revision]:
                continue
            tried.add(number)
            if number not in causes or find_cause(causes[number], tried):
                causes[number] = revision
                return True
        return False

    return [
        f"nobody asked for {became} at revision {revision}"
        for revision, became in deletes.items()
        if not find_cause(revision, set())
    ]


def _check_answer(operation: Operation, story: Story) -> list[str]:
    if operation.past > operation.revision:
        return [f"wrong answer of the future: {operation}"]
    met = operation.revision - 1 if operation.effect else operation.revision
    expected, _ = evaluate(operation.request, story, met)
    if plain(operation.answer) != expected:
        return [f"wrong answer: {operation} but from revision {met} follows {_short(expected)}"]
    return []


def _check_time(operations: Sequence[Operation]) -> list[str]:
    """What returned before another was invoked must not stand behind it, nor a write beside it."""
    problems = []
    returned: list[tuple[float, int]] = []
    newest = 0
    for operation in sorted((o for o in operations if not o.serializable), key=lambda o: o.invoked):
        while returned and returned[0][0] < operation.invoked:
            newest = max(newest, heapq.heappop(returned)[1])
        if operation.revision:
            write = operation.effect or not operation.acknowledged
            if operation.revision < newest or (write and operation.revision == newest):
                kind = "a write went before what was answered earlier" if write else "a stale read"
                problems.append(f"{kind}: revision {newest} had been answered when this was asked: {operation}")
            heapq.heappush(returned, (operation.returned, operation.revision))
        elif FutureRevision.text in operation.refusal and operation.past <= newest:
            problems.append(f"a stale refusal: revision {newest} had been answered when this was asked: {operation}")
    return problems


def _check_members(operations: Sequence[Operation]) -> list[str]:
    """One client that asks one member twice, one after the other, never sees it go back."""
    problems = []
    newest: dict[tuple[int, int], int] = defaultdict(int)
    for operation in sorted(operations, key=lambda o: o.invoked):
        pair = (operation.client, operation.member)
        if operation.acknowledged:
            if operation.revision < newest[pair]:
                problems.append(f"member {operation.member} went back from revision {newest[pair]}: {operation}")
            newest[pair] = max(newest[pair], operation.revision)
        elif FutureRevision.text in operation.refusal and operation.past <= newest[pair]:
            problems.append(f"member {operation.member} went back from revision {newest[pair]}: {operation}")
    return problems


def _check_compacted(operations: Sequence[Operation], compactions: Sequence[Compaction]) -> list[str]:
    """What is compacted is refused, from the answer to the compaction on, and nothing before anybody asked for it."""
    problems = []
    asked = _newest_by((c.invoked, c.revision) for c in compactions)
    done = _newest_by((c.returned, c.revision) for c in compactions if c.returned < NEVER)
    for operation in operations:
        if operation.acknowledged and operation.past and not operation.serializable:
            if operation.past < _newest_before(operation.invoked, done):
                problems.append(f"a read of what is compacted: {operation}")
        elif Compacted.text in operation.refusal and operation.past >= _newest_before(operation.returned, asked):
            problems.append(f"not compacted: {operation}")
    return problems


def _newest_by(moments: Any) -> tuple[list[float], list[int]]:
    """Times, and the highest revision that was known at each."""
    ordered = sorted(moments)
    return [time for time, _ in ordered], list(accumulate((revision for _, revision in ordered), max))


def _newest_before(time: float, known: tuple[list[float], list[int]]) -> int:
    place = bisect_left(known[0], time)
    return known[1][place - 1] if place else 0


def _short(message: Any) -> str:
    return "{" + MessageToString(message, as_one_line=True) + "}"


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
