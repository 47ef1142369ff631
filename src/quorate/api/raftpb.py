"""Raft's vocabulary as plain values, and their codecs (package raftpb on the wire).

The raft machine, the WAL and the peer wires all speak in these. They are NamedTuples and slotted dataclasses rather
than protobuf messages because thousands of entries stay in memory and each is read many times: a tuple costs a
quarter of what a message object does. Bytes are proto2: a writer sets just the fields that matter, a reader treats
absent and zero alike, and repeated numbers are unpacked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from quorate.api.encode import field as bytes_field
from quorate.api.encode import varint
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


def encode_entries(entries: Sequence[Entry]) -> list[bytes]:
    """raftpb.Entry bytes of each; those in a log as `encode_entry` has them, in under half the time.

    Numbers of neighbours share all but their last digits. Entries that are in no log yet (term and index 0: proposals
    and reads on their way to the leader) carry just their data, and their type unless it is normal.
    """
    encoded = []
    high, term = -1, -1
    middle = tail = b""
    for entry in entries:
        data, index = entry.data, entry.index
        if index < 0x80:
            encoded.append(encode_entry(entry) if index else _encode_unplaced(entry))
            continue
        if index >> 7 != high or entry.term != term:
            high, term = index >> 7, entry.term
            middle, tail = b"\x10%b\x18" % varint(term), varint(high)
        size = len(data)
        if 0x80 <= size < 0x4000:
            head = b'%b%c%b"%c%c' % (middle, index & 0x7F | 0x80, tail, size & 0x7F | 0x80, size >> 7)
        elif size:
            head = b'%b%c%b"%b' % (middle, index & 0x7F | 0x80, tail, varint(size))
        else:
            head = b"%b%c%b" % (middle, index & 0x7F | 0x80, tail)
        encoded.append(b"\x08%c%b%b" % (entry.type, head, data))
    return encoded


def _encode_unplaced(entry: Entry) -> bytes:
    kind = b"\x08%c" % entry.type if entry.type else b""
    return kind + bytes_field(b'"', entry.data) if entry.data else kind


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


def encode_message(message: Message) -> bytes:
    """raftpb.Message bytes as they go to other members: the type, and every other field that is not zero."""
    parts = [b"\x08%c" % message.type]
    for tag, value in (
        (b"\x10", message.to),
        (b"\x18", message.from_),
        (b"\x20", message.term),
        (b"\x28", message.log_term),
        (b"\x30", message.index),
    ):
        if value:
            parts.append(tag + varint(value))
    parts.extend([bytes_field(b"\x3a", entry) for entry in encode_entries(message.entries)])
    if message.commit:
        parts.append(b"\x40" + varint(message.commit))
    if message.snapshot is not None:
        parts.append(bytes_field(b"\x4a", encode_snapshot(message.snapshot)))
    if message.reject:
        parts.append(b"\x50\x01")
    if message.reject_hint:
        parts.append(b"\x58" + varint(message.reject_hint))
    if message.context:
        parts.append(bytes_field(b"\x62", message.context))
    return b"".join(parts)


def decode_message(data: bytes) -> Message:
    """The message in `data`, of any release; raises google.protobuf.message.DecodeError.

    Old releases write zeros and empty snapshots where nothing is meant. What only a member and its own storage say to
    each other is left out.
    """
    message = pb.Message.FromString(data)
    kind = _TYPES[message.type]
    snapshot = None
    if kind == MessageType.SNAP or message.snapshot.metadata.index:
        snapshot = snapshot_value(message.snapshot)
    return Message(
        kind,
        message.to,
        getattr(message, "from"),
        message.term,
        message.logTerm,
        message.index,
        [Entry(entry.Term, entry.Index, entry.Data, entry.Type) for entry in message.entries],
        message.commit,
        snapshot,
        message.reject,
        message.rejectHint,
        message.context,
    )


_TYPES = list(MessageType)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """raftpb.Snapshot bytes."""
    message = pb.Snapshot()
    if snapshot.data:
        message.data = snapshot.data
    message.metadata.conf_state.CopyFrom(conf_state_message(snapshot.conf_state))
    message.metadata.index = snapshot.index
    message.metadata.term = snapshot.term
    return message.SerializeToString()


def snapshot_value(message: pb.Snapshot) -> Snapshot:
    metadata = message.metadata
    return Snapshot(metadata.index, metadata.term, conf_state_value(metadata.conf_state), message.data)
