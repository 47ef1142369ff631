"""RawNode: the door of the room. One member, driven by whoever owns it, from one thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quorate.api.raftpb import (
    ConfChange,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    encode_conf_change,
    encode_conf_change_v2,
)
from quorate.raft import alone, election, proposals, reconfigure
from quorate.raft.config import LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, NONE, Config
from quorate.raft.errors import LocalMessage, PeerNotFound
from quorate.raft.machine import Raft
from quorate.raft.ready import (
    NOTHING,
    Ready,
    SoftState,
    must_sync,
    storage_append,
    storage_append_response,
    storage_apply,
    storage_apply_response,
)
from quorate.raft.role import LEADER
from quorate.raft.status import BasicStatus, Status, basic_status, status
from quorate.raft.storage import entries_size

T = MessageType
LOCAL_TYPES = frozenset(
    {T.HUP, T.BEAT, T.UNREACHABLE, T.SNAP_STATUS, T.CHECK_QUORUM}
    | {T.STORAGE_APPEND, T.STORAGE_APPEND_RESP, T.STORAGE_APPLY, T.STORAGE_APPLY_RESP}
)
RESPONSE_TYPES = frozenset(
    {T.APP_RESP, T.VOTE_RESP, T.HEARTBEAT_RESP, T.UNREACHABLE, T.READ_INDEX_RESP, T.PRE_VOTE_RESP}
    | {T.STORAGE_APPEND_RESP, T.STORAGE_APPLY_RESP}
)
LOCAL_TARGETS = frozenset({LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD})


class Peer(NamedTuple):
    """A member of a new cluster; `context` goes into its conf change entry."""

    id: int
    context: bytes = b""


class RawNode:
    """A member that starts from `config.storage`: from nothing, or from snapshot, entries and hard state."""

    __slots__ = ("_async", "_on_advance", "_previous_hard", "_previous_soft", "raft")

    def __init__(self, config: Config) -> None:
        self.raft = Raft(config)
        self._async = config.async_storage_writes
        self._previous_soft = SoftState(self.raft.lead, self.raft.role)
        self._previous_hard = self.raft.hard_state()
        self._on_advance: list[Message] = []

    def bootstrap(self, peers: Sequence[Peer]) -> None:
        """Make a new cluster: the first entries add `peers`, committed in term 1 as if they had been agreed on.

        Every first member must be given the same peers in the same order. The entries come out of the next Ready, to
        be written and applied like others. Raises ValueError when there are no peers or the storage is not empty.
        """
        raft = self.raft
        if not peers:
            raise ValueError("must provide at least one peer to Bootstrap")
        if raft.log.last_index():
            raise ValueError("can't bootstrap a nonempty Storage")
        self._previous_hard = NOTHING
        raft.become_follower(1, NONE)
        changes = [ConfChange(ConfChangeType.ADD_NODE, peer.id, peer.context) for peer in peers]
        raft.log.append(
            [
                Entry(1, index, encode_conf_change(change), EntryType.CONF_CHANGE)
                for index, change in enumerate(changes, 1)
            ]
        )
        raft.log.committed = len(changes)
        # In effect at once, so that the member can campaign before it has applied them; applying again is harmless.
        for change in changes:
            reconfigure.apply_conf_change(raft, change)

    # Inputs

    def tick(self) -> None:
        """One tick of the clock has passed."""
        self.raft.tick()

    def advance_ticks(self, ticks: int) -> None:
        """Move the election clock forward, so that a member which has waited for its start campaigns sooner."""
        self.raft.election_elapsed += ticks

    def campaign(self) -> None:
        """Try to become leader now."""
        election.hup(self.raft)

    def propose(self, data: bytes) -> None:
        """Ask for `data` to be appended; raises ProposalDropped. Silent failure is possible: time out and retry."""
        self._propose([Entry(0, 0, data)])

    def propose_many(self, batch: Sequence[bytes]) -> None:
        """As `propose`, for all of `batch` in this order: one Append to each follower instead of one for each."""
        self._propose([Entry(0, 0, data) for data in batch])

    def _propose(self, entries: list[Entry]) -> None:
        raft = self.raft
        if raft.role == LEADER:
            proposals.propose(raft, entries)
        else:
            raft.step(Message(T.PROP, from_=raft.id, entries=entries))

    def propose_conf_change(self, change: ConfChange | ConfChangeV2) -> None:
        """Ask for a configuration change; raises ProposalDropped. One that does not fit now becomes an empty entry."""
        if isinstance(change, ConfChange):
            entry = Entry(0, 0, encode_conf_change(change), EntryType.CONF_CHANGE)
        else:
            entry = Entry(0, 0, encode_conf_change_v2(change), EntryType.CONF_CHANGE_V2)
        self._propose([entry])

    def apply_conf_change(self, change: ConfChange | ConfChangeV2) -> ConfState:
        """A committed change takes effect; to be called for each one, also with node_id 0 for a rejected one.

        Returns the configuration to keep with the applied state. Raises InvalidConfChange when the change does not
        fit the configuration: the member must stop, its state is not that of the others.
        """
        return reconfigure.apply_conf_change(self.raft, change)

    def step(self, m: Message) -> None:
        """A message has come in, from a peer or as a response of the own storage.

        Raises LocalMessage, PeerNotFound, ProposalDropped; in each case the message is to be forgotten.
        """
        if m.from_ not in LOCAL_TARGETS:
            if m.type in LOCAL_TYPES:
                raise LocalMessage
            if m.type in RESPONSE_TYPES and m.from_ not in self.raft.tracker.progress:
                raise PeerNotFound
        self.raft.step(m)

    def read_index(self, context: bytes) -> None:
        """Ask for an index to read at; the answer is a ReadState with `context`. It may get lost: ask again."""
        self.raft.step(Message(T.READ_INDEX, entries=[Entry(0, 0, context)]))

    def transfer_leader(self, to: int) -> None:
        """Hand leadership to `to`, when its log is complete."""
        self.raft.step(Message(T.TRANSFER_LEADER, from_=to))

    def forget_leader(self) -> None:
        """A follower believes its leader dead and may vote for another one at once."""
        self.raft.step(Message(T.FORGET_LEADER))

    def report_unreachable(self, peer: int) -> None:
        """The last message to `peer` was not delivered."""
        self.raft.step(Message(T.UNREACHABLE, from_=peer))

    def report_snapshot(self, peer: int, ok: bool) -> None:
        """Sending the snapshot to `peer` has ended; must be told, or the leader waits for it forever."""
        self.raft.step(Message(T.SNAP_STATUS, from_=peer, reject=not ok))

    # Outputs

    def has_ready(self) -> bool:
        raft = self.raft
        log = raft.log
        unstable = log.unstable
        if raft.messages or raft.after_append or raft.read_states or unstable.has_next_entries():
            return True
        if raft.lead != self._previous_soft.lead or raft.role != self._previous_soft.role:
            return True
        previous = self._previous_hard
        if log.committed != previous.commit or raft.term != previous.term or raft.vote != previous.vote:
            return True
        return log.has_next_committed(not self._async) or unstable.next_snapshot() is not None

    def ready(self) -> Ready:
        """Everything to be done now. Without asynchronous writes `advance` must be called before the next one."""
        ready = self._gather()
        self._accept(ready)
        return ready

    def entries_alone(self) -> list[Entry]:
        """What `ready` would have written, where the member is a cluster of one and that is all (see `alone`).

        Whoever takes them writes them durably and calls `saved_alone`, applies them and calls `applied_alone`, with
        nothing in between; or does nothing and asks for the Ready.
        """
        raft, soft, hard = self.raft, self._previous_soft, self._previous_hard
        if raft.lead != soft.lead or raft.role != soft.role or raft.term != hard.term or raft.vote != hard.vote:
            return []
        return alone.entries_alone(raft)

    def saved_alone(self, entries: list[Entry]) -> None:
        """They are durable: now they are committed."""
        alone.saved_alone(self.raft, entries)
        self._previous_hard = self.raft.hard_state()

    def applied_alone(self, entries: list[Entry]) -> None:
        self.raft.entries_applied(entries)

    def advance(self) -> None:
        """Everything the last Ready asked for is done."""
        assert not self._async, "advance must not be called when using async storage writes"
        steps, self._on_advance = self._on_advance, []
        for m in steps:
            self.raft.step(m)

    def _gather(self) -> Ready:
        raft = self.raft
        unstable = raft.log.unstable
        ready = Ready(
            entries=unstable.next_entries(),
            committed_entries=raft.log.next_committed(not self._async),
            snapshot=unstable.next_snapshot(),
            read_states=raft.read_states,
            messages=raft.messages,
        )
        if raft.lead != self._previous_soft.lead or raft.role != self._previous_soft.role:
            ready.soft_state = SoftState(raft.lead, raft.role)
        hard, previous = raft.hard_state(), self._previous_hard
        if hard != previous and hard != NOTHING:
            ready.hard_state = hard
        ready.must_sync = must_sync(hard, previous, len(ready.entries))
        if self._async:
            if ready.entries or ready.hard_state or ready.snapshot or raft.after_append:
                ready.messages.append(storage_append(raft, ready))
            if ready.committed_entries:
                ready.messages.append(storage_apply(raft, ready))
        else:
            ready.messages.extend([m for m in raft.after_append if m.to != raft.id])
        return ready

    def _accept(self, ready: Ready) -> None:
        raft = self.raft
        self._previous_soft = ready.soft_state or self._previous_soft
        self._previous_hard = ready.hard_state or self._previous_hard
        if not self._async:
            assert not self._on_advance, "two accepted Ready structs without call to Advance"
            self._on_advance = self._steps_on_advance(ready)
        raft.messages, raft.after_append, raft.read_states = [], [], []
        raft.log.unstable.accept_in_progress()
        applying = ready.committed_entries
        if applying:
            raft.log.accept_applying(applying[-1].index, entries_size(applying), not self._async)

    def _steps_on_advance(self, ready: Ready) -> list[Message]:
        raft = self.raft
        steps = [m for m in raft.after_append if m.to == raft.id]
        written = storage_append_response(raft, ready)
        if written is not None:
            steps.append(written)
        if ready.committed_entries:
            steps.append(storage_apply_response(raft, ready))
        return steps

    # Looking

    def basic_status(self) -> BasicStatus:
        return basic_status(self.raft)

    def status(self) -> Status:
        return status(self.raft)

    def hard_state(self) -> HardState:
        return self.raft.hard_state()
