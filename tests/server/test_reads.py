"""Linearizable reads: rounds, and who may ride on which."""

import asyncio
from collections.abc import Callable

import pytest

from quorate.api import errors
from quorate.server.reads import RETRY_INTERVAL, Reads
from quorate.server.slow import SlowRequests


class Raft:
    """Records the rounds that are asked for; answers when told to."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.pokes = 0

    def poke(self) -> None:
        self.pokes += 1


def make(raft: Raft, timeout: float = 7.0) -> Reads:
    numbers = iter(range(1, 100))
    return Reads(
        asyncio.get_running_loop(), timeout, lambda: next(numbers), raft.asked.append, raft.poke, SlowRequests(1.0)
    )


async def test_all_readers_of_a_turn_share_one_round() -> None:
    raft = Raft()
    reads = make(raft)
    waiting = [reads.barrier() for _ in range(100)]
    assert raft.pokes == 1
    reads.begin()
    assert len(raft.asked) == 1
    reads.confirmed(raft.asked[0], 5, 5)
    await asyncio.gather(*waiting)


async def test_a_reader_that_comes_during_a_round_waits_for_the_next() -> None:
    raft = Raft()
    reads = make(raft)
    first = reads.barrier()
    reads.begin()
    second = reads.barrier()
    reads.confirmed(raft.asked[0], 5, 5)
    assert first.done() and not second.done()
    reads.begin()
    reads.confirmed(raft.asked[1], 6, 6)
    assert second.done()


async def test_a_confirmed_round_waits_until_its_index_is_applied() -> None:
    raft = Raft()
    reads = make(raft)
    reader = reads.barrier()
    reads.begin()
    reads.confirmed(raft.asked[0], 9, 7)
    assert not reader.done()
    reads.applied(8)
    assert not reader.done()
    reads.applied(9)
    assert reader.done()


async def test_an_answer_to_another_round_is_ignored() -> None:
    raft = Raft()
    reads = make(raft)
    reader = reads.barrier()
    reads.begin()
    reads.confirmed(b"stranger", 1, 10)
    assert not reader.done()


async def test_an_unanswered_round_is_asked_for_again_and_given_up_in_the_end() -> None:
    raft = Raft()
    reads = make(raft, timeout=2.0)
    reader = reads.barrier()
    reads.begin()
    began = asyncio.get_running_loop().time()
    reads.tick(began + RETRY_INTERVAL / 2)
    assert len(raft.asked) == 1
    reads.tick(began + RETRY_INTERVAL + 0.01)
    assert raft.asked == [raft.asked[0]] * 2
    reads.tick(began + 2.1)
    with pytest.raises(errors.Timeout):
        await reader


@pytest.mark.parametrize("error", [errors.Stopped, errors.LeaderChanged])
async def test_a_failure_reaches_those_who_wait_and_those_who_ride(error: Callable[[], errors.EtcdError]) -> None:
    raft = Raft()
    reads = make(raft)
    riding = reads.barrier()
    reads.begin()
    waiting = reads.barrier()
    reads.fail(error)
    for reader in (riding, waiting):
        with pytest.raises(type(error())):
            await reader
    reader = reads.barrier()
    reads.begin()
    reads.confirmed(raft.asked[-1], 1, 1)
    await reader
