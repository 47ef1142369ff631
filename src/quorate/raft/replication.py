"""Replication: how a follower takes appends and heartbeats, and what the leader learns from the answers.

Sources: Raft paper §5.3, Raft thesis §6.2 (stepping down without a quorum).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api.raftpb import Message, MessageType
from quorate.raft import reads, sending, snapshots
from quorate.raft.config import NONE
from quorate.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress

if TYPE_CHECKING:
    from quorate.raft.machine import Raft

# Leader


def handle_append_response(raft: Raft, m: Message, progress: Progress) -> None:
    progress.recent_active = True
    if m.reject:
        _append_rejected(raft, m, progress)
        return
    # An old match is news of a follower that is being probed: the two logs agree again.
    probed = progress.state == PROBE and progress.match == m.index
    if not progress.maybe_update(m.index) and not probed:
        return
    if progress.state == PROBE:
        progress.become_replicate()
    elif progress.state == SNAPSHOT:
        if progress.match + 1 >= raft.log.first_index():
            # Whichever snapshot got it here: the log reaches on from where it is.
            raft.logger.debug(
                f"{raft.id:x} recovered from needing snapshot, resumed sending replication messages "
                f"to {m.from_:x} [{progress}]"
            )
            progress.become_probe()
            progress.become_replicate()
    else:
        progress.inflights.free_to(m.index)
    if raft.maybe_commit():
        sending.broadcast_append(raft)
    elif m.from_ != raft.id and progress.can_bump_commit(raft.log.committed):
        sending.maybe_send_append(raft, m.from_, progress, send_if_empty=True)
    if m.from_ == raft.id:
        return
    while sending.maybe_send_append(raft, m.from_, progress, send_if_empty=False):
        pass  # the window has room again, perhaps for several messages
    if m.from_ == raft.lead_transferee and progress.match == raft.log.last_index():
        raft.logger.info(f"{raft.id:x} sent MsgTimeoutNow to {m.from_:x} after received MsgAppResp")
        sending.send_timeout_now(raft, m.from_)


def _append_rejected(raft: Raft, m: Message, progress: Progress) -> None:
    """Step back to where the logs may agree, a whole term of entries at a time (Raft paper §5.3)."""
    raft.logger.debug(
        f"{raft.id:x} received MsgAppResp(rejected, hint: (index {m.reject_hint}, term {m.log_term})) "
        f"from {m.from_:x} for index {m.index}"
    )
    hint = m.reject_hint
    if m.log_term:
        # The follower has nothing newer than the hint's term there; neither can a match be where this log has.
        hint, _ = raft.log.find_conflict_by_term(hint, m.log_term)
    if progress.maybe_decrease_to(m.index, hint):
        raft.logger.debug(f"{raft.id:x} decreased progress of {m.from_:x} to [{progress}]")
        if progress.state == REPLICATE:
            progress.become_probe()
        sending.maybe_send_append(raft, m.from_, progress, send_if_empty=True)


def handle_heartbeat_response(raft: Raft, m: Message, progress: Progress) -> None:
    progress.recent_active = True
    progress.flow_paused = False
    # It is behind, or it is probed though it has everything: an Append, even an empty one, finds out.
    if progress.match < raft.log.last_index() or progress.state == PROBE:
        sending.maybe_send_append(raft, m.from_, progress, send_if_empty=True)
    if m.context:
        reads.heartbeat_acknowledged(raft, m)


def handle_unreachable(raft: Raft, m: Message, progress: Progress) -> None:
    """The transport could not deliver: what was streamed is probably lost."""
    if progress.state == REPLICATE:
        progress.become_probe()
    raft.logger.debug(f"{raft.id:x} failed to send message to {m.from_:x} because it is unreachable [{progress}]")


def check_quorum(raft: Raft) -> None:
    """An election timeout is over: step down if no quorum was heard within it (Raft thesis §6.2)."""
    if not raft.tracker.quorum_active():
        raft.logger.warning(f"{raft.id:x} stepped down to follower since quorum is not active")
        raft.become_follower(raft.term, NONE)
    for id_, progress in raft.tracker.progress.items():
        if id_ != raft.id:
            progress.recent_active = False


# Follower


def handle_append(raft: Raft, m: Message) -> None:
    log = raft.log
    if m.index < log.committed:
        raft.send(Message(MessageType.APP_RESP, to=m.from_, index=log.committed))
        return
    last_new = log.maybe_append(m.index, m.log_term, m.entries, m.commit)
    if last_new is not None:
        raft.send(Message(MessageType.APP_RESP, to=m.from_, index=last_new))
        return
    raft.logger.debug(
        f"{raft.id:x} [logterm: {log.term(m.index) or 0}, index: {m.index}] rejected MsgApp "
        f"[logterm: {m.log_term}, index: {m.index}] from {m.from_:x}"
    )
    # A match can only be at or before the own end, and not in a term newer than the leader's at that place.
    hint, hint_term = log.find_conflict_by_term(min(m.index, log.last_index()), m.log_term)
    raft.send(
        Message(MessageType.APP_RESP, to=m.from_, index=m.index, reject=True, reject_hint=hint, log_term=hint_term)
    )


def handle_heartbeat(raft: Raft, m: Message) -> None:
    raft.log.commit_to(m.commit)
    raft.send(Message(MessageType.HEARTBEAT_RESP, to=m.from_, context=m.context))


# The own storage


def handle_storage_append_response(raft: Raft, m: Message) -> None:
    """Entries up to (index, log_term), and the snapshot if there is one, are on the own disk."""
    if m.index:
        raft.log.unstable.stable_to(m.index, m.log_term)
    if m.snapshot is not None:
        snapshots.snapshot_applied(raft, m.snapshot)


def handle_storage_apply_response(raft: Raft, m: Message) -> None:
    if m.entries:
        raft.entries_applied(m.entries)
