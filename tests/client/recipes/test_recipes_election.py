"""Elections, among each other and with etcdctl on the other side."""

from __future__ import annotations

import asyncio

import pytest
from client_kit import SHORT, Etcdctl, keys, queued

from quorate.api.errors import ElectionNotLeader
from quorate.client import Client, SessionLost
from quorate.client.errors import DeadlineExceeded
from quorate.client.recipes import Election


async def test_key_is_the_prefix_and_the_lease_in_hex_and_holds_what_the_leader_says(
    client: Client, prefix: bytes
) -> None:
    async with client.session() as session:
        election = Election(client, session, prefix)
        assert await election.leader() is None
        await election.campaign("one")
        leader = await election.leader()
        assert leader is not None
        assert (leader.key, leader.value, leader.lease) == (prefix + b"/%x" % session.lease, b"one", session.lease)
        assert leader.create_revision == election.token
        await election.proclaim("two")
        await election.campaign("three")  # again by the leader
        leader = await election.leader()
        assert leader is not None
        assert (leader.value, leader.version, leader.create_revision) == (b"three", 3, election.token)
        assert await client.txn().when(election.is_leader()).commit()
        await election.resign()
        assert await election.leader() is None and election.token == 0
        assert not await client.txn().when(election.is_leader()).commit()


async def test_who_does_not_lead_can_say_nothing_and_resigns_in_vain(client: Client, prefix: bytes) -> None:
    async with client.session() as session:
        election = Election(client, session, prefix)
        with pytest.raises(ElectionNotLeader):
            await election.proclaim("x")
        await election.resign()
        await election.campaign("one")
        await client.delete(election.key)
        with pytest.raises(ElectionNotLeader):
            await election.proclaim("x")
        assert await keys(client, prefix) == []


async def test_candidates_lead_one_after_the_other(client: Client, prefix: bytes) -> None:
    async with client.session() as a, client.session() as b:
        first, second = Election(client, a, prefix), Election(client, b, prefix)
        await first.campaign("first")
        waiting = asyncio.create_task(second.campaign("second"))
        await queued(client, prefix, 2)
        done, _ = await asyncio.wait({waiting}, timeout=SHORT)
        assert not done
        await first.resign()
        await waiting
        leader = await first.leader()
        assert leader is not None and leader.value == b"second"


async def test_a_campaign_that_fails_or_is_cancelled_leaves_no_candidate(client: Client, prefix: bytes) -> None:
    async with client.session() as a, client.session(ttl=3) as b:
        first, second = Election(client, a, prefix), Election(client, b, prefix)
        await first.campaign("first")
        with pytest.raises(DeadlineExceeded):
            await second.campaign("second", timeout=SHORT)
        assert await keys(client, prefix) == [first.key]
        waiting = asyncio.create_task(second.campaign("second"))
        await queued(client, prefix, 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await keys(client, prefix) == [first.key]
        waiting = asyncio.create_task(second.campaign("second"))
        await queued(client, prefix, 2)
        await client.revoke(b.lease)
        with pytest.raises(SessionLost):
            await waiting


async def test_an_observer_hears_each_word_of_each_leader(client: Client, prefix: bytes) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def observe(election: Election) -> None:
        async for kv in election.observe():
            heard.put_nowait(kv.value)

    async with client.session() as a, client.session() as b:
        first, second = Election(client, a, prefix), Election(client, b, prefix)
        observer = asyncio.create_task(observe(second))
        await first.campaign("1")
        assert await heard.get() == b"1"
        waiting = asyncio.create_task(second.campaign("2"))
        await queued(client, prefix, 2)
        await first.proclaim("1a")
        await first.proclaim("1b")
        assert [await heard.get(), await heard.get()] == [b"1a", b"1b"]
        await first.resign()
        assert await heard.get() == b"2"
        await waiting
        observer.cancel()
        async for kv in first.observe():
            assert kv.value == b"2"
            break
        with pytest.raises(DeadlineExceeded):
            async for kv in first.observe(timeout=SHORT):
                assert kv.value == b"2"


@pytest.mark.real
async def test_etcdctl_and_we_take_turns_as_leaders(client: Client, prefix: bytes, etcdctl: Etcdctl) -> None:
    name = prefix.decode()
    async with client.session() as a, client.session() as b:
        first, third = Election(client, a, prefix), Election(client, b, prefix)
        await first.campaign("first")
        async with etcdctl("elect", "--listen", name) as listener:
            assert (await listener.line(), await listener.line()) == (first.key, b"first")
            async with etcdctl("elect", name, "etcdctl") as command:
                said = asyncio.create_task(command.line())
                await queued(client, prefix, 2)
                waiting = asyncio.create_task(third.campaign("third"))
                await queued(client, prefix, 3)
                done, _ = await asyncio.wait({said, waiting}, timeout=SHORT)
                assert not done
                await first.resign()
                theirs = await said
                leader = await first.leader()
                assert leader is not None and (leader.key, leader.value) == (theirs, b"etcdctl")
                assert (await listener.line(), await listener.line()) == (theirs, b"etcdctl")
                assert not waiting.done()
            await waiting
            assert (await listener.line(), await listener.line()) == (third.key, b"third")
