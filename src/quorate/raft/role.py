"""The four roles a member can be in (Raft paper §5.1; pre-candidate: Raft thesis §9.6)."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2
    PRE_CANDIDATE = 3

    @property
    def text(self) -> str:
        return ("StateFollower", "StateCandidate", "StateLeader", "StatePreCandidate")[self]


FOLLOWER = Role.FOLLOWER
CANDIDATE = Role.CANDIDATE
LEADER = Role.LEADER
PRE_CANDIDATE = Role.PRE_CANDIDATE
