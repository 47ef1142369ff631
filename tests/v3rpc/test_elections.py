"""Elections on a cluster of one: campaigns, what leaders say, and who hears it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from v3rpc_support import Caller, until

from quorate.api import errors
from quorate.api.pb import election_pb2, rpc_pb2
from quorate.transport.grpc import ClientStream, Status


@pytest.fixture
async def leases(caller: Caller) -> Caller:
    await caller.grant(1, 2, 3)
    return caller


async def candidate(caller: Caller, lease: int, value: bytes) -> asyncio.Task[Any]:
    """A campaign for `e` that waits."""
    before = caller.server.store.stream_count
    task = asyncio.create_task(caller.election("Campaign", name=b"e", lease=lease, value=value))
    await until(lambda: caller.server.store.stream_count == before + 1)
    return task


async def fails(error: type[errors.EtcdError], call: Any) -> None:
    with pytest.raises(Status) as caught:
        await call
    assert (caught.value.code, caught.value.message) == (error.code, error.text)


async def told(stream: ClientStream) -> tuple[bytes, bytes, int]:
    """Key and value of the next leader that an observer hears of, and the revision in the header."""
    async with asyncio.timeout(10):
        body = await stream.receive()
    assert body is not None
    reply = election_pb2.LeaderResponse.FromString(body)
    return reply.kv.key, reply.kv.value, reply.header.revision


async def test_the_next_candidate_leads_when_the_leader_resigns(leases: Caller) -> None:
    first = (await leases.election("Campaign", name=b"e", lease=1, value=b"one")).leader
    task = await candidate(leases, 2, b"two")
    reply = await leases.election("Leader", name=b"e")
    assert (reply.kv.key, reply.kv.value, reply.kv.lease) == (b"e/1", b"one", 1)
    await leases.election("Resign", leader=first)
    made = leases.server.store.revision - 1
    reply = await task
    assert (reply.leader.name, reply.leader.key, reply.leader.rev, reply.leader.lease) == (b"e", b"e/2", made, 2)
    assert reply.header.revision == made, "that of the key, however long it took"
    assert (await leases.election("Leader", name=b"e")).kv.value == b"two"


async def test_who_came_first_leads_whatever_its_key(leases: Caller) -> None:
    await leases.election("Campaign", name=b"e", lease=3, value=b"three")
    for key in (b"e/0", b"e/1", b"e/2"):
        await leases.call("KV/Put", key=key)
    assert (await leases.election("Leader", name=b"e")).kv.value == b"three"
    assert (await told(leases.observe(b"e")))[1] == b"three"


async def test_a_leader_may_say_something_else(leases: Caller) -> None:
    leader = (await leases.election("Campaign", name=b"e", lease=1, value=b"one")).leader
    again = await leases.election("Campaign", name=b"e", lease=1, value=b"two")
    assert again.leader == leader
    assert (await leases.election("Leader", name=b"e")).kv.value == b"two"
    reply = await leases.election("Proclaim", leader=leader, value=b"three")
    assert reply.header.revision == leases.server.store.revision
    assert (await leases.election("Leader", name=b"e")).kv.value == b"three"


async def test_only_the_leader_proclaims_and_resigns(leases: Caller) -> None:
    leader = (await leases.election("Campaign", name=b"e", lease=1, value=b"one")).leader
    leader.rev -= 1
    await fails(errors.ElectionNotLeader, leases.election("Proclaim", leader=leader, value=b"x"))
    await leases.election("Resign", leader=leader)
    assert (await leases.election("Leader", name=b"e")).kv.value == b"one"
    await fails(errors.ElectionLeaderMissing, leases.election("Proclaim", value=b"x"))
    await fails(errors.ElectionLeaderMissing, leases.election("Resign"))
    await fails(errors.ElectionNoLeader, leases.election("Leader", name=b"other"))


async def test_a_candidate_without_its_lease_does_not_lead(leases: Caller) -> None:
    first = (await leases.election("Campaign", name=b"e", lease=1, value=b"one")).leader
    lost, behind = await candidate(leases, 2, b"two"), await candidate(leases, 3, b"three")
    await leases.call("Lease/LeaseRevoke", ID=2)
    await fails(errors.ElectionNotLeader, lost)
    await leases.election("Resign", leader=first)
    assert (await behind).leader.key == b"e/3"


async def test_a_candidate_that_goes_away_leaves_no_key(leases: Caller) -> None:
    await leases.election("Campaign", name=b"e", lease=1, value=b"one")
    task = await candidate(leases, 2, b"two")
    task.cancel()
    await until(lambda: leases.server.store.get(b"e/2") is None)
    assert leases.server.store.stream_count == 0


async def test_who_cannot_change_its_word_does_not_stay_a_leader_unawares(
    leases: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await leases.election("Campaign", name=b"e", lease=1, value=b"one")
    check_quota = leases.server.check_quota
    asked = 0

    def full(request: Any) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:  # the first is for the place
            raise errors.NoSpace()
        check_quota(request)

    monkeypatch.setattr(leases.server, "check_quota", full)
    with pytest.raises(Status) as caught:
        await leases.election("Campaign", name=b"e", lease=1, value=b"two")
    assert caught.value.message == errors.NoSpace.text
    await until(lambda: leases.server.store.get(b"e/1") is None)


async def test_an_observer_hears_every_word_of_every_leader(leases: Caller) -> None:
    early = leases.observe(b"e")
    await until(lambda: leases.server.store.stream_count == 1)
    await leases.call("KV/Put", key=b"e", value=b"not in this election")
    first = (await leases.election("Campaign", name=b"e", lease=1, value=b"1")).leader
    assert await told(early) == (b"e/1", b"1", first.rev)
    await leases.call("KV/Put", key=b"x")
    late = leases.observe(b"e")
    assert await told(late) == (b"e/1", b"1", first.rev + 1)
    task = await candidate(leases, 2, b"2")
    for value in (b"1a", b"1b"):
        await leases.election("Proclaim", leader=first, value=value)
    await leases.election("Resign", leader=first)
    second = (await task).leader
    for stream in (early, late):
        assert [(await told(stream))[:2] for _ in range(3)] == [(b"e/1", b"1a"), (b"e/1", b"1b"), (b"e/2", b"2")]
    await leases.election("Resign", leader=second)
    await leases.call("KV/Txn", success=[{"request_put": {"key": b"e/z%d" % n, "value": b"z"}} for n in (1, 2)])
    for stream in (early, late):
        assert (await told(stream))[:2] == (b"e/z1", b"z")
        stream.cancel()
    await until(lambda: leases.server.store.stream_count == 0)


async def test_an_observer_that_waits_hears_what_follows_the_first_word_at_once(leases: Caller) -> None:
    stream = leases.observe(b"e")
    await until(lambda: leases.server.store.stream_count == 1)
    # Sent together, so that all are applied before the observer can look.
    await asyncio.gather(*(leases.call("KV/Put", key=b"e/1", value=b"%d" % number) for number in range(3)))
    assert [(await told(stream))[:2] for _ in range(3)] == [(b"e/1", b"0"), (b"e/1", b"1"), (b"e/1", b"2")]


async def test_an_observer_that_missed_words_hears_the_present_one(
    leases: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = (await leases.election("Campaign", name=b"e", lease=1, value=b"1")).leader
    stream = leases.observe(b"e")
    assert (await told(stream))[1] == b"1"
    await until(lambda: leases.server.store.stream_count == 1)
    monkeypatch.setattr("quorate.v3rpc.election.MAX_BATCHES", 0)
    for number in range(2, 6):
        await leases.election("Proclaim", leader=leader, value=b"%d" % number)
    await leases.server.compact(rpc_pb2.CompactionRequest(revision=leases.server.store.revision))
    monkeypatch.setattr("quorate.v3rpc.election.MAX_BATCHES", 8)
    assert [(await told(stream))[1] for _ in range(2)] == [b"2", b"5"]
    await leases.election("Proclaim", leader=leader, value=b"6")
    assert (await told(stream))[1] == b"6"


async def test_an_observer_is_told_that_no_more_will_come(leases: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused() -> None:
        raise errors.Timeout()

    monkeypatch.setattr(leases.server, "fresh", refused)
    await fails(errors.ElectionObserveClosed, leases.observe(b"e").receive())
