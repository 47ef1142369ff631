"""What callers of the client are promised while members die, stall, lose each other or forget."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quorate.client import Client, Compacted, EtcdError, Event, Retry, SessionLost, Watch, connect, ops
from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE

FLAGS = ("--heartbeat-interval=100", "--election-timeout=500")
CYCLES = 1000
GRACE = 1.0
"""Seconds that a loaded machine may add to a time-out."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), [QUORATE] * 3, flags=FLAGS, proxied=True) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    cluster.wait_healthy()
    async with connect(endpoints(cluster)) as client:
        await client.delete("", prefix=True)
        yield client
    cluster.heal()
    for member in cluster.members:
        member.resume()
        if not member.alive():
            member.start()


def endpoints(cluster: Cluster) -> list[str]:
    return [member.endpoint for member in cluster.members]


async def within(seconds: float, watch: Watch, wanted: int) -> list[Event]:
    """So many events."""
    events: list[Event] = []
    async with asyncio.timeout(seconds):
        while len(events) < wanted:
            events.append(await anext(watch))
    return events


async def until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(0.02)


class Writer:
    """Puts one value after the other, each until it is known to be there, and lets nothing stop it."""

    def __init__(self, client: Client, prefix: str) -> None:
        self.written = 0
        self._client = client
        self._prefix = prefix
        self._stopping = False

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Writer]:
        task = asyncio.create_task(self._write())
        try:
            yield self
        finally:
            self._stopping = True
            await task

    async def _write(self) -> None:
        while not self._stopping:
            key = f"{self._prefix}{self.written:06}"
            try:
                put = self._client.txn().when(ops.version(key) == 0).then(ops.put(key, str(self.written)))
                await put.commit(timeout=2.0)
            except EtcdError:
                await asyncio.sleep(0.05)
            else:
                self.written += 1
                await asyncio.sleep(0.005)

    async def more(self, count: int = 20) -> None:
        """Wait for so many puts from here."""
        wanted = self.written + count
        await until(lambda: self.written >= wanted, 40.0)


async def test_a_watch_tells_every_event_once_and_in_order_whatever_happens_to_members(
    cluster: Cluster, client: Client
) -> None:
    async with client.watch("w/", prefix=True) as watch:
        async with Writer(client, "w/").at_work() as writer:
            for act in (cluster.kill, lambda n: cluster.members[n].pause(), lambda n: cluster.isolate([n])):
                for number in (cluster.leader(), cluster.followers()[0]):
                    await writer.more()
                    await asyncio.to_thread(act, number)
                    await writer.more()
                    cluster.members[number].resume()
                    cluster.heal()
                    if not cluster.members[number].alive():
                        await asyncio.to_thread(cluster.restart, number)
            await asyncio.to_thread(cluster.move_leader, cluster.followers()[0])
            await writer.more()
        told = await within(30.0, watch, writer.written)
        rest = await watch.next(0.5)
    assert rest is None
    assert [event.key for event in told] == [b"w/%06d" % number for number in range(writer.written)]
    revisions = [event.revision for event in told]
    assert revisions == sorted(set(revisions))


async def test_no_call_outlives_its_deadline(cluster: Cluster, client: Client) -> None:
    for member in cluster.members:
        member.pause()
    for call in (client.get("k", timeout=0.5), client.put("k", "v", timeout=0.5), client.grant(5, timeout=0.5)):
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await call
        assert time.monotonic() - begun < 0.5 + GRACE


async def test_a_read_that_is_not_tried_again_has_all_of_its_time(cluster: Cluster, client: Client) -> None:
    for member in cluster.members:
        member.pause()
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await client.get("k", timeout=1.0, retry=Retry.NEVER)
    assert 0.9 < time.monotonic() - begun < 1.0 + GRACE


