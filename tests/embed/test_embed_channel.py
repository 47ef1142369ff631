"""The channel to a member without a socket: every kind of call, and what happens when the member goes."""

import asyncio

import pytest
from embed_support import get, put

from quorate import embed
from quorate.api.pb import rpc_pb2 as rpc
from quorate.transport.grpc import Channel, ClientStream, Status


async def watch(channel: Channel, key: bytes) -> ClientStream:
    stream = channel.stream("/etcdserverpb.Watch/Watch")
    stream.send(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key)).SerializeToString())
    assert rpc.WatchResponse.FromString(await stream.receive() or b"").created
    return stream


async def test_watches_leases_and_large_values_work_without_a_socket() -> None:
    async with embed.Etcd(listen=False, in_memory=True) as etcd:
        channel = etcd.channel()
        stream = await watch(channel, b"k")
        big = b"x" * 1_400_000
        await put(channel, b"k", big)
        event = rpc.WatchResponse.FromString(await stream.receive() or b"").events[0]
        assert event.kv.value == big == await get(channel, b"k")
        grant = rpc.LeaseGrantRequest(TTL=60, ID=7).SerializeToString()
        await channel.unary("/etcdserverpb.Lease/LeaseGrant", grant, timeout=5)
        alive = channel.stream("/etcdserverpb.Lease/LeaseKeepAlive")
        for _ in range(3):
            alive.send(rpc.LeaseKeepAliveRequest(ID=7).SerializeToString())
            assert rpc.LeaseKeepAliveResponse.FromString(await alive.receive() or b"").TTL == 60
        await channel.close()


async def test_many_calls_at_once_are_all_answered() -> None:
    async with embed.Etcd(listen=False, in_memory=True) as etcd:
        channels = [etcd.channel() for _ in range(3)]
        revisions = await asyncio.gather(*(put(channels[n % 3], b"k%d" % n, b"v" * 1000) for n in range(600)))
        assert sorted(revisions) == list(range(2, 602))
        for channel in channels:
            await channel.close()


async def test_slow_calls_are_logged_with_an_address_that_says_where_they_came_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with embed.Etcd(listen=False, in_memory=True, warning_unary_request_duration=1e-9) as etcd:
        channel = etcd.channel()
        await put(channel, b"k", b"v")
        await channel.close()
    slow = [record for record in caplog.records if record.getMessage() == "request stats"]
    assert slow[0].fields["remote"] == "in-process"  # type: ignore[attr-defined]


async def test_a_channel_waits_for_no_member_and_finds_it_again() -> None:
    etcd = embed.Etcd(listen=False, in_memory=True)
    channel = etcd.channel()
    with pytest.raises(Status, match="connection refused") as refused:
        await put(channel, b"k", b"v")
    assert refused.value.code == 14
    async with etcd:
        await put(channel, b"k", b"v")
    with pytest.raises(Status):
        await put(channel, b"k", b"v")
    async with etcd:
        await put(channel, b"k", b"v")
    await channel.close()


@pytest.mark.parametrize("end", ["stop", "abort"])
async def test_a_watcher_hears_that_its_member_goes_and_does_not_hold_it_up(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.embed.member.DRAIN_GRACE", 60.0)
    async with embed.Etcd(listen=False, in_memory=True) as etcd:
        channel = etcd.channel()
        stream = await watch(channel, b"k")
        await asyncio.wait_for(getattr(etcd, end)(), 20)
        with pytest.raises(Status) as told:
            await asyncio.wait_for(stream.receive(), 5)
        assert told.value.code == 14
        await channel.close()


def test_the_channel_belongs_to_the_loop_of_the_member() -> None:
    with embed.start(in_memory=True, listen=False) as running:

        async def elsewhere() -> None:
            channel = running.etcd.channel()
            with pytest.raises(RuntimeError, match="event loop of its member"):
                await put(channel, b"k", b"v")

        asyncio.run(elsewhere())
