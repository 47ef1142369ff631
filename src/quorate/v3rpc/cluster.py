"""Service Cluster: who the members are."""

from __future__ import annotations

from quorate.api.pb import rpc_pb2
from quorate.server import Server
from quorate.transport.grpc import Context


class Cluster:
    """Handlers take a decoded request and return a reply; errors are raised."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def member_list(self, request: rpc_pb2.MemberListRequest, context: Context) -> bytes:
        """All members by ID. The header of member calls carries no revision."""
        if request.linearizable:
            await self._server.fresh()
        reply = rpc_pb2.MemberListResponse(
            members=[
                rpc_pb2.Member(
                    ID=member.id,
                    name=member.name,
                    peerURLs=member.peer_urls,
                    clientURLs=member.client_urls,
                    isLearner=member.is_learner,
                )
                for member in self._server.cluster.members()
            ]
        )
        return self._server.header_without_revision() + reply.SerializeToString()
