"""Bugs to plant in raft and in the loop that drives it; the docstring of each says what it breaks.

Each is one that somebody could write. Without faults a cluster that has it runs well, or well for long.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate.api.raftpb import Entry, EntryType, HardState, Message, MessageType, encode_hard_state
from quorate.raft import election, proposals, reads, reconfigure, replication, roles, sending
from quorate.raft.log import Log
from quorate.raft.machine import Raft
from quorate.raft.tracker import Tracker
from quorate.server.agreement import Agreement
from quorate.server.raft_loop import RaftLoop
from quorate.storage.wal import record
from quorate.storage.wal.record import Batch, Encoder, WalSnapshot
from quorate.testing.sim.disk import DiskFile
from quorate.testing.sim.patch import Patch

APP_RESP = MessageType.APP_RESP

# Counting.


def commit_without_quorum(patch: Patch) -> None:
    """The leader commits what any one member has."""

    def committed(self: Tracker) -> int:
        return max(self.progress[voter].match for voter in self.membership.voters())

    patch.attribute(Tracker, "committed", committed)


def count_learner_in_quorum(patch: Patch) -> None:
    """An entry that a learner has counts as if a voter had it."""

    def committed(self: Tracker) -> int:
        matches = sorted((progress.match for progress in self.progress.values()), reverse=True)
        return min(
            matches[len(voters) // 2] for voters in (self.membership.incoming, self.membership.outgoing) if voters
        )

    patch.attribute(Tracker, "committed", committed)


def commit_earlier_terms_by_counting(patch: Patch) -> None:
    """A leader commits entries of an earlier term because a quorum has them (Raft paper, figure 8)."""

    def maybe_commit(self: Log, index: int, term: int) -> bool:
        if index > self.committed:
            self.commit_to(index)
            return True
        return False

    patch.attribute(Log, "maybe_commit", maybe_commit)


def commit_by_heartbeat(patch: Patch) -> None:
    """A heartbeat tells a follower the commit index even where its log may differ from the leader's."""

    def broadcast_heartbeat(raft: Raft, context: bytes) -> None:
        for id_ in raft.tracker.progress:
            if id_ != raft.id:
                commit = raft.log.committed
                raft.send(Message(MessageType.HEARTBEAT, to=id_, commit=commit, context=context))

    def handle_heartbeat(raft: Raft, m: Message) -> None:
        raft.log.commit_to(min(m.commit, raft.log.last_index()))
        raft.send(Message(MessageType.HEARTBEAT_RESP, to=m.from_, context=m.context))

    patch.attribute(sending, "broadcast_heartbeat", broadcast_heartbeat)
    patch.item(roles.FOLLOWER, MessageType.HEARTBEAT, roles._from_leader(handle_heartbeat))
    for handlers in (roles.CANDIDATE, roles.PRE_CANDIDATE):
        patch.item(handlers, MessageType.HEARTBEAT, roles._as_follower(handle_heartbeat))


# Votes.


def vote_for_shorter_log(patch: Patch) -> None:
    """A vote goes to a candidate whose last entry has the right term, however short its log is."""
    patch.attribute(Log, "is_up_to_date", lambda self, index, term: term >= self.last_term())


def vote_twice(patch: Patch) -> None:
    """A member that knows no leader votes for everybody who asks, also twice in one term."""

    def handle_vote_request(raft: Raft, m: Message) -> None:
        if raft.lead == 0:
            raft.vote = 0
        election.handle_vote_request(raft, m)

    patch.item(roles.FOLLOWER, MessageType.VOTE, handle_vote_request)


def forget_vote(patch: Patch) -> None:
    """The log keeps the term of a member, but not whom it has voted for."""

    def encode_without_vote(state: HardState) -> bytes:
        return encode_hard_state(state._replace(vote=0))

    patch.attribute(record, "encode_hard_state", encode_without_vote)


