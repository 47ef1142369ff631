"""Whether a watch kept the promises of etcd's API; a problem begins with the name of the promise.

    filter        only keys and kinds of events that were asked for
    ordered       events by revision, and within one as it made them
    unique        no event twice
    atomic        all events of a revision in one response, in its fragments at least
    reliable      no event left out between the first and the last, nothing that never happened
    resumable     from a revision on: begins with the first event from there on, or is told what is compacted
    bookmarkable  progress at a revision: all up to it was told before, nothing up to it comes later
    prev_kv       the pair as it was before, where asked for, unless it is compacted
    is_create     revision of creation and version are right, so that what creates a key is known

What the responses say by themselves is judged first, and the story only if nothing is wrong with that: a watch that
goes back has gaps as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from quorate.api.pb import kv_pb2
from quorate.testing.history import Compaction
from quorate.testing.story import Event, Row, Story, covers
from quorate.testing.watching import Watch

DELETE = kv_pb2.Event.DELETE


class Told(NamedTuple):
    """A response, its fragments together: events in order, or else progress at `revision`."""

    at: float
    revision: int
    events: Sequence[kv_pb2.Event]


def check_told(watch: Watch, story: Story, compactions: Sequence[Compaction] = ()) -> list[str]:
    """The first promise that a watch broke, in words; nothing if it kept all. `story` must go as far as it told."""
    checks = (_check_pieces, _check_responses, _check_story, _check_pairs, _check_end)
    judge = _Judge(watch, story, compactions)
    for problem in (problem for check in checks for problem in check(judge)):
        return [f"{watch}: {problem}"]
    return []


class _Judge:
    """What is known of one watch."""

    def __init__(self, watch: Watch, story: Story, compactions: Sequence[Compaction]) -> None:
        self.watch = watch
        self.asked = watch.request
        self.story = story
        self.compactions = compactions
        self.told = list(_whole(watch))

    def wants(self, key: bytes, *, delete: bool) -> bool:
        unwanted = self.asked.NODELETE if delete else self.asked.NOPUT
        return covers(self.asked.key, self.asked.range_end, key) and unwanted not in self.asked.filters

    def is_compacted(self, revision: int, at: float) -> bool:
        """Whether a revision may be compacted at that time."""
        return any(c.revision > revision and c.invoked <= at for c in self.compactions)


def _whole(watch: Watch) -> Iterator[Told]:
    """Responses put together; one whose last fragment never came is left out."""
    events: list[kv_pb2.Event] = []
    for at, answer in watch.told:
        if not answer.created and not answer.canceled:
            events += answer.events
            if not answer.fragment:
                yield Told(at, answer.header.revision, events)
                events = []


def _check_pieces(judge: _Judge) -> Iterator[str]:
    for _, answer in judge.watch.told:
        if answer.fragment and not judge.asked.fragment:
            yield "atomic: a response in fragments, which nobody asked for"
        if answer.created and answer.canceled:
            yield f"resumable: refused, {answer.cancel_reason!r}"


def _check_responses(judge: _Judge) -> Iterator[str]:
    """What can be seen without knowing the story."""
    newest = bookmark = 0
    seen: set[tuple[int, bytes]] = set()
    for _, revision, events in judge.told:
        first = newest
        for event in events:
            at, key = event.kv.mod_revision, event.kv.key
            if not judge.wants(key, delete=event.type == DELETE):
                yield f"filter: told of {_show(event)}"
            if (at, key) in seen:
                yield f"unique: told of {_show(event)} twice"
            if at < newest:
                yield f"ordered: told of {_show(event)} behind revision {newest}"
            if at == first:
                yield f"atomic: told of {_show(event)} in another response than the rest of its revision"
            if at <= bookmark:
                yield f"bookmarkable: told of {_show(event)} behind progress at {bookmark}"
            newest = max(newest, at)
            seen.add((at, key))
        if not events:
            if revision < judge.asked.start_revision:
                yield f"bookmarkable: progress at {revision}, before its start"
            bookmark = max(bookmark, revision)


def _check_story(judge: _Judge) -> Iterator[str]:
    """Responses against what happened, revision by revision."""
    due = _due(judge)
    ahead = next(due, None)
    begun = False
    for _, bookmark, events in judge.told:
        if not events and ahead is not None and ahead[0] <= bookmark:
            yield f"bookmarkable: progress at {bookmark}, but {ahead[1]} was not told"
            return
        for revision, group in groupby(events, lambda event: event.kv.mod_revision):
            got = [_plain(event) for event in group]
            if revision < judge.watch.start:
                yield f"resumable: told of {got} before its start"
                return
            if ahead is not None and ahead[0] < revision:
                yield f"{'reliable' if begun else 'resumable'}: {ahead[1]} was not told before {got}"
                return
            if ahead is None or ahead[0] > revision:
                yield f"reliable: told of {got}, which never happened"
                return
            if got != ahead[1]:
                yield f"{_name_difference(got, ahead[1])}: told of {got} instead of {ahead[1]}"
                return
            begun = True
            ahead = next(due, None)


def _due(judge: _Judge) -> Iterator[tuple[int, list[Event]]]:
    """What a watch must tell, by revisions."""
    wanted = (
        event
        for event in judge.story.between(judge.watch.start, judge.story.last)
        if judge.wants(event[1], delete=event[2] is None)
    )
    for revision, group in groupby(wanted, lambda event: event[0]):
        yield revision, list(group)


def _name_difference(got: list[Event], expected: list[Event]) -> str:
    if sorted(got, key=repr) == sorted(expected, key=repr):
        return "ordered"
    return "atomic" if all(event in expected for event in got) else "reliable"


def _check_pairs(judge: _Judge) -> Iterator[str]:
    """What is said of each key, now and before."""
    for at, _, events in judge.told:
        for event in events:
            revision, key = event.kv.mod_revision, event.kv.key
            now, before = judge.story.get(key, revision), judge.story.get(key, revision - 1)
            if event.type == DELETE:
                if event.kv != kv_pb2.KeyValue(key=key, mod_revision=revision):
                    yield f"is_create: a delete with more than key and revision: {_show(event)}"
            elif _row(event.kv) != now:
                yield f"is_create: told of {_show(event)} where it is {now}"
            if not event.HasField("prev_kv"):
                if judge.asked.prev_kv and before is not None and not judge.is_compacted(revision - 1, at):
                    yield f"prev_kv: missing from {_show(event)}, before which it was {before}"
            elif not judge.asked.prev_kv:
                yield f"prev_kv: not asked for, and told with {_show(event)}"
            elif event.prev_kv.key != key or _row(event.prev_kv) != before:
                yield f"prev_kv: told of {_show(event)} where it was {before}"


def _check_end(judge: _Judge) -> Iterator[str]:
    """A member ends a watch when the client wants it, or when what it needs next is compacted."""
    for number, (at, answer) in enumerate(judge.watch.told):
        if not answer.canceled or answer.created:
            continue
        if number + 1 < len(judge.watch.told):
            yield "reliable: told more after its end"
        compacted = answer.compact_revision
        if compacted:
            if compacted not in [c.revision for c in judge.compactions if c.invoked <= at]:
                yield f"resumable: ended because of a compaction at {compacted}, which nobody asked for"
            if judge.watch.next >= compacted:
                yield f"resumable: ended because of a compaction at {compacted}, but needs only {judge.watch.next}"
        elif not judge.watch.left:
            yield f"reliable: ended, {answer.cancel_reason!r}"


def _plain(event: kv_pb2.Event) -> Event:
    return event.kv.mod_revision, event.kv.key, None if event.type == DELETE else event.kv.value


def _row(kv: kv_pb2.KeyValue) -> Row:
    return Row(kv.value, kv.create_revision, kv.mod_revision, kv.version)


def _show(event: kv_pb2.Event) -> str:
    kind = "delete" if event.type == DELETE else "put"
    before = f" after {event.prev_kv.key!r} {_row(event.prev_kv)}" if event.HasField("prev_kv") else ""
    return f"{kind} {event.kv.key!r} {_row(event.kv)}{before}"
