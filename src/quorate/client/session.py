"""Sessions: a lease that is kept alive for as long as its holder lives, and the word when that failed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.errors import EtcdError, SessionLost
from quorate.client.leases import Keeper, Lease
from quorate.client.twin import on_loop
from quorate.client.wire import Wire

DEFAULT_TTL = 60


class Lost:
    """Whether a session is lost, and why. It is by the time its lease can have ended, and may be before."""

    def __init__(self) -> None:
        self.error: EtcdError | None = None
        self._happened = asyncio.Event()

    def is_set(self) -> bool:
        return self._happened.is_set()

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is lost; False when it is not in so many seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._happened.wait()
        except TimeoutError:
            return False
        return True

    @on_loop
    def set(self, error: EtcdError) -> None:
        if not self._happened.is_set():
            self.error = error
            self._happened.set()


class Session:
    """`async with` grants the lease and revokes it at the end. Keys that are put with `lease` go with it."""

    def __init__(self, wire: Wire, keeper: Keeper, ttl: int = DEFAULT_TTL, lease_id: int = 0) -> None:
        self.ttl = ttl
        self.lease = lease_id
        """The id of its lease; 0 before it is open."""
        self.lost = Lost()
        self._wire = wire
        self._keeper = keeper

    async def __aenter__(self) -> Session:
        """Raises EtcdError."""
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Grant the lease, or take over the one with the given id, and keep it alive from here on."""
        since = self._wire.loop.time()
        if self.lease:
            self.ttl = await Lease(self._wire, self.lease, self.ttl).renew()
        else:
            answer = await self._wire.call(pb.LeaseGrantRequest(TTL=self.ttl))
            self.lease, self.ttl = answer.ID, answer.TTL
        self._keeper.hold(self.lease, self.ttl, since, self.lost.set)

    async def close(self) -> None:
        """Revoke the lease: everything that the session holds is let go. If no member can be reached, it runs out."""
        if self.lease and not self.lost.is_set():
            self._keeper.let_go(self.lease)
            self.lost.set(SessionLost())
            with suppress(EtcdError):
                await Lease(self._wire, self.lease, self.ttl).revoke()

    async def orphan(self) -> None:
        """Keep the lease alive no longer, and let it run out by itself."""
        self._keeper.let_go(self.lease)
        self.lost.set(SessionLost())

    def is_valid(self) -> bool:
        """Whether the lease cannot have ended, even if this process has just stood still for long."""
        return self._keeper.expires(self.lease) > self._wire.loop.time()

    def check(self) -> None:
        """Raises SessionLost when it is lost."""
        if self.lost.is_set():
            raise SessionLost() from self.lost.error
