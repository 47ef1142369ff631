"""The strict reconfiguration check: refuse a change that would leave a cluster without a quorum at once.

It guards the proposer's side only, by what that member sees at the moment. `connected` holds the IDs of members to
which the asking one has had a link for some seconds; itself counts as connected.
"""

from __future__ import annotations

from collections.abc import Collection

from quorate.api import errors
from quorate.membership.cluster import Cluster
from quorate.storage.schema import MemberRecord


def check_add(cluster: Cluster, is_learner: bool, connected: Collection[int]) -> None:
    """Before a member is added. Raises NotEnoughStarted, Unhealthy."""
    voters = cluster.voters()
    if not is_learner:
        _check_started(voters, len(voters) + 1)
    # The new member counts as one that is down (etcd 21640). Alone, there is nobody to be parted from.
    if len(voters) > 1 and _count_connected(cluster, voters, connected) < _quorum(len(voters) + 1):
        raise errors.Unhealthy()


def check_promote(cluster: Cluster) -> None:
    """Before a learner becomes a voter. Raises NotEnoughStarted."""
    voters = cluster.voters()
    # The learner counts as started: that it is in step was looked at before.
    if 1 + sum(_is_started(voter) for voter in voters) < _quorum(len(voters) + 1):
        raise errors.NotEnoughStarted()


def check_remove(cluster: Cluster, number: int, connected: Collection[int], is_linked: bool) -> None:
    """Before a member is removed; `is_linked` tells whether there is a link to it now, however young.

    Raises NotEnoughStarted, Unhealthy.
    """
    voters = cluster.voters()
    if all(voter.id != number for voter in voters):
        return
    left = [voter for voter in voters if voter.id != number]
    if sum(map(_is_started, left)) < _quorum(len(left)):
        raise errors.NotEnoughStarted()
    if number != cluster.local_id and not is_linked:
        return  # removing what is down anyway makes nothing worse
    if _count_connected(cluster, voters, connected) - 1 < 1 + (len(voters) - 1) // 2:
        raise errors.Unhealthy()


def _check_started(voters: list[MemberRecord], size: int) -> None:
    started = sum(map(_is_started, voters))
    if started == 1 and size == 2:
        return  # a cluster of one must be able to grow, though it will then wait for the second
    if started < _quorum(size):
        raise errors.NotEnoughStarted()


def _is_started(member: MemberRecord) -> bool:
    """A member that has told its name has run."""
    return bool(member.name)


def _count_connected(cluster: Cluster, voters: list[MemberRecord], connected: Collection[int]) -> int:
    return sum(voter.id == cluster.local_id or voter.id in connected for voter in voters)


def _quorum(size: int) -> int:
    return size // 2 + 1
