"""The paths of the client listeners."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.apply import alarm_name
from quorate.etcdhttp.gateway import Gateway, is_gateway_path
from quorate.etcdhttp.metrics import render_metrics
from quorate.server import Server
from quorate.transport.grpc.tally import MethodTally
from quorate.transport.http1 import HttpRequest, HttpResponse
from quorate.version import QUORATE_VERSION

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class ClientHandler:
    """Answers one request at a time; to be handed to the listener. Without a gateway its paths are unknown ones."""

    def __init__(self, server: Server, tallies: Mapping[str, MethodTally], gateway: Gateway | None = None) -> None:
        self._server = server
        self._tallies = tallies
        self._gateway = gateway

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if self._gateway is not None and is_gateway_path(request.path):
            return await self._gateway(request)
        match request.path:
            case "/health":
                return await self._health(request) if request.method == "GET" else not_allowed()
            case "/version":
                return version(self._server) if request.method in ("GET", "HEAD") else not_allowed()
            case "/metrics":
                body, content_type = render_metrics(self._server, self._tallies)
                return HttpResponse(200, [("Content-Type", content_type)], body)
        return not_found()

    async def _health(self, request: HttpRequest) -> HttpResponse:
        """Alarms first, then the leader, then a read: as etcd looks."""
        excluded = set(request.query.get("exclude", ()))
        serializable = "true" in request.query.get("serializable", ())
        reason = self._alarm(excluded)
        if not reason and not serializable and not self._server.leader_id:
            reason = "RAFT NO LEADER"
        if not reason and not serializable:
            try:
                await self._server.fresh()
            except errors.EtcdError as err:
                reason = f"RANGE ERROR:{err}"
        body = json.dumps({"health": "false" if reason else "true", "reason": reason}, separators=(",", ":"))
        return respond(503 if reason else 200, body)

    def _alarm(self, excluded: Iterable[str]) -> str:
        for _, kind in self._server.alarms.active():
            known = kind in rpc_pb2.AlarmType.values()
            if alarm_name(kind) not in excluded:
                return f"ALARM {alarm_name(kind) if known else 'UNKNOWN'}"
        return ""


def version(server: Server) -> HttpResponse:
    """Versions of the member, its cluster and its storage, as etcd names them; then this package's own."""
    versions = {
        "etcdserver": server.config.release,
        "etcdcluster": server.cluster.version or "not_decided",
        "storage": server.storage_version or "unknown",
        "quorate": QUORATE_VERSION,
    }
    return respond(200, json.dumps(versions, separators=(",", ":")), JSON)


def respond(status: int, text: str, content_type: str = TEXT) -> HttpResponse:
    return HttpResponse(status, [("Content-Type", content_type)], text.encode())


def not_allowed(allow: str = "GET") -> HttpResponse:
    return HttpResponse(405, [("Content-Type", TEXT), ("Allow", allow)], b"Method Not Allowed\n")


def not_found() -> HttpResponse:
    return respond(404, "404 page not found\n")
