"""A cluster of one without its messages to itself: the same machine as by way of Readys, and only where it may be."""

from __future__ import annotations

import random

import pytest
from raft_nodes import single

from quorate.api.raftpb import ConfChange, ConfChangeType, Entry, HardState, MessageType
from quorate.raft import MemoryStorage, RawNode, Role
from quorate.raft.invariants import check
from quorate.raft.proposals import decoded_conf_change


def run(node: RawNode, turns: int = 100) -> None:
    """Do what the node asks for, at once and in order."""
    kept = node.raft.log.storage
    assert isinstance(kept, MemoryStorage)
    while node.has_ready() and turns:
        turns -= 1
        for m in node.ready().messages:
            if m.type == MessageType.STORAGE_APPEND:
                if m.term:
                    kept.set_hard_state(HardState(m.term, m.vote, m.commit))
                kept.append(m.entries)
            for entry in m.entries if m.type == MessageType.STORAGE_APPLY else ():
                if entry.type:
                    node.apply_conf_change(decoded_conf_change(entry))
            for response in m.responses:
                node.step(response)


def elected(**more: object) -> RawNode:
    node = single(async_storage_writes=True, **more)
    run(node)
    node.campaign()
    run(node)
    assert node.raft.role == Role.LEADER and not node.has_ready()
    return node


def agree(node: RawNode) -> list[Entry]:
    """What is proposed is written, committed and applied; the entries."""
    entries = node.entries_alone()
    if entries:
        node.raft.log.storage.append(entries)  # type: ignore[attr-defined]
        node.saved_alone(entries)
        node.applied_alone(entries)
    return entries


def told(node: RawNode) -> tuple[object, ...]:
    """All that can be seen of a node."""
    log = node.raft.log
    state = log.committed, log.applied, log.applying, log.applying_size, log.applying_paused
    kept = [(entry.term, entry.index, entry.data) for entry in log.entries(log.first_index(), 2**62)]
    own = node.raft.tracker.progress[1]
    progress = str(own), own.match, own.next, own.sent_commit
    return (
        node.basic_status(),
        progress,
        str(log),
        node.hard_state(),
        state,
        kept,
        node.raft.uncommitted_size,
        node._previous_hard,
    )


@pytest.mark.parametrize("seed", range(20))
def test_what_is_agreed_on_alone_leaves_the_same_machine_as_a_ready(seed: int) -> None:
    print("seed", seed)
    dice = random.Random(seed)
    limit = dice.choice([0, 100])
    short, long = elected(max_uncommitted_size=limit), elected(max_uncommitted_size=limit)
    shortly = 0
    for _ in range(50):
        batch = [dice.randbytes(dice.randrange(1, 30)) for _ in range(dice.randrange(1, 4))]
        for node in (short, long):
            node.propose_many(batch)
        if dice.random() < 0.2:
            for node in (short, long):
                node.tick()
        shortly += bool(agree(short))
        run(short)
        run(long)
        assert told(short) == told(long)
        check(short.raft)
    assert shortly == 50


def test_alone_nothing_is_left_for_a_ready() -> None:
    node = elected()
    node.propose(b"x")
    assert [entry.data for entry in agree(node)] == [b"x"]
    assert not node.has_ready()
    assert not node.entries_alone(), "nothing is proposed"


def test_entries_that_were_not_taken_come_with_the_next_ready() -> None:
    node = elected()
    node.propose(b"x")
    assert node.entries_alone()
    assert [entry.data for entry in node.ready().entries] == [b"x"]
    assert not node.entries_alone(), "they are on their way to the disk"


def test_who_leads_others_is_not_alone() -> None:
    node = elected()
    for kind in (ConfChangeType.ADD_LEARNER_NODE, ConfChangeType.ADD_NODE):
        node.apply_conf_change(ConfChange(kind, 2))
        node.propose(b"x")
        assert not node.entries_alone()


def test_who_was_removed_is_not_alone() -> None:
    node = elected()
    node.propose(b"x")
    node.apply_conf_change(ConfChange(ConfChangeType.ADD_NODE, 2))
    node.apply_conf_change(ConfChange(ConfChangeType.REMOVE_NODE, 1))
    assert not node.entries_alone()


def test_a_new_leader_has_its_vote_and_first_entry_written_by_a_ready() -> None:
    node = single(async_storage_writes=True)
    run(node)
    node.campaign()
    seen = 0
    while node.has_ready():
        assert not node.entries_alone()
        run(node, turns=1)
        seen += 1
    assert seen


def test_a_change_of_the_members_goes_by_a_ready() -> None:
    node = elected()
    node.propose(b"x")
    node.propose_conf_change(ConfChange(ConfChangeType.ADD_NODE, 2))
    assert not node.entries_alone()


def test_a_read_that_is_answered_goes_by_a_ready() -> None:
    node = elected()
    node.propose(b"x")
    node.read_index(b"context!")
    assert not node.entries_alone()


def test_more_than_may_be_applied_at_once_goes_by_a_ready() -> None:
    node = elected(max_committed_size_per_ready=1000)
    node.propose_many([b"x" * 600] * 2)
    assert not node.entries_alone()
