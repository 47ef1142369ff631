"""Watches: from when, of what, in which order, how far, and how they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from quorate.client import CallError, Client, Compacted, Event, Watch, ops

SECONDS = 10.0


async def taken(watch: Watch, wanted: int) -> list[Event]:
    """So many events."""
    events = []
    for _ in range(wanted):
        event = await watch.next(SECONDS)
        assert event is not None, f"only {events}"
        events.append(event)
    return events


async def test_a_watch_tells_what_happens_from_now_on(client: Client) -> None:
    await client.put("k", "before")
    async with client.watch("k") as watch:
        made = await client.put("k", "1")
        await client.delete("k")
        again = await client.put("k", "2")
        put, delete, create = await taken(watch, 3)
    assert (put.key, put.value, put.revision, put.is_put, put.is_create) == (
        b"k",
        b"1",
        made.header.revision,
        True,
        False,
    )
    assert (delete.is_delete, delete.type, delete.value, delete.prev_kv) == (True, "delete", b"", None)
    assert (create.is_create, create.kv.version, create.revision) == (True, 1, again.header.revision)


async def test_a_watch_begins_in_the_past(client: Client) -> None:
    first = (await client.put("k", "1")).header.revision
    await client.put("k", "2")
    async with client.watch("k", start_revision=first) as watch:
        await client.put("k", "3")
        assert [event.value async for event in firsts(watch, 3)] == [b"1", b"2", b"3"]
        assert watch.revision == first + 2


async def test_a_watch_begins_in_the_future(client: Client) -> None:
    now = (await client.put("k", "1")).header.revision
    async with client.watch("k", start_revision=now + 2) as watch:
        await client.put("k", "2")
        await client.put("k", "3")
        assert [event.value for event in await taken(watch, 1)] == [b"3"]


async def firsts(watch: Watch, wanted: int) -> AsyncIterator[Event]:
    """By iteration."""
    async for event in watch:
        yield event
        wanted -= 1
        if not wanted:
            return


async def test_a_watch_is_of_its_keys_only(client: Client) -> None:
    prefix, interval, rest = client.watch("a", prefix=True), client.watch("a", "b"), client.watch("b", ops.FROM_KEY)
    async with prefix, interval, rest:
        for key in ("a", "ab", "b", "c"):
            await client.put(key)
        await client.put("a", "end")
        await client.put("z", "end")
        assert [event.key for event in await taken(prefix, 3)] == [b"a", b"ab", b"a"]
        assert [event.key for event in await taken(interval, 3)] == [b"a", b"ab", b"a"]
        assert [event.key for event in await taken(rest, 3)] == [b"b", b"c", b"z"]
    with pytest.raises(ValueError, match="prefix"):
        client.watch("a", "b", prefix=True)


async def test_a_watch_tells_what_was_before(client: Client) -> None:
    async with client.watch("k", prev_kv=True) as watch:
        for value in ("1", "2"):
            await client.put("k", value)
        await client.delete("k")
        events = await taken(watch, 3)
    assert [event.prev_kv and event.prev_kv.value for event in events] == [None, b"1", b"2"]


async def test_a_watch_leaves_out_what_is_not_wanted(client: Client) -> None:
    async with client.watch("k", without=["put"]) as deletes, client.watch("k", without=["delete"]) as puts:
        await client.put("k", "1")
        await client.delete("k")
        await client.put("k", "2")
        await client.delete("k")
        assert [event.type for event in await taken(deletes, 2)] == ["delete", "delete"]
        assert [event.value for event in await taken(puts, 2)] == [b"1", b"2"]


async def test_events_come_in_order_and_those_of_a_transaction_together(client: Client) -> None:
    async with client.watch("", prefix=True) as watch:
        for n in range(20):
            await client.txn().then(*(ops.put(f"k{key}", str(n)) for key in range(5))).commit()
        events = await taken(watch, 100)
    assert [event.value for event in events] == [str(n).encode() for n in range(20) for _ in range(5)]
    assert len({event.revision for event in events}) == 20
    assert sorted(events, key=lambda event: event.revision) == events


async def test_a_large_transaction_is_told_whole(client: Client) -> None:
    async with client.watch("k", prefix=True, prev_kv=True) as watch:
        for _ in range(2):
            await client.txn().then(*(ops.put(f"k{n}", bytes(20_000)) for n in range(60))).commit()
        events = await taken(watch, 120)
    assert sorted(event.key for event in events[60:]) == sorted(b"k%d" % n for n in range(60))
    assert all(event.prev_kv is not None and len(event.prev_kv.value) == 20_000 for event in events[60:])


async def test_silence_is_none_in_time(client: Client) -> None:
    async with client.watch("k") as watch:
        since = time.monotonic()
        assert await watch.next(0.05) is None
        assert time.monotonic() - since < SECONDS
        await client.put("k")
        assert len(await taken(watch, 1)) == 1


async def test_a_watch_learns_how_far_all_is_told(client: Client) -> None:
    async with client.watch("k", progress_seconds=0.05) as watch:
        told = (await client.put("other")).header.revision
        deadline = time.monotonic() + SECONDS
        while watch.revision < told:
            assert time.monotonic() < deadline, (watch.revision, told)
            assert await watch.next(0.05) is None


async def test_what_is_compacted_ends_a_watch_with_the_first_that_is_left(client: Client) -> None:
    first = (await client.put("k", "1")).header.revision
    last = (await client.put("k", "2")).header.revision
    await client.compact(last)
    async with client.watch("k", start_revision=first) as watch:
        for _ in range(2):
            with pytest.raises(Compacted) as caught:
                await watch.next(SECONDS)
            assert caught.value.revision == last


async def test_who_waits_is_told_when_the_watch_is_closed(client: Client) -> None:
    async with client.watch("k") as watch:
        waiting = asyncio.create_task(anext(watch))
        await asyncio.wait([waiting], timeout=0.05)
        await watch.close()
        with pytest.raises(StopAsyncIteration):
            await waiting
        assert await watch.next(SECONDS) is None
        assert [event async for event in watch] == []


async def test_a_watch_that_can_never_be_is_refused_at_once(client: Client) -> None:
    since = time.monotonic()
    with pytest.raises(CallError):
        async with client.watch("b", "a"):
            pass
    assert time.monotonic() - since < SECONDS / 4


async def test_a_watch_that_is_closed_before_it_is_open_is_at_its_end(client: Client) -> None:
    watch = client.watch("k")
    await watch.close()
    async with watch:
        assert [event async for event in watch] == []
