"""Messages, entries and Readies as text, to be read by people and compared by tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from quorate.api.raftpb import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    Snapshot,
    decode_conf_change,
    decode_conf_change_v2,
)
from quorate.raft.config import LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, NONE

if TYPE_CHECKING:
    from quorate.raft.ready import Ready, SoftState

DataFormatter = Callable[[bytes], str]

ENTRY_TYPES = {
    EntryType.NORMAL: "EntryNormal",
    EntryType.CONF_CHANGE: "EntryConfChange",
    EntryType.CONF_CHANGE_V2: "EntryConfChangeV2",
}
CHANGE_LETTERS = {
    ConfChangeType.ADD_NODE: "v",
    ConfChangeType.ADD_LEARNER_NODE: "l",
    ConfChangeType.REMOVE_NODE: "r",
    ConfChangeType.UPDATE_NODE: "u",
}
CHANGE_TYPES = {
    ConfChangeType.ADD_NODE: "ConfChangeAddNode",
    ConfChangeType.REMOVE_NODE: "ConfChangeRemoveNode",
    ConfChangeType.UPDATE_NODE: "ConfChangeUpdateNode",
    ConfChangeType.ADD_LEARNER_NODE: "ConfChangeAddLearnerNode",
}
TRANSITIONS = {
    ConfChangeTransition.AUTO: "ConfChangeTransitionAuto",
    ConfChangeTransition.JOINT_IMPLICIT: "ConfChangeTransitionJointImplicit",
    ConfChangeTransition.JOINT_EXPLICIT: "ConfChangeTransitionJointExplicit",
}
ESCAPES = {0x22: '\\"', 0x5C: "\\\\", 7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}


def quoted(data: bytes) -> str:
    """`data` as a string literal: printable text as it is, other bytes as \\xNN."""
    text = data.decode("utf-8", "surrogateescape")
    return '"' + "".join([_escaped(ch) for ch in text]) + '"'


def _escaped(ch: str) -> str:
    code = ord(ch)
    if code in ESCAPES:
        return ESCAPES[code]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte that is not UTF-8
    if ch.isprintable():
        return ch
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def ready(it: Ready, formatter: DataFormatter = quoted) -> str:
    """All of a Ready, a line each, each but a last `<empty Ready>` ending in a newline."""
    parts = []
    if it.soft_state is not None:
        parts.append(soft_state(it.soft_state) + "\n")
    if it.hard_state is not None:
        parts.append(f"HardState {hard_state(it.hard_state)}\n")
    if it.read_states:
        states = " ".join(f"{{{state.index} [{' '.join(map(str, state.context))}]}}" for state in it.read_states)
        parts.append(f"ReadStates [{states}]\n")
    if it.entries:
        parts.append("Entries:\n" + entries(it.entries, formatter))
    if it.snapshot is not None:
        parts.append(f"Snapshot {snapshot(it.snapshot)}\n")
    if it.committed_entries:
        parts.append("CommittedEntries:\n" + entries(it.committed_entries, formatter))
    if it.messages:
        parts.append("Messages:\n" + "".join([message(m, formatter) + "\n" for m in it.messages]))
    if not parts:
        return "<empty Ready>"
    return f"Ready MustSync={'true' if it.must_sync else 'false'}:\n" + "".join(parts)


def soft_state(state: SoftState) -> str:
    return f"Lead:{state.lead} State:{state.role.text}"


def hard_state(state: HardState) -> str:
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"Term:{state.term}{vote} Commit:{state.commit}"


def conf_state(state: ConfState) -> str:
    return (
        f"Voters:{_ids(state.voters)} VotersOutgoing:{_ids(state.voters_outgoing)} "
        f"Learners:{_ids(state.learners)} LearnersNext:{_ids(state.learners_next)} "
        f"AutoLeave:{'true' if state.auto_leave else 'false'}"
    )


def snapshot(it: Snapshot) -> str:
    return f"Index:{it.index} Term:{it.term} ConfState:{conf_state(it.conf_state)}"


def message(m: Message, formatter: DataFormatter = quoted, indent: str = "") -> str:
    """One line for most; entries, a snapshot and responses take lines of their own, indented by two more."""
    parts = [f"{indent}{_target(m.from_)}->{_target(m.to)} {m.type.text} Term:{m.term} Log:{m.log_term}/{m.index}"]
    if m.reject:
        parts.append(f" Rejected (Hint: {m.reject_hint})")
    if m.commit:
        parts.append(f" Commit:{m.commit}")
    if m.vote:
        parts.append(f" Vote:{m.vote}")
    if len(m.entries) == 1:
        parts.append(f" Entries:[{entry(m.entries[0], formatter)}]")
    elif m.entries:
        lines = "".join([f"\n{indent}  {entry(it, formatter)}" for it in m.entries])
        parts.append(f" Entries:[{lines}\n{indent}]")
    if m.snapshot is not None and m.snapshot.index:
        parts.append(f"\n{indent}  Snapshot: {snapshot(m.snapshot)}")
    if m.responses:
        lines = "".join(["\n" + message(it, formatter, indent + "  ") for it in m.responses])
        parts.append(f" Responses:[{lines}\n{indent}]")
    return "".join(parts)


def entries(them: Sequence[Entry], formatter: DataFormatter = quoted) -> str:
    return "".join([entry(it, formatter) + "\n" for it in them])


def entry(it: Entry, formatter: DataFormatter = quoted) -> str:
    if it.type == EntryType.NORMAL:
        content = formatter(it.data)
    elif it.type == EntryType.CONF_CHANGE:
        change = decode_conf_change(it.data)
        content = changes([ConfChangeSingle(change.type, change.node_id)])
    else:
        content = changes(decode_conf_change_v2(it.data).changes)
    return f"{it.term}/{it.index} {ENTRY_TYPES[EntryType(it.type)]}" + (f" {content}" if content else "")


def changes(them: Sequence[ConfChangeSingle]) -> str:
    """As `v1 l2 r3`: add voter, add learner, remove; u is update."""
    return " ".join([f"{CHANGE_LETTERS[ConfChangeType(it.type)]}{it.node_id}" for it in them])


def conf_change(change: ConfChange | ConfChangeV2) -> str:
    """In the text form of protobuf."""
    if isinstance(change, ConfChangeV2):
        parts = [f"transition:{TRANSITIONS[ConfChangeTransition(change.transition)]}"]
        parts += [f"changes:{{{_single(it.type, it.node_id)}}}" for it in change.changes]
    else:
        parts = [f"id:{change.id}"] if change.id else []
        parts.append(_single(change.type, change.node_id))
    if change.context:
        parts.append(f"context:{quoted(change.context)}")
    return " ".join(parts)


def _single(kind: int, node_id: int) -> str:
    return f"type:{CHANGE_TYPES[ConfChangeType(kind)]} node_id:{node_id}"


def _ids(them: Sequence[int]) -> str:
    return "[" + " ".join(map(str, them)) + "]"


def _target(id_: int) -> str:
    if id_ == NONE:
        return "None"
    if id_ == LOCAL_APPEND_THREAD:
        return "AppendThread"
    if id_ == LOCAL_APPLY_THREAD:
        return "ApplyThread"
    return f"{id_:x}"
