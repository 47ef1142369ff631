"""The only voter of a cluster: from its first start to restarts, in both ways of writing."""

import random

import pytest
from raft_nodes import Notes, entries, make, run, single, storage

from quorate.api.raftpb import (
    ConfChange,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    decode_conf_change,
)
from quorate.raft import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    Config,
    LocalMessage,
    MemoryStorage,
    Peer,
    PeerNotFound,
    ProposalDropped,
    RawNode,
    ReadState,
    Ready,
    Role,
)
from quorate.raft.invariants import check

T = MessageType


def elected(**more: object) -> RawNode:
    node = single(**more)
    run(node)
    node.campaign()
    run(node)
    return node


def test_a_new_cluster_begins_with_an_entry_for_each_member() -> None:
    node = RawNode(Config(id=7, storage=MemoryStorage(), rng=random.Random(1)))
    node.bootstrap([Peer(7, b"seven"), Peer(8, b"eight")])
    ready = node.ready()
    assert [entry[:2] for entry in ready.entries] == [(1, 1), (1, 2)]
    assert ready.entries == ready.committed_entries
    assert {entry.type for entry in ready.entries} == {EntryType.CONF_CHANGE}
    changes = [decode_conf_change(entry.data) for entry in ready.entries]
    assert [(change.node_id, change.context, change.id) for change in changes] == [(7, b"seven", 0), (8, b"eight", 0)]
    assert ready.hard_state == HardState(1, 0, 2)
    assert ready.must_sync
    assert node.status().membership.conf_state() == ConfState((7, 8))
    assert [node.apply_conf_change(change) for change in changes][-1] == ConfState((7, 8))


def test_bootstrap_needs_peers_and_an_empty_storage() -> None:
    with pytest.raises(ValueError, match="must provide at least one peer"):
        single().bootstrap([])
    with pytest.raises(ValueError, match="nonempty Storage"):
        single().bootstrap([Peer(1)])


def test_a_single_voter_elects_itself_when_its_vote_is_written() -> None:
    node = single()
    run(node)
    for _ in range(20):
        node.tick()
    assert node.raft.role == Role.CANDIDATE
    ready = node.ready()
    assert ready.hard_state == HardState(2, 1, 1)
    assert ready.must_sync
    node.advance()
    assert node.basic_status().role == Role.LEADER
    check(node.raft)


def test_a_proposal_is_applied_after_it_was_to_be_written() -> None:
    node = elected()
    node.propose(b"a")
    node.propose_many([b"b", b"c"])
    first = node.ready()
    assert first.entries == [Entry(2, 3, b"a"), Entry(2, 4, b"b"), Entry(2, 5, b"c")]
    assert first.must_sync
    assert not first.committed_entries
    assert node.raft.log.storage.last_index() == 2
    storage_ = node.raft.log.storage
    assert isinstance(storage_, MemoryStorage)
    storage_.append(first.entries)
    node.advance()
    second = node.ready()
    assert second.committed_entries == first.entries
    assert second.hard_state == HardState(2, 1, 5)
    assert not second.must_sync
    assert not second.messages
    node.advance()
    assert not node.has_ready()
    assert node.basic_status().applied == 5


def test_writing_and_applying_are_messages_when_storage_is_asynchronous() -> None:
    node = single(async_storage_writes=True)
    storage_ = node.raft.log.storage
    assert isinstance(storage_, MemoryStorage)

    def work() -> list[Message]:
        done = []
        while node.has_ready():
            for m in node.ready().messages:
                done.append(m)
                if m.type == T.STORAGE_APPEND:
                    assert m.to == LOCAL_APPEND_THREAD
                    storage_.append(m.entries)
                else:
                    assert (m.type, m.to) == (T.STORAGE_APPLY, LOCAL_APPLY_THREAD)
                for response in m.responses:
                    node.step(response)
        return done

    work()
    node.campaign()
    work()
    node.propose(b"a")
    node.propose(b"b")
    append, commit, apply = work()
    assert append.entries == apply.entries == [Entry(2, 3, b"a"), Entry(2, 4, b"b")]
    # One acknowledgement of both entries, then the word that they are stable.
    assert [(m.type, m.index) for m in append.responses] == [(T.APP_RESP, 4), (T.STORAGE_APPEND_RESP, 4)]
    assert (commit.term, commit.vote, commit.commit, commit.entries) == (2, 1, 4, [])
    assert node.basic_status().applied == 4


def test_entries_are_not_applied_before_they_are_stable_when_storage_is_asynchronous() -> None:
    node = single(async_storage_writes=True)
    ready = node.ready()
    assert ready.entries
    assert not ready.committed_entries


def test_a_follower_acknowledges_only_what_is_written() -> None:
    node = make(2, async_storage_writes=True)
    node.step(Message(T.APP, to=2, from_=1, term=3, log_term=1, index=1, entries=entries(3, first=2)))
    (append,) = node.ready().messages
    assert append.type == T.STORAGE_APPEND
    assert [(m.type, m.to, m.index) for m in append.responses] == [(T.APP_RESP, 1, 2), (T.STORAGE_APPEND_RESP, 2, 2)]


def test_a_write_of_an_earlier_term_does_not_make_entries_stable() -> None:
    node = make(2, async_storage_writes=True)
    node.step(Message(T.APP, to=2, from_=1, term=3, log_term=1, index=1, entries=entries(3, first=2)))
    old = node.ready().messages[0].responses[-1]
    node.step(Message(T.APP, to=2, from_=3, term=4, log_term=1, index=1, entries=entries(4, first=2)))
    node.step(Message(T.APP, to=2, from_=1, term=5, log_term=1, index=1, entries=entries(3, 5, first=2)))
    node.step(old)  # (term 3, index 2) is there again, but not on disk: what was written in between is
    assert node.raft.log.unstable.offset == 2
    for m in node.ready().messages:
        for response in m.responses:
            if response.to == 2:
                node.step(response)
    assert node.raft.log.unstable.offset == 4


