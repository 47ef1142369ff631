"""grpc.health.v1: the check that load balancers know. Only the server as a whole, the empty name, has a status."""

from __future__ import annotations

import asyncio

from quorate.api.errors import Code
from quorate.api.pb import health_pb2
from quorate.transport.grpc import Context, Status, Stream

_SERVING = health_pb2.HealthCheckResponse.SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    async def check(self, request: health_pb2.HealthCheckRequest, context: Context) -> bytes:
        if request.service:
            raise Status(Code.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=_SERVING).SerializeToString()

    async def watch(self, request: health_pb2.HealthCheckRequest, stream: Stream) -> None:
        """The present status, then every change: there is none while the server runs."""
        status = _SERVICE_UNKNOWN if request.service else _SERVING
        stream.send(health_pb2.HealthCheckResponse(status=status).SerializeToString())
        await asyncio.get_running_loop().create_future()

    async def list(self, request: health_pb2.HealthListRequest, context: Context) -> bytes:
        reply = health_pb2.HealthListResponse()
        reply.statuses[""].status = _SERVING
        return reply.SerializeToString()
