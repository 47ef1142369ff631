"""docs/operations/migrate.md, done for real: a live etcd cluster becomes a Quorate cluster, and goes back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.history import Operation
from quorate.testing.process import Command
from quorate.testing.verdict import judge
from quorate.testing.workload import Workload
from quorate.transport.grpc import Status

pytestmark = pytest.mark.real

PAUSE = 0.01
KEYS = 300
OUTSIDER = 99
"""Number of the client that writes before the load begins."""
OFTEN = "--snapshot-count=100"


def test_a_live_cluster_moves_over_member_by_member_and_back(
    real: Command, subject: Command, start_cluster: Callable[..., Cluster], dice: random.Random
) -> None:
    theirs, ours = (*real, OFTEN), (*subject, OFTEN)
    cluster = start_cluster([theirs] * 3)
    workload = Workload(cluster, dice, pause=PAUSE)
    workload.operations += [_put(cluster, number) for number in range(KEYS)]
    workload.start()
    for command in (ours, theirs):
        for old in cluster.running():
            _replace(cluster, workload, old, command)
        assert {cluster.members[number].command for number in cluster.running()} == {command}
    workload.stop()
    found = cluster.ask_any(pb.RangeRequest(key=b"old/", range_end=b"old0", count_only=True))
    assert found.count == KEYS
    problems = judge(cluster, workload, expire=False)
    assert not problems, "\n".join(problems)


def _put(cluster: Cluster, number: int) -> Operation:
    made = Operation(OUTSIDER, number % 3, time.monotonic(), {b"old/%d" % number: b"%d" % number * 100}, effect=True)
    ((key, value),) = made.writes.items()
    made.revision = cluster.ask(made.member, pb.PutRequest(key=key, value=value)).header.revision
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
