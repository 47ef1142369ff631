"""Majorities, simple and joint (Raft thesis §4.3): what is committed, who has won.

An empty majority agrees with everything, so a configuration that is not joint is one with an empty second half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

EVERYTHING = 2**64 - 1
"""The index an empty majority has committed."""


class Vote(IntEnum):
    """Where an election stands."""

    PENDING = 1
    LOST = 2
    WON = 3


def majority_index(indexes: list[int]) -> int:
    """The highest index that a majority has reached, given the index of every voter (0 for a silent one)."""
    if not indexes:
        return EVERYTHING
    indexes.sort()
    return indexes[(len(indexes) - 1) // 2]


def committed_index(incoming: Iterable[int], outgoing: Iterable[int], acked: Mapping[int, int]) -> int:
    """The highest index that both majorities have reached."""
    return min(
        majority_index([acked.get(voter, 0) for voter in incoming]),
        majority_index([acked.get(voter, 0) for voter in outgoing]),
    )


def majority_vote(voters: Iterable[int], votes: Mapping[int, bool]) -> Vote:
    """The state of an election among `voters`; who has not voted is absent from `votes`."""
    asked = yes = missing = 0
    for voter in voters:
        asked += 1
        vote = votes.get(voter)
        if vote is None:
            missing += 1
        elif vote:
            yes += 1
    needed = asked // 2 + 1
    if not asked or yes >= needed:
        return Vote.WON
    return Vote.PENDING if yes + missing >= needed else Vote.LOST


def joint_vote(incoming: Iterable[int], outgoing: Iterable[int], votes: Mapping[int, bool]) -> Vote:
    """Both majorities must be won; losing one is losing all."""
    first, second = majority_vote(incoming, votes), majority_vote(outgoing, votes)
    if first == second:
        return first
    return Vote.LOST if Vote.LOST in (first, second) else Vote.PENDING
