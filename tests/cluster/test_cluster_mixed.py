"""Quorate and real etcd in one cluster: each leads, each fails, each brings the other up to date; nobody can tell."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.process import Command
from quorate.testing.verdict import judge
from quorate.testing.workload import Habits, Workload

pytestmark = pytest.mark.real

PAUSE = 0.005
LEADING_PUTS = 100
BEHIND = 6_000
"""Entries that a member misses; real etcd 3.5 keeps 5,000 behind a snapshot."""
BATCH = 100
OFTEN = "--snapshot-count=100"
NO_WATCH_CLIENTS = 0
"""Real etcd up to 3.5.7 tells of progress before the events, and again what it had told before a snapshot."""
WATCHED = b"watched"

Make = Callable[..., Cluster]


@pytest.fixture(params=["2 real + 1", "1 real + 2"])
def commands(request: pytest.FixtureRequest, real: Command, subject: Command) -> list[Command]:
    return [real, real, subject] if request.param.startswith("2") else [real, subject, subject]


def test_each_member_leads_and_dies_and_comes_back_under_load(
    commands: Sequence[Command], start_cluster: Make, etcdctl: Callable[..., str], dice: random.Random
) -> None:
    cluster = start_cluster([(*command, OFTEN) for command in commands])
    workload = Workload(cluster, dice, Habits(pause=PAUSE, watch_clients=NO_WATCH_CLIENTS))
    workload.start()
    for number in range(3):
        _lead(cluster, number, etcdctl)
        _wait_for_answers(workload, LEADING_PUTS)
        cluster.kill(number)
        wait_for(lambda: cluster.find_leader() is not None, 15.0, "no new leader")
        cluster.restart(number)
        cluster.wait_healthy()
    for number in range(3):
        cluster.stop(number)
        cluster.restart(number)
        cluster.wait_healthy()
    workload.stop()
    problems = judge(cluster, workload)
    assert not problems, "\n".join(problems)


def _wait_for_answers(workload: Workload, count: int) -> None:
    want = workload.acknowledged + count
    wait_for(lambda: workload.acknowledged > want, 30.0, "the load stands still")


def _lead(cluster: Cluster, number: int, etcdctl: Callable[..., str]) -> None:
    """Hand the leadership over by stock etcdctl."""
    leader = cluster.leader()
    if leader != number:
        etcdctl(cluster, "move-leader", f"{cluster.member_id(number):x}", members=[leader])
    wait_for(lambda: cluster.find_leader() == number, 15.0, f"member {number} does not lead")


@pytest.mark.parametrize("sender", ["real", "subject"])
def test_a_member_far_behind_is_sent_a_snapshot(
    sender: str, real: Command, subject: Command, start_cluster: Make
) -> None:
    """From either implementation to the other; values, leases, and what clients may still read of the past."""
    lean = () if subject[0].endswith("etcd") else ("--snapshot-catchup-entries=50",)
    ours, theirs = (*subject, OFTEN, *lean), (*real, OFTEN)
    cluster = start_cluster([theirs, theirs, ours] if sender == "real" else [ours, ours, theirs])
    lagging = 2
    cluster.move_leader(0)
    cluster.ask(lagging, pb.PutRequest(key=WATCHED, value=b"before"))
    cluster.kill(lagging)
    lease = cluster.ask(0, pb.LeaseGrantRequest(ID=0x77, TTL=10_000)).ID
    cluster.ask(0, pb.PutRequest(key=b"leased", value=b"x", lease=lease))
    for number in range(0, BEHIND, BATCH):
        _put_many(cluster, number)
    cluster.ask(0, pb.DeleteRangeRequest(key=b"k00000", range_end=b"k00010"))
    cluster.ask(0, pb.CompactionRequest(revision=100))
    cluster.restart(lagging)
    cluster.wait_healthy()
    revision = cluster.wait_level()
    assert len(set(cluster.hashes(revision).values())) == 1, cluster.hashes(revision)
    assert [found.ID for found in cluster.ask(lagging, pb.LeaseLeasesRequest()).leases] == [lease]
    assert "received and saved database snapshot" in cluster.members[lagging].log() or sender == "real"
    assert "sent database snapshot" in cluster.members[0].log() or sender == "subject"
    cluster.kill(lagging)
    cluster.restart(lagging)
    cluster.move_leader(lagging)
    cluster.ask(lagging, pb.PutRequest(key=WATCHED, value=b"after"))
    assert len(set(cluster.hashes(cluster.wait_level()).values())) == 1


def _put_many(cluster: Cluster, first: int) -> None:
    """BATCH puts at once, each an entry of its own."""
    path = "/etcdserverpb.KV/Put"

    async def put() -> None:
        channel = cluster.members[0].channel
        requests = [pb.PutRequest(key=b"k%05d" % number, value=b"v" * 50) for number in range(first, first + BATCH)]
        await asyncio.gather(*(channel.unary(path, r.SerializeToString(), timeout=10.0) for r in requests))

    cluster.background.run(put(), 30.0)


def test_a_member_of_either_kind_is_added_and_removed_by_stock_etcdctl(
    commands: Sequence[Command], real: Command, subject: Command, start_cluster: Make, etcdctl: Callable[..., str]
) -> None:
    cluster = start_cluster(commands)
    for number in range(50):
        cluster.ask(number % 3, pb.PutRequest(key=b"k%d" % number, value=b"v"))
    for leader in (0, 2):
        cluster.move_leader(leader)
        for command in (real, subject):
            new = cluster.add(command, learner=True)
            wait_for(partial(_has_applied, cluster, new, 50), 15.0, "the learner does not catch up")
            etcdctl(cluster, "member", "promote", f"{cluster.member_id(new):x}", members=[0, 1, 2])
            cluster.wait_healthy()
            cluster.ask(new, pb.PutRequest(key=b"from", value=b"new"))
            assert len(set(cluster.hashes(cluster.wait_level()).values())) == 1
            etcdctl(cluster, "member", "remove", f"{cluster.member_id(new):x}", members=[0, 1, 2])
            cluster.members[new].removed = True
            cluster.members[new].wait_exit(15.0)
            cluster.wait_healthy()


def _has_applied(cluster: Cluster, number: int, index: int) -> bool:
    return bool(cluster.status(number).raftAppliedIndex > index)


def test_transactions_leases_and_watches_are_the_same_through_every_member(
    commands: Sequence[Command], start_cluster: Make, etcdctl: Callable[..., str]
) -> None:
    cluster = start_cluster(commands)
    for leader in range(3):
        cluster.move_leader(leader)
        for member in range(3):
            key = b"%d-%d" % (leader, member)
            lease = cluster.ask(member, pb.LeaseGrantRequest(TTL=600)).ID
            create = pb.TxnRequest(
                compare=[pb.Compare(key=key, target=pb.Compare.VERSION, result=pb.Compare.EQUAL, version=0)],
                success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=b"x", lease=lease))],
                failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))],
            )
            assert cluster.ask(member, create).succeeded
            for other in range(3):
                assert not cluster.ask(other, create).succeeded
                left = cluster.ask(other, pb.LeaseTimeToLiveRequest(ID=lease, keys=True))
                assert (list(left.keys), left.grantedTTL) == ([key], 600) and 590 < left.TTL <= 600
                hexed = f"{lease:016x}"
                kept = etcdctl(cluster, "lease", "keep-alive", "--once", hexed, members=[other])
                assert kept == f"lease {hexed} keepalived with TTL(600)\n"
            etcdctl(cluster, "lease", "revoke", f"{lease:x}", members=[(member + 1) % 3])
            for other in range(3):
                assert not cluster.ask(other, pb.RangeRequest(key=key)).kvs
    assert len(set(cluster.hashes(cluster.wait_level()).values())) == 1


def test_a_new_cluster_of_both_agrees_on_a_version_and_on_names(
    commands: Sequence[Command], start_cluster: Make
) -> None:
    cluster = start_cluster(commands)
    lists = []
    for number in range(3):
        members = cluster.ask(number, pb.MemberListRequest(linearizable=True)).members
        lists.append([(m.ID, m.name, list(m.peerURLs), list(m.clientURLs), m.isLearner) for m in members])
    assert lists[0] == lists[1] == lists[2]
    assert sorted(name for _, name, *_ in lists[0]) == ["m0", "m1", "m2"]
    wait_for(lambda: {_version(cluster, n) for n in range(3)} == {"3.5.0"}, 15.0, "no version is agreed on")


def _version(cluster: Cluster, number: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", cluster.members[number].client_port, timeout=5.0)
    connection.request("GET", "/version")
    return str(json.loads(connection.getresponse().read())["etcdcluster"])
