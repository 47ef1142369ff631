"""Replication, snapshots, reads and transfers seen from one member of three."""

import pytest
from raft_nodes import Notes, acknowledge, entries, lead, make, of, run

from quorate.api.raftpb import ConfChange, ConfChangeType, ConfState, Entry, Message, MessageType, Snapshot
from quorate.raft import (
    InvalidConfChange,
    MemoryStorage,
    ProgressState,
    ProposalDropped,
    RawNode,
    ReadOnlyOption,
    ReadState,
    Ready,
    Role,
    SnapshotTemporarilyUnavailable,
)

T = MessageType


def leader(*terms: int, **settings: object) -> RawNode:
    """A leader whose followers have everything."""
    node = make(1, *terms, **settings)
    lead(node)
    for follower in node.raft.tracker.progress:
        if follower != 1:
            acknowledge(node, follower, node.raft.log.last_index())
    return node


def heartbeat_response(from_: int, node: RawNode, context: bytes = b"") -> Message:
    return Message(T.HEARTBEAT_RESP, to=1, from_=from_, term=node.raft.term, context=context)


# Appending


def test_an_entry_is_committed_when_a_majority_has_it() -> None:
    node = leader()
    node.propose(b"x")
    sent = of(T.APP, run(node))
    assert [(m.to, m.index, m.log_term, len(m.entries), m.commit) for m in sent] == [(2, 2, 2, 1, 2), (3, 2, 2, 1, 2)]
    assert node.raft.log.committed == 2
    commits = acknowledge(node, 2, 3)
    assert node.raft.log.committed == 3
    assert [(m.to, m.commit, m.entries) for m in commits] == [(2, 3, []), (3, 3, [])]


def test_a_batch_of_proposals_is_one_append_for_each_follower() -> None:
    node = leader()
    node.propose_many([b"x"] * 100)
    assert [len(m.entries) for m in run(node)] == [100, 100]


def test_entries_of_earlier_terms_are_committed_only_with_one_of_the_own() -> None:
    node = make(1, 2, 2)
    lead(node)
    acknowledge(node, 2, 3)
    assert node.raft.log.committed == 1
    acknowledge(node, 2, 4)
    assert node.raft.log.committed == 4


def test_learners_get_entries_but_do_not_count() -> None:
    node = make(1, learners=(4,))
    assert 4 in {m.to for m in lead(node)}
    acknowledge(node, 4, 2)
    assert node.raft.log.committed == 1
    acknowledge(node, 2, 2)
    assert node.raft.log.committed == 2


def test_an_append_is_limited_by_size_and_a_window_by_number_and_bytes() -> None:
    node = leader(max_size_per_message=250, max_inflight_messages=2)
    node.propose_many([b"x" * 100] * 7)
    to_two = [m for m in run(node) if m.to == 2]
    assert [len(m.entries) for m in to_two] == [2]
    to_two = [m for m in acknowledge(node, 2, 4) if m.to == 2]
    assert [len(m.entries) for m in to_two if m.entries] == [2, 2]
    assert node.raft.tracker.progress[2].is_paused()
    to_two = [m for m in acknowledge(node, 2, 6) if m.to == 2]
    assert [len(m.entries) for m in to_two if m.entries] == [1]
    tight = leader(max_size_per_message=100, max_inflight_bytes=100)
    tight.propose(b"x" * 99)
    tight.propose(b"x" * 99)
    tight.propose(b"x" * 99)
    assert len([m for m in run(tight) if m.to == 2]) == 2


def test_a_full_window_lets_empty_appends_through_after_a_sign_of_life() -> None:
    node = leader(max_inflight_messages=1)
    node.propose(b"x")
    node.propose(b"y")
    run(node)
    node.step(heartbeat_response(2, node))
    (probe,) = run(node)
    assert (probe.to, probe.index, probe.entries) == (2, 3, [])
    node.step(heartbeat_response(2, node))
    node.step(Message(T.APP_RESP, to=1, from_=2, term=2, index=3, reject=True, reject_hint=2, log_term=2))
    again = [m for m in run(node) if m.entries]
    assert [(m.index, len(m.entries)) for m in again] == [(2, 2)]


def test_a_refusal_with_a_hint_takes_one_round_a_term() -> None:
    node = make(1, 1, 1, 4, 4, 5, 5)
    lead(node)
    node.step(Message(T.APP_RESP, to=1, from_=2, term=6, index=7, reject=True, reject_hint=7, log_term=3))
    (again,) = run(node)
    assert (again.index, again.log_term) == (3, 1)


