"""Renewals through the gRPC proxy: those of many callers are one at the member."""

from __future__ import annotations

import asyncio

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import Client
from quorate.client.methods import KEEP_ALIVE
from quorate.proxy.proxy import GrpcProxy
from quorate.transport.grpc import Channel, ClientStream

from proxy_support import PATIENCE, Backend, turn_auth_on, until  # isort: skip


async def renew(stream: ClientStream, lease_id: int) -> pb.LeaseKeepAliveResponse:
    stream.send(pb.LeaseKeepAliveRequest(ID=lease_id).SerializeToString())
    return await answer(stream)


async def answer(stream: ClientStream) -> pb.LeaseKeepAliveResponse:
    async with asyncio.timeout(PATIENCE):
        message = await stream.receive()
    assert message is not None
    return pb.LeaseKeepAliveResponse.FromString(message)


async def test_the_renewals_of_a_lease_by_many_callers_are_one_at_the_member(
    backend: Backend, channel: Channel, direct: Client
) -> None:
    lease = await direct.grant(60)
    streams = [channel.stream(KEEP_ALIVE) for _ in range(50)]
    for stream in streams:
        stream.send(pb.LeaseKeepAliveRequest(ID=lease.id).SerializeToString())
    for stream in streams:
        found = await answer(stream)
        assert (found.ID, found.TTL in (59, 60)) == (lease.id, True)
        assert found.header.cluster_id
    for stream in streams:
        assert (await renew(stream, lease.id)).TTL == 59
    assert await backend.messages("LeaseKeepAlive") == 1


async def test_a_lease_that_many_share_lives_as_long_as_one_of_them_renews_it(
    backend: Backend, channel: Channel, direct: Client
) -> None:
    lease = await direct.grant(2)
    await direct.put("k", "v", lease=lease.id)
    loop = asyncio.get_running_loop()
    end = loop.time() + 2.5 * lease.ttl
    stream = channel.stream(KEEP_ALIVE)
    while loop.time() < end:
        assert (await renew(stream, lease.id)).TTL >= 1
        await asyncio.sleep(lease.ttl / 3)
    assert (await direct.get("k")).kvs
    stream.cancel()

    async def gone() -> bool:
        return not (await direct.get("k")).kvs

    await until(gone)


async def test_a_lease_that_is_gone_is_answered_with_no_time(channel: Channel, client: Client, direct: Client) -> None:
    stream = channel.stream(KEEP_ALIVE)
    assert (await renew(stream, 12345)).TTL == 0
    lease = await client.grant(60)
    assert (await renew(stream, lease.id)).TTL in (59, 60)
    await client.revoke(lease.id)
    assert (await renew(stream, lease.id)).TTL == 0


async def test_a_caller_that_ends_its_side_is_answered_first_and_then_ends_well(
    channel: Channel, direct: Client
) -> None:
    leases = [await direct.grant(60) for _ in range(10)]
    stream = channel.stream(KEEP_ALIVE)
    for lease in leases:
        stream.send(pb.LeaseKeepAliveRequest(ID=lease.id).SerializeToString())
    stream.half_close()
    assert sorted([(await answer(stream)).ID for _ in leases]) == sorted(lease.id for lease in leases)
    assert await stream.receive() is None


async def test_callers_with_credentials_renew_with_their_own(
    backend: Backend, proxy: GrpcProxy, direct: Client
) -> None:
    lease = await direct.grant(60)
    await turn_auth_on(direct)
    async with Client(f"127.0.0.1:{proxy.port}", user="root", password="r") as root:
        assert await root.grant(60)
        assert (await root.lease_info(lease.id)).ttl > 0
        async with root.session(5) as session:
            await root.put("k", "v", lease=session.lease)
            await asyncio.sleep(2.5)
            assert session.is_valid()
            assert (await root.get("k")).kvs
