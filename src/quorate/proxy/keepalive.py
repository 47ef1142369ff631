"""Renewals of leases: those of many callers become one.

    caller ─┐                        ┌─ on its way: wait for its answer
    caller ─┼─► renew(lease) ── is it ┼─ answered, and most of the time is left: what is left, at once
    caller ─┘                        └─ neither: ask, on the one stream of these credentials

What a caller is told is never more than what the lease has left, so that it renews in time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.methods import KEEP_ALIVE
from quorate.client.retry import Cause, cause_of
from quorate.proxy.upstream import PATIENCE, Pairs, Upstream, credentials
from quorate.transport.grpc import Bidi, ClientStream, Method, Status, Stream

FRESH_SHARE = 2 / 3
"""Of a lease's time: as long as that is left, nobody is asked again."""
IDLE_SECONDS = 60.0
"""After which a stream that nobody needs is closed."""

FIRST_LOOK = 1024
"""Leases remembered before those are looked for that have ended."""

Answer = Callable[[bytes | Status], None]


@dataclass(slots=True)
class Renewed:
    """A lease that was renewed, or is about to be."""

    waiting: list[Answer] = field(default_factory=list)
    """Who wants to hear; while there is anybody, it is on its way."""
    sent: float = 0.0
    ttl: int = 0
    header: Any = None


class KeepAlives:
    """Service Lease, as far as renewals go."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.renewals = 0
        """Asked of members so far."""
        self._renewers: dict[Pairs, Renewer] = {}

    @property
    def streams(self) -> int:
        """Streams to members that are open."""
        return len(self._renewers)

    def methods(self) -> dict[str, Method]:
        """What is served, by path."""
        return {KEEP_ALIVE: Bidi(pb.LeaseKeepAliveRequest.FromString, self.keep_alive)}

    async def keep_alive(self, stream: Stream) -> None:
        """Renew what a caller asks for until it has no more."""
        who = credentials(stream.context.metadata)
        left = 0
        done = asyncio.Event()

        def answer(found: bytes | Status) -> None:
            nonlocal left
            left -= 1
            done.set()
            if isinstance(found, Status):
                stream.fail(found)
            else:
                stream.send(found)

        while (request := await stream.receive()) is not None:
            left += 1
            self._renewer(who).renew(request.ID, answer)
            await stream.drain()
        while left:
            done.clear()
            await done.wait()

    def forget(self) -> None:
        """A lease was revoked: ask, when somebody wants to know."""
        for renewer in self._renewers.values():
            renewer.forget()

    def close(self) -> None:
        for renewer in list(self._renewers.values()):
            renewer.close()

    def _renewer(self, who: Pairs) -> Renewer:
        renewer = self._renewers.get(who)
        if renewer is None:
            renewer = Renewer(self._upstream, who, self._count, lambda: self._renewers.pop(who, None))
            self._renewers[who] = renewer
        return renewer

    def _count(self) -> None:
        self.renewals += 1


class Renewer:
    """One stream of renewals, opened when it is needed."""

    def __init__(
        self, upstream: Upstream, who: Pairs, on_send: Callable[[], None], on_close: Callable[[], object]
    ) -> None:
        self._upstream = upstream
        self._who = who
        self._on_send = on_send
        self._on_close = on_close
        self._leases: dict[int, Renewed] = {}
        self._stream: ClientStream | None = None
        self._wanted = asyncio.Event()
        self._limit = FIRST_LOOK
        self._task = asyncio.get_running_loop().create_task(self._run())

    def renew(self, lease_id: int, answer: Answer) -> None:
        """`answer` is called once, with the bytes of a LeaseKeepAliveResponse or with what went wrong."""
        now = asyncio.get_running_loop().time()
        lease = self._leases.setdefault(lease_id, Renewed())
        if not lease.waiting:
            left = math.floor(lease.sent + lease.ttl - now)
            if left >= 1 and left >= lease.ttl * FRESH_SHARE:
                answer(_encoded(lease.header, lease_id, left))
                return
            lease.sent = now
            self._send(lease_id)
        lease.waiting.append(answer)
        self._wanted.set()

    def forget(self) -> None:
        for lease in self._leases.values():
            lease.ttl = 0

    def close(self) -> None:
        self._task.cancel()
        self._on_close()

    def _send(self, lease_id: int) -> None:
        if self._stream is not None:
            self._on_send()
            self._stream.send(pb.LeaseKeepAliveRequest(ID=lease_id).SerializeToString())

    def _waiting(self) -> list[int]:
        return [lease_id for lease_id, lease in self._leases.items() if lease.waiting]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        failing_since = 0.0
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                if not self._waiting():
                    self._on_close()
                    return
            await self._upstream.wire.rest()
            end, self._stream = self._upstream.open_led(KEEP_ALIVE, self._who)
            for lease_id in self._waiting():
                self._leases[lease_id].sent = loop.time()
                self._send(lease_id)
            try:
                while (message := await self._receive()) is not None:
                    failing_since = 0.0
                    self._upstream.wire.works(end)
                    self._answered(pb.LeaseKeepAliveResponse.FromString(message))
            except Status as status:
                cause = cause_of(status)
                self._upstream.failed(end, cause)
                failing_since = failing_since or loop.time()
                again = cause in (Cause.NOT_SENT, Cause.UNKNOWN_OUTCOME)
                if not again or loop.time() - failing_since > PATIENCE:
                    self._fail(status)
                    failing_since = 0.0
            finally:
                self._stream.cancel()
                self._stream = None
            if not self._waiting():
                self._wanted.clear()

    async def _receive(self) -> bytes | None:
        """The next answer; None when there is nothing to wait for, and has not been for long."""
        assert self._stream is not None
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    message = await self._stream.receive()
                if message is None and self._waiting():
                    raise Status(Code.UNAVAILABLE, "the stream of renewals ended")
                return message
            except TimeoutError:
                if not self._waiting():
                    return None

    def _answered(self, answer: Any) -> None:
        lease = self._leases.get(answer.ID)
        if lease is None:
            return
        waiting, lease.waiting = lease.waiting, []
        lease.ttl, lease.header = answer.TTL, answer.header
        if answer.TTL <= 0:
            del self._leases[answer.ID]
        body = answer.SerializeToString()
        for each in waiting:
            each(body)
        self._forget_old()

    def _forget_old(self) -> None:
        """Leases that nobody renews any more."""
        if len(self._leases) < self._limit:
            return
        now = asyncio.get_running_loop().time()
        for lease_id in [
            lease_id for lease_id, lease in self._leases.items() if not lease.waiting and lease.sent + lease.ttl <= now
        ]:
            del self._leases[lease_id]
        self._limit = max(FIRST_LOOK, 2 * len(self._leases))

    def _fail(self, status: Status) -> None:
        for lease_id in self._waiting():
            lease = self._leases.pop(lease_id)
            for each in lease.waiting:
                each(status)


def _encoded(header: Any, lease_id: int, ttl: int) -> bytes:
    return pb.LeaseKeepAliveResponse(header=header, ID=lease_id, TTL=ttl).SerializeToString()
