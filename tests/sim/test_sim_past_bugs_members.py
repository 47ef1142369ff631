"""Faults that etcd once had when members come and go, each played again (docs/testing/past-bugs.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_scenes import Scene, members_agree_with_raft

from quorate.api.pb import rpc_pb2 as pb
from quorate.storage import schema
from quorate.storage.backend import Backend

LINKED_SECONDS = 6.0
"""Behind that, links are old enough for a change of the members."""
GHOSTS = (0xA1, 0xA2, 0xA3)


def members(scene: Scene, number: int = 0) -> list[tuple[str, bool]]:
    return sorted((m.name, m.isLearner) for m in scene.ask(number, pb.MemberListRequest()).members)


def promote(scene: Scene, number: int) -> None:
    """As soon as it is in step."""
    request = pb.MemberPromoteRequest(ID=scene.server(number).member_id)
    scene.until(lambda: not scene.refusal(0, request))
    scene.until(lambda: scene.healthy() and scene.level())


def grown(scene: Scene, size: int) -> None:
    """Let a cluster of one grow by learners that are promoted."""
    while len(scene.members) < size:
        scene.scheduler.run_for(LINKED_SECONDS)
        promote(scene, scene.join(scene.new_machine(), learner=True))


def add_ghosts(rows: Backend) -> None:
    for number in GHOSTS:
        schema.put_member(rows, schema.MemberRecord(number, (f"http://10.9.9.{number}:2380",), name=f"ghost{number}"))


def test_19557_a_promotion_that_only_raft_knows_of_counts() -> None:
    with Scene(1) as scene:
        grown(scene, 3)
        own = scene.server(0).member_id
        for number in range(3):
            scene.members[number].crash()
            with scene.rows(number) as rows:
                for record in list(schema.members(rows)):
                    schema.put_member(rows, record._replace(is_learner=record.id != own))
            scene.start(number)
            members_agree_with_raft(scene.server(number))
        assert members(scene) == [("m1", False), ("m2", False), ("m3", False)]


def test_20793_members_that_come_with_a_snapshot_are_held_against_raft() -> None:
    with Scene(3, snapshot_count=5, catchup_entries=1) as scene:
        scene.lead(0)
        rows, records = scene.server(0).backend, scene.server(0).cluster.members()
        for record in records:
            schema.put_member(rows, record._replace(is_learner=record.name == "m2"))
        scene.leave_behind(2)
        scene.until(lambda: scene.installed(2) > 20)
        members_agree_with_raft(scene.server(2))
        for record in records:
            schema.put_member(rows, record)


def test_20967_members_that_were_removed_do_not_come_back_with_old_data() -> None:
    with Scene(3, snapshot_count=5, catchup_entries=1) as scene:
        scene.lead(0)
        scene.members[1].crash()
        with scene.rows(1) as rows:
            add_ghosts(rows)
        scene.start(1)
        add_ghosts(scene.server(0).backend)
        scene.leave_behind(2)
        scene.until(lambda: scene.installed(2) > 20)
        for number in (1, 2):
            members_agree_with_raft(scene.server(number))
            assert len(members(scene, number)) == 3
            assert not set(GHOSTS) & set(scene.server(number).transport.peers())
        scene.restart(0)


@pytest.mark.parametrize("learner", [False, True])
@pytest.mark.parametrize("flushed", [False, True])
def test_20071_a_cluster_that_is_forced_has_one_member(learner: bool, flushed: bool) -> None:
    settings = {"snapshot_count": 5} if flushed else {"batch_interval": 3600.0}
    with Scene(1, **settings) as scene:
        grown(scene, 2)
        if not flushed:
            scene.hold_back(1)
        grown(scene, 3)
        if learner:
            scene.scheduler.run_for(LINKED_SECONDS)
            scene.join(scene.new_machine(), learner=True)
        scene.fill(0, 5)
        if flushed:
            scene.settle()
        applied = scene.server(1).applied_index
        for machine in scene.members:
            machine.crash(power=True)
        assert (scene.applied_on_disk(1) == applied) == flushed
        left = scene.members[1]
        plain, left.config = left.config, replace(left.config, force_new_cluster=True)
        scene.members[:] = [left]
        for _ in range(2):
            scene.restart(0)
            scene.settle()
            assert members(scene) == [("m2", False)]
            assert scene.server(0).node.raft.tracker.membership.incoming == {scene.server(0).member_id}
            assert scene.get(0, b"fill/4") == b"x"
            left.config = plain


def test_21736_an_update_of_a_learners_urls_leaves_it_a_learner() -> None:
    with Scene(3) as scene:
        scene.scheduler.run_for(LINKED_SECONDS)
        added = scene.ask(1, pb.MemberAddRequest(peerURLs=["http://10.0.0.9:2380"], isLearner=True)).member.ID
        scene.ask(1, pb.MemberUpdateRequest(ID=added, peerURLs=["http://10.0.0.10:2380"]))
        scene.settle()
        assert all(("", True) in members(scene, number) for number in range(3))
        said = scene.refusal(0, pb.MemberPromoteRequest(ID=added))
        assert said == "etcdserver: can only promote a learner member which is in sync with leader"
        said = scene.refusal(0, pb.MemberAddRequest(peerURLs=["http://10.0.0.11:2380"], isLearner=True))
        assert said == "etcdserver: too many learner members in cluster"
        scene.restart(0)


def test_20340_old_changes_of_the_members_are_no_harm_when_they_are_read_again() -> None:
    with Scene(1, batch_interval=3600.0) as scene:
        scene.hold_back(0)
        grown(scene, 3)
        scene.scheduler.run_for(LINKED_SECONDS)
        gone = scene.server(2).member_id
        scene.members[2].leaving = True
        scene.ask(0, pb.MemberRemoveRequest(ID=gone))
        scene.members[2].retire()
        del scene.members[2]
        for number in (0, 1, 0):
            scene.restart(number, power=True)
            scene.until(scene.healthy)
            members_agree_with_raft(scene.server(number))
        assert members(scene) == [("m1", False), ("m2", False)]


def test_13466_a_member_starts_behind_a_snapshot_and_the_removal_of_another() -> None:
    with Scene(4, snapshot_count=10) as scene:
        scene.scheduler.run_for(LINKED_SECONDS)
        scene.fill(0, 15)
        scene.until(lambda: all(scene.installed(number) for number in range(4)))
        scene.members[3].leaving = True
        scene.ask(0, pb.MemberRemoveRequest(ID=scene.server(3).member_id))
        scene.members.pop().retire()
        scene.settle()
        for number in range(3):
            scene.restart(number)
            scene.until(scene.healthy)
        assert members(scene) == [("m1", False), ("m2", False), ("m3", False)]


def test_7512_a_removed_member_that_starts_again_stops_and_counts_for_nothing() -> None:
    with Scene(4) as scene:
        scene.scheduler.run_for(LINKED_SECONDS)
        out, gone = scene.members[3], scene.server(3).member_id
        out.leaving = True
        out.crash()
        scene.ask(0, pb.MemberRemoveRequest(ID=gone))
        for _ in range(2):
            ends = len(out.deaths)
            out.boot()
            scene.until(lambda ends=ends: len(out.deaths) > ends and not out.alive)
        scene.members.remove(out)
        assert gone not in {member.ID for member in scene.ask(0, pb.MemberListRequest()).members}
        assert scene.refusal(0, pb.MemberPromoteRequest(ID=gone)) == "etcdserver: member not found"


@pytest.mark.parametrize(
    ("size", "down", "said"),
    [
        (1, 0, ""),
        (3, 1, "etcdserver: unhealthy cluster"),
        (4, 1, ""),
        (5, 1, ""),
        (5, 2, "etcdserver: unhealthy cluster"),
    ],
)
def test_21640_a_learner_is_added_if_the_grown_cluster_has_a_quorum(size: int, down: int, said: str) -> None:
    with Scene(size) as scene:
        for machine in scene.members[size - down :]:
            machine.crash()
        scene.scheduler.run_for(7.0)
        scene.until(lambda: scene.leader() in range(size - down))
        assert scene.refusal(0, pb.MemberAddRequest(peerURLs=["http://10.0.0.9:2380"], isLearner=True)) == said


def test_15096_a_learner_that_never_started_is_not_promoted_nor_is_a_stranger() -> None:
    with Scene(3) as scene:
        scene.scheduler.run_for(LINKED_SECONDS)
        added = scene.ask(0, pb.MemberAddRequest(peerURLs=["http://10.0.0.9:2380"], isLearner=True)).member.ID
        scene.fill(0, 20)
        for number in range(3):
            said = scene.refusal(number, pb.MemberPromoteRequest(ID=added))
            assert said == "etcdserver: can only promote a learner member which is in sync with leader"
            assert scene.refusal(number, pb.MemberPromoteRequest(ID=99)) == "etcdserver: member not found"


def test_18347_a_promoted_member_acts_as_the_voter_that_it_is() -> None:
    with Scene(1) as scene:
        number = scene.join(scene.new_machine(), learner=True)
        assert "rpc not supported for learner" in scene.refusal(number, pb.PutRequest(key=b"k"))
        promote(scene, number)
        for _ in range(2):
            assert not scene.server(number).cluster.is_local_learner
            scene.put(number, b"k")
            scene.restart(number)
            scene.until(scene.healthy)
        scene.lead(number)
