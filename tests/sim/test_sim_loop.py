"""The event loop of one simulated process, and the time that all of them share."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from quorate.testing.sim.clock import EPOCH, UPTIME
from quorate.testing.sim.disk import Crashed
from quorate.testing.sim.loop import ROUNDS, TURN_SECONDS, MemberLoop
from quorate.testing.sim.scheduler import STALE_TIMERS, Scheduler
from quorate.testing.sim.trace import Trace


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(Trace())
    yield scheduler
    scheduler.close()


@pytest.fixture
def member(scheduler: Scheduler) -> MemberLoop:
    return scheduler.member("m1")


def test_what_is_due_runs_by_time_and_then_in_the_order_it_was_asked_for(
    scheduler: Scheduler, member: MemberLoop
) -> None:
    ran: list[str] = []
    member.call_later(2, ran.append, "late")
    for name in "abc":
        member.call_later(1, ran.append, name)
    member.call_soon(ran.append, "soon")
    scheduler.run_for(1.5)
    assert ran == ["soon", "a", "b", "c"]
    scheduler.run_for(1)
    assert ran[-1] == "late"
    assert scheduler.now == 2.5


def test_what_a_turn_makes_ready_runs_in_it_a_few_times_and_then_in_the_next(
    scheduler: Scheduler, member: MemberLoop
) -> None:
    seen: list[float] = []

    def again() -> None:
        seen.append(scheduler.now)
        if len(seen) < 2 * ROUNDS + 1:
            member.call_soon(again)

    member.call_soon(again)
    scheduler.run_for(1)
    assert seen == pytest.approx([*[0] * ROUNDS, *[TURN_SECONDS] * ROUNDS, 2 * TURN_SECONDS])


def test_asyncio_works_as_on_any_loop_and_takes_no_real_time(scheduler: Scheduler, member: MemberLoop) -> None:
    async def work() -> list[object]:
        loop = asyncio.get_running_loop()
        assert loop is member
        task = asyncio.current_task()
        assert task is not None and task.get_loop() is member
        began = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await loop.create_future()
        quick = asyncio.create_task(asyncio.sleep(1, "quick"))
        slow = asyncio.create_task(asyncio.sleep(5, "slow"))
        done, pending = await asyncio.wait({slow, quick}, return_when=asyncio.FIRST_COMPLETED)
        assert done == {quick} and pending == {slow}
        found = await asyncio.gather(quick, slow, loop.run_in_executor(None, pow, 2, 10))
        queue: asyncio.Queue[int] = asyncio.Queue()
        loop.call_later(1, queue.put_nowait, 7)
        return [*found, await queue.get(), round(loop.time() - began, 1)]

    began = time.perf_counter()
    assert scheduler.run(member, work(), limit=10_000) == ["quick", "slow", 1024, 7, 3606.0]
    assert time.perf_counter() - began < 2


def test_each_member_has_a_loop_of_its_own(scheduler: Scheduler, member: MemberLoop) -> None:
    other = scheduler.member("m2")
    seen: list[tuple[str, bool]] = []

    async def look(loop: MemberLoop) -> None:
        for _ in range(3):
            seen.append((loop.name, asyncio.get_running_loop() is loop))
            await asyncio.sleep(1)

    member.create_task(look(member))
    other.create_task(look(other))
    scheduler.run_for(5)
    assert seen == [("m1", True), ("m2", True)] * 3
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_a_set_of_tasks_is_gone_through_in_the_same_order_in_every_run(member: MemberLoop) -> None:
    tasks = [member.create_task(asyncio.sleep(1)) for _ in range(50)]
    assert [hash(task) for task in tasks] == list(range(hash(tasks[0]), hash(tasks[0]) + 50))


def test_a_paused_member_does_nothing_and_catches_up_when_it_goes_on(scheduler: Scheduler, member: MemberLoop) -> None:
    ran: list[float] = []
    for delay in (1, 2, 3):
        member.call_later(delay, lambda: ran.append(member.time() - UPTIME))
    member.pause()
    scheduler.run_for(2.5)
    assert ran == []
    member.resume()
    scheduler.run_for(5)
    assert ran == pytest.approx([2.5, 2.5, 3])


def test_a_crash_ends_everything_at_once_and_no_finally_has_an_effect(scheduler: Scheduler, member: MemberLoop) -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(2)
        finally:
            told.append("finally")
            asyncio.get_running_loop().call_soon(told.append, "effect")

    async def nested() -> None:
        await asyncio.gather(work(), work())

    member.create_task(nested())
    member.call_later(2, told.append, "timer")
    scheduler.run_for(1)
    member.crash()
    gc.collect()
    scheduler.run_for(5)
    gc.collect()
    assert told == [] and member.is_closed()
    assert scheduler.errors == []
    scheduler.close()
    assert "effect" not in told and "timer" not in told


def test_code_that_crashes_its_own_member_goes_no_further(scheduler: Scheduler, member: MemberLoop) -> None:
    told: list[str] = []

    async def work() -> None:
        member.call_soon(told.append, "next")
        member.crash()
        raise Crashed

    member.call_later(1, told.append, "timer")
    with pytest.raises(Crashed):
        scheduler.run(member, work())
    scheduler.run_for(3)
    assert told == [] and scheduler.errors == []
    again = scheduler.member("m1")
    again.call_soon(told.append, "restarted")
    scheduler.run_for(1)
    assert told == ["restarted"]


def test_a_clock_may_run_fast_and_leap_and_timers_follow_it(scheduler: Scheduler, member: MemberLoop) -> None:
    ran: list[float] = []

    def note() -> None:
        ran.append(round(scheduler.now, 3))

    member.set_clock_rate(2)
    member.call_later(10, note)
    member.call_later(30, note)
    scheduler.run_for(6)
    assert ran == [5]
    member.leap(10)
    scheduler.run_for(6)
    assert ran == [5, 10]
    assert member.time() == pytest.approx(UPTIME + 2 * 12 + 10)


def test_a_restart_keeps_the_clocks_of_the_machine(scheduler: Scheduler, member: MemberLoop) -> None:
    member.leap(100)
    member.crash()
    scheduler.run_for(1)
    assert scheduler.member("m1").time() == pytest.approx(UPTIME + 101)


def test_the_time_module_shows_the_clocks_of_the_member_that_asks(scheduler: Scheduler, member: MemberLoop) -> None:
    other = scheduler.member("m2")
    other.clock.wall_offset = -3600
    real = time.time

    async def look() -> tuple[float, float, float, int]:
        time.sleep(100)  # noqa: ASYNC251
        return time.time(), time.monotonic(), time.perf_counter(), time.gmtime().tm_year

    scheduler.run_for(10)
    assert scheduler.run(member, look()) == pytest.approx((EPOCH + 10, UPTIME + 10, UPTIME + 10, 2026), abs=0.01)
    assert scheduler.run(other, look())[0] == pytest.approx(EPOCH + 10 - 3600, abs=0.01)
    assert time.time is real


def test_code_that_blocks_holds_up_its_own_loop_and_sees_the_time_go_by(
    scheduler: Scheduler, member: MemberLoop
) -> None:
    other = scheduler.member("m2")
    seen: dict[str, float] = {}

    def work() -> None:
        began = time.perf_counter()
        member.block(0.5)
        seen["took"] = time.perf_counter() - began

    member.call_soon(work)
    for loop in (member, other):
        loop.call_later(0.1, lambda loop=loop: seen.update({loop.name: scheduler.now}))
    scheduler.run_for(2)
    assert seen["took"] == pytest.approx(0.5)
    assert seen["m2"] == pytest.approx(0.1) and seen["m1"] == pytest.approx(0.5, abs=0.001)


def test_work_for_an_executor_is_done_when_its_time_has_come(scheduler: Scheduler, member: MemberLoop) -> None:
    member.executor_delay = 3

    def fail() -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        raise ValueError("no")

    async def work() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(ValueError, match="no"):
            await asyncio.get_running_loop().run_in_executor(None, fail)
        return asyncio.get_running_loop().time() - began

    assert scheduler.run(member, work()) == pytest.approx(3, abs=0.001)


def test_an_error_that_nobody_caught_is_written_down(scheduler: Scheduler, member: MemberLoop) -> None:
    member.call_soon(lambda: 1 // 0)
    scheduler.run_for(1)
    assert [(name, type(context["exception"])) for _, name, context in scheduler.errors] == [("m1", ZeroDivisionError)]
    handled: list[object] = []
    member.set_exception_handler(lambda loop, context: handled.append(loop))
    member.call_soon(lambda: 1 // 0)
    scheduler.run_for(1)
    assert handled == [member] and len(scheduler.errors) == 1


def test_a_generator_that_was_dropped_is_closed_by_its_member(scheduler: Scheduler, member: MemberLoop) -> None:
    closed: list[object] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(asyncio.get_running_loop())

    async def work() -> None:
        async for _ in numbers():
            break

    scheduler.run(member, work())
    scheduler.run_for(1)
    assert closed == [member]


def test_a_condition_that_never_holds_is_an_error(scheduler: Scheduler, member: MemberLoop) -> None:
    with pytest.raises(TimeoutError):
        scheduler.run_until(lambda: False)

    def tick() -> None:
        member.call_later(1, tick)

    tick()
    with pytest.raises(TimeoutError):
        scheduler.run_until(lambda: False, limit=10)
    assert 9 < scheduler.now <= 10


def test_timers_that_were_cancelled_do_not_pile_up(scheduler: Scheduler, member: MemberLoop) -> None:
    for _ in range(3 * STALE_TIMERS):
        member.call_later(1000, print).cancel()
    assert len(scheduler._heap) <= STALE_TIMERS + 1


def test_the_trace_has_a_line_for_each_event(scheduler: Scheduler, member: MemberLoop) -> None:
    scheduler.run_for(1.5)
    member.pause()
    member.note("something")
    assert scheduler.trace.lines == ["0.000000 m1 start", "1.500000 m1 pause", "1.500000 m1 something"]
    assert scheduler.trace.digest() != Trace().digest()
