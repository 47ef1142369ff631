"""A cluster of one: what its only member does with proposals, without the messages to itself.

A leader that has nobody to tell and nobody to wait for commits what is on its own disk. By way of two Readys that takes
the machine six messages, all of them from the member to itself; they are most of what raft costs a lone writer. The
same steps are here in a row, for the case that nothing else is to be done. Whenever it is not so, there is a Ready.

    propose ──► entries_alone ──► the caller writes them, durably ──► saved_alone ──► the caller applies them
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api.raftpb import Entry, MessageType
from quorate.raft.role import LEADER
from quorate.raft.storage import entries_size

if TYPE_CHECKING:
    from quorate.raft.machine import Raft


def entries_alone(raft: Raft) -> list[Entry]:
    """Proposals that the only member, which leads, has to write, if everything before them is written, committed and
    applied, and nothing but them is to be done; else none."""
    log, unstable = raft.log, raft.log.unstable
    entries, acknowledgements = unstable.entries, raft.after_append
    if (
        not entries
        or raft.role != LEADER
        or len(raft.tracker.progress) != 1
        or raft.id not in raft.tracker.progress
        or len(acknowledgements) != 1
        or acknowledgements[0].type != MessageType.APP_RESP
        or raft.messages
        or raft.read_states
        or not unstable.offset - 1 == log.committed == log.applied
        or unstable.offset_in_progress != unstable.offset
        or unstable.snapshot is not None
        or entries_size(entries) > log.max_applying_size
    ):
        return []
    for entry in entries:
        if entry.type or not entry.data:
            return []
    return entries[:]


def saved_alone(raft: Raft, entries: list[Entry]) -> None:
    """They are on the disk, and so on that of a quorum (Raft paper §5.3)."""
    last = entries[-1]
    raft.after_append = []
    raft.log.unstable.stable_to(last.index, last.term)
    own = raft.tracker.progress[raft.id]
    own.recent_active = True
    own.maybe_update(last.index)
    committed = raft.maybe_commit()
    assert committed and raft.log.committed == last.index, "the only member has committed what it wrote"
