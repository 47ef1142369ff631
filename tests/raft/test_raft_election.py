"""Elections seen from one member of three."""

import pytest
from raft_nodes import Notes, lead, make, of, run

from quorate.api.raftpb import ConfChange, ConfChangeType, EntryType, Message, MessageType, encode_conf_change
from quorate.raft import Role

T = MessageType


def vote(kind: MessageType, from_: int, term: int, **more: object) -> Message:
    return Message(kind, to=1, from_=from_, term=term, **more)  # type: ignore[arg-type]


def test_a_follower_that_hears_nobody_campaigns_within_one_to_two_timeouts() -> None:
    spread = set()
    for seed in range(40):
        node = make(1)
        node.raft.rng.seed(seed)  # type: ignore[attr-defined]
        node.raft.become_follower(1, 0)
        ticks = 0
        while node.raft.role == Role.FOLLOWER:
            node.tick()
            ticks += 1
        spread.add(ticks)
    assert spread == {5, 6, 7, 8, 9}


def test_a_candidate_asks_all_voters_and_wins_by_a_majority() -> None:
    node = make(1, 2, 3, voters=(1, 2, 3, 4, 5))
    node.campaign()
    asked = of(T.VOTE, run(node))
    assert [(m.to, m.term, m.index, m.log_term, m.context) for m in asked] == [(n, 4, 3, 3, b"") for n in (2, 3, 4, 5)]
    node.step(vote(T.VOTE_RESP, 2, 4))
    node.step(vote(T.VOTE_RESP, 2, 4))  # the same vote again
    assert node.raft.role == Role.CANDIDATE
    node.step(vote(T.VOTE_RESP, 3, 4))
    assert node.raft.role == Role.LEADER


def test_a_candidate_refused_by_a_majority_becomes_a_follower() -> None:
    node = make(1)
    node.campaign()
    run(node)
    node.step(vote(T.VOTE_RESP, 2, 2, reject=True))
    assert node.raft.role == Role.CANDIDATE
    node.step(vote(T.VOTE_RESP, 3, 2, reject=True))
    assert (node.raft.role, node.raft.term) == (Role.FOLLOWER, 2)


def test_one_vote_a_term_and_it_is_kept() -> None:
    node = make(1)
    node.step(vote(T.VOTE, 2, 3, index=1, log_term=1))
    node.step(vote(T.VOTE, 3, 3, index=1, log_term=1))
    node.step(vote(T.VOTE, 2, 3, index=1, log_term=1))
    ready = node.ready()
    assert [(m.to, m.reject) for m in ready.messages] == [(2, False), (3, True), (2, False)]
    assert ready.hard_state is not None
    assert ready.hard_state[:2] == (3, 2)
    assert ready.must_sync


def test_no_vote_for_a_log_that_lacks_entries() -> None:
    node = make(1, 2, 3)
    for index, term, granted in ((3, 3, True), (2, 3, False), (9, 2, False)):
        node.step(vote(T.VOTE, 2, node.raft.term + 1, index=index, log_term=term))
        assert [m.reject for m in run(node)] == [not granted]


def test_inside_the_lease_of_a_leader_votes_are_ignored_unless_it_asked_for_them() -> None:
    node = make(1, check_quorum=True)
    node.step(Message(T.HEARTBEAT, to=1, from_=2, term=1))
    run(node)
    node.step(vote(T.VOTE, 3, 2, index=1, log_term=1))
    node.step(vote(T.PRE_VOTE, 3, 2, index=1, log_term=1))
    assert run(node) == []
    assert node.raft.term == 1
    node.step(vote(T.VOTE, 3, 2, index=1, log_term=1, context=b"CampaignTransfer"))
    assert [m.reject for m in run(node)] == [False]


def test_when_the_lease_is_over_votes_are_given() -> None:
    node = make(1, check_quorum=True)
    node.step(Message(T.HEARTBEAT, to=1, from_=2, term=1))
    run(node)
    node.raft.randomized_election_timeout = 9
    for _ in range(5):
        node.tick()
    node.step(vote(T.VOTE, 3, 2, index=1, log_term=1))
    assert [m.reject for m in run(node)] == [False]


def test_forgetting_the_leader_ends_its_lease() -> None:
    node = make(1, check_quorum=True)
    node.step(Message(T.HEARTBEAT, to=1, from_=2, term=1))
    node.forget_leader()
    run(node)
    node.step(vote(T.VOTE, 3, 2, index=1, log_term=1))
    assert [m.reject for m in run(node)] == [False]


