"""Handing leadership over, and forgetting a leader (Raft thesis §3.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api.raftpb import Message
from quorate.raft import election, sending
from quorate.raft.config import NONE, ReadOnlyOption
from quorate.raft.progress import Progress

if TYPE_CHECKING:
    from quorate.raft.machine import Raft


def handle_transfer(raft: Raft, m: Message, progress: Progress) -> None:
    """`m.from_` is to lead: bring its log up to date, then tell it to campaign at once."""
    to = m.from_
    here = f"{raft.id:x} [term {raft.term}]"
    if progress.is_learner:
        raft.logger.debug(f"{raft.id:x} is learner. Ignored transferring leadership")
        return
    previous = raft.lead_transferee
    if previous == to:
        raft.logger.info(f"{here} transfer leadership to {to:x} is in progress, ignores request to same node {to:x}")
        return
    if previous:
        raft.lead_transferee = NONE
        raft.logger.info(f"{here} abort previous transferring leadership to {previous:x}")
    if to == raft.id:
        raft.logger.debug(f"{raft.id:x} is already leader. Ignored transferring leadership to self")
        return
    raft.logger.info(f"{here} starts to transfer leadership to {to:x}")
    raft.election_elapsed = 0  # it has one election timeout to succeed
    raft.lead_transferee = to
    if progress.match == raft.log.last_index():
        sending.send_timeout_now(raft, to)
        raft.logger.info(f"{raft.id:x} sends MsgTimeoutNow to {to:x} immediately as {to:x} already has up-to-date log")
    else:
        sending.maybe_send_append(raft, to, progress, send_if_empty=True)


def forward_transfer(raft: Raft, m: Message) -> None:
    if not raft.lead:
        raft.logger.info(f"{raft.id:x} no leader at term {raft.term}; dropping leader transfer msg")
        return
    m.to = raft.lead
    m.term = 0  # passed on already, it has one
    raft.send(m)


def handle_timeout_now(raft: Raft, m: Message) -> None:
    raft.logger.info(
        f"{raft.id:x} [term {raft.term}] received MsgTimeoutNow from {m.from_:x} and starts an election "
        "to get leadership."
    )
    # No pre-vote: the leader itself has asked, so nobody is disturbed.
    election.start(raft, election.Campaign.TRANSFER)


def ignore_timeout_now(raft: Raft, m: Message) -> None:
    raft.logger.debug(f"{raft.id:x} [term {raft.term} state {raft.role.text}] ignored MsgTimeoutNow from {m.from_:x}")


def forget_leader(raft: Raft, m: Message) -> None:
    """The application knows that the leader is dead: grant votes to others at once, inside its lease."""
    if raft.read_only == ReadOnlyOption.LEASE_BASED:
        # The leader answers reads by trusting that this follower stays with it.
        raft.logger.error("ignoring MsgForgetLeader due to ReadOnlyLeaseBased")
    elif raft.lead:
        raft.logger.info(f"{raft.id:x} forgetting leader {raft.lead:x} at term {raft.term}")
        raft.lead = NONE