def test_a_follower_hints_at_the_last_entry_that_may_match() -> None:
    node = make(2, 1, 2, 2, 2)
    node.step(Message(T.APP, to=2, from_=1, term=4, index=9, log_term=4))
    node.step(Message(T.APP, to=2, from_=1, term=4, index=4, log_term=1))
    first, second = run(node)
    assert (first.reject, first.index, first.reject_hint, first.log_term) == (True, 9, 5, 2)
    assert (second.reject, second.index, second.reject_hint, second.log_term) == (True, 4, 2, 1)


def test_an_append_before_the_commit_index_is_answered_with_it() -> None:
    node = make(2, 1, 1)
    node.step(Message(T.APP, to=2, from_=1, term=1, index=3, log_term=1, commit=3))
    run(node)
    node.step(Message(T.APP, to=2, from_=1, term=1, index=1, log_term=1, entries=entries(1, first=2)))
    assert [(m.index, m.reject) for m in run(node)] == [(3, False)]


def test_heartbeats_tell_no_more_than_is_known_to_match() -> None:
    node = make(1)
    lead(node)
    acknowledge(node, 2, 2)
    node.tick()
    assert [(m.type, m.to, m.commit) for m in run(node)] == [(T.HEARTBEAT, 2, 2), (T.HEARTBEAT, 3, 0)]


def test_an_unreachable_follower_is_probed() -> None:
    node = leader()
    node.report_unreachable(2)
    assert node.status().progress[2].state == ProgressState.PROBE
    node.step(heartbeat_response(2, node))
    assert [(m.to, m.entries) for m in run(node)] == [(2, [])]
    acknowledge(node, 2, 2)
    assert node.status().progress[2].state == ProgressState.REPLICATE


def test_a_status_is_a_copy() -> None:
    node = leader()
    status = node.status()
    node.propose(b"x")
    run(node)
    assert status.progress[2].next == 3
    assert node.status().progress[2].next == 4
    assert make(2).status().progress == {}


# Snapshots


def behind(**settings: object) -> RawNode:
    """A leader that has forgotten what follower 3 needs."""
    node = make(1, 1, 1, **settings)
    lead(node)
    acknowledge(node, 2, 4)
    kept = node.raft.log.storage
    assert isinstance(kept, MemoryStorage)
    kept.create_snapshot(4, None, b"state")
    kept.compact(4)
    return node


def test_a_follower_whose_entries_are_gone_gets_a_snapshot_when_it_was_heard() -> None:
    node = behind()
    refusal = Message(T.APP_RESP, to=1, from_=3, term=2, index=3, reject=True, reject_hint=1)
    node.step(refusal)
    (snap,) = of(T.SNAP, run(node))
    assert snap.snapshot == Snapshot(4, 2, ConfState((1, 2, 3)), b"state")
    assert str(node.status().progress[3]) == "StateSnapshot match=0 next=5 paused pendingSnap=4"
    node.propose(b"x")
    assert 3 not in {m.to for m in run(node)}
    node.report_snapshot(3, True)
    assert str(node.status().progress[3]) == "StateProbe match=0 next=5 paused"
    acknowledge(node, 3, 4)
    assert node.status().progress[3].state == ProgressState.REPLICATE


def test_a_failed_snapshot_is_tried_again_after_a_heartbeat() -> None:
    node = behind()
    node.step(Message(T.APP_RESP, to=1, from_=3, term=2, index=3, reject=True, reject_hint=1))
    run(node)
    node.report_snapshot(3, False)
    assert str(node.status().progress[3]) == "StateProbe match=0 next=1 paused"
    node.step(heartbeat_response(3, node))
    assert of(T.SNAP, run(node))


def test_a_storage_may_have_no_snapshot_now(monkeypatch: pytest.MonkeyPatch) -> None:
    node = behind()

    def none_now(storage: MemoryStorage) -> Snapshot:
        raise SnapshotTemporarilyUnavailable

    monkeypatch.setattr(MemoryStorage, "snapshot", none_now)
    node.step(Message(T.APP_RESP, to=1, from_=3, term=2, index=3, reject=True, reject_hint=1))
    assert run(node) == []
    assert node.status().progress[3].state == ProgressState.PROBE


def snapshot_message(index: int, term: int, *voters: int) -> Message:
    return Message(T.SNAP, to=2, from_=1, term=5, snapshot=Snapshot(index, term, ConfState(voters), b"state"))


def test_a_snapshot_replaces_log_and_configuration() -> None:
    node = make(2, 1)
    node.step(snapshot_message(9, 4, 1, 2))
    ready = node.ready()
    assert ready.snapshot == Snapshot(9, 4, ConfState((1, 2)), b"state")
    assert [(m.type, m.index) for m in ready.messages] == [(T.APP_RESP, 9)]
    node.campaign()
    assert node.raft.role == Role.FOLLOWER  # not while it is pending
    kept = node.raft.log.storage
    assert isinstance(kept, MemoryStorage)
    kept.apply_snapshot(ready.snapshot)
    node.advance()
    assert node.basic_status().applied == 9
    assert node.status().membership.conf_state() == ConfState((1, 2))


