"""Service Maintenance: status, hashes, alarms, snapshot, leadership, downgrade.

Status, hashes and snapshot are of the asked member alone.
"""

from __future__ import annotations

import hashlib

from quorate.api import errors
from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2
from quorate.server import Server
from quorate.server.backups import Backup, BackupError
from quorate.server.snapshots import SnapshotReplaced
from quorate.server.transfer import move_leader
from quorate.storage.backend import DefragmentError
from quorate.transport.grpc import Context, Status, Stream
from quorate.v3rpc.door import Door

CHUNK_BYTES = 1 << 15
"""Bytes of a snapshot in a message."""


class Maintenance:
    """Handlers take a decoded request and return an encoded reply; errors are raised."""

    def __init__(self, server: Server, door: Door) -> None:
        self._server = server
        self._door = door
        self._header = server.header

    async def status(self, request: rpc_pb2.StatusRequest, context: Context) -> bytes:
        await self._door.require(context)
        server = self._server
        downgrade = server.cluster.downgrade
        reply = rpc_pb2.StatusResponse(
            version=server.config.release,
            dbSize=server.backend.size(),
            dbSizeInUse=server.backend.size_in_use(),
            leader=server.leader_id,
            raftIndex=server.committed_index,
            raftTerm=server.term,
            raftAppliedIndex=server.applied_index,
            storageVersion=server.storage_version,
            dbSizeQuota=server.quota.limit,
            downgradeInfo=rpc_pb2.DowngradeInfo(enabled=downgrade.enabled, targetVersion=downgrade.target),
            isLearner=server.cluster.is_local_learner,
            errors=server.complaints(),
        )
        return self._header(0) + reply.SerializeToString()

    async def hash(self, request: rpc_pb2.HashRequest, context: Context) -> bytes:
        await self._door.require_admin(context)
        value = await self._server.hash()
        return self._header(0) + rpc_pb2.HashResponse(hash=value).SerializeToString()

    async def hash_kv(self, request: rpc_pb2.HashKVRequest, context: Context) -> bytes:
        await self._door.require_admin(context)
        found = await self._server.hash_kv(request.revision)
        reply = rpc_pb2.HashKVResponse(
            hash=found.hash, compact_revision=found.compact_revision, hash_revision=found.revision
        )
        return self._header(0) + reply.SerializeToString()

    async def alarm(self, request: rpc_pb2.AlarmRequest, context: Context) -> bytes:
        activates = request.action == rpc_pb2.AlarmRequest.ACTIVATE
        if (
            request.action not in rpc_pb2.AlarmRequest.AlarmAction.values()
            or (activates and request.alarm not in rpc_pb2.AlarmType.values())  # members that are etcd would end of it
        ):
            raise errors.UnknownMethod()
        if request.action == rpc_pb2.AlarmRequest.GET:
            await self._door.require(context)
        else:
            await self._door.require_admin(context)
        applied = await self._server.propose("alarm", request)
        return self._header(applied.revision) + applied.body

    async def snapshot(self, request: rpc_pb2.SnapshotRequest, stream: Stream) -> None:
        """The database as a bbolt file in chunks, then the SHA-256 of all of them. No message has a header."""
        await self._door.require_admin(stream.context)
        try:
            async with self._server.backups.make() as backup:
                await _send_backup(backup, stream)
        except SnapshotReplaced as err:
            raise Status(Code.UNAVAILABLE, str(err)) from err
        except (BackupError, OSError) as err:
            raise Status(Code.UNKNOWN, f"cannot make a snapshot: {err}") from err

    async def defragment(self, request: rpc_pb2.DefragmentRequest, context: Context) -> bytes:
        await self._door.require_admin(context)
        try:
            await self._server.defragmenter.defragment()
        except DefragmentError as err:
            raise Status(Code.UNKNOWN, str(err)) from err
        return rpc_pb2.DefragmentResponse().SerializeToString()

    async def move_leader(self, request: rpc_pb2.MoveLeaderRequest, context: Context) -> bytes:
        await self._door.require_admin(context)
        await move_leader(self._server, request.targetID, self._server.config.request_timeout)
        return rpc_pb2.MoveLeaderResponse().SerializeToString()

    async def downgrade(self, request: rpc_pb2.DowngradeRequest, context: Context) -> bytes:
        await self._door.require_admin(context)
        versions = self._server.versions
        match request.action:
            case rpc_pb2.DowngradeRequest.VALIDATE:
                version = await versions.validate_downgrade(request.version)
            case rpc_pb2.DowngradeRequest.ENABLE:
                version = await versions.enable_downgrade(request.version)
            case rpc_pb2.DowngradeRequest.CANCEL:
                version = await versions.cancel_downgrade()
            case _:
                raise errors.UnknownMethod()
        return self._header(0) + rpc_pb2.DowngradeResponse(version=version).SerializeToString()


async def _send_backup(backup: Backup, stream: Stream) -> None:
    """Raises OSError, BackupError."""
    digest = hashlib.sha256()
    sent = 0
    while sent < backup.size:
        blob = backup.read(sent, CHUNK_BYTES)
        digest.update(blob)
        sent += len(blob)
        left = backup.size - sent
        stream.send(rpc_pb2.SnapshotResponse(remaining_bytes=left, blob=blob, version=backup.version))
        await stream.drain()
    stream.send(rpc_pb2.SnapshotResponse(blob=digest.digest(), version=backup.version))
