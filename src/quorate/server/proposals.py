"""What this member has proposed and who waits for it: entry data to answer, given up when the request timeout is over.

The data of an entry is unique, it holds a request ID; so it is the key. A proposal keeps its decoded request: when its
entry comes back committed there is nothing to parse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from quorate.api.errors import EtcdError
from quorate.api.internal import NOBODY, Caller
from quorate.apply import Applied
from quorate.server.answer import Answer


class Proposal:
    """One request on its way through the log."""

    __slots__ = ("answer", "caller", "kind", "made_at", "request")

    def __init__(self, kind: str, request: Any, caller: Caller, made_at: float, answer: Answer[Any]) -> None:
        self.kind = kind
        self.request = request
        self.caller = caller
        self.made_at = made_at
        self.answer = answer

    def resolve(self, result: Applied | EtcdError) -> None:
        """Hand over the result to whoever still waits; the waiter goes on at once."""
        if isinstance(result, EtcdError):
            self.answer.resolve(None, result)
        else:
            self.answer.resolve(result)


class Results:
    """Those of proposals that are waited for together; `answer` has them when the last one has come."""

    __slots__ = ("_left", "_results", "answer")

    def __init__(self, loop: asyncio.AbstractEventLoop, size: int) -> None:
        self._left = size
        self._results: list[Any] = [None] * size
        self.answer: Answer[list[Applied | EtcdError]] = Answer(loop)

    def set(self, place: int, result: Applied | EtcdError) -> None:
        """The first one counts."""
        if self._results[place] is None:
            self._results[place] = result
            self._left -= 1
            if not self._left:
                self.answer.resolve(self._results)


class Share(Proposal):
    """One of several that are waited for together."""

    __slots__ = ("_place", "_results")

    def __init__(self, kind: str, request: Any, caller: Caller, made_at: float, results: Results, place: int) -> None:
        super().__init__(kind, request, caller, made_at, results.answer)
        self._results = results
        self._place = place

    def resolve(self, result: Applied | EtcdError) -> None:
        self._results.set(self._place, result)


class Proposals:
    """Proposals by entry data, in the order in which they were made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        self._timeout = timeout
        self._waiting: dict[bytes, Proposal] = {}
        self._patient: dict[bytes, Proposal] = {}
        """Those that wait for as long as their caller does."""
        self.failed = 0
        """Proposals that were given up: by their caller, for want of a leader or of time, at the end of the server."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def pending(self) -> int:
        """Proposals whose callers wait."""
        return sum(not proposal.answer.done() for proposal in self._waiting.values())

    def given_up(self, answer: Answer[Any], count: int = 1) -> None:
        """Whoever waited for an answer does so no more. The entry, or `count` of them, may be applied all the same."""
        answer.cancel()
        self.failed += count

    def add(
        self, data: bytes, kind: str, request: Any, caller: Caller = NOBODY, *, patient: bool = False
    ) -> Answer[Applied]:
        """The answer to `data`, to be awaited. Whoever waits may be cancelled; the entry is applied all the same."""
        answer: Answer[Applied] = Answer(self._loop)
        kept = self._patient if patient else self._waiting
        kept[data] = Proposal(kind, request, caller, self._loop.time(), answer)
        return answer

    def add_all(self, data: Sequence[bytes], kind: str, requests: Sequence[Any], caller: Caller = NOBODY) -> Results:
        """The same for several, whose results are waited for together."""
        results = Results(self._loop, len(data))
        now = self._loop.time()
        for place, (each, request) in enumerate(zip(data, requests, strict=True)):
            self._waiting[each] = Share(kind, request, caller, now, results, place)
        return results

    def take(self, data: bytes) -> Proposal | None:
        """The proposal that is now applied, if it is one of this member."""
        found = self._waiting.pop(data, None)
        if found is None and self._patient:
            return self._patient.pop(data, None)
        return found

    def expire(self, now: float, error: Callable[[bytes, Proposal], EtcdError]) -> None:
        """Fail what has waited its whole time. All wait equally long, so the first that may stay ends the search."""
        while self._waiting:
            data, proposal = next(iter(self._waiting.items()))
            if proposal.made_at + self._timeout > now:
                return
            del self._waiting[data]
            self.failed += not proposal.answer.done()
            proposal.resolve(error(data, proposal))

    def fail_all(self, error: Callable[[], EtcdError]) -> None:
        waiting, self._waiting, self._patient = {**self._waiting, **self._patient}, {}, {}
        self.failed += sum(not proposal.answer.done() for proposal in waiting.values())
        for proposal in waiting.values():
            proposal.resolve(error())
