"""Scripts that drive a whole cluster of RawNodes and see everything they print."""

from __future__ import annotations

import random
from collections.abc import Callable

from quorate.api.raftpb import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeV2,
    ConfState,
    Message,
    MessageType,
    Snapshot,
)
from quorate.raft import NO_LIMIT, Config, ProposalDropped, RaftError, RawNode, ReadOnlyOption, describe
from quorate.raft.config import LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD
from quorate.testing.datadriven.member import Member, ScriptStorage
from quorate.testing.datadriven.output import LEVELS, Output
from quorate.testing.datadriven.script import Command, ScriptError

LOCAL_TARGETS = (LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD)
TRANSITIONS = {
    "auto": ConfChangeTransition.AUTO,
    "implicit": ConfChangeTransition.JOINT_IMPLICIT,
    "explicit": ConfChangeTransition.JOINT_EXPLICIT,
}
READ_ONLY = {"safe": ReadOnlyOption.SAFE, "lease-based": ReadOnlyOption.LEASE_BASED}
CHANGE_TYPES = {letter: kind for kind, letter in describe.CHANGE_LETTERS.items()}
MESSAGE_TYPES = {kind.text: kind for kind in MessageType}


class Cluster:
    """The nodes of one script, the messages between them, and a method for every command."""

    def __init__(self) -> None:
        self.output = Output()
        self.members: list[Member] = []
        self.messages: list[Message] = []

    def run(self, command: Command) -> str:
        """The output of `command`; raises ScriptError for one that makes no sense."""
        handler = COMMANDS.get(command.name)
        if handler is None:
            raise ScriptError(f"line {command.line}: unknown command {command.name}")
        self.output.parts = []
        failure = ""
        try:
            handler(self, command)
        except (RaftError, ProposalDropped) as error:
            failure = str(error)  # told even when everything else is silenced
        return "".join(self.output.parts) + failure or "ok"

    # Making nodes, looking at them

    def add_nodes(self, command: Command) -> None:
        config = Config(
            id=1,
            storage=ScriptStorage(),
            rng=random.Random(1),
            election_tick=3,
            max_size_per_message=NO_LIMIT,
            max_inflight_messages=2**31 - 1,
            logger=self.output,
        )
        snapshot = _add_nodes_options(command, config)
        for _ in range(int(command.positional()[0])):
            self._add_node(config, snapshot)

    def _add_node(self, config: Config, snapshot: Snapshot) -> None:
        config.id = len(self.members) + 1
        config.storage = storage = ScriptStorage()
        config.rng = random.Random(config.id)
        if snapshot != Snapshot():
            if snapshot.index <= 1:
                raise ScriptError("index must be specified as > 1 due to bootstrap")
            snapshot = snapshot._replace(term=1)
            storage.apply_snapshot(snapshot)
        storage.history = [snapshot]
        self.members.append(Member(RawNode(config), storage, config.async_storage_writes))

    def raft_log(self, command: Command) -> None:
        self._print_log(self._member(command))

    def _print_log(self, member: Member) -> None:
        first, last = member.storage.first_index(), member.storage.last_index()
        if last < first:
            self.output.write(f"log is empty: first index={first}, last index={last}")
        else:
            self.output.write(describe.entries(member.storage.entries(first, last + 1, NO_LIMIT)))

    def raft_state(self, command: Command) -> None:
        for member in self.members:
            basic, membership, _ = member.node.status()
            voter = "(Voter)" if basic.id in membership.voters() else "(Non-Voter)"
            self.output.line(
                f"{basic.id}: {basic.role.text} {voter} Term:{basic.hard_state.term} Lead:{basic.lead}",
            )

    def status(self, command: Command) -> None:
        for id_, progress in self._member(command).node.status().progress.items():
            self.output.line(f"{id_}: {progress}")

    def log_level(self, command: Command) -> None:
        self._set_level(command.positional()[0])

    def _set_level(self, name: str) -> None:
        if name.upper() not in LEVELS:
            raise ScriptError(f"log levels must be either of {LEVELS}")
        self.output.level = LEVELS.index(name.upper())

    # Inputs

    def campaign(self, command: Command) -> None:
        self._member(command).node.campaign()

    def propose(self, command: Command) -> None:
        _, data = command.positional()
        self._member(command).node.propose(data.encode())

    def propose_conf_change(self, command: Command) -> None:
        changes = parse_changes(command.input)
        transition = command.option("transition") or "auto"
        if transition not in TRANSITIONS:
            raise ScriptError(f"unknown transition {transition}")
        change: ConfChange | ConfChangeV2
        if command.option("v1") in ("true", "1", "t"):
            if len(changes) != 1 or transition != "auto":
                raise ScriptError("v1 conf change can only have one operation and no transition")
            change = ConfChange(*changes[0])
        else:
            change = ConfChangeV2(tuple(changes), TRANSITIONS[transition])
        self._member(command).node.propose_conf_change(change)

    def transfer_leadership(self, command: Command) -> None:
        from_, to = command.option("from"), command.option("to")
        self._by_id(from_ or "").node.transfer_leader(int(to or 0))

    def forget_leader(self, command: Command) -> None:
        self._member(command).node.forget_leader()

    def report_unreachable(self, command: Command) -> None:
        reporter, peer = command.positional()
        self._by_id(reporter).node.report_unreachable(int(peer))

    def send_snapshot(self, command: Command) -> None:
        from_, to = command.positional()
        member = self._by_id(from_)
        message = Message(
            MessageType.SNAP,
            to=int(to),
            from_=int(from_),
            term=member.node.hard_state().term,
            snapshot=member.storage.snapshot(),
        )
        self.messages.append(message)
        self.output.write(describe.message(message))

    def compact(self, command: Command) -> None:
        member = self._member(command)
        member.storage.compact(int(command.positional()[1]))
        self._print_log(member)

    def set_election_timeout(self, command: Command) -> None:
        self._member(command).node.raft.randomized_election_timeout = int(command.option("timeout") or 0)

    def tick_election(self, command: Command) -> None:
        node = self._member(command).node
        for _ in range(node.raft.election_timeout):
            node.tick()

    def tick_heartbeat(self, command: Command) -> None:
        node = self._member(command).node
        for _ in range(node.raft.heartbeat_timeout):
            node.tick()

    # Moving things on

    def process_ready(self, command: Command) -> None:
        self._each(command, "handling Ready", self._process_ready)

    def process_append(self, command: Command) -> None:
        self._each(command, "processing append thread", self._process_append)

    def process_apply(self, command: Command) -> None:
        self._each(command, "processing apply thread", self._process_apply)

    def _each(self, command: Command, what: str, work: Callable[[Member], None]) -> None:
        members = self._members(command)
        for member in members:
            if len(members) == 1:
                work(member)
                return
            self.output.line(f"> {member.id} {what}")
            with self.output.indented():
                work(member)

    def _process_ready(self, member: Member) -> None:
        ready = member.node.ready()
        self.output.write(describe.ready(ready))
        if not member.async_writes:
            member.write(ready.hard_state, ready.entries, ready.snapshot)
            member.apply(ready.committed_entries)
        for message in ready.messages:
            if message.type == MessageType.STORAGE_APPEND:
                member.append_work.append(message)
            elif message.type == MessageType.STORAGE_APPLY:
                member.apply_work.append(message)
            else:
                self.messages.append(message)
        if not member.async_writes:
            member.node.advance()

    def _process_append(self, member: Member) -> None:
        if member.append_work:
            self._process_work(member.append_work.popleft(), member.write_message)
        else:
            self.output.write("no append work to perform")

    def _process_apply(self, member: Member) -> None:
        if member.apply_work:
            self._process_work(member.apply_work.popleft(), lambda work: member.apply(work.entries))
        else:
            self.output.write("no apply work to perform")

    def _process_work(self, work: Message, do: Callable[[Message], None]) -> None:
        responses, work.responses = work.responses, []
        self.output.line("Processing:")
        self.output.line(describe.message(work))
        do(work)
        self.output.line("Responses:")
        for response in responses:
            self.output.line(describe.message(response))
        self.messages += responses

    def deliver_messages(self, command: Command) -> None:
        kind: MessageType | None = None
        recipients = [(int(id_), False) for id_ in command.positional()]
        for key, values in command.options():
            if key == "drop":
                recipients += [(int(id_), True) for id_ in values]
            elif key == "type":
                kind = MESSAGE_TYPES[values[0]]
        delivered = [self._deliver(id_, drop, kind) for id_, drop in recipients]
        if not sum(delivered):
            self.output.line("no messages")

    def _deliver(self, to: int, drop: bool = False, kind: MessageType | None = None) -> int:
        chosen = self._messages_to(to, drop, kind)
        taken = set(map(id, chosen))
        self.messages = [m for m in self.messages if id(m) not in taken]
        for message in chosen:
            self.output.line(("dropped: " if drop else "") + describe.message(message))
            if drop:
                continue
            try:
                self.members[to - 1].node.step(message)
            except (RaftError, ProposalDropped) as error:
                self.output.line(str(error))
        return len(chosen)

    def _messages_to(self, to: int, drop: bool = False, kind: MessageType | None = None) -> list[Message]:
        """What waits for `to`. Messages of a member to itself are never dropped: they do not travel."""
        return [
            m for m in self.messages if m.to == to and (kind is None or m.type == kind) and not (drop and _is_local(m))
        ]

    def stabilize(self, command: Command) -> None:
        level = self.output.level
        try:
            if command.option("log-level"):
                self._set_level(command.option("log-level") or "")
            members = self._members(command) if command.positional() else self.members
            while self._stabilize_once(members):
                pass
        finally:
            self.output.level = level

    def _stabilize_once(self, members: list[Member]) -> bool:
        """One round of everything there is to do. False if there was nothing."""
        busy = False
        for member in members:
            if member.node.has_ready():
                busy = True
                self.output.line(f"> {member.id} handling Ready")
                with self.output.indented():
                    self._process_ready(member)
        for member in members:
            if self._messages_to(member.id):
                busy = True
                self.output.line(f"> {member.id} receiving messages")
                with self.output.indented():
                    self._deliver(member.id)
        for member in members:
            busy |= self._drain(member, member.append_work, "append", self._process_append)
        for member in members:
            busy |= self._drain(member, member.apply_work, "apply", self._process_apply)
        return busy

    def _drain(self, member: Member, queue: object, name: str, work: Callable[[Member], None]) -> bool:
        if not queue:
            return False
        self.output.line(f"> {member.id} processing {name} thread")
        while queue:
            with self.output.indented():
                work(member)
        return True

    # Finding members

    def _by_id(self, text: str) -> Member:
        if not text.isdigit() or not 0 < int(text) <= len(self.members):
            raise ScriptError(f"no node {text!r}")
        return self.members[int(text) - 1]

    def _member(self, command: Command) -> Member:
        return self._by_id(command.positional()[0])

    def _members(self, command: Command) -> list[Member]:
        return [self._by_id(text) for text in command.positional()]


