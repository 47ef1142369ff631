"""What a member tells about itself. A status is a copy: it stays as it was."""

from __future__ import annotations

from typing import NamedTuple

from quorate.api.raftpb import HardState
from quorate.raft.machine import Raft
from quorate.raft.progress import Progress
from quorate.raft.role import LEADER, Role
from quorate.raft.tracker import Membership


class BasicStatus(NamedTuple):
    id: int
    hard_state: HardState
    lead: int
    role: Role
    applied: int
    lead_transferee: int
    """Who leadership is being handed to; 0 for nobody."""


class Status(NamedTuple):
    basic: BasicStatus
    membership: Membership
    progress: dict[int, Progress]
    """The leader's view of every member; empty on others."""


def basic_status(raft: Raft) -> BasicStatus:
    return BasicStatus(raft.id, raft.hard_state(), raft.lead, raft.role, raft.log.applied, raft.lead_transferee)


def status(raft: Raft) -> Status:
    members = raft.tracker.progress if raft.role == LEADER else {}
    progress = {id_: member.copy() for id_, member in members.items()}
    return Status(basic_status(raft), raft.tracker.membership, progress)
