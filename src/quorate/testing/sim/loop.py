"""The event loop of one simulated process.

`asyncio.get_running_loop()` in a member's code is its `MemberLoop`: a ready queue of its own, on the time and the queue
that all members share (`scheduler`). So the member can be paused, can crash, and has the clocks of its machine.

A turn runs what is ready, and a few times what that makes ready; the rest waits for the next, TURN_SECONDS later.

A crash drops what the member had under way. A coroutine that is dropped would run its `finally` blocks, which no
crashed process does, so they are kept as they are until the simulation ends; by then nothing they call has effect.
Code in the middle of which a member crashes is left with `Crashed`.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple, Unpack, cast

from quorate.testing.sim.clock import MachineClock
from quorate.testing.sim.disk import Crashed

if TYPE_CHECKING:
    from quorate.testing.sim.scheduler import Scheduler

TURN_SECONDS = 0.0002
"""Virtual seconds that a turn takes: what comes meanwhile is seen together, in the next one."""
ROUNDS = 4
"""How often a turn runs what has become ready in it, before it looks at the network again."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Wires(Protocol):
    """The network as one loop sees it."""

    async def create_server(self, *args: Any, **kwargs: Any) -> Any: ...

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any: ...

    def turn_ended(self) -> None:
        """What the turn wrote may leave."""

    def crashed(self, *, power: bool) -> None:
        """The process is gone; with `power`, the machine is."""


