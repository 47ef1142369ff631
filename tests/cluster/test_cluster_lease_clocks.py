"""Leases in a cluster: any member answers, the leader's clock counts, and no stalled clock ends a lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as rpc
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.process import Command
from quorate.transport.grpc import Status

Start = Callable[..., Cluster]

KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
WATCH = "/etcdserverpb.Watch/Watch"
SECONDS = 15.0


def grant(cluster: Cluster, number: int, ttl: int) -> int:
    return int(cluster.ask(number, rpc.LeaseGrantRequest(TTL=ttl)).ID)


def keep_alive(cluster: Cluster, number: int, lease_id: int) -> int:
    """Renew once; the TTL told, 0 for a lease that is gone. Raises Status."""

    async def renew() -> int:
        stream = cluster.members[number].channel.stream(KEEP_ALIVE, timeout=SECONDS)
        try:
            stream.send(rpc.LeaseKeepAliveRequest(ID=lease_id).SerializeToString())
            answer = await stream.receive()
            assert answer is not None
            return int(rpc.LeaseKeepAliveResponse.FromString(answer).TTL)
        finally:
            stream.cancel()

    return cluster.background.run(renew(), 2 * SECONDS)


def renewed(cluster: Cluster, lease_id: int) -> int:
    """Renew through every running member, whatever that takes in the middle of an election."""

    def attempt(number: int) -> tuple[int] | None:
        try:
            return (keep_alive(cluster, number, lease_id),)
        except Status as status:
            assert status.code in (Code.UNAVAILABLE, Code.UNKNOWN), status
            return None

    return min(
        wait_for(lambda number=number: attempt(number), SECONDS, "no renewal")[0]  # type: ignore[misc]
        for number in cluster.running()
    )


def time_left(cluster: Cluster, number: int, lease_id: int) -> int:
    return int(cluster.ask(number, rpc.LeaseTimeToLiveRequest(ID=lease_id, keys=True)).TTL)


def is_gone(cluster: Cluster, lease_id: int) -> bool:
    leases = [cluster.ask(number, rpc.LeaseLeasesRequest()).leases for number in cluster.running()]
    return all(lease_id not in [lease.ID for lease in found] for found in leases)


def hold(cluster: Cluster, lease_id: int, seconds: float) -> None:
    """Renew twice a second through all running members."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert renewed(cluster, lease_id) > 0
        time.sleep(0.5)


@pytest.mark.parametrize("real_members", [0, 1, 2])
def test_every_member_renews_tells_the_time_left_and_lets_go(
    start_cluster: Start, subject: Command, real: Command, real_members: int
) -> None:
    cluster = start_cluster([subject] * (3 - real_members) + [real] * real_members)
    for number in cluster.running():
        cluster.move_leader(number)
        lease_id = grant(cluster, number, 60)
        cluster.ask_any(rpc.PutRequest(key=b"k%d" % number, lease=lease_id))
        for asked in cluster.running():
            cluster.ask(asked, rpc.RangeRequest(key=b"k"))
            assert keep_alive(cluster, asked, lease_id) == 60
            found = cluster.ask(asked, rpc.LeaseTimeToLiveRequest(ID=lease_id, keys=True))
            assert found.grantedTTL == 60 and 58 <= found.TTL <= 60 and list(found.keys) == [b"k%d" % number]
            assert keep_alive(cluster, asked, 12345) == 0
            assert time_left(cluster, asked, 12345) == -1
        short = grant(cluster, number, 1)
        cluster.ask_any(rpc.PutRequest(key=b"short", lease=short))
        wait_for(lambda lease_id=short: is_gone(cluster, lease_id), SECONDS, "the lease does not end")  # type: ignore[misc]
        assert cluster.ask(number, rpc.RangeRequest(key=b"short")).count == 0
        cluster.ask(number, rpc.LeaseRevokeRequest(ID=lease_id))
    cluster.wait_level()
    assert len(set(cluster.hashes().values())) == 1


def test_a_lease_outlives_its_leader_and_ends_when_nobody_renews_it(start_cluster: Start, subject: Command) -> None:
    cluster = start_cluster([subject] * 3)
    lease_id = grant(cluster, 0, 3)
    cluster.ask_any(rpc.PutRequest(key=b"k", lease=lease_id))
    leader = cluster.leader()
    cluster.kill(leader)
    hold(cluster, lease_id, 4.0)
    cluster.restart(leader)
    assert cluster.ask(cluster.leader(), rpc.RangeRequest(key=b"k")).count == 1
    assert renewed(cluster, lease_id) == 3
    let_go = time.monotonic()
    wait_for(lambda: is_gone(cluster, lease_id), SECONDS, "the lease does not end")
    assert time.monotonic() - let_go > 2.0


def test_a_leader_that_was_stalled_ends_no_lease_that_others_renewed(start_cluster: Start, subject: Command) -> None:
    cluster = start_cluster([subject] * 3)
    lease_id = grant(cluster, 0, 2)
    leader = cluster.leader()
    assert keep_alive(cluster, cluster.followers()[0], lease_id) == 2
    cluster.members[leader].pause()
    wait_for(lambda: cluster.find_leader() not in (None, leader), SECONDS, "no other leader")
    hold(cluster, lease_id, 4.0)
    cluster.members[leader].resume()
    hold(cluster, lease_id, 4.0)
    assert not is_gone(cluster, lease_id)
    assert cluster.leader() != leader


def test_without_a_leader_calls_that_need_one_are_told(start_cluster: Start, subject: Command) -> None:
    cluster = start_cluster([subject] * 3)
    lease_id = grant(cluster, 0, 60)
    alone = cluster.followers()[0]

    async def watch() -> Status | None:
        """Why a watch that requires a leader ends."""
        stream = cluster.members[alone].channel.stream(WATCH, metadata=[("hasleader", "true")])
        stream.send(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"k")).SerializeToString())
        try:
            while await stream.receive() is not None:
                opened.append(True)
        except Status as status:
            return status
        return None

    opened: list[bool] = []
    future = asyncio.run_coroutine_threadsafe(watch(), cluster.background.loop)
    wait_for(lambda: bool(opened), SECONDS, "the watch does not open")
    for number in cluster.running():
        if number != alone:
            cluster.kill(number)
    ended = future.result(SECONDS)
    assert ended is not None and (ended.code, ended.message) == (Code.UNAVAILABLE, "etcdserver: no leader")
    with pytest.raises(Status) as refused:
        keep_alive(cluster, alone, lease_id)
    assert (refused.value.code, refused.value.message) == (Code.UNAVAILABLE, "etcdserver: no leader")
