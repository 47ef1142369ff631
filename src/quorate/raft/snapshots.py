"""Snapshots: for a follower that needs entries which are gone (Raft paper §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api.raftpb import Message, MessageType, Snapshot
from quorate.raft import confchange, reconfigure
from quorate.raft.config import NONE
from quorate.raft.progress import SNAPSHOT, Progress
from quorate.raft.role import FOLLOWER
from quorate.raft.tracker import Tracker

if TYPE_CHECKING:
    from quorate.raft.machine import Raft


def handle_snapshot_status(raft: Raft, m: Message, progress: Progress) -> None:
    """The transport tells how sending the snapshot went."""
    if progress.state != SNAPSHOT:
        return
    if m.reject:
        progress.pending_snapshot = 0  # it never arrived, so probing must not start behind it
    progress.become_probe()
    outcome = "failed" if m.reject else "succeeded"
    raft.logger.debug(
        f"{raft.id:x} snapshot {outcome}, resumed sending replication messages to {m.from_:x} [{progress}]"
    )
    # Arrived: the follower will say how far it is. Failed: do not try again before the next heartbeat.
    progress.flow_paused = True


def handle_snapshot(raft: Raft, m: Message) -> None:
    snapshot = m.snapshot or Snapshot()
    restored = restore(raft, snapshot)
    raft.logger.info(
        f"{raft.id:x} [commit: {raft.log.committed}] {'restored' if restored else 'ignored'} snapshot "
        f"[index: {snapshot.index}, term: {snapshot.term}]"
    )
    index = raft.log.last_index() if restored else raft.log.committed
    raft.send(Message(MessageType.APP_RESP, to=m.from_, index=index))


def restore(raft: Raft, snapshot: Snapshot) -> bool:
    """Replace log and configuration by `snapshot`; False if it brings nothing new."""
    log = raft.log
    if snapshot.index <= log.committed:
        return False
    if raft.role != FOLLOWER:
        raft.logger.warning(f"{raft.id:x} attempted to restore snapshot as leader; should never happen")
        raft.become_follower(raft.term + 1, NONE)
        return False
    state = snapshot.conf_state
    if raft.id not in (*state.voters, *state.learners, *state.voters_outgoing):
        raft.logger.warning(
            f"{raft.id:x} attempted to restore snapshot but it is not in the ConfState {state}; should never happen"
        )
        return False
    if log.match_term(snapshot.index, snapshot.term):
        raft.logger.info(
            f"{raft.id:x} [commit: {log.committed}, lastindex: {log.last_index()}, lastterm: {log.last_term()}] "
            f"fast-forwarded commit to snapshot [index: {snapshot.index}, term: {snapshot.term}]"
        )
        log.commit_to(snapshot.index)
        return False
    log.restore(snapshot)
    raft.tracker = Tracker(raft.tracker.max_inflight_messages, raft.tracker.max_inflight_bytes)
    reconfigure.switch_to(raft, *confchange.restore(raft.tracker, state, log.last_index()))
    raft.logger.info(
        f"{raft.id:x} [commit: {log.committed}, lastindex: {log.last_index()}, lastterm: {log.last_term()}] "
        f"restored snapshot [index: {snapshot.index}, term: {snapshot.term}]"
    )
    return True


def snapshot_applied(raft: Raft, snapshot: Snapshot) -> None:
    """The snapshot is on the own disk and in the application."""
    raft.log.unstable.stable_snapshot_to(snapshot.index)
    raft.applied_to(snapshot.index, 0)