def test_a_snapshot_that_matches_the_log_only_commits() -> None:
    node = make(2, 1, 1, 1)
    node.step(snapshot_message(3, 1, 1, 2))
    assert node.ready().snapshot is None
    assert (node.raft.log.committed, node.raft.log.last_index()) == (3, 4)


def test_a_snapshot_that_is_old_or_for_others_is_ignored() -> None:
    for message in (snapshot_message(1, 1, 1, 2), snapshot_message(9, 4, 1, 3)):
        node = make(2, 1)
        node.step(message)
        assert [(m.type, m.index) for m in run(node)] == [(T.APP_RESP, 1)]
        assert node.raft.log.last_index() == 2


# Configuration changes


def test_one_change_at_a_time() -> None:
    node = leader()
    node.raft.logger = notes = Notes()
    node.propose_conf_change(ConfChange(ConfChangeType.ADD_NODE, 4))
    node.propose_conf_change(ConfChange(ConfChangeType.ADD_NODE, 5))
    first, second = node.ready().entries
    assert first.type
    assert second == Entry(2, 4)
    assert notes.lines == [
        "1 ignoring conf change type:ConfChangeAddNode node_id:5 at config voters=(1 2 3): "
        "possible unapplied conf change at index 3 (applied to 2)"
    ]


def test_removing_a_voter_may_commit_what_was_waiting_for_it() -> None:
    node = leader(voters=(1, 2))
    node.propose_conf_change(ConfChange(ConfChangeType.REMOVE_NODE, 2))
    run(node)
    node.propose(b"x")
    run(node)
    acknowledge(node, 2, 3)
    assert node.raft.log.committed == 4


def test_a_removed_leader_drops_proposals_and_steps_down_if_told_so() -> None:
    for steps_down in (False, True):
        node = leader(step_down_on_removal=steps_down)
        node.apply_conf_change(ConfChange(ConfChangeType.REMOVE_NODE, 1))
        with pytest.raises(ProposalDropped):
            node.propose(b"x")
        assert (node.raft.role == Role.FOLLOWER) is steps_down


def test_a_change_that_does_not_fit_stops_the_member() -> None:
    node = leader(voters=(1,))
    with pytest.raises(InvalidConfChange, match="removed all voters"):
        node.apply_conf_change(ConfChange(ConfChangeType.REMOVE_NODE, 1))


# Reads


def reads_of(node: RawNode) -> tuple[list[ReadState], list[Message]]:
    states: list[ReadState] = []

    def note(ready: Ready) -> None:
        states.extend(ready.read_states)

    sent = run(node, note)
    return states, sent


def test_a_read_is_confirmed_by_a_round_of_heartbeats() -> None:
    node = leader()
    node.read_index(b"a")
    states, sent = reads_of(node)
    assert not states
    assert [(m.type, m.to, m.context) for m in sent] == [(T.HEARTBEAT, n, b"\1" + bytes(7)) for n in (2, 3)]
    node.step(heartbeat_response(2, node, sent[0].context))
    assert reads_of(node)[0] == [ReadState(2, b"a")]


def test_a_later_round_confirms_earlier_reads_too() -> None:
    node = leader(voters=(1, 2, 3, 4, 5))
    node.read_index(b"a")
    node.propose(b"x")
    run(node)
    acknowledge(node, 2, 3)
    acknowledge(node, 3, 3)
    node.read_index(b"b")
    last = run(node)[-1].context
    node.step(heartbeat_response(2, node, last))
    node.step(heartbeat_response(2, node, last))
    assert reads_of(node)[0] == []
    node.step(heartbeat_response(4, node, last))
    assert reads_of(node)[0] == [ReadState(2, b"a"), ReadState(3, b"b")]


def test_learners_and_other_contexts_confirm_nothing() -> None:
    node = leader(learners=(4,))
    node.read_index(b"a")
    context = run(node)[0].context
    node.step(heartbeat_response(4, node, context))
    node.step(heartbeat_response(2, node, bytes(8)))
    node.step(heartbeat_response(2, node, b"odd"))
    node.step(heartbeat_response(2, node))
    assert reads_of(node)[0] == []


def test_heartbeats_carry_the_newest_unanswered_read() -> None:
    node = leader()
    node.read_index(b"a")
    run(node)
    node.tick()
    context = run(node)[0].context
    assert int.from_bytes(context, "little") == 1
    node.step(heartbeat_response(3, node, context))
    assert reads_of(node)[0] == [ReadState(2, b"a")]
    node.tick()
    assert run(node)[0].context == b""


