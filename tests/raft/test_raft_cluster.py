"""Clusters in a world where messages get lost, doubled and reordered, and members crash."""

import os
import random

import pytest
from raft_cluster import World

SEEDS = int(os.environ.get("QUORATE_RAFT_SEEDS", "12"))
STEPS = 2000
BASE = int(os.environ.get("QUORATE_RAFT_SEED", random.SystemRandom().randrange(1 << 32)))


def seeds() -> list[int]:
    return [BASE + n for n in range(SEEDS)]


@pytest.mark.parametrize("async_writes", [False, True], ids=["sync", "async"])
def test_members_agree_whatever_the_network_does(async_writes: bool) -> None:
    for seed in seeds():
        print(f"QUORATE_RAFT_SEED={seed}")
        world = World(seed, async_writes=async_writes)
        for _ in range(STEPS):
            world.act()
        world.propose(world.settle())
        assert world.settle().state


def test_nobody_leads_before_its_own_vote_is_on_disk() -> None:
    """Or it may be elected twice in one term, with a crash in between; seed 3573854803 had committed entries change."""
    world = World(1, async_writes=True, pre_vote=False)
    world.loss = 0.0
    candidate, *others = world.hosts.values()
    candidate.node.campaign()
    candidate.handle_ready()
    for _ in range(100):
        world.deliver()
        for host in others:
            host.handle_ready()
            host.work()
    assert not world.network and len(candidate.node.raft.tracker.votes) == 2 and not candidate.leads
    while candidate.append_work:
        candidate.work()
    assert candidate.leads


@pytest.mark.parametrize("async_writes", [False, True], ids=["sync", "async"])
def test_members_agree_while_the_membership_changes(async_writes: bool) -> None:
    for seed in seeds():
        print(f"QUORATE_RAFT_SEED={seed}")
        world = World(seed, spare=3, async_writes=async_writes)
        for _ in range(STEPS):
            world.act(changes=True)
        world.settle()


def test_members_agree_without_pre_vote_and_check_quorum() -> None:
    for seed in seeds():
        print(f"QUORATE_RAFT_SEED={seed}")
        world = World(seed, members=5, check_quorum=False, pre_vote=False)
        for _ in range(STEPS):
            world.act()
        world.settle()


def test_reads_are_answered_and_never_stale() -> None:
    answered = 0
    for seed in seeds():
        print(f"QUORATE_RAFT_SEED={seed}")
        world = World(seed)
        for _ in range(STEPS):
            world.act(crashes=False)
        answered += world.answered
    assert answered
