"""Virtual time: one queue for everything that will happen in a simulation, strictly by (time, sequence).

Timers of members and packets of the network are in it. Nothing else decides an order: no wall clock, no thread, no
address in memory (tasks and futures hash by a number). One seed, one run.
"""

from __future__ import annotations

import gc
import heapq
import sys
from asyncio import events
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from quorate.testing.sim.clock import MachineClock, simulated_time
from quorate.testing.sim.disk import Crashed
from quorate.testing.sim.loop import MemberLoop
from quorate.testing.sim.trace import Trace

GC_SECONDS = 30.0
"""Virtual seconds between two collections of garbage, which has finalizers: it must not come by chance."""

LIMIT_SECONDS = 3600.0
"""Virtual seconds that a condition may take to become true."""

STALE_TIMERS = 4096
"""Cancelled timers that may wait in the queue for their time."""

T = TypeVar("T")


class Scheduler:
    """The one clock and the one queue of a simulation."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.now = 0.0
        """Virtual seconds since the begin."""
        self.trace = trace or Trace(keep=False)
        self.errors: list[tuple[float, str, dict[str, Any]]] = []
        """What went to the exception handlers of living members: (time, member, context of asyncio)."""
        self._heap: list[tuple[float, int, MemberLoop | None, Any, tuple[Any, ...]]] = []
        self._sequence = 0
        self.inside: MemberLoop | None = None
        """The member whose code runs."""
        self._hooked: MemberLoop | None = None
        self._members: list[MemberLoop] = []
        self._clocks: dict[str, MachineClock] = {}
        self._collect_at = GC_SECONDS
        self._stale = 0

    def member(self, name: str) -> MemberLoop:
        """A loop for a process on the machine `name`, whose clocks go on from the process before it."""
        loop = MemberLoop(self, name, self._clocks.setdefault(name, MachineClock()))  # type: ignore[abstract]
        self._members.append(loop)
        self.note(name, "start")
        return loop

    def at(self, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Call back at the virtual time `when`, outside of all members."""
        self.push(max(when, self.now), None, callback, args)

    def run_until(self, goal: float | Callable[[], object], limit: float = LIMIT_SECONDS) -> None:
        """Go on to a virtual time, or until a condition holds. Raises TimeoutError when the condition does not hold
        after `limit` virtual seconds, or can not any more."""
        with self._running():
            if callable(goal):
                deadline = self.now + limit
                while not goal():
                    if not self._heap or self._heap[0][0] > deadline:
                        raise TimeoutError(f"not so after {self.now:.3f} virtual seconds")
                    self._step()
                return
            while self._heap and self._heap[0][0] <= goal:
                self._step()
            self.now = max(self.now, goal)

    def run_for(self, seconds: float) -> None:
        """Go on for some virtual seconds."""
        self.run_until(self.now + seconds)

    def run(self, member: MemberLoop, work: Coroutine[Any, Any, T], limit: float = LIMIT_SECONDS) -> T:
        """Run a coroutine of a member to its end; everything else goes on beside it. Raises what it raises."""
        task = member.create_task(work)
        self.run_until(lambda: task.done() or member.is_closed(), limit)
        if not task.done():
            raise Crashed
        result: T = task.result()
        return result

    def note(self, member: str, what: str) -> None:
        """A line for the trace."""
        if self.trace.keep:
            self.trace.note(self.now, member, what)

    def close(self) -> None:
        """End the simulation: nobody lives any more, and what crashes left behind is let go."""
        self.trace.keep = False
        kept, sys.unraisablehook = sys.unraisablehook, _say_nothing
        with self._running():
            for member in self._members:
                member.crash()
            for member in self._members:
                with self._entered(member):
                    member.let_go()
        self._members.clear()
        self._heap.clear()
        gc.collect()
        sys.unraisablehook = kept

    def push(self, when: float, owner: MemberLoop | None, what: Any, args: tuple[Any, ...]) -> None:
        """Queue a callback (no owner) or a timer of `owner`."""
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, owner, what, args))

    def _step(self) -> None:
        """The next event, whatever it is."""
        when, _, owner, what, args = heapq.heappop(self._heap)
        if owner is not None and what.cancelled():
            return
        self.now = when
        if owner is None:
            what(*args)
        else:
            owner.make_ready(what)
        if when >= self._collect_at:
            self._collect_at = when + GC_SECONDS
            gc.collect()

    def timer_cancelled(self) -> None:
        """There is one more timer that nobody waits for, if it has not run."""
        self._stale += 1
        if self._stale > STALE_TIMERS and self._stale > len(self._heap) // 2:
            self._stale = 0
            self._heap = [entry for entry in self._heap if entry[2] is None or not entry[3].cancelled()]
            heapq.heapify(self._heap)

    def retime(self, owner: MemberLoop) -> None:
        """The clock of a member goes another way: its timers are due at other times."""
        self._heap = [
            (max(self.now, owner.clock.true(what.when())), number, of, what, args) if of is owner else entry
            for entry in self._heap
            for _, number, of, what, args in (entry,)
        ]
        heapq.heapify(self._heap)

    def remove(self, owner: MemberLoop) -> list[Any]:
        """Take the timers of a member out of the queue."""
        taken = [entry for entry in self._heap if entry[2] is owner]
        self._heap = [entry for entry in self._heap if entry[2] is not owner]
        heapq.heapify(self._heap)
        return taken

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Time, garbage and hooks are the simulation's; everything is put back as it was in the end."""
        outer, hooks, collecting = events._get_running_loop(), sys.get_asyncgen_hooks(), gc.isenabled()
        events._set_running_loop(None)
        gc.disable()
        try:
            with simulated_time(self._monotonic, self._wall):
                yield
        finally:
            self._hooked = None
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(outer)
            if collecting:
                gc.enable()

    @contextmanager
    def _entered(self, member: MemberLoop) -> Iterator[None]:
        self.enter(member)
        try:
            yield
        finally:
            self.leave()

    def enter(self, member: MemberLoop) -> None:
        """What runs now is code of `member`."""
        self.inside = member
        if self._hooked is not member:
            self._hooked = member
            sys.set_asyncgen_hooks(None, member.finalize)
            events._set_running_loop(member)

    def leave(self) -> None:
        """No member's code runs."""
        self.inside = None

    def _monotonic(self) -> float:
        return self.now if self.inside is None else self.inside.time()

    def _wall(self) -> float:
        member = self.inside
        return MachineClock().wall(self.now) if member is None else member.clock.wall(member.true_time())


def _say_nothing(_: object) -> None:
    """A coroutine that is dropped may wait in its `finally` blocks, where nobody comes back to it."""
