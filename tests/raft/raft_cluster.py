"""A small world for RawNodes: a network that loses, doubles and reorders, disks that survive, and one seed for all.

After every step of every member the invariants are asked. A read must be answered with an index that is not before
anything that was committed when it was asked.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

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
    MessageType,
    Snapshot,
)
from quorate.raft import (
    Config,
    InvalidConfChange,
    MemoryStorage,
    ProposalDropped,
    RaftError,
    RawNode,
    ReadState,
    Role,
    confchange,
)
from quorate.raft.invariants import Ledger
from quorate.raft.proposals import decoded_conf_change

APPEND, APPLY = MessageType.STORAGE_APPEND, MessageType.STORAGE_APPLY
START = 1  # every first member starts from a snapshot at this index


class Disk(MemoryStorage):
    """Makes a new snapshot when one is to be sent: an old one may know nothing of who is to receive it."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    def snapshot(self) -> Snapshot:
        self.host.take_snapshot()
        return super().snapshot()

    def kept(self) -> Snapshot:
        return super().snapshot()


class Host:
    """One member with its disk (`storage`), which survives a crash, and its state machine, which does not."""

    def __init__(self, world: World, id_: int, conf_state: ConfState | None) -> None:
        self.world = world
        self.id = id_
        self.storage = Disk(self)
        if conf_state is not None:
            self.storage.apply_snapshot(Snapshot(START, 1, conf_state, b""))
        self.start()

    def start(self) -> None:
        world = self.world
        snapshot = self.storage.kept()
        config = Config(
            id=self.id,
            storage=self.storage,
            rng=world.dice,
            election_tick=5,
            applied=snapshot.index,
            async_storage_writes=world.async_writes,
            max_size_per_message=200,
            max_committed_size_per_ready=world.dice.choice([60, 10_000]),
            max_inflight_messages=world.dice.choice([2, 100]),
            check_quorum=world.check_quorum,
            pre_vote=world.pre_vote,
            step_down_on_removal=True,
        )
        self.node = RawNode(config)
        self.state: list[bytes] = snapshot.data.split(b" ") if snapshot.data else []
        self.conf_state = snapshot.conf_state
        self.applied = snapshot.index
        self.append_work: deque[Message] = deque()
        self.apply_work: deque[Message] = deque()
        world.ledger.forget(self.id)
        world.observe(self)

    def crash(self) -> None:
        """What was on the way to the disk is lost."""
        self.start()

    def handle_ready(self) -> None:
        if not self.node.has_ready():
            return
        ready = self.node.ready()
        self.world.answer(self, ready.read_states)
        if self.world.async_writes:
            for m in ready.messages:
                if m.type == APPEND:
                    self.append_work.append(m)
                elif m.type == APPLY:
                    self.apply_work.append(m)
                else:
                    self.world.send(m)
        else:
            self.write(ready.hard_state, ready.entries, ready.snapshot)
            for m in ready.messages:
                self.world.send(m)
            self.apply(ready.committed_entries)
            self.node.advance()
        self.world.observe(self)

    def work(self) -> None:
        """The own disk or the state machine finishes one thing, in order each."""
        queue = self.world.dice.choice([self.append_work, self.apply_work])
        if not queue:
            return
        m = queue.popleft()
        if m.type == APPEND:
            state = HardState(m.term, m.vote, m.commit)
            self.write(state if state != HardState() else None, m.entries, m.snapshot)
        else:
            self.apply(m.entries)
        for response in m.responses:
            if response.to == self.id:
                self.step(response)
            else:
                self.world.send(response)

    def write(self, state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        if state is not None:
            before, _ = self.storage.initial_state()
            self.storage.set_hard_state(state._replace(commit=max(state.commit, before.commit)))
        if snapshot is not None:
            self.storage.apply_snapshot(snapshot)
            self.state = snapshot.data.split(b" ") if snapshot.data else []
            self.conf_state = snapshot.conf_state
            self.applied = snapshot.index
        self.storage.append(entries)

    def apply(self, entries: Sequence[Entry]) -> None:
        restoring = self.node.raft.log.unstable.snapshot
        for entry in entries:
            # A snapshot has come in between; its members are raft's already, even while it is not on the disk.
            if entry.index <= max(self.applied, 0 if restoring is None else restoring.index):
                continue
            assert entry.index == self.applied + 1, f"{self.id} applies {entry.index} after {self.applied}"
            self.applied = entry.index
            if entry.type == EntryType.NORMAL:
                self.state += filter(None, [entry.data])  # the empty entry of a new leader says nothing
            else:
                self.conf_state = self.node.apply_conf_change(decoded_conf_change(entry))

    def step(self, m: Message) -> None:
        try:
            self.node.step(m)
        except (RaftError, ProposalDropped):
            self.world.refused += 1
        self.world.observe(self)

    def compact(self) -> None:
        """Make a snapshot of what is applied and forget most of the log before it."""
        self.take_snapshot()
        index = self.storage.kept().index - self.world.dice.randrange(4)
        if index >= self.storage.first_index():
            self.storage.compact(index)

    def take_snapshot(self) -> None:
        index = self.applied
        if not self.storage.kept().index < index <= self.storage.last_index():
            return
        # A snapshot is of committed state, and the disk must say so: the hard state may still be on its way there.
        state, _ = self.storage.initial_state()
        self.storage.set_hard_state(state._replace(commit=max(state.commit, index)))
        self.storage.create_snapshot(index, self.conf_state, b" ".join(self.state))

    @property
    def leads(self) -> bool:
        return self.node.raft.role == Role.LEADER


class World:
    def __init__(
        self,
        seed: int,
        *,
        members: int = 3,
        spare: int = 0,
        async_writes: bool = False,
        check_quorum: bool = True,
        pre_vote: bool = True,
    ) -> None:
        self.dice = random.Random(seed)
        self.async_writes = async_writes
        self.check_quorum = check_quorum
        self.pre_vote = pre_vote
        self.ledger = Ledger()
        self.network: list[Message] = []
        self.refused = 0
        self.loss = 0.1
        self.proposed = 0
        self.asked: dict[bytes, int] = {}
        self.answered = 0
        first = ConfState(tuple(range(1, members + 1)))
        self.hosts = {id_: Host(self, id_, first) for id_ in first.voters}
        self.hosts |= {id_: Host(self, id_, None) for id_ in range(members + 1, members + spare + 1)}

    def observe(self, host: Host) -> None:
        self.ledger.observe(host.node.raft)

    def send(self, m: Message) -> None:
        assert m.to in self.hosts
        self.network.append(m)

    def answer(self, host: Host, read_states: Sequence[ReadState]) -> None:
        for state in read_states:
            assert state.index >= self.asked[state.context], f"a stale read on {host.id}: {state}"
            self.answered += 1

    # What may happen

    def deliver(self) -> None:
        """One message, any of those on the way: lost, doubled or delivered."""
        if not self.network:
            return
        position = self.dice.randrange(min(len(self.network), 6))
        m = self.network[position] if self.dice.random() < self.loss else self.network.pop(position)
        lost = self.dice.random() < self.loss
        if lost and self.dice.random() < 0.2:
            self.hosts[m.from_].node.report_unreachable(m.to)
        if m.type == MessageType.SNAP:
            self.hosts[m.from_].node.report_snapshot(m.to, not lost)
        if not lost:
            self.hosts[m.to].step(_copied(m))

    def propose(self, host: Host) -> None:
        count = self.dice.choice([1, 1, 3])
        batch = [b"%d" % (self.proposed + n) for n in range(count)]
        self.proposed += count
        try:
            host.node.propose_many(batch)
        except ProposalDropped:
            self.refused += 1

    def ask(self, host: Host) -> None:
        context = b"read-%d" % len(self.asked)
        committed = self.ledger.committed()
        self.asked[context] = committed[-1].index if committed else 0
        host.node.read_index(context)

    def reconfigure(self, host: Host) -> None:
        """Change the membership at a leader, by one or by several, to one that still has voters."""
        if not host.leads:
            return
        tracker = host.node.raft.tracker
        kinds = [ConfChangeType.ADD_NODE, ConfChangeType.REMOVE_NODE, ConfChangeType.ADD_LEARNER_NODE]
        singles = [
            ConfChangeSingle(self.dice.choice(kinds), self.dice.choice(list(self.hosts)))
            for _ in range(self.dice.choice([1, 1, 2, 3]))
        ]
        change: ConfChange | ConfChangeV2
        if tracker.membership.joint:
            change = ConfChangeV2()
        elif len(singles) == 1 and self.dice.random() < 0.5:
            change = ConfChange(*singles[0])
        else:
            change = ConfChangeV2(tuple(singles), self.dice.choice(list(ConfChangeTransition)))
        try:
            membership, _ = confchange.apply(tracker, confchange.as_v2(change), 1)
            if len(membership.incoming) >= 2:
                host.node.propose_conf_change(change)
        except (InvalidConfChange, ProposalDropped):
            self.refused += 1

    def act(self, *, crashes: bool = True, changes: bool = False) -> None:
        """One thing happens somewhere."""
        host = self.dice.choice(list(self.hosts.values()))
        chance = self.dice.random()
        if chance < 0.45:
            self.deliver()
        elif chance < 0.70:
            host.handle_ready()
        elif chance < 0.82:
            host.work()
        elif chance < 0.90:
            host.node.tick()
        elif chance < 0.95:
            self.propose(host)
        elif chance < 0.97:
            self.ask(host)
        elif chance < 0.98:
            host.compact()
        elif chance < 0.985:
            host.node.transfer_leader(self.dice.choice(list(self.hosts)))
        elif chance < 0.99 and crashes:
            host.crash()
        elif chance < 0.992:
            host.node.forget_leader()
        elif changes:
            self.reconfigure(host)
        self.observe(host)

    def settle(self, rounds: int = 400) -> Host:
        """Everything works from now on: in the end one leads, and all its members have what it has. Returns it."""
        self.loss = 0.0
        for round_ in range(rounds):
            for host in self.hosts.values():
                if round_ % 4 == 0:
                    host.node.tick()
                while host.node.has_ready() or host.append_work or host.apply_work:
                    host.handle_ready()
                    host.work()
                self.observe(host)
            while self.network:
                self.deliver()
            leader = self.settled()
            if leader is not None:
                return leader
        raise AssertionError("no agreement: " + "; ".join(str(host.node.status()) for host in self.hosts.values()))

    def settled(self) -> Host | None:
        leaders = [host for host in self.hosts.values() if host.leads]
        for leader in leaders:
            log = leader.node.raft.log
            members = [self.hosts[id_] for id_ in leader.node.raft.tracker.progress]
            done = log.committed == log.last_index() and not leader.node.raft.tracker.membership.auto_leave
            if done and all(it.node.raft.lead == leader.id and it.applied == log.committed for it in members):
                assert all(member.state == leader.state for member in members)
                return leader
        return None


def _copied(m: Message) -> Message:
    """What arrives is never the object that was sent: the receiver may change it."""
    return Message(
        m.type, m.to, m.from_, m.term, m.log_term, m.index, list(m.entries), m.commit, m.snapshot, m.reject,
        m.reject_hint, m.context, m.vote,
    )  # fmt: skip
