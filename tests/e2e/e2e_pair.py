"""Two clusters side by side: every operation goes to both; the first difference stops the run with a full account.

They have as many members each, and an operation goes to members of the same number. Where a member answers from what it
has itself, both are first made to have everything.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from e2e_allowed import allowed_status, level, level_both, level_many, watch_may_lack
from e2e_generator import STREAMS, Op
from e2e_rpc import Answer, Connect, connect_plain
from e2e_side import Different, Side, Watcher

from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb

LINK_SECONDS = 6.0
"""After this time every member counts the others as connected."""

CHANGES = {"MemberAdd", "MemberRemove", "MemberPromote"}
"""Calls that are refused while members are not connected."""

LED = {"Status", "MoveLeader", "MemberPromote"}
"""Calls whose answer tells who leads."""

LOCAL = {
    "Range", "Txn", "HashKV", "Hash", "Status", "LeaseLeases", "LeaseTimeToLive", "KeepAlive", "MemberList",
    "WatchCreate", "WatchProgress", "Snapshot", "MoveLeader",
}  # fmt: skip
"""Calls that a member answers from what it has itself, some of them always, some on demand."""


class Pair:
    """A cluster of real etcd and one under test, of the same size, led by members of the same number."""

    def __init__(
        self,
        real: Sequence[str],
        subject: Sequence[str],
        *,
        strict: bool = False,
        connects: tuple[Connect, Connect] = (connect_plain, connect_plain),
        promote_on_leader: bool = False,
    ) -> None:
        self.sides = (Side(real, connects[0]), Side(subject, connects[1]))
        self.size = len(real)
        self.strict = strict
        self._promote_on_leader = promote_on_leader
        self._linked_at = time.monotonic() + LINK_SECONDS
        self.revision = 1
        self.compacted = 0
        self.watchers: list[tuple[Watcher, Watcher, int]] = []
        self.allowed: dict[str, int] = {}
        self._owed: dict[int, tuple[int, list[Any]]] = {}
        self._alike = 0
        if self.size > 1:
            self.align()

    def close(self) -> None:
        for side in self.sides:
            side.close()

    def open_watchers(self) -> list[tuple[int, int]]:
        return [(stream, watch_id) for stream in range(STREAMS) for watch_id in self.sides[0].alive[stream]]

    def run(self, op: Op) -> Answer:
        """Do it on both sides and compare. Returns what real etcd answered, by the names of both. Raises Different."""
        if op.kind in ("Compact", "WatchCancel", "Barrier", "WatchProgress"):
            self.barrier()
        if op.kind == "Compact":
            self.catch_up()
        self._prepare(op)
        if op.kind == "MemberPromote" and self._promote_on_leader:
            op = replace(op, member=self.sides[0].leader())
        if op.kind == "WatchCreate":
            return self._create(op)
        if op.kind == "WatchCancel":
            return self._cancel(op)
        if op.kind == "WatchProgress":
            return self._progress(op)
        if op.kind == "Barrier":
            return Answer(None)
        real, subject = (side.call(op.kind, op.member, op.message) for side in self.sides)
        if op.kind == "MemberAdd":
            for side, answer in zip(self.sides, (real, subject), strict=True):
                if answer.ok:
                    side.names.add(answer.message.member.ID)
        first = self._compare(op, real, subject)
        if first.ok:
            self._note(op, first.message)
        return first

    def _prepare(self, op: Op) -> None:
        """Bring both sides to where the answer of this member must be the same."""
        if self.size > 1 and op.kind in CHANGES and (left := self._linked_at - time.monotonic()) > 0:
            time.sleep(left)  # both refuse until their members have been in touch for a while
        if self.size == 1:
            return
        if op.kind in LED:
            self.align()
        if op.kind in LOCAL and not (op.kind == "Range" and not op.message.serializable):  # type: ignore[union-attr]
            member = op.stream % self.size if op.kind.startswith("Watch") else op.member
            for side in self.sides:
                side.sync(member)

    def _note(self, op: Op, message: Any) -> None:
        if message.DESCRIPTOR.fields_by_name.get("header") is not None:
            self.revision = max(self.revision, message.header.revision)
        if op.kind == "Campaign":  # who says something new has a header from before that
            self.revision = self.sides[0].sync(op.member)
        if op.kind == "Compact":
            self.compacted = op.message.revision  # type: ignore[union-attr]
        elif op.kind == "MoveLeader" and self.size > 1:
            self.align()

    def align(self) -> None:
        """Let the same member lead on both sides: elections that nobody asked for may have changed that."""
        leader = self.sides[0].leader()
        if self.sides[1].leader() != leader:
            self.sides[1].move_leader(leader)

    def _compare(self, op: Op, real: Answer, subject: Answer) -> Answer:
        """The answer of real etcd in plain names."""
        if (real.code, real.text) != (subject.code, subject.text):
            entry = None if self.strict else allowed_status(op.kind, op.message, real, subject)
            if entry is None:
                raise Different(f"{op}\n--- real:    {_shown(real)}\n--- subject: {_shown(subject)}")
            self.allowed[entry.name] = self.allowed.get(entry.name, 0) + 1
            return real
        if not real.ok:
            return real
        left, right = (
            self._plain(op, side, answer.message) for side, answer in zip(self.sides, (real, subject), strict=True)
        )
        level_both(op.kind, left, right)
        if left != right:
            raise Different(f"{op}\n{_line_by_line(left, right)}")
        return Answer(left)

    def _plain(self, op: Op, side: Side, message: Any) -> Any:
        plain = type(message)()
        plain.CopyFrom(message)
        side.names.unname(plain)
        level(op.kind, op.message, plain)
        if self.size > 1:
            level_many(op.kind, plain)
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
                lambda side=side: self.revision == 1 or all(_last(one) >= self.revision for one in side.masters),
                f"revision {self.revision} on a watch of everything",
            )
        first = self.sides[0].masters[0].events
        for side in self.sides:
            for master in side.masters:
                self._compare_masters(first, master.events)
        self._alike = len(first)
        rest = []
        for left, right, compacted in self.watchers:
            owed = self._owed_to(left, compacted)
            for side, watcher in zip(self.sides, (left, right), strict=True):
                side.wait(
                    partial(_served, watcher, owed, compacted), f"watch {watcher.request}: {owed and len(owed)} events"
                )
            self._compare_watchers(left, right, owed, compacted)
            if left.ended is None:
                rest.append((left, right, compacted))
            else:
                self._owed.pop(id(left), None)
        self.watchers = rest

    def _compare_masters(self, left: list[Any], right: list[Any]) -> None:
        """What is new since the last time."""
        news = [[_told(event) for event in events[self._alike :]] for events in (left, right)]
        if news[0] != news[1]:
            raise Different(f"watches of everything differ:\n{_first_difference(left, right)}")

    def catch_up(self) -> None:
        """Wait until no watcher is behind the store, so that a compaction ends the same ones on both sides.

        A watcher without events gives no sign of having caught up. But watchers catch up together, so once one that was
        opened later has its event, the earlier ones are done. A store whose newest revision is compacted shows nothing
        to such a watcher, and refuses every compaction anyway.
        """
        if self.revision in (1, self.compacted):
            return
        for side in self.sides:
            for stream in range(STREAMS, STREAMS + self.size):
                everything = {"key": b"\0", "range_end": b"\0", "start_revision": self.revision}
                probe = side.create(stream, pb.WatchRequest(create_request=everything))
                side.wait(partial(_served, probe, [None], 0), "the event of a watch from the newest revision")
                side.cancel(stream, pb.WatchRequest(cancel_request={"watch_id": probe.created.watch_id}))

    def _owed_to(self, watcher: Watcher, compacted: int) -> list[Any] | None:
        """Every event of the master watch that belongs to this one; None when it must end as compacted."""
        if watcher.created.canceled:
            return []
        if 0 < watcher.request.start_revision < compacted:
            return None
        position, owed = self._owed.get(id(watcher), (0, []))
        events = self.sides[0].masters[0].events
        owed.extend(
            e for e in events[position:] if watcher.wants(e) and not watch_may_lack(e, watcher.start, compacted)
        )
        self._owed[id(watcher)] = (len(events), owed)
        return owed

    def _compare_watchers(self, left: Watcher, right: Watcher, owed: list[Any] | None, compacted: int) -> None:
        seen = [_seen(watcher, compacted) for watcher in (left, right)]
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


def _served(watcher: Watcher, owed: list[Any] | None, compacted: int) -> bool:
    """It has ended, or it has all it is owed. None: it is owed an end."""
    return watcher.ended is not None or (owed is not None and len(_seen(watcher, compacted)) >= len(owed))


def _seen(watcher: Watcher, compacted: int) -> list[Any]:
    """What it was told, but for what only one of the sides may have been told."""
    return [event for event in watcher.events if not watch_may_lack(event, watcher.start, compacted)]


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
