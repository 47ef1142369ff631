"""Renewals on their way from a follower to the leader: many in one request, for a request costs more than a hundred of
them.

    renew ──► waiting ──► one request at a time to the leader ──► each renewal its answer

Those of one loop turn go together, and those that come while a request is under way go with the next one. A leader that
takes only one lease a request, as etcd does, gets one lease a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from quorate.api import errors
from quorate.server import peer_calls

if TYPE_CHECKING:
    from quorate.server.member import Server

Answer = TypeVar("Answer")

MAX_BATCH = 1000
"""Leases in one request."""
MAX_SINGLE = 64
"""Requests with one lease each that are under way at a time."""
LOOK_INTERVAL = 0.05
"""Seconds between two looks whether the leader that was asked still leads."""


class Leader(NamedTuple):
    """Who was asked, and where."""

    member_id: int
    url: str


class Waiting(NamedTuple):
    """One renewal that waits to be sent; `ttl` becomes what `renew_all` gives for it."""

    lease_id: int
    deadline: float
    ttl: asyncio.Future[int | None]


class Renewals:
    """The renewals of one member that others must carry out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Leader, list[Waiting]] = {}
        self._working: set[Leader] = set()
        self._one_by_one = (0, 0)
        """The leader, and its term, that was found to take one lease a request."""
        self._slots = asyncio.Semaphore(MAX_SINGLE)

    async def renew(self, leader_id: int, url: str, lease_id: int, seconds: float) -> int:
        """Have the leader renew a lease; its TTL. Raises LeaseNotFound, PeerCallError."""
        if (leader_id, self._server.term) == self._one_by_one:
            return await self._renew_alone(leader_id, url, lease_id, seconds)
        leader = Leader(leader_id, url)
        waiting = Waiting(lease_id, self._loop.time() + seconds, self._loop.create_future())
        self._waiting.setdefault(leader, []).append(waiting)
        if leader not in self._working:
            self._working.add(leader)
            self._server.spawn(self._work(leader))
        ttl = await waiting.ttl
        if ttl is None or ttl == peer_calls.ALONE:
            return await self._renew_alone(leader_id, url, lease_id, seconds)
        if ttl == 0:
            raise errors.LeaseNotFound()
        return ttl

    async def _renew_alone(self, leader_id: int, url: str, lease_id: int, seconds: float) -> int:
        async with self._slots:
            call = peer_calls.renew(self._server.http, url, lease_id, seconds)
            return await while_it_leads(self._server, leader_id, call)

    async def _work(self, leader: Leader) -> None:
        """Send what waits, request after request, until nothing does."""
        while leader in self._waiting:
            everything = self._waiting.pop(leader)
            batch, rest = everything[:MAX_BATCH], everything[MAX_BATCH:]
            if rest:
                self._waiting[leader] = rest
            try:
                ttls = await self._send(leader, batch)
            except peer_calls.PeerCallError as err:
                for waiting in batch:
                    if not waiting.ttl.done():
                        waiting.ttl.set_exception(peer_calls.PeerCallError(str(err)))
                continue
            if None in ttls:
                self._one_by_one = (leader.member_id, self._server.term)
            for waiting, ttl in zip(batch, ttls, strict=True):
                if not waiting.ttl.done():
                    waiting.ttl.set_result(ttl)
        self._working.discard(leader)

    async def _send(self, leader: Leader, batch: list[Waiting]) -> list[int | None]:
        seconds = max(LOOK_INTERVAL, batch[0].deadline - self._loop.time())
        call = peer_calls.renew_all(self._server.http, leader.url, [waiting.lease_id for waiting in batch], seconds)
        return await while_it_leads(self._server, leader.member_id, call)


async def while_it_leads(server: Server, leader_id: int, call: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of `call`, given up when another member leads: a leader that hangs need not be waited for.

    Raises PeerCallError then, and what `call` raises.
    """
    task = asyncio.get_running_loop().create_task(call)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=LOOK_INTERVAL)
            if not task.done() and server.leader_id not in (0, leader_id):
                raise peer_calls.PeerCallError("it leads no more")
        return task.result()
    finally:
        task.cancel()
