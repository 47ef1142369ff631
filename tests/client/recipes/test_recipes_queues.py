"""Barriers and queues, in the layouts of etcd's recipes."""

from __future__ import annotations

import asyncio

import pytest
from client_kit import SHORT, keys, queued

from quorate.client import Client, SessionLost
from quorate.client.errors import DeadlineExceeded
from quorate.client.recipes import Barrier, DoubleBarrier, KeyExists, PriorityQueue, Queue, TooManyClients


async def test_a_barrier_is_one_key_that_all_wait_for(client: Client, prefix: bytes) -> None:
    barrier = Barrier(client, prefix)
    await barrier.wait()  # nobody closed it
    await barrier.hold()
    assert await keys(client, prefix) == [prefix]
    with pytest.raises(KeyExists):
        await Barrier(client, prefix).hold()
    waiting = [asyncio.create_task(Barrier(client, prefix).wait()) for _ in range(3)]
    with pytest.raises(DeadlineExceeded):
        await barrier.wait(timeout=SHORT)
    assert not any(task.done() for task in waiting)
    await barrier.release()
    await asyncio.gather(*waiting)


async def test_a_double_barrier_lets_all_in_together_and_out_together(client: Client, prefix: bytes) -> None:
    inside = 0
    gates = [asyncio.Event() for _ in range(3)]

    async def visit(number: int) -> None:
        nonlocal inside
        async with client.session() as session:
            barrier = DoubleBarrier(client, session, prefix, 3)
            await barrier.enter()
            inside += 1
            await gates[number].wait()
            await barrier.leave()
            inside -= 1

    visits = [asyncio.create_task(visit(number)) for number in range(2)]
    await queued(client, prefix + b"/waiters/", 2)
    await asyncio.wait(visits, timeout=SHORT)
    assert inside == 0
    visits.append(asyncio.create_task(visit(2)))
    await queued(client, prefix, 4)
    names = await keys(client, prefix)
    assert names[3] == prefix + b"/ready"
    assert all(name.startswith(prefix + b"/waiters/") for name in names[:3])
    async with client.session() as session:
        with pytest.raises(TooManyClients):
            await DoubleBarrier(client, session, prefix, 3).enter()
    gates[0].set()
    gates[1].set()
    done, _ = await asyncio.wait(visits, timeout=SHORT)
    assert not done
    gates[2].set()
    await asyncio.gather(*visits)
    assert inside == 0 and await keys(client, prefix) == []


async def test_who_gives_up_at_a_double_barrier_has_not_come(client: Client, prefix: bytes) -> None:
    async with client.session(ttl=3) as session:
        barrier = DoubleBarrier(client, session, prefix, 2)
        with pytest.raises(DeadlineExceeded):
            await barrier.enter(timeout=SHORT)
        assert await keys(client, prefix) == []
        waiting = asyncio.create_task(barrier.enter())
        await queued(client, prefix, 1)
        await client.revoke(session.lease)
        with pytest.raises(SessionLost):
            await waiting


async def test_a_queue_gives_each_value_to_one_in_the_order_they_came(client: Client, prefix: bytes) -> None:
    queue = Queue(client, prefix)
    put = [await queue.enqueue(b"%d" % number) for number in range(5)]
    assert await keys(client, prefix) == put
    assert all(key.startswith(prefix + b"/") and key[len(prefix) + 1 :].isdigit() for key in put)
    await Queue(client, prefix + b"x").enqueue("of another")
    assert [await queue.dequeue() for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    with pytest.raises(DeadlineExceeded):
        await queue.dequeue(timeout=SHORT)
    takers = [asyncio.create_task(Queue(client, prefix).dequeue()) for _ in range(3)]
    for number in range(3):
        await queue.enqueue(b"late %d" % number)
    assert sorted(await asyncio.gather(*takers)) == [b"late 0", b"late 1", b"late 2"]
    assert await keys(client, prefix + b"/") == []


async def test_taking_at_the_same_time_takes_nothing_twice(client: Client, other: Client, prefix: bytes) -> None:
    values = {b"%d" % number for number in range(12)}

    async def take(through: Client) -> list[bytes]:
        return [await Queue(through, prefix).dequeue() for _ in range(4)]

    takers = [asyncio.create_task(take(through)) for through in (client, other, other)]
    await asyncio.gather(*(Queue(client, prefix).enqueue(value) for value in values))
    taken = [value for part in await asyncio.gather(*takers) for value in part]
    assert len(taken) == 12 and set(taken) == values


async def test_a_priority_queue_gives_the_lowest_number_first(client: Client, prefix: bytes) -> None:
    queue = PriorityQueue(client, prefix)
    put = [await queue.enqueue(value, priority) for value, priority in (("b0", 7), ("a0", 3), ("b1", 7), ("z", 65535))]
    assert put == [
        prefix + b"/00007/0000000000000000",
        prefix + b"/00003/0000000000000000",
        prefix + b"/00007/0000000000000001",
        prefix + b"/65535/0000000000000000",
    ]
    assert len(await keys(client, b"__" + prefix + b"/")) == 3
    with pytest.raises(ValueError, match="priority"):
        await queue.enqueue("x", 65536)
    assert [await queue.dequeue() for _ in range(4)] == [b"a0", b"b0", b"b1", b"z"]
    waiting = asyncio.create_task(queue.dequeue())
    await queue.enqueue("late", 9)
    assert await waiting == b"late"


async def test_numbers_of_one_priority_are_given_once(client: Client, other: Client, prefix: bytes) -> None:
    async def fill(through: Client) -> list[bytes]:
        return [await PriorityQueue(through, prefix).enqueue("x", 1) for _ in range(5)]

    put = [key for part in await asyncio.gather(fill(client), fill(other), fill(other)) for key in part]
    assert sorted(put) == [prefix + b"/00001/%016d" % number for number in range(15)]