def test_a_restart_goes_on_from_snapshot_entries_and_hard_state() -> None:
    kept = storage(1, 2, 2, commit=3)
    node = RawNode(Config(id=1, storage=kept, rng=random.Random(1), applied=2))
    assert not node.raft.messages
    applied: list[Entry] = []
    run(node, lambda ready: applied.extend(ready.committed_entries))
    assert applied == entries(2, first=3)
    node.campaign()
    run(node, lambda ready: applied.extend(ready.committed_entries))
    assert applied == [*entries(2, 2, first=3), Entry(3, 5)]
    assert node.basic_status().hard_state == HardState(3, 1, 5)


def test_a_hard_state_beyond_the_log_is_impossible() -> None:
    kept = storage(1)
    kept.set_hard_state(HardState(1, 0, 9))
    with pytest.raises(AssertionError, match=r"state.commit 9 is out of range \[1, 2\]"):
        RawNode(Config(id=1, storage=kept, rng=random.Random(1)))


def test_a_read_of_a_single_voter_is_answered_at_once() -> None:
    node = elected()
    node.read_index(b"now")
    assert node.has_ready()
    assert node.ready().read_states == [ReadState(2, b"now")]


def test_a_read_waits_for_the_first_commit_of_the_term() -> None:
    node = single()
    run(node)
    node.campaign()
    node.ready()
    node.advance()
    assert node.raft.role == Role.LEADER
    node.read_index(b"early")
    states: list[ReadState] = []
    run(node, lambda ready: states.extend(ready.read_states))
    assert states == [ReadState(2, b"early")]


def test_a_change_is_proposed_and_takes_effect_when_applied() -> None:
    node = elected()
    node.propose_conf_change(ConfChange(ConfChangeType.ADD_LEARNER_NODE, 2, b"two", 77))
    seen: list[ConfChange] = []

    def note(ready: Ready) -> None:
        seen.extend(decode_conf_change(entry.data) for entry in ready.committed_entries if entry.type)

    run(node, note)
    assert seen == [ConfChange(ConfChangeType.ADD_LEARNER_NODE, 2, b"two", 77)]
    assert node.status().membership.conf_state() == ConfState((1,), (2,))
    assert list(node.status().progress) == [1, 2]


def test_without_a_leader_a_proposal_is_dropped() -> None:
    node = single()
    with pytest.raises(ProposalDropped, match="raft proposal dropped"):
        node.propose(b"x")


def test_proposals_beyond_the_uncommitted_limit_are_dropped_until_some_are_applied() -> None:
    logger = Notes()
    node = elected(max_uncommitted_size=10, logger=logger)
    node.propose(b"x" * 50)  # alone, any size
    with pytest.raises(ProposalDropped):
        node.propose(b"y")
    assert logger.lines[-1].endswith("exceed uncommitted entry size limit; dropping proposal")
    node.propose(b"")  # nothing to count
    run(node)
    node.propose(b"z" * 6)
    node.propose(b"z" * 4)
    with pytest.raises(ProposalDropped):
        node.propose(b"z")


def test_committed_entries_come_in_portions_of_the_limited_size() -> None:
    node = elected(max_committed_size_per_ready=1)
    node.propose_many([b"a", b"b", b"c"])
    portions: list[int] = []
    run(node, lambda ready: portions.append(len(ready.committed_entries)))
    assert portions == [0, 1, 1, 1]


def test_two_readies_without_advance_are_impossible() -> None:
    node = elected()
    node.propose(b"a")
    node.ready()
    node.propose(b"b")
    with pytest.raises(AssertionError, match="without call to Advance"):
        node.ready()


def test_advance_is_not_for_asynchronous_storage() -> None:
    with pytest.raises(AssertionError, match="must not be called"):
        single(async_storage_writes=True).advance()


def test_an_idle_member_has_nothing_ready() -> None:
    node = elected()
    for _ in range(50):
        node.tick()
        assert not node.has_ready()


def test_local_messages_and_answers_of_strangers_are_refused() -> None:
    node = elected()
    with pytest.raises(LocalMessage, match="cannot step raft local message"):
        node.step(Message(T.HUP, from_=2))
    with pytest.raises(PeerNotFound, match="cannot step as peer not found"):
        node.step(Message(T.APP_RESP, from_=2, term=2, index=1))


def test_the_election_clock_can_be_moved_on_at_start() -> None:
    node = single()
    run(node)
    node.advance_ticks(node.raft.randomized_election_timeout - 1)
    node.tick()
    assert node.raft.role == Role.CANDIDATE


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("id", 0, "cannot use none as id"),
        ("id", LOCAL_APPLY_THREAD, "cannot use local target as id"),
        ("heartbeat_tick", 0, "heartbeat tick must be greater than 0"),
        ("election_tick", 1, "election tick must be greater than heartbeat tick"),
        ("max_inflight_messages", 0, "max inflight messages must be greater than 0"),
        ("max_inflight_bytes", 1, "max inflight bytes must be >= max message size"),
        ("read_only", 1, "CheckQuorum must be enabled"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(setting: str, value: int, text: str) -> None:
    config = Config(id=1, storage=MemoryStorage(), rng=random.Random(1))
    setattr(config, setting, value)
    with pytest.raises(ValueError, match=text):
        RawNode(config)
