"""Requests of other members: streams they ask for, messages and snapshots they bring, probes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from quorate.api.raftpb import MessageType
from quorate.pkg.jsonlog import get_log
from quorate.rafthttp import probing
from quorate.rafthttp.errors import RemoteProtocolError
from quorate.rafthttp.headers import parse_id, refusal
from quorate.rafthttp.host import Host, Identity
from quorate.rafthttp.link import Counters
from quorate.rafthttp.messages import decoded
from quorate.rafthttp.snapshots import split_message
from quorate.rafthttp.streams import STREAMS
from quorate.transport.body import BodyWriter
from quorate.transport.web import HttpRequest, HttpResponse, text_response

if TYPE_CHECKING:
    from quorate.rafthttp.transport import Transport

log = get_log(__name__)

PIPELINE_PATH = "/raft"
STREAM_PATH = "/raft/stream/"
SNAPSHOT_PATH = "/raft/snapshot"


class Handlers:
    """Answers what comes in under /raft."""

    def __init__(self, identity: Identity, host: Host, transport: Transport) -> None:
        self._identity = identity
        self._host = host
        self._transport = transport
        self._cluster = ("X-Etcd-Cluster-ID", f"{identity.cluster_id:x}")

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to one request."""
        path = request.path
        if path == PIPELINE_PATH:
            return self._pipeline(request)
        if path.startswith(STREAM_PATH):
            return self._stream(request)
        if path == SNAPSHOT_PATH:
            return await self._snapshot(request)
        if path == probing.PATH:
            return HttpResponse(200, [("Content-Type", "text/plain; charset=utf-8")], probing.answer(time.time()))
        return text_response(404, "404 page not found")

    def _pipeline(self, request: HttpRequest) -> HttpResponse:
        """POST /raft: one raft message."""
        if (no := self._check(request, "POST")) is not None:
            return no
        self._note_sender(request)
        try:
            message = decoded(request.body)
        except RemoteProtocolError as error:
            log.warn("failed to unmarshal Raft message", error=str(error), peer=request.peer)
            return self._refuse(400, "error unmarshalling raft message")
        if self._transport.rejects(message) is not None or message.type == MessageType.SNAP:
            return self._refuse(500, "error processing raft message", ("Connection", "close"))
        self._count(message.from_, len(request.body))
        self._transport.receive(message)
        return HttpResponse(204, [self._cluster])

    def _stream(self, request: HttpRequest) -> HttpResponse:
        """GET /raft/stream/<kind>/<from>: a member wants to hear from this one."""
        version = ("X-Server-Version", self._identity.server_version)
        if (no := self._check(request, "GET", version)) is not None:
            return no
        name, _, sender = request.path.removeprefix(STREAM_PATH).rpartition("/")
        if name not in STREAMS:
            return self._refuse(404, "invalid path", version)
        member_id = parse_id(sender)
        if member_id is None:
            return self._refuse(404, "invalid from", version)
        if self._host.is_removed(member_id):
            log.warn("rejected stream from remote peer because it was removed", remote_peer_id=f"{member_id:x}")
            return self._refuse(410, "removed member", version)
        if not self._transport.has_peer(member_id):
            # It may have joined, and this member not have heard of that yet.
            self._note_sender(request)
            log.warn("failed to find remote peer in cluster", remote_peer_id=f"{member_id:x}")
            return self._refuse(404, "error sender not found", version)
        if request.header("x-raft-to") != f"{self._identity.member_id:x}":
            return self._refuse(412, "to field mismatch", version)

        def attach(body: BodyWriter) -> None:
            peer = self._transport.peer(member_id)
            if peer is None:
                body.close()
            else:
                peer.attach(name, body)

        return HttpResponse(200, [self._cluster, version], attach)

    async def _snapshot(self, request: HttpRequest) -> HttpResponse:
        """POST /raft/snapshot: a MsgSnap and a database. The answer says that the database is stored."""
        if (no := self._check(request, "POST")) is not None:
            return no
        self._note_sender(request)
        try:
            message, chunks = await split_message(request.chunks or _whole(request.body))
        except (RemoteProtocolError, ConnectionError) as error:
            log.warn("failed to decode Raft message", error=str(error), peer=request.peer)
            return self._refuse(400, f"failed to decode raft message ({error})")
        if message.type != MessageType.SNAP:
            return self._refuse(400, "wrong raft message type")
        if (reason := self._transport.rejects(message)) is not None:
            return self._refuse(500, f"failed to process raft message ({reason})")
        assert message.snapshot is not None
        names = {"remote_peer_id": f"{message.from_:x}", "incoming_snapshot_index": message.snapshot.index}
        log.info("receiving database snapshot", **names)
        counters = self._transport.counters(message.from_) or Counters()
        counters.snapshots_arriving += 1
        began = time.monotonic()
        try:
            await self._host.receive_snapshot(message, chunks)
        except Exception as error:
            # Whatever kept it from being stored: the sender must not think that it is.
            log.warn("failed to save incoming database snapshot", error=str(error), kind=type(error).__name__, **names)
            counters.snapshots_not_received += 1
            return self._refuse(500, f"failed to save KV snapshot ({error})")
        finally:
            counters.snapshots_arriving -= 1
        counters.snapshots_received += 1
        counters.snapshot_receive_seconds.observe(time.monotonic() - began)
        log.info("received and saved database snapshot", **names)
        return HttpResponse(204, [self._cluster])

    def _check(self, request: HttpRequest, method: str, *headers: tuple[str, str]) -> HttpResponse | None:
        """The answer to a request of the wrong kind, or from a member this one does not talk to."""
        if request.method != method:
            return text_response(405, "Method Not Allowed", [("Allow", method)])
        reason = refusal(self._identity, request.header)
        if reason is None:
            return None
        log.warn(
            "request of another member refused",
            error=reason,
            path=request.path,
            remote_peer_id=request.header("x-server-from") or "",
            remote_peer_server_version=request.header("x-server-version") or "",
            remote_peer_cluster_id=request.header("x-etcd-cluster-id") or "",
        )
        return self._refuse(412, reason, *headers)

    def _refuse(self, status: int, text: str, *headers: tuple[str, str]) -> HttpResponse:
        return text_response(status, text, [self._cluster, *headers])

    def _note_sender(self, request: HttpRequest) -> None:
        """Remember where an unknown member can be answered."""
        member_id = parse_id(request.header("x-server-from"))
        urls = [url for url in (request.header("x-peerurls") or "").split(",") if url]
        if member_id is not None and urls:
            self._transport.add_remote(member_id, urls)

    def _count(self, member_id: int, size: int) -> None:
        counters = self._transport.counters(member_id)
        if counters is not None:
            counters.received_bytes += size


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    """A body that came where bodies are not streamed: with HTTP/2."""
    yield body