def test_a_read_before_the_first_commit_of_the_term_waits_for_it() -> None:
    node = make(1)
    lead(node)
    node.read_index(b"a")
    assert reads_of(node) == ([], [])
    node.step(Message(T.APP_RESP, to=1, from_=2, term=2, index=2))
    states, sent = reads_of(node)
    assert not states
    node.step(heartbeat_response(2, node, of(T.HEARTBEAT, sent)[0].context))
    assert reads_of(node)[0] == [ReadState(2, b"a")]


def test_a_lease_answers_without_asking() -> None:
    node = leader(read_only=ReadOnlyOption.LEASE_BASED, check_quorum=True)
    node.read_index(b"a")
    assert reads_of(node) == ([ReadState(2, b"a")], [])


def test_a_follower_asks_the_leader_and_is_answered() -> None:
    follower, node = make(2), leader()
    follower.read_index(b"lost")
    assert run(follower) == []
    follower.step(Message(T.HEARTBEAT, to=2, from_=1, term=2))
    run(follower)
    follower.read_index(b"a")
    (question,) = run(follower)
    assert (question.type, question.to, question.from_, question.term) == (T.READ_INDEX, 1, 2, 0)
    node.step(question)
    context = run(node)[0].context
    node.step(heartbeat_response(3, node, context))
    (answer,) = run(node)
    assert (answer.type, answer.to, answer.index, answer.term) == (T.READ_INDEX_RESP, 2, 2, 2)
    with pytest.raises(Exception, match="peer not found"):
        make(2, voters=(2, 3)).step(answer)
    follower.step(answer)
    assert reads_of(follower)[0] == [ReadState(2, b"a")]


def test_reads_of_a_lost_leadership_are_never_answered() -> None:
    node = leader()
    node.read_index(b"a")
    context = run(node)[0].context
    node.step(Message(T.HEARTBEAT, to=1, from_=2, term=9))
    run(node)
    node.campaign()
    run(node)
    for voter in (2, 3):
        node.step(Message(T.VOTE_RESP, to=1, from_=voter, term=10))
    run(node)
    acknowledge(node, 2, 3)
    node.step(heartbeat_response(2, node, context))
    assert reads_of(node)[0] == []


# Transfer


def test_leadership_goes_at_once_to_a_follower_that_has_everything() -> None:
    node = leader()
    node.transfer_leader(2)
    assert [(m.type, m.to) for m in run(node)] == [(T.TIMEOUT_NOW, 2)]
    assert node.basic_status().lead_transferee == 2
    with pytest.raises(ProposalDropped):
        node.propose(b"x")
    for _ in range(5):
        node.tick()
    node.propose(b"x")  # it did not come to pass


def test_leadership_waits_for_the_follower_to_catch_up() -> None:
    node = leader()
    node.propose(b"x")
    run(node)
    acknowledge(node, 3, 3)
    node.transfer_leader(2)
    assert of(T.TIMEOUT_NOW, run(node)) == []
    assert [m.to for m in of(T.TIMEOUT_NOW, acknowledge(node, 2, 3))] == [2]


def test_a_transfer_to_a_learner_a_stranger_or_itself_is_ignored() -> None:
    node = leader(learners=(4,))
    for to in (4, 9, 1):
        node.transfer_leader(to)
        assert node.basic_status().lead_transferee == 0


def test_who_is_told_to_take_over_skips_the_pre_vote_and_the_lease() -> None:
    node = make(2, pre_vote=True, check_quorum=True)
    node.step(Message(T.HEARTBEAT, to=2, from_=1, term=2))
    run(node)
    node.step(Message(T.TIMEOUT_NOW, to=2, from_=1, term=2))
    assert [(m.type, m.term, m.context) for m in run(node)] == [(T.VOTE, 3, b"CampaignTransfer")] * 2


def test_followers_pass_on_what_is_for_the_leader() -> None:
    node = make(2)
    node.step(Message(T.HEARTBEAT, to=2, from_=1, term=2))
    run(node)
    node.propose_many([b"x", b"y"])
    node.transfer_leader(3)
    proposal, transfer = run(node)
    assert (proposal.type, proposal.to, proposal.from_, proposal.term) == (T.PROP, 1, 2, 0)
    assert proposal.entries == [Entry(0, 0, b"x"), Entry(0, 0, b"y")]
    assert (transfer.type, transfer.to, transfer.from_) == (T.TRANSFER_LEADER, 1, 3)
    node.step(Message(T.TRANSFER_LEADER, to=2, from_=3, term=2))  # of a member that took this one for the leader
    assert [(m.type, m.to, m.from_, m.term) for m in run(node)] == [(T.TRANSFER_LEADER, 1, 3, 2)]
    node.raft.disable_proposal_forwarding = True
    with pytest.raises(ProposalDropped):
        node.propose(b"x")
