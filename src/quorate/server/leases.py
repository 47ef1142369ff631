"""Leases while this member leads: renewals, expiry and checkpoints. Expiry is a proposal like any other write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.lease import TimeToLive
from quorate.pkg.jsonlog import get_log

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

LOOK_INTERVAL = 0.5
"""Seconds between two looks for expired leases."""
MAX_EXPIRED = 500
"""Leases expired in one look."""
MAX_REVOKES = 16
"""Revocations under way at a time."""


class LeaseKeeper:
    """Answers for leases and revokes those that ran out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._revoking: dict[int, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MAX_REVOKES)
        self._look_at = 0.0

    async def renew(self, lease_id: int) -> int:
        """Start the lease's time anew; its TTL in seconds. Raises LeaseNotFound, and NotPrimaryLessor when this member
        does not lead: only the leader's clock counts."""
        server = self._server
        await server.fresh()
        if server.lessor.is_expired(lease_id, self._loop.time()):
            # The client must learn that it came too late, not that it may go on.
            await asyncio.wait([self._revocation(lease_id)])
        if server.lessor.needs_checkpoint_reset(lease_id):
            await server.propose("lease_checkpoint", _checkpoint([(lease_id, 0)]))
        return server.lessor.renew(lease_id, self._loop.time())

    async def time_to_live(self, lease_id: int) -> TimeToLive | None:
        """Time left, time granted and keys of a lease, or None if there is no such lease."""
        await self._server.fresh()
        try:
            return self._server.lessor.time_to_live(lease_id, self._loop.time())
        except errors.LeaseNotFound:
            return None

    def ids(self) -> list[int]:
        """All leases, the first to expire first."""
        return [lease.id for lease in self._server.lessor.leases()]

    def tick(self, now: float) -> None:
        """Revoke what ran out, and note the time left of long leases, so that a new leader does not start them anew."""
        if now < self._look_at or not self._server.is_leader:
            return
        self._look_at = now + LOOK_INTERVAL
        for lease_id in self._server.lessor.expired(now, MAX_EXPIRED):
            self._revocation(lease_id)
        if checkpoints := self._server.lessor.checkpoints(now):
            self._server.spawn(self._propose_checkpoints(checkpoints))

    def _revocation(self, lease_id: int) -> asyncio.Task[None]:
        """The one revocation of a lease that is under way; begun here if there is none."""
        if lease_id not in self._revoking:
            self._revoking[lease_id] = self._server.spawn(self._revoke(lease_id))
        return self._revoking[lease_id]

    async def _revoke(self, lease_id: int) -> None:
        try:
            async with self._slots:
                await self._server.propose("lease_revoke", rpc_pb2.LeaseRevokeRequest(ID=lease_id))
        except errors.LeaseNotFound:
            pass
        except errors.EtcdError as err:
            log.warn("failed to revoke an expired lease", lease_id=f"{lease_id:016x}", error=str(err))
        finally:
            self._revoking.pop(lease_id, None)

    async def _propose_checkpoints(self, checkpoints: list[tuple[int, int]]) -> None:
        try:
            await self._server.propose("lease_checkpoint", _checkpoint(checkpoints))
        except errors.EtcdError as err:
            log.warn("failed to checkpoint leases", count=len(checkpoints), error=str(err))


def _checkpoint(checkpoints: list[tuple[int, int]]) -> rpc_pb2.LeaseCheckpointRequest:
    return rpc_pb2.LeaseCheckpointRequest(
        checkpoints=[rpc_pb2.LeaseCheckpoint(ID=lease_id, remaining_TTL=left) for lease_id, left in checkpoints]
    )