def test_a_pre_vote_changes_nothing_on_either_side() -> None:
    node = make(1, pre_vote=True)
    before = node.hard_state()
    node.campaign()
    ready = node.ready()
    assert [(m.type, m.term) for m in ready.messages] == [(T.PRE_VOTE, 2), (T.PRE_VOTE, 2)]
    assert ready.hard_state is None
    node.advance()
    assert node.hard_state() == before
    other = make(1)
    other.step(vote(T.PRE_VOTE, 2, 2, index=1, log_term=1))
    other.step(vote(T.PRE_VOTE, 3, 2, index=1, log_term=1))
    assert [(m.type, m.term, m.reject) for m in run(other)] == [(T.PRE_VOTE_RESP, 2, False)] * 2
    assert other.hard_state() == before


def test_a_won_pre_vote_becomes_an_election_and_a_lost_one_ends() -> None:
    won = make(1, pre_vote=True)
    won.campaign()
    run(won)
    won.step(vote(T.PRE_VOTE_RESP, 2, 2))
    assert (won.raft.role, won.raft.term) == (Role.CANDIDATE, 2)
    assert [m.type for m in run(won)] == [T.VOTE, T.VOTE]
    lost = make(1, pre_vote=True)
    lost.campaign()
    run(lost)
    for from_ in (2, 3):
        lost.step(vote(T.PRE_VOTE_RESP, from_, 1, reject=True))
    assert (lost.raft.role, lost.raft.term) == (Role.FOLLOWER, 1)


def test_a_refused_pre_vote_brings_news_of_a_later_term() -> None:
    node = make(1, pre_vote=True)
    node.campaign()
    run(node)
    node.step(vote(T.PRE_VOTE_RESP, 2, 7, reject=True))
    assert (node.raft.role, node.raft.term) == (Role.FOLLOWER, 7)


def test_a_pre_vote_of_an_earlier_term_is_told_the_present_one() -> None:
    node = make(1, 5)
    node.step(vote(T.PRE_VOTE, 2, 3, index=9, log_term=3))
    (answer,) = run(node)
    assert (answer.type, answer.term, answer.reject) == (T.PRE_VOTE_RESP, 5, True)


def test_a_leader_of_an_earlier_term_learns_of_the_present_one() -> None:
    for settings, answers in (({"check_quorum": True}, 1), ({"pre_vote": True}, 1), ({}, 0)):
        node = make(1, 5, **settings)
        node.step(Message(T.HEARTBEAT, to=1, from_=2, term=3))
        sent = run(node)
        assert [(m.type, m.term, m.index) for m in sent] == [(T.APP_RESP, 5, 0)] * answers


def test_a_candidate_that_hears_a_leader_of_its_term_follows_it() -> None:
    node = make(1)
    node.campaign()
    run(node)
    node.step(Message(T.HEARTBEAT, to=1, from_=3, term=2))
    assert (node.raft.role, node.raft.lead) == (Role.FOLLOWER, 3)


def test_learners_and_strangers_do_not_campaign_but_vote() -> None:
    for node in (make(4, learners=(4,)), make(5)):
        node.raft.logger = notes = Notes()
        node.campaign()
        for _ in range(30):
            node.tick()
        assert node.raft.role == Role.FOLLOWER
        assert notes.lines == [f"{node.raft.id} is unpromotable and can not campaign"]
        node.step(Message(T.VOTE, to=node.raft.id, from_=2, term=3, index=1, log_term=1))
        assert [m.reject for m in run(node)] == [False]


@pytest.mark.parametrize("applied", [False, True])
def test_nobody_campaigns_before_committed_changes_are_applied(applied: bool) -> None:
    node = make(1)
    change = ConfChange(ConfChangeType.REMOVE_NODE, 3)
    from quorate.api.raftpb import Entry

    entry = Entry(2, 2, encode_conf_change(change), EntryType.CONF_CHANGE)
    node.step(Message(T.APP, to=1, from_=2, term=2, index=1, log_term=1, entries=[entry], commit=2))
    if applied:
        run(node)
    node.campaign()
    assert (node.raft.role == Role.CANDIDATE) is applied


def test_a_leader_that_hears_no_quorum_steps_down() -> None:
    node = make(1, check_quorum=True)
    lead(node)
    node.step(Message(T.HEARTBEAT_RESP, to=1, from_=2, term=2))
    for _ in range(5):
        node.tick()
    assert node.raft.role == Role.LEADER
    for _ in range(5):
        node.tick()
    assert (node.raft.role, node.raft.lead, node.raft.term) == (Role.FOLLOWER, 0, 2)


def test_a_leader_without_check_quorum_stays() -> None:
    node = make(1)
    lead(node)
    for _ in range(50):
        node.tick()
    assert node.raft.role == Role.LEADER
