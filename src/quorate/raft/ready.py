"""A Ready: everything the outside has to do for the machine, in one piece.

What may happen when, for a member that writes synchronously:

    1. hard_state, entries and snapshot to disk, durably if `must_sync`; only then
    2. send messages (a leader may send its Appends earlier: they promise nothing), apply committed_entries
    3. advance()

With asynchronous storage writes `messages` alone says it all: StorageAppend and StorageApply messages are work for
the own storage, and their `responses` are to be delivered when it is done (Raft thesis §10.2.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from quorate.api.raftpb import Entry, HardState, Message, MessageType, Snapshot
from quorate.raft.config import LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD
from quorate.raft.machine import Raft
from quorate.raft.reads import ReadState
from quorate.raft.role import Role

NOTHING = HardState()


class SoftState(NamedTuple):
    """What is good to know and need not be kept."""

    lead: int
    role: Role


@dataclass(slots=True)
class Ready:
    soft_state: SoftState | None = None
    """Set when it has changed."""
    hard_state: HardState | None = None
    """Set when it has changed; to be written before messages are sent."""
    read_states: list[ReadState] = field(default_factory=list)
    """Reads that may be served once the state is applied up to their index."""
    entries: list[Entry] = field(default_factory=list)
    """To be written. Their indexes may overwrite entries written before."""
    snapshot: Snapshot | None = None
    """To be written and to replace the state of the application."""
    committed_entries: list[Entry] = field(default_factory=list)
    """To be applied; conf changes among them by `apply_conf_change` too."""
    messages: list[Message] = field(default_factory=list)
    must_sync: bool = False
    """The write must be durable before anything is promised; False when only the commit index moved."""


def must_sync(state: HardState, previous: HardState, entries: int) -> bool:
    return bool(entries) or state.vote != previous.vote or state.term != previous.term


def storage_append(raft: Raft, ready: Ready) -> Message:
    """The message to the one who writes the log, when there is something to write or to wait for."""
    hard_state = ready.hard_state or NOTHING
    responses = raft.after_append
    # The own acknowledgement of stability goes last: those before it are answered faster while the entries are
    # still in the unstable part of the log.
    confirmation = storage_append_response(raft, ready)
    return Message(
        MessageType.STORAGE_APPEND,
        to=LOCAL_APPEND_THREAD,
        from_=raft.id,
        term=hard_state.term,
        vote=hard_state.vote,
        commit=hard_state.commit,
        entries=ready.entries,
        snapshot=ready.snapshot,
        responses=responses if confirmation is None else [*responses, confirmation],
    )


def storage_append_response(raft: Raft, ready: Ready) -> Message | None:
    """What tells the machine that everything it has so far is on disk.

    Carries the term, so that it is dropped when that has changed: another leader may have overwritten the entries,
    and put the same (term, index) back, while an older write was still on its way to the disk. Because of that
    race it also speaks of entries that were handed out before: the last write in order confirms them all.
    """
    unstable = raft.log.unstable
    if not unstable.entries and ready.snapshot is None:
        return None
    return Message(
        MessageType.STORAGE_APPEND_RESP,
        to=raft.id,
        from_=LOCAL_APPEND_THREAD,
        term=raft.term,
        index=raft.log.last_index() if unstable.entries else 0,
        log_term=raft.log.last_term() if unstable.entries else 0,
        snapshot=ready.snapshot,
    )


def storage_apply(raft: Raft, ready: Ready) -> Message:
    """The message to the one who applies. It has no term: what is committed holds in every term."""
    return Message(
        MessageType.STORAGE_APPLY,
        to=LOCAL_APPLY_THREAD,
        from_=raft.id,
        entries=ready.committed_entries,
        responses=[storage_apply_response(raft, ready)],
    )


def storage_apply_response(raft: Raft, ready: Ready) -> Message:
    return Message(
        MessageType.STORAGE_APPLY_RESP,
        to=raft.id,
        from_=LOCAL_APPLY_THREAD,
        entries=ready.committed_entries,
    )
