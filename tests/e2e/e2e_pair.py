"""Two members side by side: every operation goes to both; the first difference stops the run with a full account."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from e2e_allowed import allowed_status, level, watch_may_lack
from e2e_generator import STREAMS, Op
from e2e_rpc import Answer, Client, Stream, wait_until

from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb

PATIENCE = 10.0
PROGRESS_TRIES = 40


class Different(AssertionError):
    """The two members do not agree, or one breaks a guarantee of its own."""


@dataclass
class Watcher:
    """One watch on one side: what it asked and everything it was told."""

    request: Any
    created: Any = None
    ended: Any = None
    events: list[Any] = field(default_factory=list)

    @property
    def start(self) -> int:
        """First revision it is owed."""
        return self.request.start_revision or self.created.header.revision + 1

    def wants(self, event: Any) -> bool:
        key, end = self.request.key or b"\0", self.request.range_end
        inside = event.kv.key == key if not end else event.kv.key >= key and (end == b"\0" or event.kv.key < end)
        unwanted = 1 if event.type == event.DELETE else 0
        return inside and unwanted not in self.request.filters and event.kv.mod_revision >= self.start


class Side:
    """One member with its open streams. Everything received is sorted into Watchers by `pump`."""

    def __init__(self, endpoint: str) -> None:
        self.client = Client(endpoint)
        self.names = self._learn_names()
        self.streams: list[Stream] = [self.client.watch() for _ in range(STREAMS + 1)]
        self.alive: list[dict[int, Watcher]] = [{} for _ in self.streams]
        self.creating: list[list[Watcher]] = [[] for _ in self.streams]
        self.progress: list[list[int]] = [[] for _ in self.streams]
        self.compacted: set[tuple[int, int]] = set()
        self.keep_alive = self.client.keep_alive()
        self._read = [0] * len(self.streams)
        self.master = self.create(
            STREAMS, pb.WatchRequest(create_request={"key": b"\0", "range_end": b"\0", "start_revision": 1})
        )

    def _learn_names(self) -> tuple[int, int]:
        status = self.client.call("Status", pb.StatusRequest())
        assert status.ok, status
        return status.message.header.cluster_id, status.message.header.member_id

    def close(self) -> None:
        for stream in (*self.streams, self.keep_alive):
            stream.close()
        self.client.close()

    def create(self, stream: int, request: Any) -> Watcher:
        """Open a watch and wait for the answer."""
        made = Watcher(request.create_request)
        self.creating[stream].append(made)
        self.streams[stream].send(request)
        self.wait(lambda: made.created is not None, "a created response")
        return made

    def cancel(self, stream: int, request: Any) -> Watcher | None:
        """Cancel and wait for the answer; an unknown ID gets none.

        One that a compaction has ended is left alone: 3.5.1 still knows it and answers, newer releases do not.
        """
        if (stream, request.cancel_request.watch_id) in self.compacted:
            return None
        found = self.alive[stream].get(request.cancel_request.watch_id)
        self.streams[stream].send(request)
        if found is not None:
            self.wait(lambda: found.ended is not None, "a canceled response")
        return found

    def ask_progress(self, stream: int, request: Any, revision: int) -> None:
        """Ask until the stream reports the present revision: a stream that is not in sync may keep silent."""
        have = len(self.progress[stream])
        for _ in range(PROGRESS_TRIES):
            self.streams[stream].send(request)
            if wait_until(lambda: self.pump() or self.progress[stream][have:], PATIENCE / PROGRESS_TRIES):
                break
        if self.progress[stream][-1:] != [revision]:
            raise Different(f"progress of stream {stream}: {self.progress[stream][have:]}, store is at {revision}")

    def renew(self, request: Any) -> Answer:
        have = len(self.keep_alive.received)
        self.keep_alive.send(request)
        if not self.keep_alive.wait(lambda got: len(got) > have, PATIENCE):
            return self.keep_alive.ended or Answer(None, -1, "no keepalive answer")
        return Answer(self.keep_alive.received[have])

    def wait(self, condition: Any, what: str) -> None:
        if not wait_until(lambda: self.pump() or condition(), PATIENCE, 0.001):
            ends = [stream.ended for stream in self.streams if stream.ended is not None]
            raise Different(f"{self.client.endpoint}: {what} did not come in {PATIENCE} s; ended streams: {ends}")

    def pump(self) -> None:
        """Sort what has arrived."""
        for number, stream in enumerate(self.streams):
            received = stream.received
            while self._read[number] < len(received):
                message = received[self._read[number]]
                self._read[number] += 1
                self._route(number, message)

    def _route(self, stream: int, message: Any) -> None:
        if message.created:
            watcher = self.creating[stream].pop(0)
            watcher.created = message
            if message.canceled:
                watcher.ended = message
            else:
                self.alive[stream][message.watch_id] = watcher
        elif message.watch_id == -1 and not message.canceled:
            self.progress[stream].append(message.header.revision)
        else:
            found = self.alive[stream].get(message.watch_id)
            if found is None:
                raise Different(f"{self.client.endpoint}: response for a watch that is not open: {message}")
            if message.canceled:
                found.ended = message
                if message.compact_revision:
                    self.compacted.add((stream, message.watch_id))
                del self.alive[stream][message.watch_id]
            _check_delivery(found, message)
            found.events.extend(message.events)


def _check_delivery(watcher: Watcher, message: Any) -> None:
    """What each response must hold by itself: order, no repeat, one revision never split, header not behind."""
    last = watcher.events[-1].kv.mod_revision if watcher.events else 0
    for event in message.events:
        revision = event.kv.mod_revision
        if revision < last or (watcher.events and revision == watcher.events[-1].kv.mod_revision):
            raise Different(f"event at {revision} after {last}, or a revision split in two responses: {message}")
        if revision > message.header.revision:
            raise Different(f"event ahead of its header: {message}")
        if not watcher.wants(event):
            raise Different(f"event nobody asked for: {event} by {watcher.request}")
        last = revision


class Pair:
    """Real etcd (first) and the member under test (second)."""

    def __init__(self, real: str, subject: str, *, strict: bool = False) -> None:
        self.sides = (Side(real), Side(subject))
        self.strict = strict
        self.revision = 1
        self.compacted = 0
        self.watchers: list[tuple[Watcher, Watcher, int]] = []
        self.allowed: dict[str, int] = {}
        self._owed: dict[int, tuple[int, list[Any]]] = {}

    def close(self) -> None:
        for side in self.sides:
            side.close()

    def open_watchers(self) -> list[tuple[int, int]]:
        return [(stream, watch_id) for stream in range(STREAMS) for watch_id in self.sides[0].alive[stream]]

    def run(self, op: Op) -> Answer:
        """Do it on both sides and compare. Returns what real etcd answered. Raises Different."""
        if op.kind in ("Compact", "WatchCancel", "Barrier", "WatchProgress"):
            self.barrier()
        if op.kind == "Compact":
            self.catch_up()
        if op.kind == "WatchCreate":
            return self._create(op)
        if op.kind == "WatchCancel":
            return self._cancel(op)
        if op.kind == "WatchProgress":
            return self._progress(op)
        if op.kind == "KeepAlive":
            answers = [side.renew(op.message) for side in self.sides]
        elif op.kind != "Barrier":
            answers = [side.client.call(op.kind, op.message) for side in self.sides]  # type: ignore[arg-type]
        else:
            return Answer(None)
        self._compare(op, *answers)
        first = answers[0]
        if first.ok and first.message.header.revision:
            self.revision = max(self.revision, first.message.header.revision)
        if first.ok and op.kind == "Compact":
            self.compacted = op.message.revision  # type: ignore[union-attr]
        return first

    def _compare(self, op: Op, real: Answer, subject: Answer) -> None:
        if (real.code, real.text) != (subject.code, subject.text):
            entry = None if self.strict else allowed_status(op.kind, op.message, real, subject)
            if entry is None:
                raise Different(f"{op}\n--- real:    {_shown(real)}\n--- subject: {_shown(subject)}")
            self.allowed[entry.name] = self.allowed.get(entry.name, 0) + 1
            return
        if not real.ok:
            return
        left, right = (
            self._plain(op, side, answer.message) for side, answer in zip(self.sides, (real, subject), strict=True)
        )
        if left != right:
            raise Different(f"{op}\n{_line_by_line(left, right)}")

    def _plain(self, op: Op, side: Side, message: Any) -> Any:
        plain = type(message)()
        plain.CopyFrom(message)
        _unname(plain, side.names)
        level(op.kind, op.message, plain)
        return plain

    def _create(self, op: Op) -> Answer:
        pair = [side.create(op.stream, op.message) for side in self.sides]
        left, right = (self._plain(op, side, one.created) for side, one in zip(self.sides, pair, strict=True))
        if left != right:
            raise Different(f"{op}\n{_line_by_line(left, right)}")
        self.watchers.append((pair[0], pair[1], self.compacted))
        return Answer(pair[0].created)

    def _cancel(self, op: Op) -> Answer:
        pair = [side.cancel(op.stream, op.message) for side in self.sides]
        if (pair[0] is None) != (pair[1] is None):
            raise Different(f"{op}: open on one side only")
        return Answer(None)

    def _progress(self, op: Op) -> Answer:
        """Only where every release answers: watchers on the stream, none of them waiting for the future."""
        open_now = self.sides[0].alive[op.stream].values()
        if open_now and all(watcher.request.start_revision <= self.revision for watcher in open_now):
            for side in self.sides:
                side.ask_progress(op.stream, op.message, self.revision)
        return Answer(None)

    def barrier(self) -> None:
        """Wait until every watcher on both sides has all it is owed, then compare all histories."""
        for side in self.sides:
            side.wait(
                lambda side=side: self.revision == 1 or _last(side.master) >= self.revision,
                f"revision {self.revision} on a watch of everything",
            )
        if [_told(e) for e in self.sides[0].master.events] != [_told(e) for e in self.sides[1].master.events]:
            raise Different(
                f"watches of everything differ:\n{_first_difference(*(s.master.events for s in self.sides))}"
            )
        rest = []
        for left, right, compacted in self.watchers:
            owed = self._owed_to(left, compacted)
            for side, watcher in zip(self.sides, (left, right), strict=True):
                side.wait(partial(_served, watcher, owed), f"watch {watcher.request}: {owed and len(owed)} events")
            self._compare_watchers(left, right, owed, compacted)
            if left.ended is None:
                rest.append((left, right, compacted))
            else:
                self._owed.pop(id(left), None)
        self.watchers = rest

    def catch_up(self) -> None:
        """Wait until no watcher is behind the store, so that a compaction ends the same ones on both sides.

        A watcher without events gives no sign of having caught up. But watchers catch up together, so once one that was
        opened later has its event, the earlier ones are done. A store whose newest revision is compacted shows nothing
        to such a watcher, and refuses every compaction anyway.
        """
        if self.revision in (1, self.compacted):
            return
        for side in self.sides:
            everything = {"key": b"\0", "range_end": b"\0", "start_revision": self.revision}
            probe = side.create(STREAMS, pb.WatchRequest(create_request=everything))
            side.wait(partial(_served, probe, [None]), "the event of a watch from the newest revision")
            side.cancel(STREAMS, pb.WatchRequest(cancel_request={"watch_id": probe.created.watch_id}))

    def _owed_to(self, watcher: Watcher, compacted: int) -> list[Any] | None:
        """Every event of the master watch that belongs to this one; None when it must end as compacted."""
        if watcher.created.canceled:
            return []
        if 0 < watcher.request.start_revision < compacted:
            return None
        position, owed = self._owed.get(id(watcher), (0, []))
        events = self.sides[0].master.events
        owed.extend(
            e for e in events[position:] if watcher.wants(e) and not watch_may_lack(e, watcher.start, compacted)
        )
        self._owed[id(watcher)] = (len(events), owed)
        return owed

    def _compare_watchers(self, left: Watcher, right: Watcher, owed: list[Any] | None, compacted: int) -> None:
        seen = [[e for e in w.events if not watch_may_lack(e, w.start, compacted)] for w in (left, right)]
        if [_told(e) for e in seen[0]] != [_told(e) for e in seen[1]]:
            raise Different(f"watch {left.request}\nhistories (real, subject) differ {_first_difference(*seen)}")
        if owed is not None and left.ended is None and [_bare(e) for e in seen[0]] != [_bare(e) for e in owed]:
            raise Different(
                f"watch {left.request}\nnot what a watch of everything saw {_first_difference(seen[0], owed)}"
            )
        ends = [_end(w) for w in (left, right)]
        if ends[0] != ends[1]:
            raise Different(f"watch {left.request}\nends differ: real {ends[0]}, subject {ends[1]}")


def _end(watcher: Watcher) -> Any:
    end = watcher.ended
    return end and (end.compact_revision, end.cancel_reason, end.canceled, end.header.revision)


def _served(watcher: Watcher, owed: list[Any] | None) -> bool:
    """It has ended, or it has all it is owed. None: it is owed an end."""
    return watcher.ended is not None or (owed is not None and len(watcher.events) >= len(owed))


def _last(watcher: Watcher) -> int:
    return watcher.events[-1].kv.mod_revision if watcher.events else 0


def _told(event: Any) -> tuple[int, bytes, bytes]:
    return event.type, event.kv.SerializeToString(), event.prev_kv.SerializeToString()


def _bare(event: Any) -> tuple[int, bytes]:
    return event.type, event.kv.SerializeToString()


def _first_difference(left: list[Any], right: list[Any]) -> str:
    for number in range(max(len(left), len(right))):
        a, b = (one[number] if number < len(one) else kv_pb2.Event() for one in (left, right))
        if _told(a) != _told(b):
            return f"at event {number} of {len(left)} and {len(right)}:\n{a}---\n{b}"
    return "no difference"


def _unname(message: Any, names: tuple[int, int]) -> None:
    """Replace this cluster's and this member's ID by 1 and 2, wherever they stand."""
    if message.DESCRIPTOR.fields_by_name.get("header") is not None and message.HasField("header"):
        header = message.header
        header.cluster_id = 1 if header.cluster_id == names[0] else header.cluster_id
        header.member_id = 2 if header.member_id == names[1] else header.member_id
    if message.DESCRIPTOR.name == "StatusResponse":
        message.leader = 2 if message.leader == names[1] else message.leader
    if message.DESCRIPTOR.name == "MemberListResponse":
        for member in message.members:
            member.ID = 2 if names[1] == member.ID else member.ID
            del member.peerURLs[:]
            del member.clientURLs[:]


def _line_by_line(left: Any, right: Any) -> str:
    lines = [str(message).splitlines() for message in (left, right)]
    return "\n".join(difflib.unified_diff(*lines, "real", "subject", n=6, lineterm=""))


def _shown(answer: Answer) -> str:
    return f"OK {' '.join(str(answer.message).split())}" if answer.ok else f"code {answer.code} {answer.text!r}"


def replay(ops: Iterable[Op], pair: Pair) -> Different | None:
    """Run them; the first difference, or None."""
    try:
        for op in ops:
            pair.run(op)
        pair.barrier()
    except Different as found:
        return found
    return None
