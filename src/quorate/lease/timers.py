"""Who is due next, when most deadlines move away before they come."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

Owner = TypeVar("Owner")

NEVER = float("inf")


class Timer(Generic[Owner]):
    """One deadline of one owner. `queued` is where the heap will next look at it; it is never after `deadline`."""

    __slots__ = ("deadline", "owner", "queued")

    def __init__(self, owner: Owner, deadline: float = NEVER) -> None:
        self.owner = owner
        self.deadline = deadline
        self.queued = NEVER


class Timers(Generic[Owner]):
    """A heap of timers in which putting a deadline off costs nothing: the timer is found at its old place when that
    comes, and moved on then. It has one live place per timer, however often it was renewed."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer[Owner]]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, timer: Timer[Owner], deadline: float) -> None:
        timer.deadline = deadline
        if deadline < timer.queued:
            self.look_again(timer, deadline)

    def look_again(self, timer: Timer[Owner], at: float) -> None:
        """Report a timer at `at` if its deadline has come by then, reported before or not."""
        timer.queued = at
        self._pushed += 1
        heapq.heappush(self._heap, (at, self._pushed, timer))

    def clear(self) -> None:
        """Forget all timers, and let none of them have a deadline."""
        for _, _, timer in self._heap:
            timer.queued = timer.deadline = NEVER
        self._heap.clear()

    def is_due(self, now: float) -> bool:
        """False when no deadline has come; True may be a timer that was put off."""
        return bool(self._heap) and self._heap[0][0] <= now

    def pop_due(self, now: float, limit: int) -> list[Owner]:
        """Owners of up to `limit` timers whose deadline is `now` or earlier, in the order in which they came due."""
        due: list[Owner] = []
        while len(due) < limit and self._heap and self._heap[0][0] <= now:
            place, _, timer = self._heap[0]
            if place != timer.queued:  # it was moved forward, and has another place
                heapq.heappop(self._heap)
            elif timer.deadline <= now or timer.deadline == NEVER:
                heapq.heappop(self._heap)
                timer.queued = NEVER
                if timer.deadline <= now:
                    due.append(timer.owner)
            else:
                timer.queued = timer.deadline
                self._pushed += 1
                heapq.heapreplace(self._heap, (timer.deadline, self._pushed, timer))
        return due


class Spread:
    """Hands out times so that in no second of the clock more than `rate` of them lie; the rest go to later seconds."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._taken: dict[int, int] = {}
        self._room_from: dict[int, int] = {}
        """Of a second found full: the first one behind it that had room."""

    def place(self, wanted: float) -> float:
        """The time itself if there is room in its second, else one as soon after it as possible."""
        first = second = int(wanted)
        while (taken := self._taken.get(second, 0)) >= self._rate:
            second = max(second + 1, self._room_from.get(second, 0))
        self._room_from[first] = second
        self._taken[second] = taken + 1
        return max(wanted, second + taken / self._rate)
