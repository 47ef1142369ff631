"""Service Cluster: who the members are. The header of member calls carries no revision."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from quorate.api.pb import rpc_pb2
from quorate.membership import Member, check_peer_urls
from quorate.server import Server
from quorate.transport.grpc import Context
from quorate.v3rpc.door import Door


class Cluster:
    """Handlers take a decoded request and return a reply; errors are raised."""

    def __init__(self, server: Server, door: Door) -> None:
        self._server = server
        self._door = door

    async def member_list(self, request: rpc_pb2.MemberListRequest, context: Context) -> bytes:
        await self._door.require(context)
        if request.linearizable:
            await self._server.fresh()
        return self._reply(rpc_pb2.MemberListResponse(members=_encode(self._server.cluster.members())))

    async def member_add(self, request: rpc_pb2.MemberAddRequest, context: Context) -> bytes:
        check_peer_urls(request.peerURLs)
        await self._door.require_admin(context)
        added, members = await self._server.members.add(request.peerURLs, request.isLearner)
        member = rpc_pb2.Member(ID=added.id, peerURLs=added.peer_urls, isLearner=added.is_learner)
        return self._reply(rpc_pb2.MemberAddResponse(member=member, members=_encode(members)))

    async def member_remove(self, request: rpc_pb2.MemberRemoveRequest, context: Context) -> bytes:
        await self._door.require_admin(context)
        members = await self._server.members.remove(request.ID)
        return self._reply(rpc_pb2.MemberRemoveResponse(members=_encode(members)))

    async def member_update(self, request: rpc_pb2.MemberUpdateRequest, context: Context) -> bytes:
        await self._door.require_admin(context)
        members = await self._server.members.update(request.ID, request.peerURLs)
        return self._reply(rpc_pb2.MemberUpdateResponse(members=_encode(members)))

    async def member_promote(self, request: rpc_pb2.MemberPromoteRequest, context: Context) -> bytes:
        await self._door.require_admin(context)
        members = await self._server.members.promote(request.ID)
        return self._reply(rpc_pb2.MemberPromoteResponse(members=_encode(members)))

    def _reply(self, reply: Message) -> bytes:
        return self._server.header_without_revision() + reply.SerializeToString()


def _encode(members: Iterable[Member]) -> list[rpc_pb2.Member]:
    return [
        rpc_pb2.Member(
            ID=member.id,
            name=member.name,
            peerURLs=member.peer_urls,
            clientURLs=member.client_urls,
            isLearner=member.is_learner,
        )
        for member in members
    ]
