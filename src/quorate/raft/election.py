"""Elections: asking for votes, giving them, counting them (Raft paper §5.2, §5.4.1; pre-vote: Raft thesis §9.6)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from quorate.api.raftpb import EntryType, Message, MessageType
from quorate.raft import sending
from quorate.raft.quorum import Vote
from quorate.raft.role import LEADER, PRE_CANDIDATE

if TYPE_CHECKING:
    from quorate.raft.machine import Raft

VOTE = MessageType.VOTE
PRE_VOTE = MessageType.PRE_VOTE
TRANSFER_CONTEXT = b"CampaignTransfer"
"""Context of the votes of an election that the old leader has asked for: they are not held back by its lease."""

CONF_CHANGE_TYPES = (EntryType.CONF_CHANGE, EntryType.CONF_CHANGE_V2)
RESPONSE = {VOTE: MessageType.VOTE_RESP, PRE_VOTE: MessageType.PRE_VOTE_RESP}


class Campaign(Enum):
    PRE_ELECTION = 0
    """Would I win?"""
    ELECTION = 1
    TRANSFER = 2
    """The leader itself has asked for this election."""


def hup(raft: Raft) -> None:
    """The election timeout is over, or the application wants this member to lead."""
    start(raft, Campaign.PRE_ELECTION if raft.pre_vote else Campaign.ELECTION)


def start(raft: Raft, kind: Campaign) -> None:
    """Campaign, if this member may."""
    if raft.role == LEADER:
        raft.logger.debug(f"{raft.id:x} ignoring MsgHup because already leader")
    elif not raft.promotable():
        raft.logger.warning(f"{raft.id:x} is unpromotable and can not campaign")
    elif has_unapplied_conf_changes(raft):
        # Its idea of who may vote is out of date, so it might be elected by the wrong ones.
        raft.logger.warning(
            f"{raft.id:x} cannot campaign at term {raft.term} since there are still pending configuration changes "
            "to apply"
        )
    else:
        raft.logger.info(f"{raft.id:x} is starting a new election at term {raft.term}")
        campaign(raft, kind)


def has_unapplied_conf_changes(raft: Raft) -> bool:
    log = raft.log
    pages = log.scan(log.applied + 1, log.committed + 1, log.max_applying_size)
    return any(entry.type in CONF_CHANGE_TYPES for page in pages for entry in page)


def campaign(raft: Raft, kind: Campaign) -> None:
    if kind == Campaign.PRE_ELECTION:
        raft.become_pre_candidate()
        ask, term = PRE_VOTE, raft.term + 1  # asks about the next term without entering it
    else:
        raft.become_candidate()
        ask, term = VOTE, raft.term
    context = TRANSFER_CONTEXT if kind == Campaign.TRANSFER else b""
    index, log_term = raft.log.last_index(), raft.log.last_term()
    for voter in sorted(raft.tracker.membership.voters()):
        if voter == raft.id:
            # The own vote counts when it is on disk, like any other.
            raft.send(Message(RESPONSE[ask], to=voter, term=term))
            continue
        raft.logger.info(
            f"{raft.id:x} [logterm: {log_term}, index: {index}] sent {ask.text} request to {voter:x} "
            f"at term {raft.term}"
        )
        raft.send(Message(ask, to=voter, term=term, index=index, log_term=log_term, context=context))


def handle_vote_request(raft: Raft, m: Message) -> None:
    """Learners vote too: the candidate may know of their promotion before they do."""
    can_vote = (
        raft.vote == m.from_
        or (raft.vote == 0 and raft.lead == 0)
        or (m.type == PRE_VOTE and m.term > raft.term)  # promises nothing, so any number may be granted
    )
    if can_vote and raft.log.is_up_to_date(m.index, m.log_term):
        raft.log_vote(m, "cast")
        # The term of the question: that of a pre-vote is one the candidate, not the voter, may enter.
        raft.send(Message(RESPONSE[m.type], to=m.from_, term=m.term))
        if m.type == VOTE:
            raft.election_elapsed = 0
            raft.vote = m.from_
    else:
        raft.log_vote(m, "rejected")
        raft.send(Message(RESPONSE[m.type], to=m.from_, term=raft.term, reject=True))


def handle_vote_response(raft: Raft, m: Message) -> None:
    rejection = " rejection" if m.reject else ""
    raft.logger.info(f"{raft.id:x} received {m.type.text}{rejection} from {m.from_:x} at term {raft.term}")
    raft.tracker.record_vote(m.from_, not m.reject)
    granted, refused, outcome = raft.tracker.tally()
    raft.logger.info(f"{raft.id:x} has received {granted} {m.type.text} votes and {refused} vote rejections")
    if outcome == Vote.WON:
        if raft.role == PRE_CANDIDATE:
            campaign(raft, Campaign.ELECTION)
        elif raft.id in raft.tracker.votes:
            # Elected by others before its own term and vote are on disk, it could come back from a crash without them,
            # be elected in the same term once more, and put other entries where some of its first life are.
            raft.become_leader()
            sending.broadcast_append(raft)
    elif outcome == Vote.LOST:
        raft.become_follower(raft.term, 0)  # not m.term: that of a granted pre-vote lies in the future
