"""grpc.health.v1: the check that load balancers know. Only the server as a whole, the empty name, has a status."""

from __future__ import annotations

from quorate.api.errors import Code
from quorate.api.pb import health_pb2
from quorate.server import Server
from quorate.transport.grpc import Context, Status, Stream

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """It is well while it runs; with the feature gate StopGRPCServiceOnDefrag not while it defragments."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def check(self, request: health_pb2.HealthCheckRequest, context: Context) -> bytes:
        if request.service:
            raise Status(Code.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=self._status()).SerializeToString()

    async def watch(self, request: health_pb2.HealthCheckRequest, stream: Stream) -> None:
        """The present status, then every change."""
        told = None
        while True:
            status = _SERVICE_UNKNOWN if request.service else self._status()
            if status != told:
                told = status
                stream.send(health_pb2.HealthCheckResponse(status=status).SerializeToString())
            await self._server.defragmenter.turned()

    async def list(self, request: health_pb2.HealthListRequest, context: Context) -> bytes:
        reply = health_pb2.HealthListResponse()
        reply.statuses[""].status = self._status()
        return reply.SerializeToString()

    def _status(self) -> health_pb2.HealthCheckResponse.ServingStatus:
        away = self._server.config.not_serving_on_defrag and self._server.defragmenter.is_running
        return _NOT_SERVING if away else _SERVING
