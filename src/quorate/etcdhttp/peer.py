"""The paths of the peer listeners: raft, and what members ask each other beside it."""

from __future__ import annotations

import json

from quorate.api import errors
from quorate.etcdhttp.answers import JSON, not_allowed, not_found, respond, version
from quorate.etcdhttp.peer_hash import handle_hash
from quorate.etcdhttp.peer_leases import handle_leases
from quorate.membership import encode_members
from quorate.pkg.jsonlog import get_log
from quorate.server import Server
from quorate.server.members import encode_verdict
from quorate.transport.web import HttpRequest, HttpResponse, text_response

log = get_log(__name__)

RAFT = "/raft"
PROMOTE = "/members/promote/"


class PeerHandler:
    """Answers one request at a time; to be handed to the listener."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._cluster_id = ("X-Etcd-Cluster-ID", f"{server.cluster_id:x}")

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path
        if path == RAFT or path.startswith(RAFT + "/"):
            return await self._server.transport.handle(request)
        if path.startswith(PROMOTE):
            return await self._promote(request)
        match path:
            case "/members":
                return self._members() if request.method == "GET" else not_allowed()
            case "/members/hashkv":
                return await handle_hash(self._server, request)
            case "/leases" | "/leases/internal":
                return await handle_leases(self._server, request)
            case "/downgrade/enabled":
                return await self._downgrade() if request.method == "GET" else not_allowed()
            case "/version":
                return version(self._server) if request.method in ("GET", "HEAD") else not_allowed()
        return not_found()

    def _members(self) -> HttpResponse:
        body = encode_members(self._server.cluster.members())
        return HttpResponse(200, [("Content-Type", JSON), self._cluster_id], body)

    async def _promote(self, request: HttpRequest) -> HttpResponse:
        """Promote the learner whose ID, decimal here, ends the path."""
        if request.method != "POST":
            return not_allowed("POST")
        text = request.path.removeprefix(PROMOTE)
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else -1
        if not 0 <= number < 1 << 64:
            return text_response(404, f"member {text} not found in cluster", [self._cluster_id])
        try:
            members = await self._server.members.promote(number)
        except errors.EtcdError as err:
            log.warn("failed to promote a member", member_id=f"{number:x}", error=str(err))
            status, verdict = encode_verdict(err)
            if status == 500:
                body = json.dumps({"message": verdict}).encode()
                return HttpResponse(500, [("Content-Type", JSON), self._cluster_id], body)
            return text_response(status, verdict, [self._cluster_id])
        return HttpResponse(200, [("Content-Type", JSON), self._cluster_id], encode_members(members))

    async def _downgrade(self) -> HttpResponse:
        """Is a downgrade on, as the whole cluster knows it?"""
        try:
            await self._server.fresh()
        except errors.EtcdError as err:
            return text_response(500, f"failed linearized read: {err}", [self._cluster_id])
        enabled = "true" if self._server.cluster.downgrade.enabled else "false"
        plain = respond(200, enabled, "text/plain")
        return HttpResponse(plain.status, [*plain.headers, self._cluster_id], plain.body)