def vote_before_sync(patch: Patch) -> None:
    """Term and vote are written, but only entries are synced: a vote is answered before it is durable."""

    def encode(
        self: Encoder,
        hard_state: HardState | None = None,
        entries: Sequence[Entry] = (),
        snapshot: WalSnapshot | None = None,
        *,
        sync: bool = False,
    ) -> Batch:
        batch: Batch = honest(self, hard_state, entries, snapshot, sync=sync)
        return batch._replace(sync=bool(sync or entries or snapshot or batch.cut))

    honest = patch.attribute(Encoder, "encode", encode)


# The log.


def acknowledge_before_sync(patch: Patch) -> None:
    """A follower says that it has entries when it has passed them on to the disk."""

    def append(self: RaftLoop, message: Message) -> None:
        early = [
            response for response in message.responses if response.type == APP_RESP and not _is_own(self, response)
        ]
        if early:
            self._send(early)
            message.responses = [response for response in message.responses if response not in early]
        honest(self, message)

    honest = patch.attribute(RaftLoop, "_append", append)


def sync_nothing(patch: Patch) -> None:
    """Nothing is ever synced."""
    patch.attribute(DiskFile, "sync", lambda self: None)


def keep_conflicting_entries(patch: Patch) -> None:
    """A follower keeps the entries it has, and takes from the leader only those behind them."""

    def find_conflict(self: Log, entries: list[Entry]) -> int:
        return next((entry.index for entry in entries if entry.index > self.last_index()), 0)

    patch.attribute(Log, "find_conflict", find_conflict)


def truncate_committed(patch: Patch) -> None:
    """A follower cuts its log where the entries it is sent begin, be they new, old, or committed long since."""

    def maybe_append(self: Log, index: int, term: int, entries: list[Entry], committed: int) -> int | None:
        if not self.match_term(index, term):
            return None
        if entries:
            self.unstable.truncate_and_append(entries)
        last_new = index + len(entries)
        self.commit_to(min(committed, last_new))
        return last_new

    def handle_append(raft: Raft, m: Message) -> None:
        last_new = raft.log.maybe_append(m.index, m.log_term, m.entries, m.commit)
        if last_new is None:
            replication.handle_append(raft, m)
        else:
            raft.send(Message(APP_RESP, to=m.from_, index=last_new))

    patch.attribute(Log, "maybe_append", maybe_append)
    patch.item(roles.FOLLOWER, MessageType.APP, roles._from_leader(handle_append))
    for handlers in (roles.CANDIDATE, roles.PRE_CANDIDATE):
        patch.item(handlers, MessageType.APP, roles._as_follower(handle_append))


# Reads.


def read_without_asking(patch: Patch) -> None:
    """A linearizable read is answered from what this member has applied."""
    patch.attribute(Agreement, "read_barrier", lambda self: None)


def read_index_without_quorum(patch: Patch) -> None:
    """A leader answers ReadIndex without having a quorum confirm that it still leads."""

    def handle_read_index(raft: Raft, m: Message) -> None:
        if raft.committed_in_term():
            reads._answer(raft, m, raft.log.committed)
        else:
            raft.reads.postponed.append(m)

    patch.attribute(reads, "handle_read_index", handle_read_index)
    patch.item(roles.LEADER, MessageType.READ_INDEX, handle_read_index)


# Members.


def change_members_on_append(patch: Patch) -> None:
    """The leader counts with new members from the moment their entry is in its log, committed or not."""

    def with_checked_conf_changes(raft: Raft, entries: list[Entry]) -> list[Entry]:
        checked: list[Entry] = honest(raft, entries)
        for entry in checked:
            if entry.type != EntryType.NORMAL:
                reconfigure.apply_conf_change(raft, proposals.decoded_conf_change(entry))
        return checked

    honest = patch.attribute(proposals, "_with_checked_conf_changes", with_checked_conf_changes)


def tell_of_change_before_sync(patch: Patch) -> None:
    """That a change of the members is committed is told, and the change applied, before that is durable here."""
    patch.attribute(RaftLoop, "_keep_commit", lambda self, entries: None)


def _is_own(loop: RaftLoop, answer: Message) -> bool:
    return answer.to == loop.node.raft.id
