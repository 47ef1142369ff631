"""Members come and go by stock etcdctl while clients write."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.process import Command, free_port
from quorate.testing.verdict import judge
from quorate.testing.workload import Habits, Workload
from quorate.transport.grpc import Status

PAUSE = 0.01


@pytest.fixture
def cluster(subject: Command, start_cluster: Callable[..., Cluster]) -> Cluster:
    return start_cluster([subject] * 3)


def test_members_join_and_leave_under_load(
    cluster: Cluster, subject: Command, etcdctl: Callable[..., str], dice: random.Random
) -> None:
    workload = Workload(cluster, dice, Habits(pause=PAUSE))
    workload.start()
    new = cluster.add(subject)
    workload.watch(new)
    cluster.wait_healthy()
    assert f", m{new}, " in etcdctl(cluster, "member", "list")
    leader = cluster.leader()
    cluster.remove(leader)
    cluster.wait_healthy()
    assert wait_for(lambda: not cluster.members[leader].alive(), 15.0, "the removed member still runs")
    assert len(json.loads(etcdctl(cluster, "member", "list", "-w", "json"))["members"]) == 3
    workload.stop()
    problems = judge(cluster, workload, expire=False)
    assert not problems, "\n".join(problems)


def test_a_removed_member_stays_out(cluster: Cluster) -> None:
    gone = cluster.followers()[0]
    cluster.remove(gone)
    wait_for(lambda: not cluster.members[gone].alive(), 15.0, "the removed member still runs")
    cluster.spawn(gone)
    wait_for(lambda: not cluster.members[gone].alive(), 15.0, "the removed member runs again")
    cluster.wait_healthy()


def test_a_learner_catches_up_and_is_promoted(cluster: Cluster, subject: Command, etcdctl: Callable[..., str]) -> None:
    for number in range(200):
        cluster.ask(0, pb.PutRequest(key=b"k%d" % number, value=b"v" * 1000))
    new = cluster.add(subject, learner=True)
    assert cluster.status(new).isLearner
    assert ", true\n" in etcdctl(cluster, "member", "list", members=[0])
    old = pb.RangeRequest(key=b"k199", serializable=True)
    wait_for(lambda: cluster.ask(new, old).kvs, 15.0, "the learner does not catch up")
    with pytest.raises(Status, match="rpc not supported for learner"):
        cluster.ask(new, pb.PutRequest(key=b"a", value=b"b"))
    etcdctl(cluster, "member", "promote", f"{cluster.member_id(new):x}", members=[0, 1, 2])
    cluster.wait_healthy()
    assert not cluster.status(new).isLearner
    cluster.move_leader(new)
    cluster.ask(new, pb.PutRequest(key=b"a", value=b"b"))
    assert len(set(cluster.hashes(cluster.wait_level()).values())) == 1


def test_a_member_that_lost_its_disk_is_replaced(cluster: Cluster, subject: Command) -> None:
    cluster.ask(0, pb.PutRequest(key=b"a", value=b"1"))
    cluster.kill(2)
    cluster.remove(2)
    cluster.ask_any(pb.PutRequest(key=b"b", value=b"2"))
    new = cluster.add(subject)
    cluster.wait_healthy()
    assert cluster.ask(new, pb.RangeRequest(key=b"b")).kvs[0].value == b"2"
    assert len(set(cluster.hashes(cluster.wait_level()).values())) == 1


def test_a_member_moves_to_another_peer_address(cluster: Cluster) -> None:
    moved = cluster.followers()[0]
    member = cluster.members[moved]
    member_id = cluster.member_id(moved)
    member.advertised_port = member.peer_port = free_port()
    cluster.ask_any(pb.MemberUpdateRequest(ID=member_id, peerURLs=[member.advertised_url]))
    cluster.stop(moved)
    member.flags.append(f"--initial-advertise-peer-urls={member.advertised_url}")
    cluster.restart(moved)
    cluster.wait_healthy()
    cluster.move_leader(moved)
    cluster.ask(moved, pb.PutRequest(key=b"a", value=b"1"))
    cluster.wait_level()


def test_a_change_that_would_cost_the_quorum_is_refused(cluster: Cluster) -> None:
    down = cluster.followers()[0]
    up = [number for number in cluster.running() if number != down]
    ids = {number: cluster.member_id(number) for number in range(3)}
    cluster.kill(down)
    with pytest.raises(Status, match=r"re-configuration failed due to not enough started members|unhealthy cluster"):
        for _ in range(100):  # the link to a dead member counts as up for a while
            cluster.ask(up[0], pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"]), 2.0)
    with pytest.raises(Status, match=r"re-configuration failed due to not enough started members|unhealthy cluster"):
        cluster.ask(up[0], pb.MemberRemoveRequest(ID=ids[up[1]]), 2.0)
    cluster.restart(down)
    cluster.wait_healthy()
