"""Which verb each role answers a message with. What is not listed is ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quorate.api.raftpb import Message, MessageType
from quorate.raft import election, proposals, reads, replication, snapshots, transfer
from quorate.raft.progress import Progress

if TYPE_CHECKING:
    from quorate.raft.machine import Raft

Handler = Callable[["Raft", Message], None]
Handlers = dict[MessageType, Handler]
T = MessageType


def _of_member(handler: Callable[[Raft, Message, Progress], None]) -> Handler:
    """A leader listens only to members of the configuration."""

    def checked(raft: Raft, m: Message) -> None:
        progress = raft.tracker.progress.get(m.from_)
        if progress is None:
            raft.logger.debug(f"{raft.id:x} no progress available for {m.from_:x}")
        else:
            handler(raft, m, progress)

    return checked


def _as_follower(handler: Handler) -> Handler:
    """A candidate that hears a leader of its term has lost (Raft paper §5.2)."""

    def checked(raft: Raft, m: Message) -> None:
        raft.become_follower(m.term, m.from_)
        handler(raft, m)

    return checked


def _from_leader(handler: Handler) -> Handler:
    def checked(raft: Raft, m: Message) -> None:
        raft.election_elapsed = 0
        raft.lead = m.from_
        handler(raft, m)

    return checked


ANY: Handlers = {
    T.VOTE: election.handle_vote_request,
    T.PRE_VOTE: election.handle_vote_request,
    T.STORAGE_APPEND_RESP: replication.handle_storage_append_response,
    T.STORAGE_APPLY_RESP: replication.handle_storage_apply_response,
}

FOLLOWER: Handlers = ANY | {
    T.PROP: proposals.forward,
    T.APP: _from_leader(replication.handle_append),
    T.HEARTBEAT: _from_leader(replication.handle_heartbeat),
    T.SNAP: _from_leader(snapshots.handle_snapshot),
    T.TRANSFER_LEADER: transfer.forward_transfer,
    T.FORGET_LEADER: transfer.forget_leader,
    T.TIMEOUT_NOW: transfer.handle_timeout_now,
    T.READ_INDEX: reads.forward,
    T.READ_INDEX_RESP: reads.handle_read_index_response,
}

_ANY_CANDIDATE: Handlers = ANY | {
    T.PROP: proposals.drop,
    T.APP: _as_follower(replication.handle_append),
    T.HEARTBEAT: _as_follower(replication.handle_heartbeat),
    T.SNAP: _as_follower(snapshots.handle_snapshot),
    T.TIMEOUT_NOW: transfer.ignore_timeout_now,
}

# A candidate counts only the votes it has asked for; late ones of the other kind are ignored.
CANDIDATE: Handlers = _ANY_CANDIDATE | {T.VOTE_RESP: election.handle_vote_response}
PRE_CANDIDATE: Handlers = _ANY_CANDIDATE | {T.PRE_VOTE_RESP: election.handle_vote_response}

LEADER: Handlers = ANY | {
    T.PROP: proposals.handle_proposal,
    T.READ_INDEX: reads.handle_read_index,
    T.APP_RESP: _of_member(replication.handle_append_response),
    T.HEARTBEAT_RESP: _of_member(replication.handle_heartbeat_response),
    T.SNAP_STATUS: _of_member(snapshots.handle_snapshot_status),
    T.UNREACHABLE: _of_member(replication.handle_unreachable),
    T.TRANSFER_LEADER: _of_member(transfer.handle_transfer),
}
