"""Rows of docs/checklist.md that no other test shows: what members do together, in one process."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from quorate import embed
from quorate.api.pb import rpc_pb2 as rpc
from quorate.server import agreement, compactor
from quorate.server.compactor import AutoCompactor
from quorate.transport.grpc import Channel, Status

SECONDS = 60.0


async def put(channel: Channel, key: bytes) -> None:
    await channel.unary("/etcdserverpb.KV/Put", rpc.PutRequest(key=key, value=b"v").SerializeToString(), timeout=5)


async def put_in_the_end(channel: Channel, key: bytes) -> None:
    """Once there is a leader again."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await put(channel, key)
            except Status:
                await asyncio.sleep(0.02)


async def got(channel: Channel, key: bytes) -> int:
    reply = await channel.unary("/etcdserverpb.KV/Range", rpc.RangeRequest(key=key).SerializeToString(), timeout=10)
    return int(rpc.RangeResponse.FromString(reply).count)


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
async def test_a_cluster_of_any_odd_size_lives_without_its_lesser_half(size: int) -> None:
    async with embed.Cluster(size, in_memory=True, heartbeat_interval=50, election_timeout=500) as cluster:
        first = cluster[0].channel()
        await put(first, b"before")
        await first.close()
        lost = (size - 1) // 2
        for etcd in cluster[:lost]:  # the first one leads
            await etcd.abort()
        rest = cluster[-1].channel()
        await put_in_the_end(rest, b"after")
        assert await got(rest, b"before") == await got(rest, b"after") == 1
        await rest.close()


async def test_heartbeats_leave_as_often_as_the_interval_says() -> None:
    async def sent(interval: int) -> int:
        times = {"heartbeat_interval": interval, "election_timeout": 5000}
        async with embed.Cluster(3, in_memory=True, **times) as cluster:
            leader = cluster.leader
            assert leader is not None and leader.server is not None
            transport = leader.server.transport
            count = 0
            plain = transport.send

            def send(messages: object) -> None:
                nonlocal count
                count += 1
                plain(messages)

            transport.send = send  # type: ignore[assignment]
            await asyncio.sleep(1.5)
            return count

    often, seldom = await sent(25), await sent(250)
    assert seldom >= 3
    assert often > 3 * seldom


async def test_who_lags_with_applying_takes_no_more_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert agreement.MAX_APPLY_GAP == 5000
    async with embed.Etcd(in_memory=True) as etcd:
        channel = etcd.channel()
        server = etcd.server
        assert server is not None
        await put(channel, b"k")
        log = server.node.raft.log
        committed = log.committed
        log.committed = server.applied_index + agreement.MAX_APPLY_GAP + 1
        with pytest.raises(Status, match=r"^.*etcdserver: too many requests$"):
            await put(channel, b"k")
        assert await serializable(channel) == 1
        log.committed = committed
        await put(channel, b"k")
        await channel.close()


async def serializable(channel: Channel) -> int:
    request = rpc.RangeRequest(key=b"k", serializable=True).SerializeToString()
    return int(rpc.RangeResponse.FromString(await channel.unary("/etcdserverpb.KV/Range", request, timeout=5)).count)


async def test_the_log_may_lie_on_another_disk_and_only_its_owner_sees_the_data(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    for number in range(2):
        async with embed.Etcd(data_dir=data, wal_dir=str(log)) as etcd:
            channel = etcd.channel()
            assert await got(channel, b"k") == number
            await put(channel, b"k")
            await channel.close()
    assert list(log.glob("*.wal")) and not (data / "member" / "wal").exists()
    assert (data / "member" / "snap" / "db").exists()
    plain = tmp_path / "plain"
    async with embed.Etcd(data_dir=plain):
        assert list((plain / "member" / "wal").glob("*.wal"))
    for directory in (data, data / "member", data / "member" / "snap", log, plain, plain / "member" / "wal"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory


async def test_by_revisions_all_but_the_last_thousand_are_compacted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compactor.REVISION_MODE_INTERVAL == 300.0
    monkeypatch.setattr(compactor, "REVISION_MODE_INTERVAL", 0.01)
    asked: list[int] = []
    enough = asyncio.Event()
    newest = iter([500, 1500, 1501, 1502])

    async def compact(revision: int) -> None:
        asked.append(revision)
        if len(asked) == 3:
            enough.set()

    task = asyncio.create_task(AutoCompactor("revision", 1000, lambda: next(newest, 1502), compact, lambda: True).run())
    await asyncio.wait_for(enough.wait(), SECONDS)
    task.cancel()
    assert asked == [500, 501, 502]
