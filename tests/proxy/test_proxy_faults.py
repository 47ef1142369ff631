"""Members that die, and proxies: nothing is lost, nothing is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.client import Client, EtcdError, Watch
from quorate.client.methods import KEEP_ALIVE
from quorate.proxy.gateway import Gateway
from quorate.proxy.remotes import Target
from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE, free_port, real_binary
from quorate.transport.grpc import Channel

from proxy_support import BACKENDS, PATIENCE, RawWatch, client_of, proxied, serving  # isort: skip
from test_proxy_keepalive import renew  # isort: skip

FLAGS = ("--heartbeat-interval=50", "--election-timeout=500", "--unsafe-no-fsync")


@pytest.fixture(params=BACKENDS)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    binary = real_binary("etcd")
    if request.param == "etcd" and binary is None:
        pytest.skip("no real etcd here")
    command = QUORATE if request.param == "quorate" else (str(binary),)
    with Cluster(tmp_path, [command] * 3, flags=FLAGS) as cluster:
        cluster.start()
        cluster.wait_healthy()
        yield cluster


async def put(client: Client, key: str, value: str) -> None:
    """Write until it is certain; the same value may be written twice."""
    while True:
        try:
            await client.put(key, value)
            return
        except EtcdError:
            await asyncio.sleep(0.05)


async def read(watch: Watch, last: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    async with asyncio.timeout(60.0):
        while not found or found[-1][1] != last:
            event = await watch.next(PATIENCE)
            assert event is not None
            found.append((event.revision, event.value))
    return found


async def test_no_event_is_lost_or_doubled_while_members_die(cluster: Cluster) -> None:
    endpoints = [member.endpoint for member in cluster.members]
    async with proxied(*endpoints) as proxy, client_of(proxy) as client, Client(endpoints) as direct:
        watches = [client.watch("k") for _ in range(5)]
        async with watches[0], watches[1], watches[2], watches[3], watches[4]:
            first = watches[0].revision
            readers = [asyncio.create_task(read(watch, b"last")) for watch in watches]
            for number in range(3):
                for step in range(40):
                    await put(direct, "k", f"{number} {step}")
                    if step == 20:
                        await asyncio.to_thread(cluster.kill, number)
                await asyncio.to_thread(cluster.restart, number)
                await asyncio.to_thread(cluster.wait_healthy)
            await put(direct, "k", "last")
            told = await asyncio.gather(*readers)
            async with direct.watch("k", start_revision=first + 1) as whole:
                wanted = await read(whole, b"last")
        for found in told:
            assert found == wanted
        assert len(wanted) >= 121


async def test_watches_begin_again_where_they_were_after_the_proxy_did(tmp_path: Path) -> None:
    port = free_port()
    async with (
        serving("quorate", tmp_path) as backend,
        Client(backend.endpoint) as direct,
        Client(f"127.0.0.1:{port}") as client,
    ):
        async with proxied(backend.endpoint, port=port) as proxy:
            watches = [client.watch("k") for _ in range(5)]
            for watch in watches:
                await watch.__aenter__()
            for number in range(10):
                await direct.put("k", str(number))
            for watch in watches:
                for number in range(10 - watches.index(watch)):  # some have not read all that came
                    event = await watch.next(5.0)
                    assert event is not None and event.value == str(number).encode()
        for number in range(10, 20):
            await direct.put("k", str(number))
        async with proxied(backend.endpoint, port=port) as proxy:
            for place, watch in enumerate(watches):
                for number in range(10 - place, 20):
                    event = await watch.next(PATIENCE)
                    assert event is not None and event.value == str(number).encode()
            await direct.put("k", "one more")
            for watch in watches:
                event = await watch.next(5.0)
                assert event is not None and event.value == b"one more"
            assert len(proxy.hub.broadcasts) == 1
            for watch in watches:
                await watch.close()


async def test_compaction_while_the_member_is_away_ends_only_the_watch_that_missed_something(tmp_path: Path) -> None:
    async with serving("quorate", tmp_path) as backend, Client(backend.endpoint) as direct:
        host, _, port = backend.endpoint.partition(":")
        way = Gateway("127.0.0.1", 0, [Target(host, int(port))], 60.0)
        await way.start()
        async with proxied(f"127.0.0.1:{way.port}") as proxy:
            channel = Channel("127.0.0.1", proxy.port)
            early, late = RawWatch(channel), RawWatch(channel)
            await early.created(b"k")
            await late.created(b"k", start_revision=30)
            assert len(proxy.hub.broadcasts) == 1
            again = Gateway("127.0.0.1", way.port, [Target(host, int(port))], 60.0)
            await way.stop()
            for number in range(40):
                revision = (await direct.put("k", str(number))).header.revision
            await direct.compact(20)
            await again.start()
            answer = await early.take()
            assert answer.canceled and answer.compact_revision == 20
            assert await late.values(revision - 29) == [b"%d" % (number - 2) for number in range(30, revision + 1)]
            await channel.close()
        await again.stop()


async def test_a_renewal_goes_to_another_member_when_one_dies(cluster: Cluster) -> None:
    endpoints = [member.endpoint for member in cluster.members]
    async with proxied(*endpoints) as proxy, client_of(proxy) as client:
        lease = await client.grant(30)
        await client.put("k", "v", lease=lease.id)
        channel = Channel("127.0.0.1", proxy.port)
        stream = channel.stream(KEEP_ALIVE)
        assert (await renew(stream, lease.id)).TTL
        await asyncio.to_thread(cluster.kill, 0)
        proxy.keep_alives.forget()
        assert (await renew(stream, lease.id)).TTL == 30
        await asyncio.to_thread(cluster.restart, 0)
        await asyncio.to_thread(cluster.kill, 1)
        proxy.keep_alives.forget()
        assert (await renew(stream, lease.id)).TTL == 30
        assert (await client.get("k")).kvs
        await channel.close()


async def test_who_wants_a_leader_hears_that_there_is_none_and_the_others_wait(cluster: Cluster) -> None:
    endpoints = [member.endpoint for member in cluster.members]
    async with proxied(*endpoints) as proxy:
        channel = Channel("127.0.0.1", proxy.port)
        wanting, patient = RawWatch(channel, hasleader="true"), RawWatch(channel)
        await wanting.created(b"k")
        await patient.created(b"k")
        for number in (1, 2):
            await asyncio.to_thread(cluster.kill, number)
        with pytest.raises(Exception, match=r"no leader"):
            await wanting.take()
        for number in (1, 2):
            await asyncio.to_thread(cluster.spawn, number)
        await asyncio.to_thread(cluster.wait_healthy)
        async with Client(endpoints) as direct:
            await put(direct, "k", "v")
        assert await patient.values(1) == [b"v"]
        await channel.close()


async def test_a_write_is_never_made_twice(tmp_path: Path) -> None:
    """What a member may have done is not asked for again elsewhere."""
    async with (
        serving("quorate", tmp_path) as backend,
        proxied(backend.endpoint, "127.0.0.1:1") as proxy,
        client_of(proxy) as client,
    ):
        for number in range(10):
            done = await client.put("k", str(number))
            assert (await client.get("k")).kvs[0].version == number + 1
            assert done.header.revision == number + 2
