"""Putting a configuration into effect, and leaving a joint one without being asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api.raftpb import ConfChange, ConfChangeV2, ConfState, Entry, EntryType, Message, MessageType
from quorate.raft import confchange, sending
from quorate.raft.config import NONE
from quorate.raft.errors import ProposalDropped
from quorate.raft.progress import Progress
from quorate.raft.role import LEADER
from quorate.raft.tracker import Membership

if TYPE_CHECKING:
    from quorate.raft.machine import Raft


def apply_conf_change(raft: Raft, change: ConfChange | ConfChangeV2) -> ConfState:
    """The change is applied; raises InvalidConfChange, which on a committed change must stop the member."""
    change = confchange.as_v2(change)
    return switch_to(raft, *confchange.apply(raft.tracker, change, raft.log.last_index()))


def switch_to(raft: Raft, membership: Membership, progress: dict[int, Progress]) -> ConfState:
    raft.tracker.install(membership, progress)
    raft.logger.info(f"{raft.id:x} switched to configuration {membership}")
    state = membership.conf_state()
    if raft.role != LEADER:
        return state
    own = progress.get(raft.id)
    if own is None or own.is_learner:
        # A leader that is not in the configuration goes on without counting itself (Raft thesis §4.2.2).
        if raft.step_down_on_removal:
            raft.become_follower(raft.term, NONE)
        return state
    if raft.maybe_commit():
        sending.broadcast_append(raft)  # fewer voters may mean that more is committed
    else:
        for id_, member in raft.tracker.progress.items():
            if id_ != raft.id:
                sending.maybe_send_append(raft, id_, member, send_if_empty=False)
    if raft.lead_transferee not in membership.voters():
        raft.lead_transferee = NONE
    return state


def leave_automatically(raft: Raft) -> None:
    """Propose to leave the joint configuration. If that is dropped it is tried again with the next applied entry."""
    membership = raft.tracker.membership
    leave = Entry(0, 0, b"", EntryType.CONF_CHANGE_V2)
    try:
        raft.step(Message(MessageType.PROP, from_=raft.id, entries=[leave]))
    except ProposalDropped as error:
        raft.logger.debug(f"not initiating automatic transition out of joint configuration {membership}: {error}")
    else:
        raft.logger.info(f"initiating automatic transition out of joint configuration {membership}")
