"""Leases as the cluster keeps them: the leader's clock counts, everyone else asks the leader. Expiry is a proposal.

    client ──► any member ──POST /leases──► leader: confirm leadership ──► lessor.renew
                                            leader: lessor.expired ──► confirm leadership ──► propose lease_revoke

A stalled leader does not know that it was replaced, so nothing that shortens or lengthens a life is decided by its
clock alone (etcd 15247). A revocation is proposed, and the time left noted, only after a quorum has confirmed the
leadership *after* the decision. For a renewal a confirmation may be a few heartbeats old: no other member can be
elected that soon after it, and whoever is gives every lease its whole time again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.lease import TimeToLive
from quorate.pkg.jsonlog import get_log
from quorate.server import peer_calls
from quorate.server.lease_forward import Renewals, while_it_leads

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

Answer = TypeVar("Answer")

LOOK_INTERVAL = 0.5
"""Seconds between two looks for expired leases."""
MAX_EXPIRED = 500
"""Leases expired in one look."""
MAX_REVOKES = 16
"""Revocations under way at a time."""
FRESH_HEARTBEATS = 3
"""Heartbeats for which a confirmed leadership lets leases be renewed; less than an election takes."""
APPLY_WAIT = 1.0
"""Seconds that the leader waits for its own state before it says that a lease is not there (etcd 13675)."""
RETRY_PAUSE = 0.05
"""Seconds before the leader is asked once more, and between looks whether this member still leads."""


class LeaseKeeper:
    """Answers for leases and, on the leader, revokes those that ran out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._revoking: dict[int, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MAX_REVOKES)
        self._renewals = Renewals(server)
        self._noting = False
        self._look_at = 0.0
        self._confirmed_term = 0
        self._confirmed_at = 0.0
        self.expired = 0
        """Leases whose end this member has proposed, as leader."""
        self._fresh_seconds = FRESH_HEARTBEATS * server.config.heartbeat_interval

    async def renew(self, lease_id: int) -> int:
        """Start the lease's time anew; its TTL in seconds.

        Raises LeaseNotFound; NotPrimaryLessor on a leader that could not confirm that it leads; NoLeader, Timeout,
        TimeoutWaitApplied.
        """
        if self._server.is_leader:
            try:
                return await self.renew_here(lease_id)
            except errors.NotPrimaryLessor:
                if not self._has_another_leader():
                    raise
        return await self._ask_leader(partial(self.renew_here, lease_id), partial(self._renew_there, lease_id))

    async def time_to_live(self, lease_id: int, keys: bool = True) -> TimeToLive | None:
        """Time left, time granted and keys of a lease, or None if there is no such lease.

        Raises LeaderChanged, NoLeader, Timeout, TimeoutWaitApplied.
        """
        here = partial(self.time_to_live_here, lease_id, keys)
        try:
            if self._server.is_leader:
                return await here()
            return await self._ask_leader(here, partial(self._time_to_live_there, lease_id, keys))
        except errors.LeaseNotFound:
            return None
        except errors.NotPrimaryLessor:
            raise errors.LeaderChanged() from None

    def ids(self) -> list[int]:
        """All leases; on the leader the first to expire first."""
        return [lease.id for lease in self._server.lessor.leases()]

    # The leader's answers, for own clients and for other members.

    async def renew_here(self, lease_id: int) -> int:
        """Renew by this member's clock. Raises NotPrimaryLessor, LeaseNotFound, Timeout, TimeoutWaitApplied."""
        lessor = self._server.lessor
        await self._confirm_leadership(self._fresh_seconds)
        if not lessor.exists(lease_id):
            await self.catch_up()
        deadline = self._loop.time() + self._server.config.request_timeout
        while True:  # whatever was waited for, the lease may be another one by now (etcd 20615)
            if lessor.is_expired(lease_id, self._loop.time()):
                # The client must learn that it came too late, not that it may go on.
                await self._revoked(lease_id, deadline)
            elif lessor.needs_checkpoint_reset(lease_id):
                await self._server.propose("lease_checkpoint", _checkpoint([(lease_id, 0)]))
            else:
                return lessor.renew(lease_id, self._loop.time())

    def renew_at_once(self, lease_id: int) -> int | None:
        """Renew by this member's clock, where it leads for sure and there is nothing to wait for; else None."""
        server, now = self._server, self._loop.time()
        if not self._is_confirmed(now, self._fresh_seconds):
            if not server.is_leader or not server.is_fresh():
                return None
            self._confirmed_term, self._confirmed_at = server.term, now
        ttl = self._renew_at_once(lease_id, now) if server.lessor.exists(lease_id) else peer_calls.ALONE
        return None if ttl == peer_calls.ALONE else ttl

    async def renew_all_here(self, lease_ids: Sequence[int]) -> list[int]:
        """Renew what can be renewed at once: for each its TTL, 0 if it is gone, or ALONE.

        Raises NotPrimaryLessor, TimeoutWaitApplied.
        """
        await self._confirm_leadership(self._fresh_seconds)
        await self.catch_up()
        now = self._loop.time()
        return [self._renew_at_once(lease_id, now) for lease_id in lease_ids]

    def _renew_at_once(self, lease_id: int, now: float) -> int:
        lessor = self._server.lessor
        if not lessor.exists(lease_id):
            return 0
        if lessor.is_expired(lease_id, now) or lessor.needs_checkpoint_reset(lease_id):
            return peer_calls.ALONE
        return lessor.renew(lease_id, now)

    async def time_to_live_here(self, lease_id: int, keys: bool) -> TimeToLive:
        """What this member's clock says. Raises NotPrimaryLessor, LeaseNotFound, TimeoutWaitApplied."""
        await self._confirm_leadership(self._fresh_seconds)
        await self.catch_up()
        return self._server.lessor.time_to_live(lease_id, self._loop.time(), keys)

    async def catch_up(self) -> None:
        """Return once everything committed is applied. Raises TimeoutWaitApplied."""
        if self._server.applied_index < self._server.committed_index:
            await self._server.catch_up(APPLY_WAIT)

    async def _confirm_leadership(self, seconds: float) -> None:
        """Have a quorum confirm that this member leads, unless that was done in the last `seconds`.

        Raises NotPrimaryLessor when it does not, or cannot know.
        """
        server = self._server
        now = self._loop.time()
        if self._is_confirmed(now, seconds):
            return
        barrier = server.read_barrier()
        while server.is_leader and barrier is not None and not barrier.done():
            await asyncio.wait([barrier], timeout=RETRY_PAUSE)
        if barrier is not None and barrier.done() and (err := barrier.exception()) is not None:
            raise err if isinstance(err, errors.Stopped) else errors.NotPrimaryLessor()
        if not server.is_leader:
            raise errors.NotPrimaryLessor()
        self._confirmed_term, self._confirmed_at = server.term, now

    def _is_confirmed(self, now: float, seconds: float) -> bool:
        server = self._server
        return server.is_leader and server.term == self._confirmed_term and now - self._confirmed_at < seconds

    async def _revoked(self, lease_id: int, deadline: float) -> None:
        """Return when the revocation of an expired lease has ended, well or not. Raises Timeout."""
        now = self._loop.time()
        if now >= deadline:
            raise errors.Timeout()
        await asyncio.wait([self._revocation(lease_id)], timeout=deadline - now)
        if self._server.lessor.is_expired(lease_id, now):
            await asyncio.sleep(RETRY_PAUSE)

    # What followers ask of the leader.

    def _has_another_leader(self) -> bool:
        return self._server.leader_id != 0 and not self._server.is_leader

    async def _ask_leader(
        self, here: Callable[[], Awaitable[Answer]], there: Callable[[int, str, float], Awaitable[Answer]]
    ) -> Answer:
        """The answer of whoever leads, asked until there is one: `here` if that is this member, else `there`, given the
        leader's ID, a peer URL of it and the seconds left.

        Raises NoLeader, Timeout when the request timeout is over, and the leader's verdict.
        """
        server = self._server
        deadline = self._loop.time() + server.config.request_timeout
        while (left := deadline - self._loop.time()) > 0:
            leader = server.cluster.member(server.leader_id)
            if leader is not None and server.is_leader:
                try:
                    return await here()
                except errors.NotPrimaryLessor as err:
                    log.debug("cannot confirm to lead", error=str(err))
            elif leader is not None:
                for url in leader.peer_urls:
                    try:
                        return await there(leader.id, url, left)
                    except peer_calls.PeerCallError as err:
                        log.debug("the leader did not answer for a lease", url=url, error=str(err))
            await asyncio.sleep(RETRY_PAUSE)
        raise errors.Timeout() if server.leader_id else errors.NoLeader()

    async def _time_to_live_there(
        self, lease_id: int, keys: bool, leader_id: int, url: str, seconds: float
    ) -> TimeToLive:
        call = peer_calls.time_to_live(self._server.http, url, lease_id, keys, seconds)
        return await while_it_leads(self._server, leader_id, call)

    async def _renew_there(self, lease_id: int, leader_id: int, url: str, seconds: float) -> int:
        return await self._renewals.renew(leader_id, url, lease_id, seconds)

    # What the leader does by itself.

    def tick(self, now: float) -> None:
        """Revoke what ran out, and note the time left of long leases, so that a new leader does not start them anew."""
        if now < self._look_at or not self._server.is_leader:
            return
        self._look_at = now + LOOK_INTERVAL
        lessor = self._server.lessor
        for lease_id in lessor.expired(now, MAX_EXPIRED):
            self._revocation(lease_id)
        if lessor.has_due_checkpoints(now) and not self._noting:
            self._noting = True
            self._server.spawn(self._propose_checkpoints())

    def _revocation(self, lease_id: int) -> asyncio.Task[None]:
        """The one revocation of a lease that is under way; begun here if there is none."""
        if lease_id not in self._revoking:
            self._revoking[lease_id] = self._server.spawn(self._revoke(lease_id))
        return self._revoking[lease_id]

    async def _revoke(self, lease_id: int) -> None:
        try:
            async with self._slots:
                while not await self._revoke_if_leading(lease_id):
                    pass
        except (errors.LeaseNotFound, errors.NotPrimaryLessor):
            pass  # somebody was quicker; or it is not for this member to say
        except errors.EtcdError as err:
            log.warn("failed to revoke an expired lease", lease_id=f"{lease_id:016x}", error=str(err))
        finally:
            self._revoking.pop(lease_id, None)

    async def _revoke_if_leading(self, lease_id: int) -> bool:
        """False when a user was changed at the wrong moment, so that it must be proposed anew."""
        await self._confirm_leadership(0)
        if self._server.lessor.is_expired(lease_id, self._loop.time()):
            self.expired += 1
            request = rpc_pb2.LeaseRevokeRequest(ID=lease_id)
            try:
                # As root: members of other releases, too, ask who revokes a lease that holds keys.
                await self._server.propose_leading("lease_revoke", request, self._server.auth.root())
            except errors.AuthOldRevision:
                return False
        return True

    async def _propose_checkpoints(self) -> None:
        try:
            await self._confirm_leadership(0)
            # Taken only now, and proposed without a pause: the reset of a later renewal must come behind them.
            if checkpoints := self._server.lessor.checkpoints(self._loop.time()):
                await self._server.propose_leading("lease_checkpoint", _checkpoint(checkpoints))
        except errors.EtcdError as err:
            log.warn("failed to checkpoint leases", error=str(err))
        finally:
            self._noting = False


def _checkpoint(checkpoints: list[tuple[int, int]]) -> rpc_pb2.LeaseCheckpointRequest:
    return rpc_pb2.LeaseCheckpointRequest(
        checkpoints=[rpc_pb2.LeaseCheckpoint(ID=lease_id, remaining_TTL=left) for lease_id, left in checkpoints]
    )
