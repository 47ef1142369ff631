"""How members change, what is refused, and that memory and store never part."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.api import errors
from quorate.api.raftpb import ConfChange, ConfChangeType, ConfState
from quorate.membership import (
    Cluster,
    Downgrade,
    Member,
    add_change,
    conf_change_context,
    new_cluster,
    promote_change,
    remove_change,
    update_change,
)
from quorate.storage import schema
from quorate.storage.backend import Backend


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Backend]:
    backend = Backend.open(tmp_path / "db", schema.BUCKETS, unsafe_no_fsync=True)
    yield backend
    backend.close()


@pytest.fixture
def cluster(store: Backend) -> Cluster:
    """Voters 1 and 2, started and not, and learner 3."""
    made = Cluster.restore(store, 0xC, 1)
    for member in (
        Member(1, ("http://a:1",), name="one"),
        Member(2, ("http://b:1", "http://b:2")),
        Member(3, ("http://c:1",), is_learner=True),
    ):
        made.validate(add_change(member))
        made.apply(add_change(member))
    return made


def refuse(cluster: Cluster, change: ConfChange, error: type[errors.EtcdError]) -> None:
    before = cluster.members()
    with pytest.raises(error):
        cluster.validate(change)
    assert cluster.members() == before


def test_an_empty_store_is_an_empty_cluster(store: Backend) -> None:
    cluster = Cluster.restore(store, 0xC, 1)
    assert (cluster.id, cluster.local_id, cluster.members(), cluster.version) == (0xC, 1, [], None)
    assert cluster.downgrade == Downgrade()


def test_bootstrap_changes_make_the_members_with_their_names(store: Backend) -> None:
    members, cluster_id = new_cluster({"m1": ["http://a:1"], "m2": ["http://b:1"]}, "tok")
    cluster = Cluster.restore(store, cluster_id, members[0].id)
    for member in members:
        cluster.apply(ConfChange(ConfChangeType.ADD_NODE, member.id, conf_change_context(member)))
    assert cluster.members() == members == sorted(members)
    assert {member.name for member in cluster.voters()} == {"m1", "m2"}


def test_members_are_listed_by_id_and_learners_apart(cluster: Cluster) -> None:
    assert [member.id for member in cluster.members()] == [1, 2, 3]
    assert [member.id for member in cluster.voters()] == [1, 2]
    assert [member.id for member in cluster.learners()] == [3]
    assert cluster.member(9) is None
    assert not cluster.is_local_learner


def test_adds_are_refused_by_id_then_url_then_number_of_learners(cluster: Cluster) -> None:
    refuse(cluster, add_change(Member(1, ("http://new:1",))), errors.MemberExists)
    refuse(cluster, add_change(Member(9, ("http://new:1", "http://b:2"))), errors.PeerUrlExists)
    refuse(cluster, add_change(Member(9, ("http://new:1",), is_learner=True)), errors.TooManyLearners)
    cluster.max_learners = 0
    cluster.validate(add_change(Member(9, ("http://new:1",))))  # voters are not counted
    cluster.max_learners = 2
    cluster.validate(add_change(Member(9, ("http://new:1",), is_learner=True)))


def test_only_a_learner_that_is_a_member_is_promoted(cluster: Cluster) -> None:
    refuse(cluster, promote_change(9), errors.MemberNotFound)
    refuse(cluster, promote_change(1), errors.MemberNotLearner)
    cluster.validate(promote_change(3))
    cluster.apply(promote_change(3))
    assert cluster.member(3) == Member(3, ("http://c:1",))
    refuse(cluster, promote_change(3), errors.MemberNotLearner)


def test_an_update_changes_the_peer_urls_and_nothing_else(cluster: Cluster) -> None:
    refuse(cluster, update_change(9, ["http://x:1"]), errors.MemberNotFound)
    refuse(cluster, update_change(3, ["http://a:1"]), errors.PeerUrlExists)
    cluster.set_attributes(3, "three", ["http://c:9"])
    change = update_change(3, ["http://c:2", "http://c:1"])
    cluster.validate(change)
    cluster.apply(change)
    assert cluster.member(3) == Member(3, ("http://c:1", "http://c:2"), True, "three", ("http://c:9",))


def test_a_removed_member_never_comes_back(cluster: Cluster) -> None:
    refuse(cluster, remove_change(9), errors.MemberNotFound)
    cluster.validate(remove_change(2))
    cluster.apply(remove_change(2))
    assert cluster.member(2) is None
    assert cluster.is_removed(2)
    for change in (remove_change(2), add_change(Member(2, ("http://n:1",))), update_change(2, ["http://n:1"])):
        refuse(cluster, change, errors.MemberNotFound)
    cluster.set_attributes(2, "late", [])
    assert cluster.member(2) is None


def test_attributes_of_what_never_was_a_member_are_impossible(cluster: Cluster) -> None:
    with pytest.raises(AssertionError):
        cluster.set_attributes(99, "x", [])


def test_a_context_of_another_member_is_fatal(cluster: Cluster) -> None:
    wrong = ConfChange(ConfChangeType.ADD_NODE, 8, conf_change_context(Member(9, ("http://n:1",))))
    for call in (cluster.validate, cluster.apply):
        with pytest.raises(ValueError, match="context of member 9 in a change of member 8"):
            call(wrong)
        with pytest.raises(ValueError):
            call(ConfChange(ConfChangeType.ADD_NODE, 8, b""))
        with pytest.raises(ValueError, match="unknown type of change"):
            call(ConfChange(17, 8, b"{}"))


def test_all_of_it_survives_a_restart(cluster: Cluster, store: Backend) -> None:
    cluster.set_attributes(2, "two", ["http://b:9"])
    cluster.set_version("3.7.0")
    cluster.set_downgrade(Downgrade("3.6.0", True))
    cluster.apply(remove_change(3))
    store.commit()
    again = Cluster.restore(store, 0xC, 2)
    assert again.members() == cluster.members()
    assert again.is_removed(3)
    assert again.version == "3.7.0"
    assert again.downgrade == ("3.6.0", True)


def test_members_are_made_to_agree_with_raft(cluster: Cluster, store: Backend) -> None:
    cluster.apply(add_change(Member(0xAB, ("http://z:1",), is_learner=False)))
    assert cluster.repair(ConfState(voters=(1, 2, 0xAB), learners=(3,))) == []
    assert cluster.repair(ConfState(voters=(1, 3), learners=(2,))) == [
        "member 2 is a learner to raft: corrected",
        "member 3 is a voter to raft: corrected",
        "member ab is none to raft: dropped",
    ]
    assert [(member.id, member.is_learner) for member in cluster.members()] == [(1, False), (2, True), (3, False)]
    assert sorted(schema.members(store)) == cluster.members()
    assert cluster.repair(ConfState()) == []  # nothing known: nothing judged
    joint = ConfState(voters=(1,), learners=(), voters_outgoing=(1, 3), learners_next=(3, 2))
    assert cluster.repair(joint) == []


def test_any_run_of_changes_leaves_memory_and_store_alike(store: Backend) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    cluster = Cluster.restore(store, 0xC, 1, max_learners=3)
    passed = 0
    for _ in range(600):
        number = dice.randrange(1, 12)
        urls = [f"http://h{dice.randrange(30)}:1"]
        change = dice.choice(
            [
                add_change(Member(number, tuple(urls), is_learner=dice.random() < 0.5)),
                promote_change(number),
                update_change(number, urls),
                remove_change(number) if dice.random() < 0.1 else promote_change(number),
            ]
        )
        try:
            cluster.validate(change)
        except errors.EtcdError:
            continue
        passed += 1
        cluster.apply(change)
        assert len(cluster.learners()) <= 3
        taken = [url for member in cluster.members() for url in member.peer_urls]
        assert len(taken) == len(set(taken))
        assert sorted(schema.members(store)) == cluster.members()
        assert all(not cluster.is_removed(member.id) for member in cluster.members())
    assert passed
