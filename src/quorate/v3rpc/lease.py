"""Service Lease: grant, revoke, keep alive, time to live, list."""

from __future__ import annotations

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.server import Server
from quorate.transport.grpc import Context, Stream

_POSITIVE = (1 << 63) - 1


class Lease:
    """Handlers take a decoded request and return an encoded reply; errors are raised."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._header = server.header

    async def grant(self, request: rpc_pb2.LeaseGrantRequest, context: Context) -> bytes:
        self._server.check_quota(request)
        while request.ID == 0:
            request.ID = self._server.next_id() & _POSITIVE
        applied = await self._server.propose("lease_grant", request)
        return self._header(applied.revision) + applied.body

    async def revoke(self, request: rpc_pb2.LeaseRevokeRequest, context: Context) -> bytes:
        applied = await self._server.propose("lease_revoke", request)
        return self._header(applied.revision)

    async def keep_alive(self, stream: Stream) -> None:
        """Renew what is asked for until the client has no more; a lease that is gone answers with TTL 0."""
        while (request := await stream.receive()) is not None:
            header = self._header(0)
            try:
                ttl = await self._server.leases.renew(request.ID)
            except errors.LeaseNotFound:
                ttl = 0
            stream.send(header + rpc_pb2.LeaseKeepAliveResponse(ID=request.ID, TTL=ttl).SerializeToString())
            await stream.drain()

    async def time_to_live(self, request: rpc_pb2.LeaseTimeToLiveRequest, context: Context) -> bytes:
        found = await self._server.leases.time_to_live(request.ID, request.keys)
        reply = rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
        if found is not None:
            reply.TTL = found.ttl
            reply.grantedTTL = found.granted_ttl
            reply.keys.extend(found.keys)
        return self._header(0) + reply.SerializeToString()

    async def leases(self, request: rpc_pb2.LeaseLeasesRequest, context: Context) -> bytes:
        await self._server.fresh()
        ids = self._server.leases.ids()
        reply = rpc_pb2.LeaseLeasesResponse(leases=[rpc_pb2.LeaseStatus(ID=lease_id) for lease_id in ids])
        return self._header(0) + reply.SerializeToString()
