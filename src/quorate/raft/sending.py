"""What a leader sends: entries, the commit index, heartbeats, snapshots, the call to take over.

Sources: Raft paper §5.3, §7; Raft thesis §10.2.1 (pipelining), §3.10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api.raftpb import Entry, Message, MessageType
from quorate.raft.errors import EntriesCompacted, SnapshotTemporarilyUnavailable
from quorate.raft.progress import REPLICATE, Progress

if TYPE_CHECKING:
    from quorate.raft.machine import Raft


def broadcast_append(raft: Raft) -> None:
    """Send every follower what it lacks, or at least the commit index."""
    for id_, progress in raft.tracker.progress.items():
        if id_ != raft.id:
            maybe_send_append(raft, id_, progress, send_if_empty=True)


def maybe_send_append(raft: Raft, to: int, progress: Progress, *, send_if_empty: bool) -> bool:
    """Send one Append, or a snapshot where the log no longer reaches back far enough. False if nothing was sent."""
    if progress.is_paused():
        return False
    previous = progress.next - 1
    term = raft.log.term(previous)
    if term is None:
        return maybe_send_snapshot(raft, to, progress)
    entries: list[Entry] = []
    # With a full window only empty Appends leave: if all that filled it were lost, the answer to one of these is
    # what gets replication going again.
    if progress.state != REPLICATE or not progress.inflights.full():
        try:
            entries = raft.log.entries(progress.next, raft.max_message_size)
        except EntriesCompacted:
            return maybe_send_snapshot(raft, to, progress)
    if not entries and not send_if_empty:
        return False
    committed = raft.log.committed
    raft.send(
        Message(MessageType.APP, to=to, index=previous, log_term=term, entries=entries, commit=committed),
    )
    progress.sent_entries(len(entries), sum([len(entry.data) for entry in entries]))
    progress.sent_commit = committed
    return True


def broadcast_heartbeat(raft: Raft, context: bytes) -> None:
    for id_, progress in raft.tracker.progress.items():
        if id_ != raft.id:
            # Never past what the follower is known to have: its log may differ behind that.
            commit = min(progress.match, raft.log.committed)
            raft.send(Message(MessageType.HEARTBEAT, to=id_, commit=commit, context=context))
            progress.sent_commit = commit


def maybe_send_snapshot(raft: Raft, to: int, progress: Progress) -> bool:
    """Send the newest snapshot and stop replicating until it has arrived. False if there is a reason not to."""
    if not progress.recent_active:
        raft.logger.debug(f"ignore sending snapshot to {to:x} since it is not recently active")
        return False
    try:
        snapshot = raft.log.snapshot()
    except SnapshotTemporarilyUnavailable:
        raft.logger.debug(f"{raft.id:x} failed to send snapshot to {to:x} because snapshot is temporarily unavailable")
        return False
    assert snapshot.index, "need non-empty snapshot"
    raft.logger.debug(
        f"{raft.id:x} [firstindex: {raft.log.first_index()}, commit: {raft.log.committed}] sent "
        f"snapshot[index: {snapshot.index}, term: {snapshot.term}] to {to:x} [{progress}]"
    )
    progress.become_snapshot(snapshot.index)
    raft.logger.debug(f"{raft.id:x} paused sending replication messages to {to:x} [{progress}]")
    raft.send(Message(MessageType.SNAP, to=to, snapshot=snapshot))
    return True


def send_timeout_now(raft: Raft, to: int) -> None:
    raft.send(Message(MessageType.TIMEOUT_NOW, to=to))
