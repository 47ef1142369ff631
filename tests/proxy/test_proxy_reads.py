"""Reads through the gRPC proxy: what is kept, until when, and for whom."""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import Client, EtcdError, PermissionType, ops
from quorate.proxy.cache import KEEP_SECONDS, MAX_ANSWERS, MAX_RANGES, ReadCache, overlap
from quorate.proxy.proxy import GrpcProxy

from proxy_support import Backend, client_of, proxied, serving, turn_auth_on  # isort: skip


async def test_a_serializable_read_that_is_repeated_does_not_reach_the_member(
    backend: Backend, client: Client, proxy: GrpcProxy
) -> None:
    await client.put("k", "1")
    before = await backend.messages("Range")
    for _ in range(20):
        assert (await client.get("k", serializable=True)).kvs[0].value == b"1"
        assert (await client.get("k", prefix=True, serializable=True)).kvs[0].value == b"1"
    assert await backend.messages("Range") == before + 2
    assert (proxy.cache.hits, proxy.cache.misses, len(proxy.cache)) == (38, 2, 2)
    for _ in range(5):
        await client.get("k")
    assert await backend.messages("Range") == before + 7


async def test_whatever_is_written_through_the_proxy_is_read_after_it(client: Client) -> None:
    async def read() -> list[list[bytes]]:
        one = await client.get("k1", serializable=True)
        many = await client.get("k", prefix=True, serializable=True)
        return [[kv.value for kv in one], [kv.value for kv in many]]

    assert await read() == [[], []]
    await client.put("k1", "1")
    assert await read() == [[b"1"], [b"1"]]
    await client.put("k2", "2")
    assert await read() == [[b"1"], [b"1", b"2"]]
    await client.txn().then(ops.put("k1", "3"), ops.delete("k2")).commit()
    assert await read() == [[b"3"], [b"3"]]
    await client.delete("", prefix=True)
    assert await read() == [[], []]
    lease = await client.grant(60)
    await client.put("k1", "4", lease=lease.id)
    assert await read() == [[b"4"], [b"4"]]
    await client.revoke(lease.id)
    assert await read() == [[], []]


async def test_an_event_that_was_told_is_seen_by_reads(client: Client, direct: Client) -> None:
    async with client.watch("k") as watch:
        for number in range(10):
            await client.get("k", serializable=True)
            await direct.put("k", str(number))
            event = await watch.next(5.0)
            assert event is not None
            found = await client.get("k", serializable=True)
            assert [kv.value for kv in found] == [event.value]


async def test_a_revision_that_is_kept_is_not_read_once_it_is_compacted(client: Client) -> None:
    old = (await client.put("k", "1")).header.revision
    now = (await client.put("k", "2")).header.revision
    for _ in range(2):
        assert (await client.get("k", revision=old, serializable=True)).kvs[0].value == b"1"
    await client.compact(now)
    with pytest.raises(EtcdError, match="compacted"):
        await client.get("k", revision=old, serializable=True)


async def test_nobody_reads_what_was_kept_for_another(proxy: GrpcProxy, direct: Client) -> None:
    await direct.put("k", "secret")
    await turn_auth_on(direct)
    async with client_of(proxy, user="root", password="r") as root, client_of(proxy, user="u", password="u") as user:
        for _ in range(2):
            assert (await root.get("k", serializable=True)).kvs[0].value == b"secret"
        async with client_of(proxy) as nobody:
            for other in (user, nobody):
                with pytest.raises(EtcdError, match=r"permission denied|user name is empty"):
                    await other.get("k", serializable=True)
        await root.auth.role_grant("some", PermissionType.READWRITE, "k")
        assert (await user.get("k", serializable=True)).kvs[0].value == b"secret"
        await root.auth.role_revoke("some", "k")
        with pytest.raises(EtcdError, match="permission denied"):
            await user.get("k", serializable=True)


