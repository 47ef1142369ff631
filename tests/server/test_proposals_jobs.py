"""Who waits for which entry, and long jobs in bites."""

import asyncio
from collections.abc import Generator

import pytest

from quorate.api import errors
from quorate.apply import Applied
from quorate.server.compactor import AutoCompactor
from quorate.server.jobs import Jobs
from quorate.server.proposals import Proposals

DONE = Applied(5)


async def test_a_result_reaches_its_waiter_once() -> None:
    proposals = Proposals(asyncio.get_running_loop(), 7.0)
    future = proposals.add(b"a", "put", None)
    assert proposals.take(b"b") is None
    proposal = proposals.take(b"a")
    assert proposal is not None and proposal.kind == "put"
    proposal.resolve(DONE)
    proposal.resolve(Applied(6))
    assert await future == DONE
    assert len(proposals) == 0


async def test_an_error_is_a_result() -> None:
    proposals = Proposals(asyncio.get_running_loop(), 7.0)
    future = proposals.add(b"a", "put", None)
    proposals.take(b"a").resolve(errors.LeaseNotFound())  # type: ignore[union-attr]
    with pytest.raises(errors.LeaseNotFound):
        await future


async def test_a_waiter_that_left_is_no_trouble() -> None:
    proposals = Proposals(asyncio.get_running_loop(), 7.0)
    assert proposals.add(b"a", "put", None).cancel()
    proposals.take(b"a").resolve(DONE)  # type: ignore[union-attr]


async def test_only_what_waited_its_time_expires() -> None:
    loop = asyncio.get_running_loop()
    proposals = Proposals(loop, 7.0)
    future = proposals.add(b"a", "put", None)
    proposals.expire(loop.time() + 6.9, lambda data, proposal: errors.Timeout())
    assert not future.done()
    proposals.expire(loop.time() + 7.1, lambda data, proposal: errors.Timeout())
    with pytest.raises(errors.Timeout):
        await future


async def test_results_that_are_waited_for_together_keep_their_order() -> None:
    proposals = Proposals(asyncio.get_running_loop(), 7.0)
    answer = proposals.add_all([b"a", b"b"], "put", [1, 2]).answer
    first, second = proposals.take(b"a"), proposals.take(b"b")
    assert first is not None and second is not None and (first.request, second.request) == (1, 2)
    failed = errors.LeaseNotFound()
    second.resolve(failed)
    second.resolve(DONE)
    assert not answer.done()
    first.resolve(DONE)
    assert await answer == [DONE, failed]


async def test_proposals_waited_for_together_expire_and_are_given_up_together() -> None:
    loop = asyncio.get_running_loop()
    proposals = Proposals(loop, 7.0)
    answer = proposals.add_all([b"a", b"b"], "put", [1, 2]).answer
    assert proposals.pending == 2
    proposals.expire(loop.time() + 7.1, lambda data, proposal: errors.Timeout())
    assert [type(result) for result in await answer] == [errors.Timeout, errors.Timeout]
    assert (proposals.failed, len(proposals)) == (2, 0)
    proposals.given_up(proposals.add_all([b"c", b"d"], "put", [1, 2]).answer, 2)
    assert (proposals.failed, proposals.pending, len(proposals)) == (4, 0, 2)


async def test_jobs_run_one_after_the_other_and_give_their_result() -> None:
    failures: list[BaseException] = []
    jobs = Jobs(asyncio.get_running_loop(), failures.append)
    order: list[str] = []

    def job(name: str, bites: int) -> Generator[None, None, str]:
        for bite in range(bites):
            order.append(f"{name}{bite}")
            yield
        return name

    first, second = jobs.submit(job("a", 2)), jobs.submit(job("b", 1))
    await jobs.idle()
    assert (await first, await second) == ("a", "b")
    assert order == ["a0", "a1", "b0"]
    assert not failures


async def test_a_job_is_given_up_when_nobody_waits_for_it_any_more() -> None:
    jobs = Jobs(asyncio.get_running_loop(), lambda error: None)
    order: list[str] = []

    def job(name: str) -> Generator[None, None, None]:
        try:
            for _ in range(100):
                order.append(name)
                yield
        finally:
            order.append("end")

    first, waiting, last = [jobs.submit(job(name), 0.0) for name in "abc"]
    while not order:  # noqa: ASYNC110
        await asyncio.sleep(0)
    first.cancel()
    waiting.cancel()
    await last
    assert order == ["a", "end", *["c"] * 100, "end"]


async def test_a_job_that_breaks_is_reported() -> None:
    failures: list[BaseException] = []
    failed = asyncio.Event()

    def fail(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    def job() -> Generator[None, None, None]:
        yield
        raise RuntimeError("broken row")

    Jobs(asyncio.get_running_loop(), fail).submit(job())
    await asyncio.wait_for(failed.wait(), 5)
    assert str(failures[0]) == "broken row"


async def test_periodic_compaction_goes_to_the_revision_that_is_old_enough() -> None:
    compacted: list[int] = []
    revision = 0
    enough = asyncio.Event()

    def read_revision() -> int:
        nonlocal revision
        revision += 10
        return revision

    async def compact(target: int) -> None:
        compacted.append(target)
        if len(compacted) == 2:
            enough.set()

    compactor = AutoCompactor("periodic", 0.05, read_revision, compact, lambda: True)
    task = asyncio.ensure_future(compactor.run())
    await asyncio.wait_for(enough.wait(), 10)
    task.cancel()
    # Ten samples a period: the first compaction is to the first sample, the next a period later.
    assert compacted[:2] == [10, 110]


async def test_a_member_that_does_not_lead_compacts_nothing() -> None:
    looks = 0
    looked = asyncio.Event()

    def leading() -> bool:
        nonlocal looks
        looks += 1
        looked.set()
        return False

    async def compact(target: int) -> None:
        raise AssertionError("compacted without leading")

    task = asyncio.ensure_future(AutoCompactor("periodic", 0.02, lambda: 5, compact, leading).run())
    await asyncio.wait_for(looked.wait(), 10)
    task.cancel()
