"""The paths of the peer listeners that a single member can answer."""

from __future__ import annotations

from quorate.etcdhttp.client import not_allowed, not_found, version
from quorate.server import Server
from quorate.transport.http1 import HttpRequest, HttpResponse


class PeerHandler:
    """Answers one request at a time; to be handed to the listener."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path != "/version":
            return not_found()
        return version(self._server) if request.method in ("GET", "HEAD") else not_allowed()
