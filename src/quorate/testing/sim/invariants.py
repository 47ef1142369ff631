"""What must hold at every turn of every member: raft's promises, and one state for one applied index."""

from __future__ import annotations

from quorate.raft.invariants import Ledger
from quorate.server import Server

REMEMBERED = 20_000
"""Applied indexes whose revisions are kept to compare others with."""


class Invariants:
    """Raises AssertionError in the turn that breaks one; the member stops with it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._revisions: dict[int, tuple[int, int, str]] = {}
        self._applied: dict[int, int] = {}

    def begins(self, server: Server) -> None:
        """A life of a member begins: what it had in memory only is gone."""
        self.ledger.forget(server.member_id)
        self._applied.pop(server.member_id, None)

    def observe(self, server: Server) -> None:
        """A turn of raft has ended."""
        self.ledger.observe(server.node.raft)
        applied = server.applied_index
        if self._applied.get(server.member_id) == applied:
            return
        self._applied[server.member_id] = applied
        state = server.store.revision, len(server.lessor.leases()), server.config.name
        known = self._revisions.setdefault(applied, state)
        assert known[:2] == state[:2], (
            f"at entry {applied} revision and leases are {state[:2]} here and {known[:2]} on {known[2]}"
        )
        if len(self._revisions) > REMEMBERED:
            del self._revisions[next(iter(self._revisions))]
