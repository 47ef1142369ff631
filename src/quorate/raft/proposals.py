"""Proposals: appended by the leader, passed on by followers, refused by candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api.raftpb import (
    ConfChange,
    ConfChangeV2,
    Entry,
    EntryType,
    Message,
    decode_conf_change,
    decode_conf_change_v2,
)
from quorate.raft import describe, sending
from quorate.raft.confchange import as_v2
from quorate.raft.errors import ProposalDropped

if TYPE_CHECKING:
    from quorate.raft.machine import Raft


def handle_proposal(raft: Raft, m: Message) -> None:
    if m.entries:
        propose(raft, m.entries)


def propose(raft: Raft, entries: list[Entry]) -> None:
    """Append as the leader and send out; raises ProposalDropped."""
    assert entries, f"{raft.id:x} stepped empty MsgProp"
    if raft.id not in raft.tracker.progress:
        raise ProposalDropped  # removed from the configuration while leading
    if raft.lead_transferee:
        raft.logger.debug(
            f"{raft.id:x} [term {raft.term}] transfer leadership to {raft.lead_transferee:x} is in progress; "
            "dropping proposal"
        )
        raise ProposalDropped
    for entry in entries:
        if entry.type:
            entries = _with_checked_conf_changes(raft, entries)
            break
    if not raft.append(entries):
        raise ProposalDropped
    sending.broadcast_append(raft)


def forward(raft: Raft, m: Message) -> None:
    """Pass it on to the leader; raises ProposalDropped."""
    if not raft.lead:
        drop(raft, m)
    if raft.disable_proposal_forwarding:
        raft.logger.info(f"{raft.id:x} not forwarding to leader {raft.lead:x} at term {raft.term}; dropping proposal")
        raise ProposalDropped
    m.to = raft.lead
    raft.send(m)


def drop(raft: Raft, m: Message) -> None:
    raft.logger.info(f"{raft.id:x} no leader at term {raft.term}; dropping proposal")
    raise ProposalDropped


def _with_checked_conf_changes(raft: Raft, entries: list[Entry]) -> list[Entry]:
    """The entries, with conf changes that must not be made now turned into empty ones."""
    checked = []
    first = raft.log.last_index() + 1
    for index, entry in enumerate(entries, first):
        if entry.type == EntryType.NORMAL:
            checked.append(entry)
            continue
        change = decoded_conf_change(entry)
        objection = _objection(raft, as_v2(change))
        if objection and not raft.disable_conf_change_validation:
            raft.logger.info(
                f"{raft.id:x} ignoring conf change {describe.conf_change(change)} "
                f"at config {raft.tracker.membership}: {objection}"
            )
            checked.append(Entry(0, 0))
        else:
            raft.pending_conf_index = index
            checked.append(entry)
    return checked


def decoded_conf_change(entry: Entry) -> ConfChange | ConfChangeV2:
    """The change a CONF_CHANGE or CONF_CHANGE_V2 entry carries."""
    if entry.type == EntryType.CONF_CHANGE:
        return decode_conf_change(entry.data)
    return decode_conf_change_v2(entry.data)


def _objection(raft: Raft, change: ConfChangeV2) -> str:
    """Why `change` must not enter the log now: one at a time (Raft thesis §4.1), and out of a joint config first."""
    membership = raft.tracker.membership
    if raft.pending_conf_index > raft.log.applied:
        return f"possible unapplied conf change at index {raft.pending_conf_index} (applied to {raft.log.applied})"
    if membership.joint and change.changes:
        return "must transition out of joint config first"
    if not membership.joint and not change.changes:
        return "not in joint state; refusing empty conf change"
    return ""
