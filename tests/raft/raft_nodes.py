"""Small makers for tests of single nodes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from quorate.api.raftpb import ConfState, Entry, HardState, Message, MessageType, Snapshot
from quorate.raft import Config, MemoryStorage, Peer, RawNode, Ready, Role
from quorate.raft.proposals import decoded_conf_change

T = MessageType


class Notes:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def debug(self, text: str) -> None:
        self.lines.append(text)

    info = warning = error = debug


def entries(*terms: int, first: int = 1) -> list[Entry]:
    """One entry for each term, from index `first` on."""
    return [Entry(term, index, b"%d" % index) for index, term in enumerate(terms, first)]


def storage(*terms: int, voters: Sequence[int] = (1,), learners: Sequence[int] = (), commit: int = 0) -> MemoryStorage:
    """Entries of `terms` after a snapshot at index 1, term 1."""
    made = MemoryStorage()
    made.apply_snapshot(Snapshot(1, 1, ConfState(tuple(voters), tuple(learners))))
    made.append(entries(*terms, first=2))
    made.set_hard_state(HardState(max(terms, default=1), 0, max(commit, 1)))
    return made


def make(
    id_: int = 1, *terms: int, voters: Sequence[int] = (1, 2, 3), learners: Sequence[int] = (), **more: Any
) -> RawNode:
    """A node whose log is a snapshot at index 1 and entries of `terms` behind it; `more` are Config settings."""
    kept = storage(*terms, voters=voters, learners=learners)
    config = Config(id=id_, storage=kept, rng=random.Random(id_), election_tick=5)
    for name, value in more.items():
        setattr(config, name, value)
    return RawNode(config)


def single(**more: Any) -> RawNode:
    """The only member of a new cluster, with nothing done yet."""
    config = Config(id=1, storage=MemoryStorage(), rng=random.Random(1))
    for name, value in more.items():
        setattr(config, name, value)
    node = RawNode(config)
    node.bootstrap([Peer(1)])
    return node


def write(node: RawNode, ready: Ready) -> None:
    kept = node.raft.log.storage
    assert isinstance(kept, MemoryStorage)
    if ready.hard_state is not None:
        kept.set_hard_state(ready.hard_state)
    if ready.snapshot is not None:
        kept.apply_snapshot(ready.snapshot)
    kept.append(ready.entries)


def run(node: RawNode, each: Callable[[Ready], None] = lambda ready: None) -> list[Message]:
    """Do what the node asks for until it asks for nothing; returns what it sends."""
    sent: list[Message] = []
    while node.has_ready():
        ready = node.ready()
        write(node, ready)
        each(ready)
        sent += ready.messages
        for entry in ready.committed_entries:
            if entry.type:
                node.apply_conf_change(decoded_conf_change(entry))
        node.advance()
    return sent


def lead(node: RawNode) -> list[Message]:
    """Make the node leader by the votes of all; returns the first Appends."""
    node.campaign()
    run(node)
    raft = node.raft
    for kind in (T.PRE_VOTE_RESP, T.VOTE_RESP):
        for voter in sorted(raft.tracker.membership.voters() - {raft.id}):
            if raft.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
                node.step(Message(kind, to=raft.id, from_=voter, term=raft.term + (kind == T.PRE_VOTE_RESP)))
        run_candidate(node)
    assert raft.role == Role.LEADER
    return run(node)


def run_candidate(node: RawNode) -> None:
    if node.raft.role == Role.CANDIDATE:
        run(node)


def acknowledge(node: RawNode, from_: int, index: int) -> list[Message]:
    node.step(Message(T.APP_RESP, to=node.raft.id, from_=from_, term=node.raft.term, index=index))
    return run(node)


def of(kind: MessageType, sent: Sequence[Message]) -> list[Message]:
    return [m for m in sent if m.type == kind]
