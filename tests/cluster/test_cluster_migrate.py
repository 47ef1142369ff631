"""docs/operations/migrate.md, done for real: a live etcd cluster becomes a Quorate cluster, and goes back."""

from __future__ import annotations

import json
import random
import time
import urllib.request
from collections.abc import Callable

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.history import Operation
from quorate.testing.process import Command
from quorate.testing.verdict import judge
from quorate.testing.workload import Habits, Workload
from quorate.transport.grpc import Status

pytestmark = pytest.mark.real

PAUSE = 0.01
KEYS = 300
OUTSIDER = 99
"""Number of the client that writes before the load begins."""
CURRENT = "3.7.0"
"""What the cluster becomes when no older member holds it back."""
MONITOR_SECONDS = 5.0
"""Longer than a leader waits before it looks again whether the version may be raised."""
OFTEN = "--snapshot-count=100"
NO_WATCH_CLIENTS = 0
"""Real etcd up to 3.5.7 tells of progress before the events, and again what it had told before a snapshot."""


def test_a_live_cluster_moves_over_member_by_member(
    real: Command, subject: Command, start_cluster: Callable[..., Cluster], dice: random.Random
) -> None:
    theirs, ours = (*real, OFTEN), (*subject, OFTEN)
    cluster = start_cluster([theirs] * 3)
    workload = _begin(cluster, dice)
    for old in cluster.running():
        _replace(cluster, workload, old, ours)
    assert {cluster.members[number].command for number in cluster.running()} == {ours}
    _end(cluster, workload)
    if subject != real:
        wait_for(
            lambda: _versions(cluster) == {CURRENT}, 15.0, "the version is not raised when the last old one is gone"
        )


def test_a_cluster_without_any_etcd_goes_back_when_its_version_was_held(
    real: Command, subject: Command, start_cluster: Callable[..., Cluster], dice: random.Random
) -> None:
    held = () if subject == real else ("--hold-version=3.5",)
    theirs, ours = (*real, OFTEN), (*subject, OFTEN, *held)
    cluster = start_cluster([theirs, ours, ours])
    workload = _begin(cluster, dice)
    _replace(cluster, workload, 0, ours)
    time.sleep(MONITOR_SECONDS)  # what must not happen has no condition to wait for
    assert _versions(cluster) == {"3.5.0"}
    for old in cluster.running():
        _replace(cluster, workload, old, theirs)
    assert {cluster.members[number].command for number in cluster.running()} == {theirs}
    _end(cluster, workload)


def _begin(cluster: Cluster, dice: random.Random) -> Workload:
    """Some keys that lie there from the start, and clients at work."""
    workload = Workload(cluster, dice, Habits(pause=PAUSE, watch_clients=NO_WATCH_CLIENTS))
    workload.operations += [_put(cluster, number) for number in range(KEYS)]
    workload.start()
    return workload


def _end(cluster: Cluster, workload: Workload) -> None:
    workload.stop()
    found = cluster.ask_any(pb.RangeRequest(key=b"old/", range_end=b"old0", count_only=True))
    assert found.count == KEYS
    problems = judge(cluster, workload, expire=False)
    assert not problems, "\n".join(problems)


def _versions(cluster: Cluster) -> set[str]:
    """The version of the cluster, as each member tells it."""
    found = set()
    for number in cluster.running():
        with urllib.request.urlopen(f"{cluster.members[number].client_url}/version", timeout=5.0) as answer:
            found.add(str(json.load(answer)["etcdcluster"]))
    return found


def _put(cluster: Cluster, number: int) -> Operation:
    request = pb.PutRequest(key=b"old/%d" % number, value=b"%d" % number * 100)
    made = Operation(OUTSIDER, number % 3, time.monotonic(), request)
    made.answer = cluster.ask(made.member, request)
    made.revision = made.answer.header.revision
    made.returned = time.monotonic()
    return made


def _replace(cluster: Cluster, workload: Workload, old: int, command: Command) -> None:
    """A learner is added, catches up, is promoted; then the old member goes."""
    new = cluster.add(command, learner=True)
    workload.watch(new)
    member_id = cluster.member_id(new)

    def promoted() -> bool:
        try:
            cluster.ask(cluster.leader(), pb.MemberPromoteRequest(ID=member_id))
        except Status as status:
            assert "in sync with leader" in status.message, status
            return False
        return True

    wait_for(promoted, 30.0, "the new member does not catch up")
    cluster.wait_healthy()
    cluster.remove(old)
    cluster.members[old].wait_exit(20.0)
    cluster.wait_healthy()
