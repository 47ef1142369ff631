"""Members that cannot serve everything, one of three that is left alone and a learner: what they still answer and how
they refuse the rest is real etcd's, code and text."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2e_rpc import Answer, Client, wait_until
from google.protobuf.message import Message

from quorate.api.pb import election_pb2, health_pb2, lock_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster
from quorate.testing.process import Command

pytestmark = pytest.mark.real

KEY = b"k"
LEASE = 7
FLAGS = ("--election-timeout=500", "--unsafe-no-fsync")
LINK_SECONDS = 6.0
"""After this time every member counts the others as connected, and strict checks let changes pass to the log."""
ELECTION_SECONDS = 2.0
"""After this time who has lost the leader knows it, and who led has stepped down."""
CLIENT_SECONDS = 15.0
LEADER = (("hasleader", "true"),)

UNKNOWN, DEADLINE_EXCEEDED, FAILED_PRECONDITION, UNAVAILABLE = 2, 4, 9, 14
NOT_SUPPORTED = "etcdserver: rpc not supported for learner"
DEADLINE = "context deadline exceeded"


def put() -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=KEY))


def get(serializable: bool) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=KEY, serializable=serializable))


LEADER_KEY = election_pb2.LeaderKey(key=KEY, lease=LEASE)

CALLS: list[tuple[str, Message]] = [
    ("Range", pb.RangeRequest(key=KEY)),
    ("Range", pb.RangeRequest(key=KEY, serializable=True)),
    ("Range", pb.RangeRequest(key=KEY, revision=99, serializable=True)),
    ("Range", pb.RangeRequest()),
    ("Put", pb.PutRequest(key=KEY)),
    ("Put", pb.PutRequest()),
    ("DeleteRange", pb.DeleteRangeRequest(key=KEY)),
    ("Txn", pb.TxnRequest(success=[put()])),
    ("Txn", pb.TxnRequest(success=[get(False)])),
    ("Txn", pb.TxnRequest(success=[get(True)])),
    ("Txn", pb.TxnRequest()),
    ("Compact", pb.CompactionRequest(revision=1)),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=9, TTL=100)),
    ("LeaseRevoke", pb.LeaseRevokeRequest(ID=LEASE)),
    ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=LEASE)),
    ("MemberList", pb.MemberListRequest()),
    ("MemberList", pb.MemberListRequest(linearizable=True)),
    ("MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"])),
    ("MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True)),
    ("MemberPromote", pb.MemberPromoteRequest(ID=1)),
    ("Status", pb.StatusRequest()),
    ("Hash", pb.HashRequest()),
    ("HashKV", pb.HashKVRequest()),
    ("Alarm", pb.AlarmRequest()),
    ("Defragment", pb.DefragmentRequest()),
    ("MoveLeader", pb.MoveLeaderRequest(targetID=1)),
    ("Downgrade", pb.DowngradeRequest(version="x")),
    ("Lock", lock_pb2.LockRequest(name=b"a", lease=LEASE)),
    ("Unlock", lock_pb2.UnlockRequest(key=b"a")),
    ("Campaign", election_pb2.CampaignRequest(name=b"a", lease=LEASE)),
    ("Proclaim", election_pb2.ProclaimRequest(leader=LEADER_KEY)),
    ("Resign", election_pb2.ResignRequest(leader=LEADER_KEY)),
    ("Leader", election_pb2.LeaderRequest(name=b"a")),
    ("Check", health_pb2.HealthCheckRequest()),
]


def answers_of_the_last(cluster: Cluster) -> tuple[list[Answer], list[Answer]]:
    """To all calls at once, and to those of who wants a leader, of a follower whose leader and fellow are gone."""
    cluster.move_leader(1)
    with Client(cluster.members[0].endpoint) as client:
        assert client.put(KEY, b"v").ok
        assert client.call("LeaseGrant", pb.LeaseGrantRequest(ID=LEASE, TTL=1000)).ok
        time.sleep(LINK_SECONDS)
        cluster.kill(1)
        cluster.kill(2)
        time.sleep(ELECTION_SECONDS)
        with ThreadPoolExecutor(len(CALLS)) as pool:
            asked = [pool.submit(client.call, *call, timeout=CLIENT_SECONDS) for call in CALLS]
            wanting = [client.call(*call, metadata=LEADER) for call in CALLS]
            return [call.result() for call in asked], wanting


def test_a_member_without_quorum_answers_and_refuses_as_real_etcd_does(
    start_group: Callable[..., Cluster], real_command: Command
) -> None:
    groups = [start_group(real_command, size=3, flags=FLAGS), start_group(size=3, flags=FLAGS)]
    with ThreadPoolExecutor(2) as pool:
        real, subject = pool.map(answers_of_the_last, groups)
    found = []
    for number, (method, request) in enumerate(CALLS):
        for left, right in ((real[0][number], subject[0][number]), (real[1][number], subject[1][number])):
            older = (left.code, left.text) == (UNKNOWN, DEADLINE)
            if (left.code, left.text) != (right.code, right.text) and not (
                older and (right.code, right.text) == (DEADLINE_EXCEEDED, DEADLINE)
            ):
                found.append(f"{method} {{ {' '.join(str(request).split())} }}: {left} and {right}")
    assert not found, "\n".join(found)
    refused = [answer for answer in subject[1] if not answer.ok]
    assert len(refused) == len(CALLS), "nobody who wants a leader is served without one"


def test_a_learner_answers_and_refuses_as_real_etcd_does(
    start_group: Callable[..., Cluster], real_command: Command, subject_command: Command
) -> None:
    answers = []
    for command in (real_command, subject_command):
        group = start_group(command, flags=FLAGS)
        learner = group.members[group.add(command, learner=True)]
        with Client(group.members[0].endpoint) as leader, Client(learner.endpoint) as client:
            revision = leader.put(KEY, b"v").message.header.revision
            assert wait_until(lambda: client.get(KEY, serializable=True).message.header.revision >= revision)  # noqa: B023
            told = [client.call(*call) for call in CALLS]
            snapshot = client.snapshot()
            with client.watch() as watch, client.keep_alive() as keep:
                watch.send(pb.WatchRequest(create_request={"key": KEY}))
                keep.send(pb.LeaseKeepAliveRequest(ID=LEASE))
                ends = [stream.wait_end() for stream in (watch, keep)]
            assert None not in ends
            answers.append([*told, Answer(None, snapshot.code, snapshot.text), *ends])
    real, subject = answers
    found = []
    for left, right in zip(real, subject, strict=True):
        refused = left.text == NOT_SUPPORTED and left.code == UNAVAILABLE  # by 3.5; newer ones have another code
        if (FAILED_PRECONDITION if refused else left.code, left.text) != (right.code, right.text):
            found.append(f"{left} and {right}")
    assert not found, "\n".join(found)
    assert sum(answer.ok for answer in subject) == 3, "Status, a serializable Range and Snapshot"
