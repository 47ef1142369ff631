"""Service Lease: grant, revoke, keep alive, time to live, list."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.server import Server
from quorate.transport.grpc import Context, Stream
from quorate.v3rpc.door import Door

_POSITIVE = (1 << 63) - 1


class Lease:
    """Handlers take a decoded request and return an encoded reply; errors are raised."""

    def __init__(self, server: Server, door: Door) -> None:
        self._server = server
        self._door = door
        self._auth = server.auth
        self._header = server.header

    async def grant(self, request: rpc_pb2.LeaseGrantRequest, context: Context) -> bytes:
        self._server.check_quota(request)
        caller = await self._door.require(context)
        while request.ID == 0:
            request.ID = self._server.next_id() & _POSITIVE
        applied = await self._server.propose("lease_grant", request, caller=caller)
        return self._header(applied.revision) + applied.body

    async def revoke(self, request: rpc_pb2.LeaseRevokeRequest, context: Context) -> bytes:
        caller = await self._door.require(context)
        applied = await self._server.propose("lease_revoke", request, caller=caller)
        return self._header(applied.revision)

    async def keep_alive(self, stream: Stream) -> None:
        """Renew what is asked for until the client has no more; a lease that is gone answers with TTL 0."""
        while (request := await stream.receive()) is not None:
            header = self._header(0)
            if self._auth.enabled:
                await self._check_renewal(request.ID, stream.context)
            try:
                ttl = await self._server.leases.renew(request.ID)
            except errors.LeaseNotFound:
                ttl = 0
            stream.send(header + _renewed(request.ID, ttl))
            await stream.drain()

    def keep_alive_at_once(self, request: rpc_pb2.LeaseKeepAliveRequest, stream: Stream) -> bytes | None:
        """The answer to one renewal that this member can make by itself and now, else None."""
        if self._auth.enabled:
            return None
        ttl = self._server.leases.renew_at_once(request.ID)
        return None if ttl is None else self._header(0) + _renewed(request.ID, ttl)

    def keep_alive_together(self, bodies: list[bytes], context: Context) -> Sequence[bytes] | None:
        """The same for renewals on a stream each that came together; None when it cannot answer all of them."""
        if self._auth.enabled:
            return None
        try:
            ids = [rpc_pb2.LeaseKeepAliveRequest.FromString(body).ID for body in bodies]
        except DecodeError:
            return None
        ttls = map(self._server.leases.renew_at_once, ids)
        header = self._header(0)
        answers = [header + _renewed(id_, ttl) for id_, ttl in zip(ids, ttls, strict=True) if ttl is not None]
        return answers if len(answers) == len(ids) else None

    async def _check_renewal(self, lease_id: int, context: Context) -> None:
        """Raises UserEmpty, PermissionDenied, AuthOldRevision, InvalidAuthToken, TimeoutWaitApplied."""
        await self._server.leases.catch_up()
        self._door.guard.check_lease_write(lease_id, await self._door.require(context))

    async def time_to_live(self, request: rpc_pb2.LeaseTimeToLiveRequest, context: Context) -> bytes:
        caller = await self._door.require(context)
        if request.keys:
            self._door.guard.check_lease_read(request.ID, caller)
        found = await self._server.leases.time_to_live(request.ID, request.keys)
        if self._auth.enabled and found is not None:
            for key in found.keys:  # the leader may know of more; and the caller may have lost a permission meanwhile
                self._auth.check_read(caller, key)
        reply = rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
        if found is not None:
            reply.TTL = found.ttl
            reply.grantedTTL = found.granted_ttl
            reply.keys.extend(found.keys)
        return self._header(0) + reply.SerializeToString()

    async def leases(self, request: rpc_pb2.LeaseLeasesRequest, context: Context) -> bytes:
        await self._server.fresh()
        caller = await self._door.require(context)
        ids = self._server.leases.ids()
        if self._auth.enabled:
            for lease_id in ids:
                self._door.guard.check_lease_read(lease_id, caller)
        reply = rpc_pb2.LeaseLeasesResponse(leases=[rpc_pb2.LeaseStatus(ID=lease_id) for lease_id in ids])
        return self._header(0) + reply.SerializeToString()


def _renewed(lease_id: int, ttl: int) -> bytes:
    return rpc_pb2.LeaseKeepAliveResponse(ID=lease_id, TTL=ttl).SerializeToString()