COMMANDS: dict[str, Callable[[Cluster, Command], None]] = {
    "_breakpoint": lambda cluster, command: None,
    "add-nodes": Cluster.add_nodes,
    "campaign": Cluster.campaign,
    "compact": Cluster.compact,
    "deliver-msgs": Cluster.deliver_messages,
    "forget-leader": Cluster.forget_leader,
    "log-level": Cluster.log_level,
    "process-append-thread": Cluster.process_append,
    "process-apply-thread": Cluster.process_apply,
    "process-ready": Cluster.process_ready,
    "propose": Cluster.propose,
    "propose-conf-change": Cluster.propose_conf_change,
    "raft-log": Cluster.raft_log,
    "raft-state": Cluster.raft_state,
    "report-unreachable": Cluster.report_unreachable,
    "send-snapshot": Cluster.send_snapshot,
    "set-randomized-election-timeout": Cluster.set_election_timeout,
    "stabilize": Cluster.stabilize,
    "status": Cluster.status,
    "tick-election": Cluster.tick_election,
    "tick-heartbeat": Cluster.tick_heartbeat,
    "transfer-leadership": Cluster.transfer_leadership,
}


def parse_changes(text: str) -> list[ConfChangeSingle]:
    """Changes as `v1 l2 r3 u4`; raises ScriptError."""
    changes = []
    for token in text.split():
        if token[0] not in CHANGE_TYPES or not token[1:].isdigit():
            raise ScriptError(f"unknown input: {token}")
        changes.append(ConfChangeSingle(CHANGE_TYPES[token[0]], int(token[1:])))
    return changes


