"""Calls of one request each that look alike and came in one read, answered together where their method knows how.

same header block, bodies whole ──► method.together(bodies) ─┬─► their outcomes, in order
                                                             ├─► a coroutine that returns them
                                                             └─► None: each call is handled by itself
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import compress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from quorate.api.errors import Code
from quorate.transport.grpc.framing import PREFIX_SIZE, is_whole
from quorate.transport.grpc.heads import Head, Opening
from quorate.transport.grpc.methods import Bidi, Outcome, ServerStreaming, Together
from quorate.transport.grpc.status import deadline_exceeded
from quorate.transport.grpc.steps import Steps

if TYPE_CHECKING:
    from quorate.transport.grpc.connection import ServerConnection


def run_together(
    connection: ServerConnection, opening: Opening, stream_ids: list[int], bodies: list[bytes], limit: int
) -> bool:
    """Serve the calls with these bodies, of at most `limit` bytes each; False, and nothing done, when that is not to
    be had."""
    head = cast(Head, opening.head)
    method = head.method
    if isinstance(method, ServerStreaming) or method.together is None:
        return False
    for body in bodies:
        if not is_whole(body, limit):
            return False
    requests = [body[PREFIX_SIZE:] for body in bodies]
    tally = head.tally
    begun = tally.begun()
    answer: Together | None
    try:
        answer = method.together(requests, opening.context)
    except Exception as error:
        answer = [error] * len(requests)
    if answer is None:
        return False
    tally.received += len(requests)
    tally.received_bytes += sum(map(len, requests))
    if isinstance(method, Bidi):
        tally.opened += len(requests)
        tally.sent += len(requests)
    if isinstance(answer, CoroutineType):
        AlikeCalls(connection, opening, stream_ids, begun).follow(answer)
        return True
    _answer(connection, head, stream_ids, cast(Sequence[Outcome], answer))
    if begun:
        for _ in stream_ids:
            tally.took(begun)
    return True


def _answer(connection: ServerConnection, head: Head, stream_ids: list[int], outcomes: Sequence[Outcome]) -> None:
    if set(map(type, outcomes)) != {bytes}:
        failed = [isinstance(outcome, Exception) for outcome in outcomes]
        for stream_id, outcome in compress(zip(stream_ids, outcomes, strict=True), failed):
            connection.fail_call(stream_id, head, cast(Exception, outcome), True)
        good = [not one for one in failed]
        stream_ids, outcomes = list(compress(stream_ids, good)), list(compress(outcomes, good))
    connection.reply_all(stream_ids, head, cast(Sequence[bytes], outcomes))


class AlikeCalls(Steps):
    """Calls that are under way and wait for the same coroutine."""

    __slots__ = ("_begun", "_clock", "_connection", "_opening", "_stream_ids", "_timer", "_waiting")

    def __init__(self, connection: ServerConnection, opening: Opening, stream_ids: list[int], clock: float) -> None:
        super().__init__(connection.loop)
        self._begun = connection.loop.time()
        self._clock = clock
        self._connection = connection
        self._opening = opening
        self._stream_ids = stream_ids
        self._waiting = set(stream_ids)
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, coroutine: Coroutine[Any, Any, Sequence[Outcome]]) -> None:
        """Run the coroutine; most wait once."""
        self._coroutine = coroutine
        for stream_id in self._stream_ids:
            self._connection.under_way(stream_id, AlikeCall(self, stream_id))
        if self._opening.context.deadline is not None:
            self._timer = self._loop.call_at(self._opening.context.deadline, self.fail, deadline_exceeded())
        self._step()

    def drop(self, stream_id: int) -> None:
        """The caller of one of them is gone."""
        self._waiting.discard(stream_id)
        tally = cast(Head, self._opening.head).tally
        tally.ended(Code.CANCELLED)
        tally.took(self._clock)
        if not self._waiting:
            self._forget_timer()
            self._stop()

    def fail(self, error: BaseException) -> None:
        self._stop()
        for stream_id in self._ended():
            self._connection.fail_call(stream_id, cast(Head, self._opening.head), error, True)

    def _returned(self, value: Sequence[Outcome]) -> None:
        stream_ids = self._ended()
        if len(stream_ids) < len(value):
            value = list(compress(value, [stream_id in self._waiting for stream_id in self._stream_ids]))
        for stream_id in stream_ids:
            self._connection.finished(stream_id)
        _answer(self._connection, cast(Head, self._opening.head), stream_ids, value)

    def _ended(self) -> list[int]:
        """The streams of those who still wait, and have their answer now."""
        self._forget_timer()
        took = self._loop.time() - self._begun
        waiting = [stream_id for stream_id in self._stream_ids if stream_id in self._waiting]
        connection, tally = self._connection, cast(Head, self._opening.head).tally
        for _ in waiting:
            if self._clock:
                tally.took(self._clock)
            if took > connection.limits.slow_unary:
                connection.slow_call(self._opening.context, took)
        return waiting

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class AlikeCall:
    """One of them, for its connection."""

    __slots__ = ("_calls", "_stream_id")

    def __init__(self, calls: AlikeCalls, stream_id: int) -> None:
        self._calls = calls
        self._stream_id = stream_id

    def feed(self, data: bytes, end_stream: bool) -> None:
        """Its request is whole: nothing more can come."""

    def cancel(self) -> None:
        self._calls.drop(self._stream_id)
