"""Leases, and the one task that keeps those alive that somebody holds.

    held leases, by when they are due ──► one stream of requests ──► answers: time left
                                             │ broken: the next member, before the first of them runs out

A lease is due when a third of the time to its end has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.errors import CallError, EtcdError, LeaseNotFound, error_of
from quorate.client.methods import KEEP_ALIVE
from quorate.client.results import LeaseInfo
from quorate.client.retry import Cause, cause_of
from quorate.client.wire import End, Wire
from quorate.transport.grpc import ClientStream, Status

SHARE = 1 / 3
"""Of the time left, after which a lease is renewed."""
ANSWER_SHARE = 0.5
"""Of the time left, in which the answer must have come, or another member is asked."""
LEAST_SECONDS = 0.05


class Lease:
    """A lease of this cluster; it ends when nobody renews it for `ttl` seconds. `session` renews by itself."""

    def __init__(self, wire: Wire, lease_id: int, ttl: int) -> None:
        self.id = lease_id
        self.ttl = ttl
        self._wire = wire

    async def renew(self, timeout: float | None = None) -> int:
        """Begin its time anew; its TTL. Raises LeaseNotFound."""
        return await renew(self._wire, self.id, timeout)

    async def info(self, *, keys: bool = False, timeout: float | None = None) -> LeaseInfo:
        """The time left, and what is attached to it."""
        return await lease_info(self._wire, self.id, keys=keys, timeout=timeout)

    async def revoke(self, timeout: float | None = None) -> None:
        """End it, and with it all keys attached to it. Raises LeaseNotFound."""
        await self._wire.call(pb.LeaseRevokeRequest(ID=self.id), timeout=timeout)


async def lease_info(wire: Wire, lease_id: int, *, keys: bool, timeout: float | None) -> LeaseInfo:
    answer = await wire.call(pb.LeaseTimeToLiveRequest(ID=lease_id, keys=keys), timeout=timeout)
    return LeaseInfo(answer.ID, answer.TTL, answer.grantedTTL, tuple(answer.keys))


async def renew(wire: Wire, lease_id: int, timeout: float | None) -> int:
    """Ask once. Tries members until one answers. Raises LeaseNotFound, EtcdError."""
    seconds = wire.timeout if timeout is None else timeout
    deadline = wire.loop.time() + seconds
    while True:
        left = deadline - wire.loop.time()
        end, stream = await wire.stream(KEEP_ALIVE, timeout=max(left, 0.0))
        stream.send(pb.LeaseKeepAliveRequest(ID=lease_id).SerializeToString())
        try:
            message = await stream.receive()
        except Status as status:
            cause = cause_of(status)
            wire.failed(end, cause)
            if cause is Cause.FINAL or wire.loop.time() >= deadline:
                raise error_of(status) from None
        else:
            if message is None:
                raise CallError(Code.UNAVAILABLE, "the stream ended without an answer")
            ttl = int(pb.LeaseKeepAliveResponse.FromString(message).TTL)
            if ttl <= 0:
                raise LeaseNotFound()
            wire.works(end)
            return ttl
        finally:
            stream.cancel()
        await wire.rest(deadline)


@dataclass(slots=True)
class Held:
    """A lease that is kept alive. Times are those of the loop."""

    id: int
    ttl: int
    expires: float
    """When it may be gone: `ttl` after the last request that was answered was sent."""
    due: float
    on_lost: Callable[[EtcdError], None]
    sent: float = 0.0
    """When it was asked to be renewed, 0 if the answer is here."""


class Keeper:
    """Keeps the leases of one client alive; a task runs while there are any."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held: dict[int, Held] = {}
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._stream: ClientStream | None = None
        self._end: End | None = None
        self._reader: asyncio.Task[None] | None = None

    def hold(self, lease_id: int, ttl: int, since: float, on_lost: Callable[[EtcdError], None]) -> None:
        """Keep a lease alive that was granted by a request sent at `since`. `on_lost` is called once, when it is gone
        or may be."""
        now = self._wire.loop.time()
        expires = since + ttl
        self._held[lease_id] = Held(lease_id, ttl, expires, now + (expires - now) * SHARE, on_lost)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def expires(self, lease_id: int) -> float:
        """When a lease may be gone, by the loop's clock; 0 when it is not kept alive."""
        held = self._held.get(lease_id)
        return 0.0 if held is None else held.expires

    def let_go(self, lease_id: int) -> None:
        """Keep it alive no longer."""
        self._held.pop(lease_id, None)
        self._changed.set()

    async def close(self) -> None:
        """Keep nothing alive any more; nobody is told."""
        self._held.clear()
        tasks = [task for task in (self._task, self._reader) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None
        self._drop()

    # The task.

    async def _run(self) -> None:
        loop = self._wire.loop
        while self._held:
            now = loop.time()
            for held in list(self._held.values()):
                if held.expires <= now:
                    self._lose(held, LeaseNotFound())
            if self._stale(now):
                self._break(Cause.UNKNOWN_OUTCOME)
            if any(held.due <= now and not held.sent for held in self._held.values()):
                await self._send(now)
            await self._sleep(loop)
        self._task = None
        self._drop()

    async def _send(self, now: float) -> None:
        """Ask for all that are due, on a stream that is opened if there is none."""
        if self._stream is None:
            await self._open()
        if self._stream is None:
            return
        for held in self._held.values():
            if held.due <= now and not held.sent:
                held.sent = now
                self._stream.send(pb.LeaseKeepAliveRequest(ID=held.id).SerializeToString())

    async def _sleep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until the next is due, runs out, or is overdue; or something changes."""
        now = loop.time()
        moments = [held.expires for held in self._held.values()]
        moments += [self._answer_by(held) if held.sent else held.due for held in self._held.values()]
        if self._stream is None and self._end is not None:
            moments.append(max(self._end.rest_until, now + LEAST_SECONDS))
        self._changed.clear()
        try:
            async with asyncio.timeout(max(min(moments, default=now) - now, 0.001)):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _answer_by(self, held: Held) -> float:
        return held.sent + max((held.expires - held.sent) * ANSWER_SHARE, LEAST_SECONDS)

    def _stale(self, now: float) -> bool:
        """A member that does not answer may be as good as dead."""
        return any(held.sent and self._answer_by(held) <= now for held in self._held.values())

    async def _open(self) -> None:
        soonest = min(held.expires for held in self._held.values())
        try:
            async with asyncio.timeout_at(soonest):
                await self._wire.rest()
                self._end, self._stream = await self._wire.stream(KEEP_ALIVE)
        except (TimeoutError, EtcdError):
            return
        self._reader = asyncio.create_task(self._read(self._end, self._stream))

    async def _read(self, end: End, stream: ClientStream) -> None:
        try:
            while (message := await stream.receive()) is not None:
                self._wire.works(end)
                self._answered(pb.LeaseKeepAliveResponse.FromString(message))
        except Status as status:
            cause = cause_of(status)
            self._break(cause if cause is Cause.TOKEN else Cause.UNKNOWN_OUTCOME, stream)
        else:
            self._break(Cause.UNKNOWN_OUTCOME, stream)

    def _answered(self, answer: Any) -> None:
        held = self._held.get(answer.ID)
        if held is None or not held.sent:
            return
        if answer.TTL <= 0:
            self._lose(held, LeaseNotFound())
            return
        held.expires = held.sent + answer.TTL
        held.sent = 0.0
        now = self._wire.loop.time()
        held.due = now + max(held.expires - now, 0.0) * SHARE
        self._changed.set()

    def _lose(self, held: Held, error: EtcdError) -> None:
        del self._held[held.id]
        self._changed.set()
        held.on_lost(error)

    def _break(self, cause: Cause, stream: ClientStream | None = None) -> None:
        """Leave the stream: what was asked on it and not answered is due at once."""
        if stream is not None and stream is not self._stream:
            return
        if self._end is not None:
            self._wire.failed(self._end, cause)
        self._drop()
        for held in self._held.values():
            if held.sent:
                held.sent, held.due = 0.0, 0.0
        self._changed.set()

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None
