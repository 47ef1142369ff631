"""Several members in one process."""

import asyncio
import gc
import socket
import time
from pathlib import Path

import pytest
from embed_support import channel_to, get, held, members, put, put_past_a_crash

from quorate import embed


async def test_three_members_on_one_loop_are_a_cluster() -> None:
    before = held()
    async with embed.Cluster(3, in_memory=True) as cluster:
        assert len(cluster) == 3 and len(set(cluster.endpoints)) == 3
        assert [etcd.config.name for etcd in cluster] == ["m0", "m1", "m2"]
        channels = [etcd.channel() for etcd in cluster]
        await put(channels[0], b"k", b"v")
        assert [await get(channel, b"k") for channel in channels] == [b"v"] * 3
        listed = await members(channels[1])
        assert {(member.name, *member.peerURLs, *member.clientURLs) for member in listed} == {
            (etcd.config.name, *etcd.peer_urls, *etcd.client_urls) for etcd in cluster
        }
        for channel in channels:
            await channel.close()
    await asyncio.sleep(0.01)
    assert not held() - before


async def test_a_first_leader_is_elected_without_waiting_for_silence() -> None:
    """An election timeout of 20 s: only who stands for election before that can lead in time."""
    async with asyncio.timeout(10), embed.Cluster(3, in_memory=True, election_timeout=20_000) as cluster:
        assert cluster.leader is cluster[0]


@pytest.mark.parametrize("end", ["stop", "abort"])
async def test_each_member_comes_back_on_its_data_and_ports(end: str, tmp_path: Path) -> None:
    kind = {"in_memory": True} if end == "abort" else {"data_dir": tmp_path}
    async with embed.Cluster(3, **kind) as cluster:  # type: ignore[arg-type]
        for number, etcd in enumerate(cluster):
            urls = etcd.client_urls + etcd.peer_urls
            other = cluster[(number + 1) % 3].channel()
            await getattr(etcd, end)()
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", int(urls[0].rpartition(":")[2])))
            await put_past_a_crash(other, b"k%d" % number, b"v")
            await etcd.start()
            assert etcd.client_urls + etcd.peer_urls == urls
            channel = channel_to(etcd.endpoints[0])
            assert [await get(channel, b"k%d" % past) for past in range(number + 1)] == [b"v"] * (number + 1)
            await channel.close()
            await other.close()


async def test_a_whole_cluster_stops_without_handing_leadership_around() -> None:
    cluster = embed.Cluster(3, in_memory=True, election_timeout=5000)
    await cluster.start()
    began = time.monotonic()
    await cluster.stop()
    assert time.monotonic() - began < 4, "a transfer that nobody takes lasts an election"


async def test_a_cluster_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    before = held()
    (tmp_path / "m1").touch()
    cluster = embed.Cluster(3, data_dir=tmp_path)
    with pytest.raises(Exception, match=r"(?i)not a directory"):
        await cluster.start()
    await asyncio.sleep(0.01)
    gc.collect()  # asyncio's own loop loses a connection that it accepts while its server is closed
    assert not any(etcd.is_running for etcd in cluster)
    assert not held() - before


def test_a_cluster_needs_to_know_where_its_data_goes() -> None:
    for keywords in ({}, {"data_dir": "x", "in_memory": True}):
        with pytest.raises(embed.ConfigError, match="either"):
            embed.Cluster(3, **keywords)  # type: ignore[arg-type]


def test_a_program_without_a_loop_uses_a_cluster() -> None:
    with embed.start(in_memory=True, listen=False):
        pass  # the first loop of its kind opens what the process keeps
    before = held()
    with embed.start_cluster(3, in_memory=True) as cluster:
        leader = cluster.leader
        assert leader is not None and leader in list(cluster) and len(cluster.client_urls) == 3
        leader.kill()
        alive = next(member for member in cluster if member is not leader)
        alive.run(put_past_a_crash(alive.etcd.channel(), b"k", b"v"))
        leader.start()
        assert leader.run(get(leader.etcd.channel(), b"k")) == b"v"
        cluster[2].stop()
        cluster[2].stop()
    cluster.stop()
    assert not held() - before