class MemberLoop(asyncio.AbstractEventLoop):
    """The event loop of one process, from its start to its crash. Made by `Scheduler.member`."""

    def __init__(self, scheduler: Scheduler, name: str, clock: MachineClock) -> None:
        self.scheduler = scheduler
        self.name = name
        self.clock = clock
        self.wires: Wires | None = None
        self.executor_delay = 0.0
        """Seconds that work handed to an executor waits before it is done, all of it at once."""
        self._ready: deque[asyncio.Handle] = deque()
        self._turn_asked = False
        self._busy_until = 0.0
        self._ahead = 0.0
        self._paused = False
        self._dead = False
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._serial = 0
        self._left: list[Any] = []
        """What a crash left behind."""

    # Faults.

    def pause(self) -> None:
        """Stop, as by SIGSTOP: what comes in waits, clocks go on."""
        if not self._paused and not self._dead:
            self._paused = True
            self.note("pause")

    def resume(self) -> None:
        """Go on."""
        if self._paused:
            self._paused = False
            self.note("resume")
            if self._ready and not self._turn_asked:
                self._ask_turn()

    def crash(self, *, power: bool = False) -> None:
        """End now, in the middle of whatever is done; with `power` the machine is off too. Code of the member that
        calls this raises Crashed next."""
        if self._dead:
            return
        self.note("power loss" if power else "crash")
        if self.wires is not None:
            self.wires.crashed(power=power)
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        self._dead = True
        self._left += [*tasks, *self._ready, *self.scheduler.remove(self)]
        self._ready.clear()

    def keep(self, thing: object) -> None:
        """Let `thing` of this member not be finalized before the simulation ends."""
        self._left.append(thing)

    def set_clock_rate(self, rate: float) -> None:
        """Let the machine's clocks run `rate` times as fast as true time."""
        self.note(f"clock x{rate:g}")
        self.clock.set_rate(self.scheduler.now, rate)
        self.scheduler.retime(self)

    def leap(self, seconds: float) -> None:
        """Let the machine's clocks leap forward."""
        self.note(f"clock +{seconds:g}")
        self.clock.leap(self.scheduler.now, seconds)
        self.scheduler.retime(self)

    def block(self, seconds: float) -> None:
        """The code that runs now waits for something `seconds` long, and with it the whole loop."""
        self._ahead += seconds

    # Running.

    def make_ready(self, handle: asyncio.Handle) -> None:
        """Have `handle` run in the next turn."""
        if not self._dead:
            self._ready.append(handle)
            if not self._turn_asked:
                self._ask_turn()

    def need_turn(self) -> None:
        """Have a turn, to see its end."""
        if not self._turn_asked and not self._dead:
            self._ask_turn()

    def _ask_turn(self) -> None:
        if not self._paused:
            self._turn_asked = True
            scheduler = self.scheduler
            now, busy = scheduler.now, self._busy_until
            scheduler.push(now if now > busy else busy, None, self._turn, ())

    def _turn(self) -> None:
        if self._paused or self._dead:
            self._turn_asked = False
            return
        scheduler, ready = self.scheduler, self._ready
        scheduler.enter(self)
        try:
            for _ in range(ROUNDS):
                for _ in range(len(ready)):
                    handle = ready.popleft()
                    if not handle._cancelled:
                        handle._run()
                    if self._dead:
                        self._left.append(handle)
                        return
                if not ready:
                    break
        finally:
            scheduler.leave()
        self._turn_asked = False
        ahead, self._ahead = self._ahead, 0.0
        self._busy_until = scheduler.now + ahead + TURN_SECONDS
        if self.wires is not None:
            if ahead:
                scheduler.at(scheduler.now + ahead, self.wires.turn_ended)
            else:
                self.wires.turn_ended()
        if ready and not self._turn_asked:
            self._ask_turn()

    def is_running(self) -> bool:
        return self.scheduler.inside is self

    def is_closed(self) -> bool:
        """True once the member has crashed."""
        return self._dead

    def get_debug(self) -> bool:
        return False

    # Time.

    def true_time(self) -> float:
        """The scheduler's time, as far as this member's code has come."""
        return self.scheduler.now + self._ahead

    def time(self) -> float:
        return self.clock.shown(self.scheduler.now + self._ahead)

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._dead:
            self._ready.append(handle)
            if not self._turn_asked:
                self._ask_turn()
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._dead:
            scheduler = self.scheduler
            scheduler.push(max(scheduler.now, self.clock.true(when)), self, timer, ())
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.scheduler.timer_cancelled()

    # Futures and tasks.

    def create_future(self) -> asyncio.Future[Any]:
        self._serial += 1
        return _Future(self._serial, self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        self._serial += 1
        task = _Task(self._serial, coro, self, name or f"{self.name}-{self._serial}", context)
        if self._dead:
            self._left.append(task)
        return task

    def get_task_factory(self) -> None:
        return None

    def run_in_executor(self, executor: object, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> asyncio.Future[T]:
        """Run `func` at once, when its time has come, as if by a thread that nobody has to wait for."""
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            events._set_running_loop(None)
            try:
                result = func(*args)
            except BaseException as error:
                if not future.cancelled() and not self._dead:
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(result)
            finally:
                events._set_running_loop(self)

        self.call_later(self.executor_delay, work)
        return future

    def finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        """An asynchronous generator was dropped before its end."""
        if self._dead:
            self._left.append(generator)
        else:
            self.call_soon(self.create_task, generator.aclose())

    def let_go(self) -> None:
        """Drop what the crash left behind."""
        for thing in self._left:
            if isinstance(thing, asyncio.Task):
                thing._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(BaseException):
                    cast(Coroutine[Any, Any, Any], thing.get_coro()).close()
        self._left.clear()

    # Errors.

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        self._handler = handler

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        return self._handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.note(f"error {context.get('message')}: {context.get('exception')!r}")
        self.scheduler.errors.append((self.scheduler.now, self.name, context))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._dead or isinstance(context.get("exception"), Crashed):
            return
        if self._handler is None:
            self.default_exception_handler(context)
        else:
            self._handler(self, context)

    # The network.

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        return await self._network().create_server(*args, **kwargs)

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        return await self._network().create_connection(*args, **kwargs)

    def _network(self) -> Wires:
        if self._dead:
            raise Crashed
        if self.wires is None:
            raise OSError(f"{self.name} has no network")
        return self.wires

    def note(self, what: str) -> None:
        """A line for the trace."""
        self.scheduler.note(self.name, what)


class _Future(asyncio.Future[Any]):
    """Hashes by a number, so that the order of a set of futures is that of every run."""

    def __init__(self, serial: int, loop: MemberLoop) -> None:
        self._serial = serial
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._serial


class _Task(asyncio.Task[Any]):
    """As `_Future`."""

    def __init__(self, serial: int, coro: Any, loop: MemberLoop, name: str, context: Context | None) -> None:
        self._serial = serial
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self._serial
