"""Raft's vocabulary as plain values, and their codecs (package raftpb on the wire).

The raft machine, the WAL and the peer wires all speak in these. They are NamedTuples and slotted dataclasses rather
than protobuf messages because thousands of entries stay in memory and each is read many times: a tuple costs a
quarter of what a message object does. Bytes are proto2: a writer sets just the fields that matter, a reader treats
absent and zero alike, and repeated numbers are unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from quorate.api.pb import raft_pb2 as pb


class EntryType(IntEnum):
    NORMAL = 0
    CONF_CHANGE = 1
    CONF_CHANGE_V2 = 2


class MessageType(IntEnum):
    """Kinds of raft messages; the numbers are the wire's. The names print as etcd prints them (`text`)."""

    HUP = 0
    BEAT = 1
    PROP = 2
    APP = 3
    APP_RESP = 4
    VOTE = 5
    VOTE_RESP = 6
    SNAP = 7
    HEARTBEAT = 8
    HEARTBEAT_RESP = 9
    UNREACHABLE = 10
    SNAP_STATUS = 11
    CHECK_QUORUM = 12
    TRANSFER_LEADER = 13
    TIMEOUT_NOW = 14
    READ_INDEX = 15
    READ_INDEX_RESP = 16
    PRE_VOTE = 17
    PRE_VOTE_RESP = 18
    STORAGE_APPEND = 19
    STORAGE_APPEND_RESP = 20
    STORAGE_APPLY = 21
    STORAGE_APPLY_RESP = 22
    FORGET_LEADER = 23

    @property
    def text(self) -> str:
        """The name on the wire, e.g. `MsgAppResp`."""
        return pb.MessageType.Name(pb.MessageType.ValueType(self.value))


class ConfChangeType(IntEnum):
    ADD_NODE = 0
    REMOVE_NODE = 1
    UPDATE_NODE = 2
    ADD_LEARNER_NODE = 3


class ConfChangeTransition(IntEnum):
    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


class Entry(NamedTuple):
    """One entry of the raft log."""

    term: int
    index: int  # type: ignore[assignment]
    data: bytes = b""
    type: int = EntryType.NORMAL


class HardState(NamedTuple):
    """What must be on disk before a member answers for it (Raft thesis §3.8, plus the commit index)."""

    term: int = 0
    vote: int = 0
    commit: int = 0


class ConfState(NamedTuple):
    """The members of a configuration; the second pair of sets is filled while it is joint (Raft thesis §4.3)."""

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


class Snapshot(NamedTuple):
    """Where a state stands (`index`, `term`, `conf_state`) and, when it travels, the state itself."""

    index: int = 0  # type: ignore[assignment]
    term: int = 0
    conf_state: ConfState = ConfState()
    data: bytes = b""


class ConfChange(NamedTuple):
    """One change of one member, the only kind that etcd proposes."""

    type: int = ConfChangeType.ADD_NODE
    node_id: int = 0
    context: bytes = b""
    id: int = 0


class ConfChangeSingle(NamedTuple):
    type: int = ConfChangeType.ADD_NODE
    node_id: int = 0


class ConfChangeV2(NamedTuple):
    """Any number of changes at once, by way of a joint configuration when they are many."""

    changes: tuple[ConfChangeSingle, ...] = ()
    transition: int = ConfChangeTransition.AUTO
    context: bytes = b""


@dataclass(slots=True)
class Message:
    """A raft message. `vote` and `responses` are only used between a member and its own storage."""

    type: MessageType
    to: int = 0
    from_: int = 0
    term: int = 0
    log_term: int = 0
    index: int = 0
    entries: list[Entry] = field(default_factory=list)
    commit: int = 0
    snapshot: Snapshot | None = None
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""
    vote: int = 0
    responses: list[Message] = field(default_factory=list)


def encode_entry(entry: Entry) -> bytes:
    """raftpb.Entry bytes of `entry`; all four fields are written, as every etcd release does for entries with data."""
    term, index, data, kind = entry
    message = pb.Entry(Type=kind, Term=term, Index=index)  # type: ignore[arg-type]
    if data:
        message.Data = data
    return message.SerializeToString()


def decode_entry(data: bytes) -> Entry:
    """The entry in `data`; raises google.protobuf.message.DecodeError when it is not one."""
    message = pb.Entry.FromString(data)
    return Entry(message.Term, message.Index, message.Data, message.Type)


def encode_hard_state(state: HardState) -> bytes:
    return pb.HardState(term=state.term, vote=state.vote, commit=state.commit).SerializeToString()


def decode_hard_state(data: bytes) -> HardState:
    message = pb.HardState.FromString(data)
    return HardState(message.term, message.vote, message.commit)


def conf_state_message(state: ConfState) -> pb.ConfState:
    """`state` as a protobuf message, to be nested in others. auto_leave is always written, as etcd does."""
    return pb.ConfState(
        voters=state.voters,
        learners=state.learners,
        voters_outgoing=state.voters_outgoing,
        learners_next=state.learners_next,
        auto_leave=state.auto_leave,
    )


def conf_state_value(message: pb.ConfState) -> ConfState:
    return ConfState(
        tuple(message.voters),
        tuple(message.learners),
        tuple(message.voters_outgoing),
        tuple(message.learners_next),
        message.auto_leave,
    )


def encode_conf_change(change: ConfChange) -> bytes:
    message = pb.ConfChange(type=change.type, node_id=change.node_id)  # type: ignore[arg-type]
    if change.id:
        message.id = change.id
    if change.context:
        message.context = change.context
    return message.SerializeToString()


def decode_conf_change(data: bytes) -> ConfChange:
    message = pb.ConfChange.FromString(data)
    return ConfChange(message.type, message.node_id, message.context, message.id)


def encode_conf_change_v2(change: ConfChangeV2) -> bytes:
    message = pb.ConfChangeV2(
        changes=[pb.ConfChangeSingle(type=c.type, node_id=c.node_id) for c in change.changes],  # type: ignore[arg-type]
    )
    if change.transition:
        message.transition = change.transition  # type: ignore[assignment]
    if change.context:
        message.context = change.context
    return message.SerializeToString()


def decode_conf_change_v2(data: bytes) -> ConfChangeV2:
    message = pb.ConfChangeV2.FromString(data)
    return ConfChangeV2(
        tuple(ConfChangeSingle(c.type, c.node_id) for c in message.changes),
        message.transition,
        message.context,
    )
