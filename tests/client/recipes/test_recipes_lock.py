"""Locks, alone, among each other, and with etcdctl on the other side."""

from __future__ import annotations

import asyncio

import pytest
from client_kit import SHORT, Etcdctl, keys, queued

from quorate.client import Client, SessionLost, ops
from quorate.client.errors import DeadlineExceeded
from quorate.client.recipes import Lock, RWLock


async def test_key_is_the_prefix_and_the_lease_in_hex_and_holds_nothing(client: Client, prefix: bytes) -> None:
    async with client.session() as session, Lock(client, session, prefix) as lock:
        kv = (await client.get(lock.key)).kv
        assert kv is not None
        assert (kv.key, kv.value, kv.lease) == (prefix + b"/%x" % session.lease, b"", session.lease)
        assert lock.token == kv.create_revision
        await lock.acquire()  # again by its holder
        assert lock.token == kv.create_revision
    assert lock.token == 0
    assert await keys(client, prefix) == []


async def test_lockers_come_in_the_order_of_the_queue(client: Client, prefix: bytes) -> None:
    order: list[int] = []

    async def hold(number: int) -> None:
        async with client.session() as session, Lock(client, session, prefix) as lock:
            order.append(number)
            assert (await keys(client, prefix))[0] == lock.key

    async with client.session() as session:
        first = Lock(client, session, prefix)
        await first.acquire()
        waiting = []
        for number in range(4):
            waiting.append(asyncio.create_task(hold(number)))
            await queued(client, prefix, number + 2)
        assert order == []
        await first.release()
        await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3]


async def test_a_counter_guarded_by_five_lockers_loses_no_count(client: Client, other: Client, prefix: bytes) -> None:
    inside = 0
    tokens: list[int] = []
    counter = prefix + b"-count"

    async def count(through: Client, rounds: int) -> None:
        nonlocal inside
        async with through.session() as session:
            for _ in range(rounds):
                async with Lock(through, session, prefix) as lock:
                    inside += 1
                    assert inside == 1
                    tokens.append(lock.token)
                    value = int((await through.get(counter)).value or b"0")
                    put = ops.put(counter, str(value + 1))
                    assert await through.txn().when(lock.is_owner()).then(put).commit()
                    inside -= 1

    await asyncio.gather(*(count(through, 4) for through in (client, client, other, other, other)))
    assert (await client.get(counter)).value == b"20"
    assert tokens == sorted(set(tokens))


async def test_try_acquire_leaves_no_key_behind_where_another_holds(client: Client, prefix: bytes) -> None:
    async with client.session() as mine, client.session() as yours:
        lock, late = Lock(client, mine, prefix), Lock(client, yours, prefix)
        assert await lock.try_acquire()
        assert not await late.try_acquire()
        assert late.token == 0
        assert await keys(client, prefix) == [lock.key]
        assert not await client.txn().when(late.is_owner()).commit()
        await lock.release()
        assert not await client.txn().when(lock.is_owner()).commit()
        assert await late.try_acquire()


async def test_a_wait_that_times_out_leaves_no_key_behind(client: Client, prefix: bytes) -> None:
    async with client.session() as mine, client.session() as yours, Lock(client, mine, prefix) as lock:
        late = Lock(client, yours, prefix)
        with pytest.raises(DeadlineExceeded):
            await late.acquire(timeout=SHORT)
        assert await keys(client, prefix) == [lock.key]
        assert late.token == 0
        await lock.release()
        await late.acquire()
        assert late.token > 0


@pytest.mark.parametrize("after", [0.0, 0.001, None])
async def test_a_cancelled_wait_leaves_no_key_behind(client: Client, prefix: bytes, after: float | None) -> None:
    """Cancelled before anything was sent, while it was under way, and in the queue."""
    async with client.session() as mine, client.session() as yours, Lock(client, mine, prefix) as lock:
        waiting = asyncio.create_task(Lock(client, yours, prefix).acquire())
        if after is None:
            await queued(client, prefix, 2)
        else:
            await asyncio.sleep(after)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await keys(client, prefix) == [lock.key]


async def test_a_lock_that_is_released_in_the_middle_of_the_queue_passes_nobody(client: Client, prefix: bytes) -> None:
    async with client.session() as a, client.session() as b, client.session() as c:
        first, third = Lock(client, a, prefix), Lock(client, c, prefix)
        await first.acquire()
        middle = asyncio.create_task(Lock(client, b, prefix).acquire())
        await queued(client, prefix, 2)
        last = asyncio.create_task(third.acquire())
        await queued(client, prefix, 3)
        middle.cancel()
        await queued(client, prefix, 2)
        await client.put(prefix + b"-any", b"")
        done, _ = await asyncio.wait({last}, timeout=SHORT)
        assert not done
        await first.release()
        await last
        assert (await keys(client, prefix + b"/")) == [third.key]