def _is_local(message: Message) -> bool:
    return message.from_ == message.to or message.from_ in LOCAL_TARGETS or message.to in LOCAL_TARGETS


def _add_nodes_options(command: Command, config: Config) -> Snapshot:
    """Put the options of add-nodes into `config`; returns the snapshot the nodes start from."""
    conf_state, snapshot = ConfState(), Snapshot()
    for key, values in command.options():
        value = values[0]
        if key == "voters":
            conf_state = conf_state._replace(voters=tuple(map(int, values)))
        elif key == "learners":
            conf_state = conf_state._replace(learners=tuple(map(int, values)))
        elif key == "index":
            snapshot = snapshot._replace(index=int(value))
            config.applied = int(value)
        elif key == "content":
            snapshot = snapshot._replace(data=value.encode())
        elif key == "inflight":
            config.max_inflight_messages = int(value)
        elif key == "max-committed-size-per-ready":
            config.max_committed_size_per_ready = int(value)
        elif key == "read-only":
            config.read_only = READ_ONLY[value]
        elif key in FLAGS:
            setattr(config, FLAGS[key], value in ("true", "1", "t"))
        else:
            raise ScriptError(f"unknown option {key}")
    return snapshot._replace(conf_state=conf_state)


FLAGS = {
    "async-storage-writes": "async_storage_writes",
    "prevote": "pre_vote",
    "checkquorum": "check_quorum",
    "disable-conf-change-validation": "disable_conf_change_validation",
    "step-down-on-removal": "step_down_on_removal",
}
