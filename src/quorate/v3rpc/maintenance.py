"""Service Maintenance: status, hashes, alarms. All of it speaks of the member that is asked, except alarms."""

from __future__ import annotations

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.server import Server
from quorate.transport.grpc import Context
from quorate.version import ETCD_VERSION


class Maintenance:
    """Handlers take a decoded request and return an encoded reply; errors are raised."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._header = server.header

    async def status(self, request: rpc_pb2.StatusRequest, context: Context) -> bytes:
        server = self._server
        reply = rpc_pb2.StatusResponse(
            version=ETCD_VERSION,
            dbSize=server.backend.size(),
            dbSizeInUse=server.backend.size_in_use(),
            leader=server.leader_id,
            raftIndex=server.committed_index,
            raftTerm=server.term,
            raftAppliedIndex=server.applied_index,
            storageVersion=server.storage_version,
            dbSizeQuota=server.quota.limit,
            downgradeInfo=rpc_pb2.DowngradeInfo(),
            errors=server.complaints(),
        )
        return self._header(0) + reply.SerializeToString()

    async def hash(self, request: rpc_pb2.HashRequest, context: Context) -> bytes:
        value = await self._server.hash()
        return self._header(0) + rpc_pb2.HashResponse(hash=value).SerializeToString()

    async def hash_kv(self, request: rpc_pb2.HashKVRequest, context: Context) -> bytes:
        found = await self._server.hash_kv(request.revision)
        reply = rpc_pb2.HashKVResponse(
            hash=found.hash, compact_revision=found.compact_revision, hash_revision=found.revision
        )
        return self._header(0) + reply.SerializeToString()

    async def alarm(self, request: rpc_pb2.AlarmRequest, context: Context) -> bytes:
        if request.action not in rpc_pb2.AlarmRequest.AlarmAction.values():
            raise errors.UnknownMethod()
        applied = await self._server.propose("alarm", request)
        return self._header(applied.revision) + applied.body