async def test_a_session_that_is_killed_ends_the_wait_with_session_lost(client: Client, prefix: bytes) -> None:
    async with client.session(ttl=3) as mine, client.session(ttl=3) as yours, Lock(client, mine, prefix):
        waiting = asyncio.create_task(Lock(client, yours, prefix).acquire())
        await queued(client, prefix, 2)
        await client.revoke(yours.lease)
        with pytest.raises(SessionLost):
            await waiting
        with pytest.raises(SessionLost):
            await Lock(client, yours, prefix).acquire()


async def test_who_lost_the_session_is_told_so_when_its_turn_would_come(client: Client, prefix: bytes) -> None:
    async with client.session() as mine, client.session(ttl=600) as yours:
        lock = Lock(client, mine, prefix)
        await lock.acquire()
        waiting = asyncio.create_task(Lock(client, yours, prefix).acquire())
        await queued(client, prefix, 2)
        await client.revoke(yours.lease)  # the next renewal would be in 200 s
        await lock.release()
        with pytest.raises(SessionLost):
            await waiting


async def test_a_holder_whose_session_is_killed_owns_nothing_and_the_next_one_has_a_greater_token(
    client: Client, prefix: bytes
) -> None:
    async with client.session(ttl=3) as mine, client.session() as yours:
        lock, late = Lock(client, mine, prefix), Lock(client, yours, prefix)
        await lock.acquire()
        waiting = asyncio.create_task(late.acquire())
        await queued(client, prefix, 2)
        await client.revoke(mine.lease)
        await waiting
        guarded = ops.put(prefix + b"-x", b"late")
        assert not await client.txn().when(lock.is_owner()).then(guarded).commit()
        assert await client.txn().when(late.is_owner()).then(guarded).commit()
        assert late.token > lock.token > 0
        assert await mine.lost.wait(10)


async def test_an_error_in_the_block_is_the_one_that_is_raised(client: Client, prefix: bytes) -> None:
    async with client.session() as session:
        with pytest.raises(ZeroDivisionError):
            async with Lock(client, session, prefix):
                raise ZeroDivisionError
    assert await keys(client, prefix) == []


@pytest.mark.real
async def test_etcdctl_waits_for_a_lock_of_ours(client: Client, prefix: bytes, etcdctl: Etcdctl) -> None:
    async with client.session() as session:
        lock = Lock(client, session, prefix)
        await lock.acquire()
        async with etcdctl("lock", prefix.decode()) as command:
            said = asyncio.create_task(command.line())
            await queued(client, prefix, 2)
            done, _ = await asyncio.wait({said}, timeout=SHORT)
            assert not done
            await lock.release()
            assert await said == (await keys(client, prefix))[0]
        assert await keys(client, prefix) == []


@pytest.mark.real
async def test_we_wait_for_a_lock_of_etcdctl(client: Client, prefix: bytes, etcdctl: Etcdctl) -> None:
    async with client.session() as session:
        lock = Lock(client, session, prefix)
        async with etcdctl("lock", prefix.decode()) as command:
            theirs = await command.line()
            assert not await lock.try_acquire()
            waiting = asyncio.create_task(lock.acquire())
            await queued(client, prefix, 2)
            assert (await keys(client, prefix)) == [theirs, lock.key]
            assert not waiting.done()
        await waiting
        assert await keys(client, prefix) == [lock.key]


async def test_readers_share_and_writers_are_alone(client: Client, prefix: bytes) -> None:
    async with client.session() as a, client.session() as b, client.session() as c:
        first, second = RWLock(client, a, prefix).read(), RWLock(client, b, prefix).read()
        await first.acquire()
        await second.acquire()
        assert first.key.startswith(prefix + b"/read/") and first.key.rpartition(b"/")[2].isdigit()
        writer = RWLock(client, c, prefix).write()
        writing = asyncio.create_task(writer.acquire())
        await queued(client, prefix, 3)
        assert (await keys(client, prefix))[2].startswith(prefix + b"/write/")
        late = RWLock(client, a, prefix).read()
        reading = asyncio.create_task(late.acquire())
        await queued(client, prefix, 4)
        await second.release()
        done, _ = await asyncio.wait({writing, reading}, timeout=SHORT)
        assert not done  # the writer waits for the first reader, the late reader for the writer
        await first.release()
        await writing
        assert not reading.done() and writer.token > 0
        await writer.release()
        await reading
        assert await client.txn().when(late.is_owner()).commit()
        assert await keys(client, prefix) == [late.key]


async def test_a_writer_that_gives_up_lets_the_readers_behind_it_in(client: Client, prefix: bytes) -> None:
    async with client.session() as session:
        locks = RWLock(client, session, prefix)
        async with locks.read():
            writing = asyncio.create_task(locks.write().acquire())
            await queued(client, prefix, 2)
            late = locks.read()
            reading = asyncio.create_task(late.acquire())
            await queued(client, prefix, 3)
            writing.cancel()
            await reading
            assert len(await keys(client, prefix)) == 2
