"""The lead moves and promotions are judged the same whichever member is asked; versions rise and fall together."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable

import pytest

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.process import QUORATE, Command, free_port
from quorate.transport.grpc import Status

ELECTION = 0.5
"""Seconds; what the fixture's clusters are started with."""

Make = Callable[..., Cluster]


@pytest.fixture
def cluster(subject: Command, start_cluster: Make) -> Cluster:
    return start_cluster([subject] * 3)


def refused(cluster: Cluster, number: int, request: object, error: type[errors.EtcdError]) -> None:
    with pytest.raises(Status) as caught:
        cluster.ask(number, request)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.message) == (error.code, error.text), number


def test_every_member_gives_the_verdict_of_the_leader_on_a_promotion(cluster: Cluster, subject: Command) -> None:
    everyone = cluster.running()
    for number in everyone:
        refused(cluster, number, pb.MemberPromoteRequest(ID=77), errors.MemberNotFound)
        voter = pb.MemberPromoteRequest(ID=cluster.member_id(0))
        refused(cluster, number, voter, errors.MemberNotLearner)
    url = f"http://127.0.0.1:{free_port()}"
    silent = cluster.ask_any(pb.MemberAddRequest(peerURLs=[url], isLearner=True)).member.ID
    for number in everyone:
        refused(cluster, number, pb.MemberPromoteRequest(ID=silent), errors.LearnerNotReady)
    cluster.ask_any(pb.MemberRemoveRequest(ID=silent))
    new = cluster.add(subject, learner=True)
    follower = next(number for number in cluster.followers() if number != new)
    promote = pb.MemberPromoteRequest(ID=cluster.member_id(new))
    wait_for(lambda: not _refuses(cluster, follower, promote), 15.0, "the learner is not promoted")
    cluster.wait_healthy()
    assert not any(member.isLearner for member in cluster.ask(follower, pb.MemberListRequest()).members)


def _refuses(cluster: Cluster, number: int, request: pb.MemberPromoteRequest) -> bool:
    """True while the learner is not in step."""
    try:
        cluster.ask(number, request)
    except Status as status:
        assert status.message == errors.LearnerNotReady.text
        return True
    return False


def test_only_the_leader_moves_the_lead_and_only_to_a_voter(cluster: Cluster) -> None:
    leader, (one, other) = cluster.leader(), cluster.followers()
    to_other = pb.MoveLeaderRequest(targetID=cluster.member_id(other))
    refused(cluster, one, to_other, errors.NotLeader)
    refused(cluster, leader, pb.MoveLeaderRequest(targetID=77), errors.BadLeaderTransferee)
    learner = cluster.ask_any(pb.MemberAddRequest(peerURLs=[f"http://127.0.0.1:{free_port()}"], isLearner=True))
    refused(cluster, leader, pb.MoveLeaderRequest(targetID=learner.member.ID), errors.BadLeaderTransferee)
    cluster.ask(leader, to_other)
    assert cluster.status(leader).leader == cluster.member_id(other)
    cluster.ask(leader, pb.PutRequest(key=b"k", value=b"v"))
    assert cluster.leader() == other


def test_a_leader_that_stops_leaves_the_lead_to_another(cluster: Cluster) -> None:
    """No election timeout has to pass: the others never are without a leader for that long."""
    leader, follower = cluster.leader(), cluster.followers()[0]
    term = cluster.status(leader).raftTerm
    cluster.stop(leader)
    assert "leadership transfer finished" in cluster.members[leader].log()
    found = cluster.status(follower)
    assert found.leader != 0 and found.raftTerm == term + 1
    cluster.restart(leader)
    cluster.wait_healthy()


def test_a_cluster_that_begins_without_all_members_raises_its_version_when_they_come(
    subject: Command, start_cluster: Make
) -> None:
    cluster = start_cluster([subject] * 3, run=False)
    for number in (0, 1):
        cluster.spawn(number)
    for number in (0, 1):
        cluster.members[number].wait_ready()
    wait_for(lambda: version(cluster, 0)["etcdcluster"] == "3.0.0", 10.0, "no version is decided")
    cluster.restart(2)
    own = version(cluster, 2)["etcdserver"].rpartition(".")[0] + ".0"
    for number in range(3):
        wait_for(lambda: version(cluster, number)["etcdcluster"] == own, 10.0, "the version does not rise")  # noqa: B023
    if subject == QUORATE:
        for number in range(3):
            wait_for(lambda: version(cluster, number)["storage"] == own, 10.0, "the storage does not follow")  # noqa: B023


def version(cluster: Cluster, number: int) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", cluster.members[number].client_port, timeout=5.0)
    try:
        connection.request("GET", "/version")
        found: dict[str, str] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def test_a_downgrade_lowers_the_version_everywhere_and_its_end_raises_it(cluster: Cluster, subject: Command) -> None:
    if subject != QUORATE:
        pytest.skip("a downgrade below 3.5 is not what this is about")
    follower = cluster.followers()[0]
    _downgrade(cluster, follower, pb.DowngradeRequest.ENABLE, "3.6")
    for number in range(3):
        wait_for(
            lambda: (
                (version(cluster, number)["etcdcluster"], version(cluster, number)["storage"])  # noqa: B023
                == ("3.6.0", "3.6.0")
            ),
            10.0,
            "the versions do not fall",
        )
        assert cluster.status(number).downgradeInfo.enabled
    cluster.kill(cluster.leader())
    cluster.wait_healthy()
    _downgrade(cluster, cluster.leader(), pb.DowngradeRequest.CANCEL, "")
    down = next(number for number in range(3) if number not in cluster.running())
    cluster.restart(down)
    for number in range(3):
        wait_for(lambda: version(cluster, number)["etcdcluster"] == "3.7.0", 15.0, "the version does not rise")  # noqa: B023


def _downgrade(cluster: Cluster, number: int, action: pb.DowngradeRequest.DowngradeAction, target: str) -> None:
    request = pb.DowngradeRequest(action=action, version=target).SerializeToString()
    channel = cluster.members[number].channel
    cluster.background.run(channel.unary("/etcdserverpb.Maintenance/Downgrade", request, timeout=5.0), 10.0)
