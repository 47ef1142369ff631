"""Copies of keys that follow the store: a cache, a mirror, a registry of endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from client_kit import PATIENCE, SHORT

from quorate.client import Client, Closed, Watch, ops
from quorate.client.errors import DeadlineExceeded
from quorate.client.recipes import Mirror, Registry, RegistryUpdate, ServiceEndpoint, WatchCache
from quorate.testing.process import MemberProcess


def disturbed(client: Client, disturb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen right before the next watch is opened."""
    open_watch = client.watch

    @asynccontextmanager
    async def late(*args: Any, **how: Any) -> AsyncIterator[Watch]:
        monkeypatch.setattr(client, "watch", open_watch)
        await disturb()
        async with open_watch(*args, **how) as watch:
            yield watch

    monkeypatch.setattr(client, "watch", late)


async def test_a_cache_is_the_copy_of_the_revision_it_names(client: Client, other: Client, prefix: bytes) -> None:
    await other.put(prefix + b"/a", b"1")
    async with WatchCache(client, prefix + b"/") as cache:
        assert len(cache) == 1 and prefix + b"/a" in cache
        await other.put(prefix + b"/b", b"2")
        await other.put(prefix + b"/a", b"3")
        last = (await other.put(prefix + b"0", b"outside")).header.revision
        await cache.wait_synced(last, PATIENCE)
        assert cache.revision >= last
        assert [(kv.key, kv.value) for kv in cache] == [(prefix + b"/a", b"3"), (prefix + b"/b", b"2")]
        assert cache.kvs() == list(await other.get(prefix + b"/", prefix=True))
        last = (await other.delete(prefix + b"/a")).header.revision
        await cache.wait_synced(last, PATIENCE)
        assert cache.get(prefix + b"/a") is None and len(cache) == 1
        with pytest.raises(DeadlineExceeded):
            await cache.wait_synced(last + 1_000_000, SHORT)
    with pytest.raises(Closed):
        cache.get(prefix)


async def test_a_cache_that_missed_what_is_compacted_loads_anew(
    client: Client, other: Client, prefix: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def disturb() -> None:
        await other.delete(prefix + b"a")
        await other.put(prefix + b"b", b"new")
        last = (await other.put(prefix + b"c", b"new")).header.revision
        await other.compact(last)
        done.set_result(last)

    await other.put(prefix + b"a", b"old")
    disturbed(client, disturb, monkeypatch)
    async with WatchCache(client, prefix) as cache:
        assert [kv.key for kv in cache] == [prefix + b"a"]
        await cache.wait_synced(await done, PATIENCE)
        assert [kv.key for kv in cache] == [prefix + b"b", prefix + b"c"]
        last = (await other.delete(prefix + b"b")).header.revision
        await cache.wait_synced(last, PATIENCE)
        assert [kv.key for kv in cache] == [prefix + b"c"]


async def test_a_cache_of_a_closed_client_says_so(member: MemberProcess, prefix: bytes) -> None:
    client = Client(member.endpoint)
    async with WatchCache(client, prefix) as cache:
        waiting = asyncio.create_task(cache.wait_synced(cache.revision + 1_000_000))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(Closed):
            await waiting
        with pytest.raises(Closed):
            cache.get(prefix)


@pytest.fixture(scope="module")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemberProcess]:
    path: Path = tmp_path_factory.mktemp("destination") / "m1.data"
    with MemberProcess(path, flags=("--unsafe-no-fsync",)) as running:
        yield running


async def test_a_mirror_has_the_keys_of_the_source_revision_by_revision(
    client: Client, destination: MemberProcess, prefix: bytes
) -> None:
    there = prefix + b"-there/"
    source = prefix + b"/"
    many = [ops.put(source + b"%04d" % number, b"x") for number in range(100)]
    for start in range(0, 1200, 100):
        await client.txn().then(*[ops.put(source + b"%04d" % (start + number), b"x") for number in range(100)]).commit()
    async with Client(destination.endpoint) as target:
        mirror = Mirror(client, target, source, there, max_txn_ops=64)
        assert await mirror.copy() == mirror.count == 1200
        copied = (await target.get(there, prefix=True, count_only=True)).header.revision
        await client.put(prefix, b"outside")
        await client.put(source + b"a", b"1")
        await client.txn().then(ops.put(source + b"a", b"2"), ops.delete(source + b"0000")).commit()
        last = (await client.put(prefix, b"outside")).header.revision
        await mirror.follow(until=last, timeout=PATIENCE)
        assert mirror.revision >= last and mirror.count == 1203
        found = await target.get(there, prefix=True)
        assert found.header.revision == copied + 2  # a transaction for a revision
        expected = [(there + kv.key[len(source) :], kv.value) for kv in await client.get(source, prefix=True)]
        assert [(kv.key, kv.value) for kv in found] == expected
        following = asyncio.create_task(mirror.follow())
        async with target.watch(there, prefix=True) as watch:
            await client.txn().then(*many).commit()
            for _ in many:
                assert await watch.next(PATIENCE) is not None
        following.cancel()
        with pytest.raises(DeadlineExceeded):
            await mirror.follow(timeout=SHORT)


async def test_a_registry_keeps_endpoints_as_go_writes_them(client: Client, prefix: bytes) -> None:
    registry = Registry(client, prefix)
    key = prefix + b"/one"
    async with client.session() as session:
        await registry.add(key, ServiceEndpoint("10.0.0.1:80", {"b": 1, "a": "<&>é"}), lease=session.lease)
        kv = (await client.get(key)).kv
        assert kv is not None and kv.lease == session.lease
        text = r'{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"a":"\u003c\u0026\u003eé","b":1}}'
        assert kv.value == text.encode()
        await client.put(prefix + b"/two", b'{"Op":0,"Addr":"10.0.0.2:80","Metadata":null}')
        await client.put(prefix + b"/none", b"no JSON")
        assert await registry.list() == {
            key: ServiceEndpoint("10.0.0.1:80", {"b": 1, "a": "<&>é"}),
            prefix + b"/two": ServiceEndpoint("10.0.0.2:80"),
        }
        with pytest.raises(ValueError, match="begin"):
            await registry.delete(prefix + b"x/one")
    assert list(await registry.list()) == [prefix + b"/two"]


async def test_a_watch_of_a_registry_tells_what_is_there_and_what_changes(
    client: Client, other: Client, prefix: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(other, prefix)
    one, two = prefix + b"/one", prefix + b"/two"
    await registry.add(one, ServiceEndpoint("a"))

    async def disturb() -> None:
        await registry.delete(one)
        await other.compact((await other.put(prefix, b"")).header.revision)

    disturbed(client, disturb, monkeypatch)
    told = Registry(client, prefix).watch(timeout=1.0)
    assert await anext(told) == (RegistryUpdate(one, ServiceEndpoint("a")),)
    assert await anext(told) == (RegistryUpdate(one, None),)  # though what said so is compacted
    both = [RegistryUpdate(one, ServiceEndpoint("b")), RegistryUpdate(two, ServiceEndpoint("c", 3))]
    await registry.update(both)
    assert await anext(told) == tuple(both)
    await registry.delete(two)
    assert await anext(told) == (RegistryUpdate(two, None),)
    with pytest.raises(DeadlineExceeded):
        await anext(told)
