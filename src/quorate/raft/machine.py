"""The state of one member and the moves all verbs share: terms, roles, sending, appending, committing, time.

What a message does is in the module of its verb (`election`, `replication`, `snapshots`, `reads`, `transfer`,
`proposals`); `roles` says which verb a role answers a message with.
"""

from __future__ import annotations

from quorate.api.raftpb import Entry, HardState, Message, MessageType
from quorate.raft import confchange, election, reconfigure, replication, roles, sending
from quorate.raft.config import NO_LIMIT, NONE, Config
from quorate.raft.log import Log
from quorate.raft.reads import ReadQueue, ReadState, release_postponed_reads
from quorate.raft.role import CANDIDATE, FOLLOWER, LEADER, PRE_CANDIDATE, Role
from quorate.raft.snapshots import snapshot_applied
from quorate.raft.storage import entries_size
from quorate.raft.tracker import Tracker

APP = MessageType.APP
APP_RESP = MessageType.APP_RESP
PROP = MessageType.PROP
READ_INDEX = MessageType.READ_INDEX
ELECTION_TYPES = frozenset({MessageType.VOTE, MessageType.VOTE_RESP, MessageType.PRE_VOTE, MessageType.PRE_VOTE_RESP})
AFTER_APPEND_TYPES = frozenset({APP_RESP, MessageType.VOTE_RESP, MessageType.PRE_VOTE_RESP})
FROM_LEADER_TYPES = frozenset({APP, MessageType.HEARTBEAT, MessageType.SNAP})


