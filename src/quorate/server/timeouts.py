"""What a proposal that was not answered in time is told about the likely reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api import errors

if TYPE_CHECKING:
    from quorate.server.member import Server

LOST_ELECTIONS = 2
"""Election timeouts before an election in which the leader before it may have been gone already."""


def timeout_error(server: Server, started_at: float) -> errors.EtcdError:
    """The error for a request that began at `started_at` (seconds of the loop's clock) and has timed out now:
    TimeoutLeaderFail, TimeoutConnectionLost or Timeout."""
    elected_at = server.leadership.elected_at
    if elected_at - LOST_ELECTIONS * server.config.election_timeout < started_at < elected_at:
        return errors.TimeoutLeaderFail()
    if server.leader_id and not _was_connected(server, started_at):
        return errors.TimeoutConnectionLost()
    return errors.Timeout()


def _was_connected(server: Server, since: float) -> bool:
    """Has the link to the leader, on the leader links to a quorum, held since then?"""
    if not server.is_leader:
        return _is_linked(server, server.leader_id, since)
    voters = server.cluster.voters()
    linked = sum(voter.id == server.member_id or _is_linked(server, voter.id, since) for voter in voters)
    return linked > len(voters) // 2


def _is_linked(server: Server, member_id: int, since: float) -> bool:
    active_since = server.transport.active_since(member_id)
    return active_since is not None and active_since < since