async def test_reads_go_to_another_member_within_their_deadline(cluster: Cluster, client: Client) -> None:
    await client.put("k", "v")
    follower = cluster.followers()[0]
    cluster.members[follower].pause()
    for _ in range(6):
        assert (await client.get("k", serializable=True, timeout=3.0)).value == b"v"


async def test_a_session_outlives_the_members_that_serve_it(cluster: Cluster, client: Client) -> None:
    async with client.session(4) as session:
        await client.put("held", "v", lease=session.lease)
        for number in (0, 1):
            await asyncio.to_thread(cluster.kill, number)
            assert not await session.lost.wait(5.0)
            await asyncio.to_thread(cluster.restart, number)
        assert (await client.get("held")).value == b"v"
    assert not (await client.get("held")).kvs


async def test_a_session_that_cannot_be_renewed_is_lost_within_its_ttl(cluster: Cluster, client: Client) -> None:
    async with client.session(3) as session:
        for member in cluster.members:
            member.pause()
        assert await session.lost.wait(3.0 + GRACE)
        with pytest.raises(SessionLost):
            session.check()


async def test_a_session_whose_lease_is_revoked_hears_of_it(client: Client) -> None:
    async with client.session(3) as session:
        await client.revoke(session.lease)
        assert await session.lost.wait(3.0)


async def test_what_is_compacted_under_a_watcher_is_told_honestly(client: Client) -> None:
    first = (await client.put("k", "1")).header.revision
    last = (await client.put("k", "2")).header.revision
    await client.compact(last)
    async with client.watch("k", start_revision=first) as watch:
        with pytest.raises(Compacted) as raised:
            await watch.next(5.0)
    assert raised.value.revision == last


async def test_a_watch_of_keys_that_never_change_outlives_compaction(cluster: Cluster, client: Client) -> None:
    async with client.watch("idle/", prefix=True, progress_seconds=0.2) as watch:
        last = [(await client.put("busy", str(number))).header.revision for number in range(20)][-1]
        waiting = asyncio.create_task(watch.next(60.0))
        await until(lambda: watch.resumes_at > last, 10.0)
        await client.compact(last)
        for number in range(3):
            await asyncio.to_thread(cluster.kill, number)
            await asyncio.to_thread(cluster.restart, number)
        await client.put("idle/k", "at last", timeout=20.0)
        event = await waiting
    assert event is not None and event.value == b"at last"


async def test_a_new_token_is_had_when_members_forget_the_old_one(tmp_path: Path) -> None:
    with Cluster(tmp_path, [QUORATE], flags=(*FLAGS, "--bcrypt-cost=4")) as cluster:
        cluster.start()
        async with connect(endpoints(cluster)) as admin:
            await admin.auth.user_add("root", "pw")
            await admin.auth.user_grant_role("root", "root")
            await admin.auth.enable()
        async with connect(endpoints(cluster), user="root", password="pw") as client, client.watch("k") as watch:
            await client.put("k", "1")
            await asyncio.to_thread(cluster.kill, 0)
            await asyncio.to_thread(cluster.restart, 0)
            await client.put("k", "2")
            await client.auth.user_add("another", "pw")
            await client.put("k", "3")
            assert [event.value for event in await within(10.0, watch, 3)] == [b"1", b"2", b"3"]
        with pytest.raises(EtcdError, match="invalid user ID or password"):
            async with connect(endpoints(cluster), user="root", password="wrong") as stranger:
                await stranger.get("k")


async def test_nothing_is_left_of_a_client_that_is_closed(cluster: Cluster) -> None:
    async def cycle() -> None:
        async with connect(endpoints(cluster)[:1]) as client, client.session(10), client.watch("k") as watch:
            await client.put("k", "v")
            assert await watch.next(5.0) is not None

    await cycle()
    tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
    for _ in range(CYCLES):
        await cycle()
    assert len(asyncio.all_tasks()) == tasks
    assert len(os.listdir("/proc/self/fd")) < descriptors + CYCLES // 100  # proxies come and go beside it
