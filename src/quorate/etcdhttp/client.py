"""The paths of the client listeners, and those of them that the metrics listeners answer as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.etcdhttp.answers import not_allowed, not_found, version
from quorate.etcdhttp.debug_vars import debug_vars
from quorate.etcdhttp.gateway import Gateway, is_gateway_path
from quorate.etcdhttp.health import Health
from quorate.etcdhttp.metrics import CONTENT_TYPE, Metrics
from quorate.server import Server
from quorate.transport.http1 import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from quorate.etcdhttp.profiles import Profiles


class MetricsHandler:
    """For who watches the member: its numbers, and whether it is well. To be handed to a listener."""

    def __init__(self, server: Server, metrics: Metrics) -> None:
        self._metrics = metrics
        self._health = Health(server, metrics)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/metrics":
            return HttpResponse(200, [("Content-Type", CONTENT_TYPE)], self._metrics.page())
        if self._health.knows(request.path):
            return await self._health(request)
        return not_found()


class ClientHandler:
    """The same and more, for clients. Without a gateway its paths are unknown ones; so are those of profiles."""

    def __init__(
        self, server: Server, metrics: Metrics, gateway: Gateway | None = None, profiles: Profiles | None = None
    ) -> None:
        self._server = server
        self._gateway = gateway
        self._profiles = profiles
        self._watched = MetricsHandler(server, metrics)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path
        if self._gateway is not None and is_gateway_path(path):
            return await self._gateway(request)
        if path == "/version":
            return version(self._server) if request.method in ("GET", "HEAD") else not_allowed()
        if path == "/debug/vars":
            return debug_vars(self._server)
        if self._profiles is not None and self._profiles.knows(path):
            return await self._profiles(request)
        return await self._watched(request)
