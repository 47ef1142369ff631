"""Who is in the configuration, how far each of them is, and how they vote.

voters=(1 2 3)&&(1 2)  learners=(4)  learners_next=(2)  autoleave
       │       └ outgoing half: only while joint
       └ incoming half
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate.api.raftpb import ConfState
from quorate.raft.config import NO_LIMIT
from quorate.raft.inflights import Inflights
from quorate.raft.progress import Progress
from quorate.raft.quorum import Vote, joint_vote, majority_index

Ids = frozenset[int]
NOBODY: Ids = frozenset()


@dataclass(frozen=True, slots=True)
class Membership:
    """A configuration. Learners are no voters of either half; who is to become one waits in learners_next."""

    incoming: Ids = NOBODY
    outgoing: Ids = NOBODY
    learners: Ids = NOBODY
    learners_next: Ids = NOBODY
    auto_leave: bool = False

    def __str__(self) -> str:
        parts = [f"voters={_listed(self.incoming)}" + (f"&&{_listed(self.outgoing)}" if self.outgoing else "")]
        if self.learners:
            parts.append(f"learners={_listed(self.learners)}")
        if self.learners_next:
            parts.append(f"learners_next={_listed(self.learners_next)}")
        if self.auto_leave:
            parts.append("autoleave")
        return " ".join(parts)

    @property
    def joint(self) -> bool:
        return bool(self.outgoing)

    def voters(self) -> Ids:
        return self.incoming | self.outgoing if self.outgoing else self.incoming

    def conf_state(self) -> ConfState:
        return ConfState(
            tuple(sorted(self.incoming)),
            tuple(sorted(self.learners)),
            tuple(sorted(self.outgoing)),
            tuple(sorted(self.learners_next)),
            self.auto_leave,
        )


class Tracker:
    """The membership with the leader's view of every member in it. `progress` is in order of ids."""

    __slots__ = ("max_inflight_bytes", "max_inflight_messages", "membership", "progress", "votes")

    def __init__(self, max_inflight_messages: int, max_inflight_bytes: int = NO_LIMIT) -> None:
        self.max_inflight_messages = max_inflight_messages
        self.max_inflight_bytes = max_inflight_bytes
        self.membership = Membership()
        self.progress: dict[int, Progress] = {}
        self.votes: dict[int, bool] = {}

    def new_progress(self, match: int, next_index: int, *, is_learner: bool) -> Progress:
        inflights = Inflights(self.max_inflight_messages, self.max_inflight_bytes)
        return Progress(match, next_index, inflights, is_learner=is_learner)

    def install(self, membership: Membership, progress: dict[int, Progress]) -> None:
        self.membership = membership
        self.progress = dict(sorted(progress.items()))

    def reset_progress(self, own_id: int, last_index: int) -> None:
        """Forget how far the others are: a new leader knows nothing but its own log."""
        for id_, old in self.progress.items():
            match = last_index if id_ == own_id else 0
            self.progress[id_] = self.new_progress(match, last_index + 1, is_learner=old.is_learner)

    def committed(self) -> int:
        """The highest index that a quorum has."""
        progress, membership = self.progress, self.membership
        index = majority_index([progress[voter].match for voter in membership.incoming])
        if not membership.outgoing:
            return index
        return min(index, majority_index([progress[voter].match for voter in membership.outgoing]))

    def quorum_active(self) -> bool:
        """Was a quorum heard of lately?"""
        heard = {id_: p.recent_active for id_, p in self.progress.items() if not p.is_learner}
        return self._vote(heard) == Vote.WON

    def record_vote(self, id_: int, granted: bool) -> None:
        """Only the first vote of a member counts."""
        self.votes.setdefault(id_, granted)

    def tally(self) -> tuple[int, int, Vote]:
        """Votes granted and refused by voters, and where the election stands."""
        counted = [
            vote for id_, vote in self.votes.items() if id_ in self.progress and not self.progress[id_].is_learner
        ]
        granted = sum(counted)
        return granted, len(counted) - granted, self._vote(self.votes)

    def _vote(self, votes: dict[int, bool]) -> Vote:
        return joint_vote(self.membership.incoming, self.membership.outgoing, votes)


def _listed(ids: Ids) -> str:
    return "(" + " ".join(map(str, sorted(ids))) + ")"
