"""What must hold at every turn of every member: raft's promises, and one state for one applied index."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from quorate.api.raftpb import ConfState, HardState
from quorate.raft import MemoryStorage, Role
from quorate.raft.invariants import Ledger
from quorate.raft.machine import Raft
from quorate.raft.tracker import Membership
from quorate.server import Server

REMEMBERED = 20_000
"""Applied indexes whose states are kept to compare others with."""


class Seen(NamedTuple):
    """A member at the end of its last turn: what it takes to be on its disk, its hard state and its newest committed
    entry; and what it leads, if it does."""

    state: HardState
    stable: int
    stable_term: int | None
    """None when the entry is compacted."""
    leads: int
    """The term in which it leads, or 0."""
    committed: int
    applied: int
    membership: Membership


class Applied(NamedTuple):
    """What is alike on all members that have applied the same entries."""

    term: int | None
    revision: int
    leases: int
    members: ConfState


class Invariants:
    """Raises AssertionError in the turn that breaks one; the member stops with it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._applied: dict[int, tuple[Applied, str]] = {}
        self._seen: dict[int, Seen] = {}
        self._committed: dict[int, int] = {}
        """By term: the last entry that its leader was seen to have committed; it is of that term."""
        self._durable: dict[int, MemoryStorage] = {}
        """What members, dead ones too, have on their disks: a write is entered there when its sync is over."""

    def begins(self, server: Server) -> None:
        """A life of a member begins: what it had in memory only is gone, what it had promised is there."""
        self.ledger.forget(server.member_id)
        self._durable[server.member_id] = server.raft.storage
        seen = self._seen.get(server.member_id)
        if seen is None:
            return
        raft, name = server.node.raft, server.config.name
        term, vote, _ = seen.state
        assert raft.term > term or (raft.term == term and vote in (0, raft.vote)), (
            f"{name} had voted for {vote:x} in term {term}, and comes back with {raft.vote:x} in term {raft.term}"
        )
        found = raft.log.term(seen.stable)
        assert seen.stable <= raft.log.last_index() and (found is None or seen.stable_term in (None, found)), (
            f"{name} had committed entry {seen.stable} of term {seen.stable_term}, and comes back with {raft.log}"
        )

    def observe(self, server: Server) -> None:
        """A turn of raft has ended."""
        raft = server.node.raft
        self.ledger.observe(raft)
        if raft.log.unstable.snapshot is not None:
            return  # where the member stands is not on its disk yet
        before, now = self._seen.get(raft.id), _look(server)
        if now == before:
            return
        if now.leads:
            # Within the turn another configuration may have come into effect.
            memberships = [now.membership] + ([before.membership] if before is not None else [])
            if before is None or before.leads != now.leads:
                self._check_elected(raft, memberships)
            elif now.committed > before.committed:
                self._check_commit(raft, memberships)
        counted, members = now.membership.conf_state(), server.state.conf_state
        assert counted == members, f"raft counts with {counted}, applied are {members}"
        if before is None or before.applied != now.applied:
            self._check_applied(server)
        self._seen[raft.id] = now

    def _check_elected(self, raft: Raft, memberships: list[Membership]) -> None:
        """A quorum has voted, on its disks, and nothing that was committed is missing (Raft paper §5.4.1)."""
        term, log = raft.term, raft.log
        assert any(_quorum(membership, lambda voter: self._voted(voter, raft)) for membership in memberships), (
            f"{raft.id:x} leads in term {term} without the votes of a quorum of {raft.tracker.membership}"
        )
        before = max((earlier for earlier in self._committed if earlier < term), default=0)
        index = self._committed.get(before, 0)
        assert index <= log.last_index() and log.term(index) in (None, before), (
            f"leader completeness: {raft.id:x} leads in term {term} with {log}, "
            f"without entry {index} that was committed in term {before}"
        )

    def _check_commit(self, raft: Raft, memberships: list[Membership]) -> None:
        """It is of the leader's term (Raft paper §5.4.2), and on the disks of a quorum."""
        term, committed = raft.term, raft.log.committed
        found = raft.log.term(committed)
        assert found == term, f"a leader of term {term} committed entry {committed}, the last one of term {found}"
        assert any(_quorum(m, lambda voter: self._holds(voter, committed, term)) for m in memberships), (
            f"entry {committed} is committed and not on the disks of a quorum of {raft.tracker.membership}"
        )
        self._committed[term] = committed

    def _voted(self, voter: int, raft: Raft) -> bool:
        durable = self._durable.get(voter)
        if durable is None:
            return False
        state = durable.initial_state()[0]
        return state.term > raft.term or (state.term == raft.term and state.vote == raft.id)

    def _holds(self, voter: int, index: int, term: int) -> bool:
        log = self._durable.get(voter)
        if log is None or log.last_index() < index:
            return False
        return index < log.first_index() or log.term(index) == term

    def _check_applied(self, server: Server) -> None:
        applied = server.applied_index
        term = server.node.raft.log.term(applied)
        state = Applied(term, server.store.revision, len(server.lessor.leases()), server.state.conf_state)
        known, whose = self._applied.setdefault(applied, (state, server.config.name))
        assert known == state, f"at entry {applied} there is {state} here and {known} on {whose}"
        if len(self._applied) > REMEMBERED:
            del self._applied[next(iter(self._applied))]


def _look(server: Server) -> Seen:
    raft = server.node.raft
    log = raft.log
    stable = min(log.committed, log.unstable.offset - 1)
    state = server.raft.storage.initial_state()[0]
    leads = raft.term if raft.role is Role.LEADER else 0
    return Seen(state, stable, log.term(stable), leads, log.committed, server.applied_index, raft.tracker.membership)


def _quorum(membership: Membership, agrees: Callable[[int], bool]) -> bool:
    halves = membership.incoming, membership.outgoing
    return all(2 * sum(map(agrees, voters)) > len(voters) for voters in halves if voters)
