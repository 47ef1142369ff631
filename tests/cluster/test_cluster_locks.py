"""Locks in a cluster: one queue whichever member is asked, members that die, a lead that moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from quorate.api.pb import lock_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.process import Command
from quorate.transport.grpc import Channel, Status

PATIENCE = 20.0


def places(cluster: Cluster) -> list[bytes]:
    """Keys of the queue, first come first."""
    request = pb.RangeRequest(key=b"l/", range_end=b"l0", sort_target=pb.RangeRequest.CREATE)
    return [kv.key for kv in cluster.ask_any(request).kvs]


async def lock(channel: Channel, lease: int) -> bytes:
    request = lock_pb2.LockRequest(name=b"l", lease=lease)
    body = await channel.unary("/v3lockpb.Lock/Lock", request.SerializeToString(), timeout=PATIENCE)
    return lock_pb2.LockResponse.FromString(body).key


async def unlock(channel: Channel, key: bytes) -> None:
    request = lock_pb2.UnlockRequest(key=key)
    await channel.unary("/v3lockpb.Lock/Unlock", request.SerializeToString(), timeout=PATIENCE)


async def test_a_lock_is_handed_on_in_order_whatever_becomes_of_members(
    subject: Command, start_cluster: Callable[..., Cluster]
) -> None:
    cluster = start_cluster([subject] * 3)
    for lease in (1, 2, 3, 4):
        cluster.ask_any(pb.LeaseGrantRequest(ID=lease, TTL=600))
    leader = cluster.leader()
    one, other = cluster.followers()
    async with AsyncExitStack() as closing:
        at = {}
        for number in cluster.running():
            at[number] = Channel("127.0.0.1", cluster.members[number].client_port)
            closing.push_async_callback(at[number].close)
        assert await lock(at[one], 1) == b"l/1"
        tasks = {}
        for lease, number in ((2, leader), (3, other), (4, one)):
            tasks[lease] = asyncio.create_task(lock(at[number], lease))
            await asyncio.to_thread(wait_for, lambda lease=lease: len(places(cluster)) == lease, PATIENCE, "no place")
        await asyncio.to_thread(cluster.kill, other)
        with pytest.raises(Status):
            await tasks[3]
        await unlock(at[leader], b"l/1")
        assert await tasks[2] == b"l/2"
        assert places(cluster) == [b"l/2", b"l/3", b"l/4"], "a caller keeps its place when its member dies"
        await unlock(at[one], b"l/2")
        assert await lock(at[leader], 3) == b"l/3"
        await asyncio.to_thread(cluster.move_leader, one)
        assert not tasks[4].done()
        await unlock(at[leader], b"l/3")
        assert await tasks[4] == b"l/4"
    assert places(cluster) == [b"l/4"]