async def test_reads_never_go_back_where_order_is_kept(tmp_path: Path) -> None:
    """Two members that know nothing of each other stand for one that is ahead of the other."""
    async with (
        serving("quorate", tmp_path) as ahead,
        serving("quorate", tmp_path) as behind,
        Client(ahead.endpoint) as writer,
        proxied(ahead.endpoint, behind.endpoint, serializable_ordering=True) as proxy,
        client_of(proxy) as client,
    ):
        for number in range(5):
            await writer.put("k", str(number))
        seen = 0
        for turn in range(20):
            found = await client.get("k", serializable=turn % 2 == 0)
            assert found.header.revision >= seen
            seen = found.header.revision
        assert seen > 5
        await ahead.etcd.stop()  # type: ignore[union-attr]
        with pytest.raises(EtcdError, match="no cluster members have a revision higher"):
            await client.get("k")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def keep(cache: ReadCache, key: bytes, end: bytes, revision: int, answer: bytes = b"x") -> tuple[tuple[()], bytes]:
    request = pb.RangeRequest(key=key, range_end=end, serializable=True)
    name = ((), request.SerializeToString())
    cache.end(cache.begin(request), name, 0, answer, revision)
    return name


def test_a_read_that_a_write_overtakes_is_not_kept() -> None:
    cache = ReadCache(Clock())
    request = pb.RangeRequest(key=b"k", serializable=True)
    for revision, kept in ((6, None), (7, b"x"), (8, b"x")):
        name = ((), b"%d" % revision)
        read = cache.begin(request)
        cache.written(b"k", b"", 7)
        cache.end(read, name, 0, b"x", revision)
        assert cache.get(name) == kept


def test_a_read_during_which_nobody_knows_what_was_written_is_not_kept() -> None:
    cache = ReadCache(Clock())
    for number, (spoil, kept) in enumerate(
        [
            (lambda: cache.written(b"a", b"z", math.inf), None),
            (lambda: cache.written(b"a", b"", math.inf), b"x"),
            (cache.clear, None),
        ]
    ):
        name = ((), b"%d" % number)
        read = cache.begin(pb.RangeRequest(key=b"k", serializable=True))
        spoil()
        cache.end(read, name, 0, b"x", 100)
        assert cache.get(name) == kept


def test_a_member_that_has_not_heard_of_the_last_write_gives_nothing_to_keep() -> None:
    cache = ReadCache(Clock())
    cache.written(b"k", b"", 7)
    assert cache.get(keep(cache, b"k", b"", 6)) is None
    assert cache.get(keep(cache, b"k", b"", 7)) == b"x"


def test_nothing_is_kept_for_longer_than_it_may_be() -> None:
    clock = Clock()
    cache = ReadCache(clock)
    name = keep(cache, b"k", b"", 1)
    clock.now = KEEP_SECONDS - 0.1
    assert cache.get(name) == b"x"
    clock.now = KEEP_SECONDS
    assert cache.get(name) is None
    assert len(cache) == 0


def test_what_is_kept_is_bounded() -> None:
    cache = ReadCache(Clock())
    for number in range(MAX_ANSWERS + 10):
        keep(cache, b"k%d" % number, b"", 1)
    assert len(cache) == MAX_ANSWERS
    for number in range(MAX_RANGES + 10):
        keep(cache, b"k%d" % number, b"z", 1)
    assert len(cache._ranges) == MAX_RANGES
    large = keep(cache, b"large", b"", 1, b"x" * (1 << 21))
    assert cache.get(large) is None


def test_after_any_writes_nothing_is_read_that_they_touched() -> None:
    dice = random.Random(7)
    keys = [b"%d" % number for number in range(6)]
    ends = [b"", b"", b"\0", *keys]
    for _ in range(300):
        cache = ReadCache(Clock())
        kept: dict[tuple[tuple[()], bytes], tuple[bytes, bytes]] = {}
        for revision in range(1, 12):
            key, end = dice.choice(keys), dice.choice(ends)
            if dice.random() < 0.6:
                kept[keep(cache, key, end, revision)] = (key, end)
                continue
            cache.written(key, end, revision)
            inside = {each for each in keys if overlap(key, end, each, b"")}
            for name, span in kept.items():
                touched = any(overlap(*span, each, b"") for each in inside)
                if touched:
                    assert cache.get(name) is None, (span, key, end)


async def test_a_read_of_many_at_once_and_writes_between_is_never_older_than_an_answered_write(
    client: Client, proxy: GrpcProxy
) -> None:
    done = 0
    over = False

    async def write() -> None:
        nonlocal done, over
        for number in range(1, 200):
            await client.put("k", str(number))
            done = number
        over = True

    async def read() -> None:
        while not over:
            least = done
            found = await client.get("k", serializable=True)
            assert int(found.kvs[0].value if found.kvs else 0) >= least

    await asyncio.gather(write(), *(read() for _ in range(5)))
    assert proxy.cache.hits
