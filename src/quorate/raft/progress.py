"""What a leader knows about one follower's log, and how fast it may send to it.

    PROBE      the match is unknown: one message at a time, until one is accepted
    REPLICATE  the match is known: stream, as far as the inflight window allows
    SNAPSHOT   the follower needs entries that are gone: nothing is sent until it has the snapshot

Always match < next. Source: Raft thesis §10.2.1, Raft paper §5.3.
"""

from __future__ import annotations

from enum import IntEnum

from quorate.raft.inflights import Inflights


class ProgressState(IntEnum):
    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2

    @property
    def text(self) -> str:
        return ("StateProbe", "StateReplicate", "StateSnapshot")[self]


PROBE = ProgressState.PROBE
REPLICATE = ProgressState.REPLICATE
SNAPSHOT = ProgressState.SNAPSHOT


class Progress:
    __slots__ = (
        "flow_paused",
        "inflights",
        "is_learner",
        "match",
        "next",
        "pending_snapshot",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(self, match: int, next_index: int, inflights: Inflights, *, is_learner: bool = False) -> None:
        self.match = match
        """The follower's log equals the leader's up to here."""
        self.next = next_index
        """The next entry to send."""
        self.sent_commit = 0
        """The commit index that was sent last."""
        self.state = PROBE
        self.pending_snapshot = 0
        self.recent_active = False
        """Heard of since the last check for a quorum."""
        self.flow_paused = False
        """No Append until the follower is heard of: a probe is on its way, or the window is full."""
        self.inflights = inflights
        self.is_learner = is_learner

    def __str__(self) -> str:
        parts = [f"{self.state.text} match={self.match} next={self.next}"]
        if self.is_learner:
            parts.append("learner")
        if self.is_paused():
            parts.append("paused")
        if self.pending_snapshot:
            parts.append(f"pendingSnap={self.pending_snapshot}")
        if not self.recent_active:
            parts.append("inactive")
        if len(self.inflights):
            parts.append(f"inflight={len(self.inflights)}" + ("[full]" if self.inflights.full() else ""))
        return " ".join(parts)

    def copy(self) -> Progress:
        twin = Progress(self.match, self.next, self.inflights.copy(), is_learner=self.is_learner)
        twin.sent_commit = self.sent_commit
        twin.state = self.state
        twin.pending_snapshot = self.pending_snapshot
        twin.recent_active = self.recent_active
        twin.flow_paused = self.flow_paused
        return twin

    # States

    def _enter(self, state: ProgressState) -> None:
        self.flow_paused = False
        self.pending_snapshot = 0
        self.state = state
        self.inflights.reset()

    def become_probe(self) -> None:
        if self.state == SNAPSHOT:
            # The snapshot has arrived, so probe behind it; 0 if it failed.
            self.next = max(self.match, self.pending_snapshot) + 1
        else:
            self.next = self.match + 1
        self._enter(PROBE)
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        self._enter(REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        self._enter(SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1
        self.sent_commit = index

    # Sending

    def is_paused(self) -> bool:
        return self.flow_paused or self.state == SNAPSHOT

    def sent_entries(self, count: int, size: int) -> None:
        """An Append with `count` entries of `size` bytes has been sent."""
        if self.state == REPLICATE:
            if count:
                self.next += count
                self.inflights.add(self.next - 1, size)
            # A message that meets a full window is a probe: the next one waits for a sign of life.
            self.flow_paused = self.inflights.full()
        else:
            assert self.state == PROBE, f"sending append in unhandled state {self.state.text}"
            if count:
                self.flow_paused = True

    def can_bump_commit(self, index: int) -> bool:
        """Would telling the follower that `index` is committed make it commit more than it was told already?"""
        return index > self.sent_commit and self.sent_commit < self.next - 1

    # Hearing

    def maybe_update(self, index: int) -> bool:
        """The follower has everything up to `index`. False if that is no news."""
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = index + 1
        self.flow_paused = False
        return True

    def maybe_decrease_to(self, rejected: int, hint: int) -> bool:
        """The follower refused an Append after `rejected`; `hint` is where it may match. False if that is stale."""
        if self.state == REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
        else:
            # One probe at a time: an answer to another one is old.
            if self.next - 1 != rejected:
                return False
            self.next = max(min(rejected, hint + 1), self.match + 1)
            self.flow_paused = False
        self.sent_commit = min(self.sent_commit, self.next - 1)
        return True
