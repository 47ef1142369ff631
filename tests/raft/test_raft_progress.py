"""Majorities, inflight windows and the progress of a follower."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.raft import NO_LIMIT
from quorate.raft.inflights import Inflights
from quorate.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from quorate.raft.quorum import EVERYTHING, Vote, committed_index, joint_vote, majority_index, majority_vote

indexes = st.dictionaries(st.integers(1, 9), st.integers(0, 20), max_size=9)
ids = st.sets(st.integers(1, 9), max_size=7)
votes = st.dictionaries(st.integers(1, 9), st.booleans(), max_size=9)


@given(st.lists(st.integers(0, 20), min_size=1))
def test_a_majority_has_reached_its_index_and_none_the_next(reached: list[int]) -> None:
    index = majority_index(list(reached))
    needed = len(reached) // 2 + 1
    assert sum(it >= index for it in reached) >= needed
    assert sum(it > index for it in reached) < needed


@given(ids, ids, indexes)
def test_both_halves_must_have_what_is_committed(one: set[int], other: set[int], acked: dict[int, int]) -> None:
    index = committed_index(one, other, acked)
    assert index == committed_index(other, one, acked)
    assert index <= committed_index(one, set(), acked)
    assert committed_index(one, one, acked) == committed_index(one, set(), acked)
    assert (index == EVERYTHING) == (not one and not other)


@given(ids, ids, votes)
def test_an_election_is_won_in_both_halves_and_lost_in_one(
    one: set[int], other: set[int], cast: dict[int, bool]
) -> None:
    first, second = majority_vote(one, cast), majority_vote(other, cast)
    outcome = joint_vote(one, other, cast)
    assert (outcome == Vote.WON) == (first == second == Vote.WON)
    assert (outcome == Vote.LOST) == (Vote.LOST in (first, second))


@given(ids, votes, st.integers(1, 9), st.booleans())
def test_a_decided_election_stays_decided(voters: set[int], cast: dict[int, bool], late: int, vote: bool) -> None:
    outcome = majority_vote(voters, cast)
    if outcome != Vote.PENDING:
        assert majority_vote(voters, {late: vote} | cast) == outcome


def test_a_window_is_full_by_number_or_by_bytes() -> None:
    window = Inflights(3, 100)
    window.add(1, 10)
    window.add(2, 10)
    assert not window.full()
    window.add(3, 10)
    assert window.full()
    window.free_to(2)
    assert (len(window), window.bytes, window.full()) == (1, 10, False)
    window.add(4, 200)
    assert window.full()
    with pytest.raises(AssertionError, match="Full inflights"):
        window.add(5, 1)
    window.free_to(3)
    assert window.full()
    window.free_to(9)
    assert (len(window), window.bytes) == (0, 0)


def progress(match: int = 3, next_index: int = 8, size: int = 2) -> Progress:
    return Progress(match, next_index, Inflights(size, NO_LIMIT))


def test_one_probe_at_a_time() -> None:
    it = progress()
    it.sent_entries(0, 0)
    assert not it.is_paused()
    it.sent_entries(2, 10)
    assert it.is_paused()
    assert it.next == 8


def test_streaming_goes_on_until_the_window_is_full() -> None:
    it = progress(3, 4)
    it.become_replicate()
    it.sent_entries(2, 10)
    assert (it.next, it.is_paused()) == (6, False)
    it.sent_entries(1, 10)
    assert (it.next, it.is_paused()) == (7, True)
    assert str(it) == "StateReplicate match=3 next=7 paused inactive inflight=2[full]"
    it.flow_paused = False  # a sign of life: one empty message may leave
    it.sent_entries(0, 0)
    assert it.is_paused()


def test_a_refusal_that_is_old_is_ignored() -> None:
    probing = progress(3, 8)
    assert not probing.maybe_decrease_to(6, 5)
    assert probing.maybe_decrease_to(7, 5)
    assert probing.next == 6
    streaming = progress(5, 6)
    streaming.become_replicate()
    streaming.sent_entries(4, 1)
    assert not streaming.maybe_decrease_to(5, 9)
    assert streaming.maybe_decrease_to(8, 2)
    assert streaming.next == 6


def test_probing_never_goes_behind_the_match() -> None:
    it = progress(5, 7)
    assert it.maybe_decrease_to(6, 0)
    assert it.next == 6


def test_after_a_snapshot_probing_starts_behind_it_but_not_if_it_failed() -> None:
    arrived = progress()
    arrived.become_snapshot(10)
    assert arrived.is_paused()
    arrived.become_probe()
    assert (arrived.next, arrived.pending_snapshot, arrived.state) == (11, 0, PROBE)
    failed = progress()
    failed.become_snapshot(10)
    failed.pending_snapshot = 0
    failed.become_probe()
    assert failed.next == 4


def test_a_commit_index_is_told_once_when_it_can_matter() -> None:
    it = progress(3, 8)
    it.sent_commit = 5
    assert it.can_bump_commit(6)
    it.sent_commit = 7  # all that was sent to it is committed already, as far as it knows
    assert not it.can_bump_commit(9)
    it.sent_commit = 5
    assert not it.can_bump_commit(5)


def test_a_match_only_grows() -> None:
    it = progress()
    assert not it.maybe_update(3)
    assert it.maybe_update(9)
    assert (it.match, it.next) == (9, 10)
    it.become_replicate()
    assert it.state == REPLICATE
    copy = it.copy()
    copy.become_snapshot(12)
    assert (it.state, copy.state) == (REPLICATE, SNAPSHOT)
