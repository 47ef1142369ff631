"""What holds at every moment, of one member, from one moment to the next, and among all members.

    check(raft)              the state makes sense in itself
    check_step(before, after)  it may have followed from the one before
    Ledger.observe(raft)     both, and what the members promise each other (Raft paper, figure 3)

Each raises AssertionError. For tests and simulations: a check looks at every entry that is not stable yet.
"""

from __future__ import annotations

from typing import NamedTuple

from quorate.api.raftpb import Entry
from quorate.raft.confchange import check as check_membership
from quorate.raft.config import NO_LIMIT, NONE
from quorate.raft.errors import EntriesCompacted
from quorate.raft.machine import Raft
from quorate.raft.progress import REPLICATE, SNAPSHOT, Progress
from quorate.raft.role import CANDIDATE, FOLLOWER, LEADER, PRE_CANDIDATE, Role


class View(NamedTuple):
    """What later moments are compared with."""

    id: int
    term: int
    vote: int
    role: Role
    lead: int
    committed: int
    committed_term: int | None
    """None when the entry is compacted."""
    applying: int
    applied: int
    first_index: int
    last_index: int


def view(raft: Raft) -> View:
    log = raft.log
    return View(
        raft.id,
        raft.term,
        raft.vote,
        raft.role,
        raft.lead,
        log.committed,
        log.term(log.committed),
        log.applying,
        log.applied,
        log.first_index(),
        log.last_index(),
    )


# One moment


def check(raft: Raft) -> None:
    _check_log(raft)
    _check_role(raft)
    check_membership(raft.tracker.membership, raft.tracker.progress)
    assert list(raft.tracker.progress) == sorted(raft.tracker.progress), "progress is not in order of ids"
    assert raft.uncommitted_size >= 0
    if raft.role == LEADER:
        for id_, progress in raft.tracker.progress.items():
            _check_progress(raft, id_, progress)


def _check_log(raft: Raft) -> None:
    log, unstable = raft.log, raft.log.unstable
    last = log.last_index()
    assert log.applied <= log.applying <= log.committed <= last, f"what is committed is not in the log: {log}, {last=}"
    assert log.first_index() - 1 <= log.committed, f"entries are compacted that are not committed: {log}"
    assert unstable.offset <= unstable.offset_in_progress <= unstable.offset + len(unstable.entries), str(log)
    assert log.storage.last_index() >= unstable.offset - 1 or unstable.snapshot is not None, (
        "a gap before the unstable log"
    )
    if unstable.snapshot is not None:
        assert log.applied < unstable.snapshot.index < unstable.offset, "a snapshot is pending that is applied"
    term = log.term(unstable.offset - 1) or 0
    for index, entry in enumerate(unstable.entries, unstable.offset):
        assert entry.index == index, f"entry {entry.index} at the place of {index}"
        assert term <= entry.term <= raft.term, f"term {entry.term} at {index} follows {term}, in term {raft.term}"
        term = entry.term


def _check_role(raft: Raft) -> None:
    if raft.role == LEADER:
        assert raft.lead == raft.vote == raft.id, "a leader has voted for itself and follows nobody"
        assert raft.log.last_term() == raft.term, "a leader has an entry of its term"
        assert raft.pending_conf_index <= raft.log.last_index()
    elif raft.role == CANDIDATE:
        assert raft.vote == raft.id, "a candidate has voted for itself"
        assert raft.lead == NONE, "a candidate knows no leader"
    elif raft.role == PRE_CANDIDATE:
        assert raft.lead == NONE, "a pre-candidate knows no leader"
    else:
        assert raft.lead != raft.id, "a follower does not follow itself"
    if raft.role != LEADER:
        assert raft.lead_transferee == NONE, "only a leader can hand over"


def _check_progress(raft: Raft, id_: int, progress: Progress) -> None:
    last = raft.log.last_index()
    assert progress.match < progress.next <= last + 1, f"{id_:x}: {progress}"
    assert (progress.pending_snapshot != 0) <= (progress.state == SNAPSHOT), f"{id_:x}: {progress}"
    inflights = progress.inflights
    assert len(inflights) <= inflights.size
    assert not len(inflights) or progress.state == REPLICATE, f"{id_:x}: {progress}"


# From one moment to the next


def check_step(before: View, after: View) -> None:
    """Nothing that is promised is taken back. A restart, which forgets what was not on disk, is no step."""
    assert after.term >= before.term, "the term went back"
    assert after.committed >= before.committed, "the commit index went back"
    assert after.applying >= before.applying, "the applying index went back"
    assert after.applied >= before.applied, "the applied index went back"
    assert after.first_index >= before.first_index, "the log grew at its beginning"
    if after.term != before.term:
        return
    assert after.vote == before.vote or before.vote == NONE, "the vote changed within a term"
    assert after.lead == before.lead or NONE in (after.lead, before.lead), "two leaders within a term"
    if after.role != before.role:
        assert after.role != LEADER or before.role == CANDIDATE, "a leader without an election"
        assert after.role != CANDIDATE, "a candidate without a new term"
        assert before.role != LEADER or after.role == FOLLOWER, "a leader became a candidate"
    elif after.role == LEADER:
        assert after.last_index >= before.last_index, "a leader cut its own log"


# Among all


class Ledger:
    """Who led when, and what was committed where, across members and their restarts."""

    def __init__(self) -> None:
        self._leaders: dict[int, int] = {}
        self._committed: dict[int, Entry] = {}
        self._views: dict[int, View] = {}

    def observe(self, raft: Raft) -> None:
        """To be called after every step of every member."""
        now = view(raft)
        before = self._views.get(raft.id)
        if now == before:
            return  # nothing came but heartbeats and their answers
        check(raft)
        if before is not None:
            check_step(before, now)
            term = raft.log.term(before.committed)
            assert None in (term, before.committed_term) or term == before.committed_term, "a committed entry changed"
        self._views[raft.id] = now
        if raft.role == LEADER:
            leader = self._leaders.setdefault(raft.term, raft.id)
            assert leader == raft.id, f"election safety: {leader:x} and {raft.id:x} lead in term {raft.term}"
        self._enter_committed(raft, before.committed if before is not None else 0)

    def forget(self, id_: int) -> None:
        """The member is restarted: what it had only in memory is gone, and its next view follows from nothing."""
        self._views.pop(id_, None)

    def committed(self) -> list[Entry]:
        """All that is known to be committed, in order."""
        return [self._committed[index] for index in sorted(self._committed)]

    def _enter_committed(self, raft: Raft, since: int) -> None:
        low = max(since + 1, raft.log.first_index())
        if low > raft.log.committed:
            return
        try:
            entries = raft.log.slice(low, raft.log.committed + 1, NO_LIMIT)
        except EntriesCompacted:
            return  # not there any more: entered when another member had them
        for entry in entries:
            known = self._committed.setdefault(entry.index, entry)
            assert known == entry, f"state machine safety: {known} and {entry} are committed"