class Raft:
    """One member. Everything is read and written by the verbs; callers go through RawNode."""

    __slots__ = (
        "_handlers",
        "after_append",
        "check_quorum",
        "disable_conf_change_validation",
        "disable_proposal_forwarding",
        "election_elapsed",
        "election_timeout",
        "heartbeat_elapsed",
        "heartbeat_timeout",
        "id",
        "lead",
        "lead_transferee",
        "log",
        "logger",
        "max_message_size",
        "max_uncommitted_size",
        "messages",
        "pending_conf_index",
        "pre_vote",
        "randomized_election_timeout",
        "read_only",
        "read_states",
        "reads",
        "rng",
        "role",
        "step_down_on_removal",
        "term",
        "tracker",
        "uncommitted_size",
        "vote",
    )

    def __init__(self, config: Config) -> None:
        config.validate()
        self.id = config.id
        self.logger = config.logger
        self.rng = config.rng
        self.check_quorum = config.check_quorum
        self.pre_vote = config.pre_vote
        self.read_only = config.read_only
        self.election_timeout = config.election_tick
        self.heartbeat_timeout = config.heartbeat_tick
        self.max_message_size = config.max_size_per_message
        self.max_uncommitted_size = config.max_uncommitted_size or NO_LIMIT
        self.disable_proposal_forwarding = config.disable_proposal_forwarding
        self.disable_conf_change_validation = config.disable_conf_change_validation
        self.step_down_on_removal = config.step_down_on_removal

        self.term = 0
        self.vote = NONE
        self.role: Role = FOLLOWER
        self.lead = NONE
        self.lead_transferee = NONE
        self.pending_conf_index = 0
        """No conf change after the one at this index may be proposed before that one is applied."""
        self.uncommitted_size = 0
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.randomized_election_timeout = 0
        self.messages: list[Message] = []
        self.after_append: list[Message] = []
        """Answers that promise something: they leave when what they promise is on disk (Raft thesis §10.2.1)."""
        self.read_states: list[ReadState] = []
        self.reads = ReadQueue()
        self.log = Log(
            config.storage, config.logger, config.max_committed_size_per_ready or config.max_size_per_message
        )
        self.tracker = Tracker(config.max_inflight_messages, config.max_inflight_bytes or NO_LIMIT)
        self._handlers = roles.FOLLOWER
        self._restore(config)

    def _restore(self, config: Config) -> None:
        hard_state, conf_state = config.storage.initial_state()
        last_index = self.log.last_index()
        reconfigure.switch_to(self, *confchange.restore(self.tracker, conf_state, last_index))
        if hard_state != HardState():
            committed = self.log.committed
            assert committed <= hard_state.commit <= last_index, (
                f"{self.id:x} state.commit {hard_state.commit} is out of range [{committed}, {last_index}]"
            )
            self.log.committed = hard_state.commit
            self.term = hard_state.term
            self.vote = hard_state.vote
        if config.applied:
            self.log.applied_to(config.applied, 0)
        self.become_follower(self.term, NONE)
        peers = ",".join(f"{voter:x}" for voter in sorted(self.tracker.membership.voters()))
        self.logger.info(
            f"newRaft {self.id:x} [peers: [{peers}], term: {self.term}, commit: {self.log.committed}, "
            f"applied: {self.log.applied}, lastindex: {last_index}, lastterm: {self.log.last_term()}]"
        )

    # Roles (Raft paper §5.1, §5.2)

    def become_follower(self, term: int, lead: int) -> None:
        self._reset(term)
        self.lead = lead
        self._enter(FOLLOWER, roles.FOLLOWER)
        self.logger.info(f"{self.id:x} became follower at term {self.term}")

    def become_candidate(self) -> None:
        assert self.role != LEADER, "invalid transition [leader -> candidate]"
        self._reset(self.term + 1)
        self.vote = self.id
        self._enter(CANDIDATE, roles.CANDIDATE)
        self.logger.info(f"{self.id:x} became candidate at term {self.term}")

    def become_pre_candidate(self) -> None:
        """Neither term nor vote change: nothing has happened yet (Raft thesis §9.6)."""
        assert self.role != LEADER, "invalid transition [leader -> pre-candidate]"
        self.tracker.votes.clear()
        self.lead = NONE
        self._enter(PRE_CANDIDATE, roles.PRE_CANDIDATE)
        self.logger.info(f"{self.id:x} became pre-candidate at term {self.term}")

    def become_leader(self) -> None:
        assert self.role != FOLLOWER, "invalid transition [follower -> leader]"
        self._reset(self.term)
        self.lead = self.id
        self._enter(LEADER, roles.LEADER)
        own = self.tracker.progress[self.id]
        own.become_replicate()
        own.recent_active = True
        # There may be a conf change among the entries that are not committed yet: wait for all of them.
        self.pending_conf_index = self.log.last_index()
        # An entry of the own term, or what came before could not be committed (Raft paper §5.4.2).
        appended = self.append([Entry(0, 0)])
        assert appended, "empty entry was dropped"
        self.logger.info(f"{self.id:x} became leader at term {self.term}")

    def _enter(self, role: Role, handlers: roles.Handlers) -> None:
        self.role = role
        self._handlers = handlers

    def _reset(self, term: int) -> None:
        if self.term != term:
            self.term = term
            self.vote = NONE
        self.lead = NONE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.randomized_election_timeout = self.election_timeout + self.rng.randrange(self.election_timeout)
        self.lead_transferee = NONE
        self.tracker.votes.clear()
        self.tracker.reset_progress(self.id, self.log.last_index())
        self.pending_conf_index = 0
        self.uncommitted_size = 0
        self.reads = ReadQueue()

    def promotable(self) -> bool:
        """May this member lead? Not as a learner, not when removed, not while a snapshot is to be restored."""
        own = self.tracker.progress.get(self.id)
        return own is not None and not own.is_learner and self.log.unstable.snapshot is None

    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote, self.log.committed)

    # Time

    def tick(self) -> None:
        """One tick has passed."""
        self.election_elapsed += 1
        if self.role == LEADER:
            self._tick_leader()
        elif self.election_elapsed >= self.randomized_election_timeout and self.promotable():
            self.election_elapsed = 0
            election.hup(self)

    def _tick_leader(self) -> None:
        self.heartbeat_elapsed += 1
        if self.election_elapsed >= self.election_timeout:
            self.election_elapsed = 0
            if self.check_quorum:
                replication.check_quorum(self)
            if self.role != LEADER:
                return
            self.lead_transferee = NONE  # a transfer that takes longer than an election has failed (Raft thesis §3.10)
            self._leave_if_due()  # a transfer may have kept it from leaving when it was due
        if self.heartbeat_elapsed >= self.heartbeat_timeout:
            self.heartbeat_elapsed = 0
            sending.broadcast_heartbeat(self, self.reads.last_context())

    # Receiving

    def step(self, m: Message) -> None:
        """Take in a message; raises ProposalDropped for a proposal that cannot be taken."""
        term = m.term
        if term and term != self.term and not (self._newer_term(m) if term > self.term else self._older_term(m)):
            return
        handler = self._handlers.get(m.type)
        if handler is not None:
            handler(self, m)

    def _newer_term(self, m: Message) -> bool:
        """A message from a later term makes a follower of anybody (Raft paper §5.1). False: it is to be ignored."""
        kind = m.type
        asked = kind in (MessageType.VOTE, MessageType.PRE_VOTE)
        if asked and m.context != election.TRANSFER_CONTEXT and self._in_lease():
            remaining = self.election_timeout - self.election_elapsed
            self.log_vote(m, "ignored", f"lease is not expired (remaining ticks: {remaining})")
            return False
        if kind == MessageType.PRE_VOTE:
            return True  # a question about a future term, no sign of one
        if kind == MessageType.PRE_VOTE_RESP and not m.reject:
            return True  # granted for the term that was asked about; a refusal carries the term of who refused
        self.logger.info(
            f"{self.id:x} [term: {self.term}] received a {kind.text} message with higher term "
            f"from {m.from_:x} [term: {m.term}]"
        )
        self.become_follower(m.term, m.from_ if kind in FROM_LEADER_TYPES else NONE)
        return True

    def _in_lease(self) -> bool:
        """Was a leader heard within the election timeout? Then nobody else is needed (Raft thesis §4.2.3)."""
        return self.check_quorum and self.lead != NONE and self.election_elapsed < self.election_timeout

    def _older_term(self, m: Message) -> bool:
        """A message from an earlier term is answered only where silence would get the sender stuck."""
        kind = m.type
        if kind in (APP, MessageType.HEARTBEAT) and (self.check_quorum or self.pre_vote):
            # Votes that are ignored or asked for first keep a member with a higher term from telling the leader so
            # by an election; this answer does, and the leader steps down.
            self.send(Message(APP_RESP, to=m.from_))
        elif kind == MessageType.PRE_VOTE:
            # A candidate that is behind in term may be the only one with a complete log: tell it the term.
            self.log_vote(m, "rejected")
            self.send(Message(MessageType.PRE_VOTE_RESP, to=m.from_, term=self.term, reject=True))
        elif kind == MessageType.STORAGE_APPEND_RESP:
            if m.index:
                # The entries may have been overwritten since: what is on disk may not be what is in the log.
                self.logger.info(
                    f"{self.id:x} [term: {self.term}] ignored entry appends from a {kind.text} message "
                    f"with lower term [term: {m.term}]"
                )
            if m.snapshot is not None:
                snapshot_applied(self, m.snapshot)  # committed state does not depend on the term
        else:
            self.logger.info(
                f"{self.id:x} [term: {self.term}] ignored a {kind.text} message with lower term "
                f"from {m.from_:x} [term: {m.term}]"
            )
        return False

    def log_vote(self, m: Message, verdict: str, reason: str = "") -> None:
        self.logger.info(
            f"{self.id:x} [logterm: {self.log.last_term()}, index: {self.log.last_index()}, vote: {self.vote:x}] "
            f"{verdict} {m.type.text} {'for' if verdict == 'cast' else 'from'} {m.from_:x} "
            f"[logterm: {m.log_term}, index: {m.index}] at term {self.term}" + (f": {reason}" if reason else "")
        )

    # Sending

    def send(self, m: Message) -> None:
        """Queue a message; what promises something about the own disk waits until that is true."""
        kind = m.type
        if m.from_ == NONE:
            m.from_ = self.id
        if kind in ELECTION_TYPES:
            assert m.term, f"term should be set when sending {kind.text}"
        else:
            assert not m.term, f"term should not be set when sending {kind.text} (was {m.term})"
            if kind != PROP and kind != READ_INDEX:  # these two are forwarded to whoever leads, whatever the term
                m.term = self.term
        if kind in AFTER_APPEND_TYPES:
            self.after_append.append(m)
        else:
            assert m.to != self.id, f"message should not be self-addressed when sending {kind.text}"
            self.messages.append(m)

    # Appending, committing, applying

    def append(self, entries: list[Entry]) -> bool:
        """Append `entries` as the leader. False: too much is uncommitted already, nothing was appended."""
        if self.max_uncommitted_size != NO_LIMIT and not self._increase_uncommitted(entries):
            self.logger.warning(
                f"{self.id:x} appending new entries to log would exceed uncommitted entry size limit; dropping proposal"
            )
            return False
        term = self.term
        before = self.log.last_index()
        last = self.log.append(
            [Entry(term, index, data, kind) for index, (_, _, data, kind) in enumerate(entries, before + 1)]
        )
        # The leader counts itself when the entries are on its disk, like everybody else. With nobody else to be
        # told of a commit, one acknowledgement for all of them is enough.
        ack = self.after_append[-1] if self.after_append and len(self.tracker.progress) == 1 else None
        if ack is not None and ack.type == APP_RESP and ack.to == self.id and ack.term == term:
            ack.index = last
        else:
            self.send(Message(APP_RESP, to=self.id, index=last))
        return True

    def _increase_uncommitted(self, entries: list[Entry]) -> bool:
        size = _payload(entries)
        # A single proposal of any size gets through when nothing is in front of it, and an empty one always.
        if self.uncommitted_size and size and self.uncommitted_size + size > self.max_uncommitted_size:
            return False
        self.uncommitted_size += size
        return True

    def maybe_commit(self) -> bool:
        """Commit what a quorum has, as the leader; True if that is news, so that the others want to know."""
        if not self.log.maybe_commit(self.tracker.committed(), self.term):
            return False
        if self.reads.postponed:
            release_postponed_reads(self)
        return True

    def committed_in_term(self) -> bool:
        """Has this leader committed an entry of its own term? Before, it does not know what is committed."""
        return self.log.match_term(self.log.committed, self.term)

    def applied_to(self, index: int, size: int) -> None:
        """The application has applied everything up to `index`; `size` is that of the entries, see `entries_size`."""
        index = max(index, self.log.applied)
        self.log.applied_to(index, size)
        self._leave_if_due()

    def _leave_if_due(self) -> None:
        """A joint configuration that is to be left by itself is left when no other change is pending."""
        if self.tracker.membership.auto_leave and self.role == LEADER and self.log.applied >= self.pending_conf_index:
            reconfigure.leave_automatically(self)

    def entries_applied(self, entries: list[Entry]) -> None:
        self.applied_to(entries[-1].index, entries_size(entries))
        if self.uncommitted_size:
            self.uncommitted_size = max(0, self.uncommitted_size - _payload(entries))


def _payload(entries: list[Entry]) -> int:
    return sum([len(entry.data) for entry in entries])
