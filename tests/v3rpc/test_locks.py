"""Locks on a cluster of one: who gets one when, and that no place is left behind by who went away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from v3rpc_support import Caller, until

from quorate.api import errors
from quorate.api.errors import Code
from quorate.transport.grpc import Status


@pytest.fixture
async def held(caller: Caller) -> Caller:
    """Lease 1 holds lock `l`; leases 2 to 9 are there."""
    await caller.grant(*range(1, 10))
    await caller.lock(b"l", 1)
    return caller


async def waiting(caller: Caller, lease: int, timeout: float = 10.0) -> asyncio.Task[Any]:
    """A call for lock `l` that has its place and waits."""
    before = caller.server.store.stream_count
    task = asyncio.create_task(caller.lock(b"l", lease, timeout))
    await until(lambda: caller.server.store.stream_count == before + 1)
    return task


def has(caller: Caller, key: bytes) -> bool:
    return caller.server.store.get(key) is not None


async def must_fail(task: asyncio.Task[Any], code: Code, text: str) -> None:
    with pytest.raises(Status) as caught:
        await task
    assert (caught.value.code, caught.value.message) == (code, text)


async def test_a_lock_goes_to_waiters_in_the_order_of_their_keys(held: Caller) -> None:
    tasks = [await waiting(held, lease) for lease in (7, 3, 5)]
    key = b"l/1"
    for number, task in enumerate(tasks):
        assert not any(later.done() for later in tasks[number:])
        await held.unlock(key)
        reply = await task
        key = reply.key
        assert reply.header.revision == held.server.store.revision
    assert key == b"l/5"
    await until(lambda: held.server.store.stream_count == 0)


async def test_a_release_wakes_one_waiter_only(held: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [await waiting(held, lease) for lease in range(2, 8)]
    woken = 0
    fresh = held.server.fresh

    async def counted() -> None:
        nonlocal woken
        woken += 1
        await fresh()

    monkeypatch.setattr(held.server, "fresh", counted)
    watch_stream = held.server.store.watch_stream
    opened: list[Any] = []
    monkeypatch.setattr(held.server.store, "watch_stream", lambda sink: opened.append(sink) or watch_stream(sink))
    await held.unlock(b"l/1")
    await tasks[0]
    assert (woken, len(opened)) == (1, 0)
    await held.call("Lease/LeaseRevoke", ID=3)  # who waits behind it moves up, and waits for lease 2
    await until(lambda: tasks[1].done())
    await held.unlock(b"l/2")
    assert (await tasks[2]).key == b"l/4"
    for task in tasks[3:]:
        task.cancel()


async def test_the_same_lease_gets_its_lock_again(held: Caller) -> None:
    revision = held.server.store.revision
    assert (await held.lock(b"l", 1)).key == b"l/1"
    assert held.server.store.revision == revision


async def test_a_caller_without_a_lease_gets_one_of_a_minute(caller: Caller) -> None:
    key = (await caller.lock(b"l")).key
    lease = int(key.removeprefix(b"l/"), 16)
    assert (await caller.call("Lease/LeaseTimeToLive", ID=lease)).grantedTTL == 60


async def test_a_lost_lease_ends_the_wait_at_once_and_others_wait_on(held: Caller) -> None:
    lost, behind = await waiting(held, 2), await waiting(held, 3)
    await held.call("Lease/LeaseRevoke", ID=2)
    await must_fail(lost, errors.MutexSessionExpired.code, errors.MutexSessionExpired.text)
    assert not behind.done()
    await held.unlock(b"l/1")
    assert (await behind).key == b"l/3"


async def test_a_key_made_anew_is_another_place(held: Caller) -> None:
    first = await waiting(held, 2)
    await waiting(held, 3)
    await held.unlock(b"l/2")
    await must_fail(first, errors.MutexSessionExpired.code, errors.MutexSessionExpired.text)
    again = await waiting(held, 2)
    await held.unlock(b"l/1")
    await until(lambda: not has(held, b"l/1"))
    assert not again.done()
    again.cancel()


async def test_a_place_deleted_and_made_anew_in_one_turn_is_lost(held: Caller) -> None:
    first = await waiting(held, 2)
    delete, put = {"request_delete_range": {"key": b"l/2"}}, {"request_put": {"key": b"l/2", "lease": 2}}
    # Sent together, so that both are applied before the waiter can look.
    await asyncio.gather(*(held.call("KV/Txn", success=[op]) for op in (delete, put)))
    await must_fail(first, errors.MutexSessionExpired.code, errors.MutexSessionExpired.text)


@pytest.mark.parametrize("how", ["cancelled", "past its deadline", "cut off"])
async def test_who_goes_away_leaves_no_place(held: Caller, how: str) -> None:
    task = await waiting(held, 2, timeout=0.3 if how == "past its deadline" else 10.0)
    assert has(held, b"l/2")
    if how == "cancelled":
        task.cancel()
    elif how == "cut off":
        await held.channel.close()
    await until(lambda: not has(held, b"l/2"))
    assert has(held, b"l/1")
    assert held.server.store.stream_count == 0
    with pytest.raises((Status, asyncio.CancelledError)):
        await task


async def test_who_goes_away_while_the_place_is_being_made_leaves_none(
    held: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()
    propose = held.server.propose

    async def held_up(*args: Any, **more: Any) -> Any:
        applied = await propose(*args, **more)
        await answered.wait()
        return applied

    monkeypatch.setattr(held.server, "propose", held_up)
    calls = {lease: asyncio.create_task(held.lock(b"l", lease)) for lease in (1, 2)}
    await until(lambda: has(held, b"l/2"))
    background = len(held.server._tasks)
    for task in calls.values():
        task.cancel()
    await until(lambda: len(held.server._tasks) == background + 2)
    answered.set()
    await until(lambda: not has(held, b"l/2"))
    await until(lambda: len(held.server._tasks) == background)
    assert has(held, b"l/1"), "held before the call, and still"


async def test_a_place_two_calls_wait_for_stays_until_both_are_gone(held: Caller) -> None:
    first, second = await waiting(held, 2), await waiting(held, 2)
    streams = held.server.store.stream_count
    first.cancel()
    await until(lambda: held.server.store.stream_count == streams - 1)
    third = await waiting(held, 2)
    second.cancel()
    await until(lambda: held.server.store.stream_count == streams - 1)
    await held.unlock(b"l/1")
    assert (await third).key == b"l/2"
    assert has(held, b"l/2")


async def test_a_place_that_one_call_was_given_is_not_taken_away_by_another(
    held: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    stopped = asyncio.Event()
    fresh = held.server.fresh

    async def second_hangs() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            return await fresh()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            stopped.set()

    tasks = [await waiting(held, 2) for _ in range(2)]
    monkeypatch.setattr(held.server, "fresh", second_hangs)
    await held.unlock(b"l/1")
    assert (await tasks[0]).key == b"l/2"
    spawned: list[Any] = []
    monkeypatch.setattr(held.server, "spawn", spawned.append)
    tasks[1].cancel()
    async with asyncio.timeout(10):
        await stopped.wait()
    assert not spawned and has(held, b"l/2")


async def test_a_write_guarded_by_the_key_of_a_lost_lock_fails(held: Caller) -> None:
    """A lock keeps nobody from writing who does not know yet that he has lost it; its create revision does."""
    created = (await held.call("KV/Range", key=b"l/1")).kvs[0].create_revision
    guarded = {
        "compare": [{"key": b"l/1", "target": "CREATE", "create_revision": created}],
        "success": [{"request_put": {"key": b"k", "value": b"v"}}],
    }
    assert (await held.call("KV/Txn", **guarded)).succeeded
    await held.call("Lease/LeaseRevoke", ID=1)
    assert not (await held.call("KV/Txn", **guarded)).succeeded
    await held.grant(1)
    await held.lock(b"l", 1)
    assert not (await held.call("KV/Txn", **guarded)).succeeded


async def test_a_place_that_cannot_be_given_up_is_tried_again(held: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.v3rpc.mutex.LEAVE_PAUSE", 0.01)
    task = await waiting(held, 2)
    propose = held.server.propose
    failures = [errors.Timeout(), errors.ProposalDropped()]

    async def unlucky(*args: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return await propose(*args, **more)

    monkeypatch.setattr(held.server, "propose", unlucky)
    task.cancel()
    await until(lambda: not has(held, b"l/2"))
    assert not failures


async def test_a_lock_is_not_given_by_a_store_that_may_lag(held: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed = asyncio.Event()
    asked = 0
    fresh = held.server.fresh

    async def slow() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise errors.LeaderChanged()
        if asked == 2:
            raise errors.Timeout()
        await confirmed.wait()
        await fresh()

    monkeypatch.setattr(held.server, "fresh", slow)
    task = await waiting(held, 2)
    await held.unlock(b"l/1")
    await until(lambda: asked == 3)
    assert not task.done()
    await held.call("Lease/LeaseRevoke", ID=2)
    confirmed.set()
    await must_fail(task, errors.MutexSessionExpired.code, errors.MutexSessionExpired.text)


async def test_errors_of_the_store_come_as_unknown_with_their_text(caller: Caller) -> None:
    for call, error in (
        (caller.lock(b"l", 77), errors.LeaseNotFound),
        (caller.unlock(b""), errors.EmptyKey),
        (caller.lock(b"x" * 1_600_000, 1), errors.RequestTooLarge),
    ):
        await must_fail(asyncio.ensure_future(call), Code.UNKNOWN, error.text)


async def test_waiters_end_with_the_member(held: Caller) -> None:
    """The key stays, so that the caller finds the place again wherever it asks next."""
    task = await waiting(held, 2)
    await held.member.stop()
    with pytest.raises(Status) as caught:
        await task
    assert caught.value.code is Code.UNAVAILABLE
