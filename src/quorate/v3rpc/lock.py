"""Service Lock: Lock waits for its turn, Unlock deletes the key."""

from __future__ import annotations

from quorate.api import encode, errors
from quorate.api.pb import lock_pb2, rpc_pb2
from quorate.server import Server
from quorate.transport.grpc import Context
from quorate.v3rpc.kv import KV
from quorate.v3rpc.mutex import PlaceLost, Queue, as_unknown


class Lock:
    """Handlers take a decoded request and return an encoded reply; errors are raised. `lock` needs a task."""

    def __init__(self, server: Server, kv: KV, queue: Queue) -> None:
        self._header = server.header
        self._kv = kv
        self._queue = queue

    async def lock(self, request: lock_pb2.LockRequest, context: Context) -> bytes:
        with as_unknown():
            lease_id = await self._queue.session(request.lease, context)
            place = await self._queue.join(request.name, lease_id, b"", context)
            try:
                revision = await self._queue.wait(place, context)
            except PlaceLost:
                raise errors.MutexSessionExpired() from None
        return self._header(revision) + encode.field(b"\x12", place.key)

    async def unlock(self, request: lock_pb2.UnlockRequest, context: Context) -> bytes:
        delete = rpc_pb2.DeleteRangeRequest(key=request.key)
        with as_unknown():
            reply = await self._kv.delete_range((delete, delete.SerializeToString()), context)
        header = rpc_pb2.DeleteRangeResponse.FromString(reply).header
        return lock_pb2.UnlockResponse(header=header).SerializeToString()
