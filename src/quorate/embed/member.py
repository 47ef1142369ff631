"""A running member: listeners and server, started and stopped in the one order that is safe.

Sockets are bound first, so that a taken port is found before any data is touched. The other members are served next:
they may ask while this one still asks them. Clients are served last, once the member has told the cluster about itself.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import sys

from quorate.embed.binding import bind, release
from quorate.embed.client_http import client_handler
from quorate.embed.config import Config
from quorate.embed.security import Security
from quorate.etcdhttp import PeerHandler, streamed_paths
from quorate.pkg.jsonlog import get_log
from quorate.server import Server, ServerConfig
from quorate.transport.grpc import Context, GrpcServer, ServerLimits
from quorate.transport.mux import Listener, serve
from quorate.transport.sockets import address_name
from quorate.transport.web import HttpRequest, HttpResponse, text_response
from quorate.v3rpc import build_methods
from quorate.version import ETCD_VERSION, QUORATE_VERSION

log = get_log(__name__)

DRAIN_GRACE = 2.0
"""Seconds that calls under way get to finish when the member stops."""
STREAMED_PATHS = frozenset({"/raft/snapshot"})
"""Requests whose bodies are too large to be held in memory."""


class Etcd:
    """One member in this process, on the running event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.server: Server | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets an exception when the member must stop: a disk that fails, state that could differ from the others'."""
        self._sockets: list[tuple[str, socket.socket]] = []
        self._listeners: list[Listener] = []

    async def start(self) -> None:
        """Return once clients are served.

        Raises ConfigError, TlsError, OSError, or what the data directory has wrong.
        """
        settings = self.config.server_config()
        security = Security.prepare(self.config)
        log.info("configuring peer listeners", listen_peer_urls=self.config.listen_peer_urls)
        peers = [self._bind(url) for url in self.config.listen_peer_urls]
        log.info("configuring client listeners", listen_client_urls=self.config.listen_client_urls)
        clients = [self._bind(url) for url in self.config.listen_client_urls]
        web_only = [self._bind(url) for url in self.config.listen_client_http_urls]
        self._log_start(settings)
        door = _PeerDoor()
        for url, bound in zip(self.config.listen_peer_urls, peers, strict=True):
            tls = security.peer_listener(url)
            self._listeners.append(await serve(bound, None, door, tls=tls, streamed=STREAMED_PATHS))
            log.info("serving peer traffic", address=_address(bound), encrypted=tls is not None)
        loop = asyncio.get_running_loop()
        server = self.server = await Server.open(settings, loop, self._fail, tls=security.peer_caller)
        door.open(PeerHandler(server))
        server.start()
        try:
            await server.ready()
        except Exception:
            if self.failed.done():
                self.failed.result()  # why it stopped says more than that it did
            raise
        limits = ServerLimits(
            max_receive_message=settings.max_message_bytes, slow_unary=settings.warning_unary_request_duration
        )
        methods = build_methods(server)
        grpc = GrpcServer(methods, limits, slow_call=_log_slow_call)
        server.raft.turn_ended = grpc.flush
        http = client_handler(self.config, server, methods, grpc.tallies)
        streamed = streamed_paths(methods)
        for url, bound in zip(self.config.listen_client_urls, clients, strict=True):
            web, tls = None if web_only else http, security.client_listener(url)
            self._listeners.append(await serve(bound, grpc, web, tls=tls, streamed=streamed))
        for url, bound in zip(self.config.listen_client_http_urls, web_only, strict=True):
            tls = security.client_listener(url)
            self._listeners.append(await serve(bound, None, http, tls=tls, streamed=streamed))
        log.info("ready to serve client requests")
        urls = self.config.listen_client_urls + self.config.listen_client_http_urls
        for url, bound in zip(urls, clients + web_only, strict=True):
            secure = security.client_listener(url) is not None
            words = "securely" if secure else "insecurely; this is strongly discouraged!"
            log.info(f"serving client traffic {words}", address=_address(bound))

    async def stop(self) -> None:
        """Let calls under way finish, then put everything on disk and let it go."""
        names = {"name": self.config.name, "data_dir": str(self.config.directory())}
        log.info("closing etcd server", **names)
        if self.server is not None:
            await self.server.leave()
        await asyncio.gather(*(listener.drain(DRAIN_GRACE) for listener in self._listeners))
        self._close_sockets()
        if self.server is not None:
            await self.server.stop()
        log.info("closed etcd server", **names)

    async def abort(self) -> None:
        """Stop at once after a failure: nothing more is written, what is on disk stays as it is."""
        for listener in self._listeners:
            listener.close()
        self._close_sockets()
        if self.server is not None:
            await self.server.abort()

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def _bind(self, url: str) -> socket.socket:
        bound = bind(url)
        self._sockets.append((url, bound))
        return bound

    def _close_sockets(self) -> None:
        for url, bound in self._sockets:
            release(url, bound)

    def _log_start(self, settings: ServerConfig) -> None:
        log.info(
            "starting an etcd server",
            etcd_version=ETCD_VERSION,
            quorate_version=QUORATE_VERSION,
            python_version=platform.python_version(),
            os=sys.platform,
            arch=platform.machine(),
            cpus=os.cpu_count(),
            member_initialized=settings.wal_path.exists(),
            name=settings.name,
            data_dir=str(settings.data_dir),
            wal_dir=str(settings.wal_dir or ""),
            heartbeat_interval=f"{self.config.heartbeat_interval}ms",
            election_timeout=f"{self.config.election_timeout}ms",
            snapshot_count=settings.snapshot_count,
            initial_advertise_peer_urls=self.config.initial_advertise_peer_urls,
            listen_peer_urls=self.config.listen_peer_urls,
            advertise_client_urls=settings.advertise_client_urls,
            listen_client_urls=self.config.listen_client_urls,
            initial_cluster=self.config.initial_cluster,
            initial_cluster_state=self.config.initial_cluster_state,
            initial_cluster_token=settings.initial_cluster_token,
            quota_size_bytes=settings.quota_backend_bytes,
            auto_compaction_mode=settings.auto_compaction_mode,
            auto_compaction_retention=self.config.auto_compaction_retention,
        )


class _PeerDoor:
    """The peer listeners' handler. Members that start at the same time ask each other who is there: until this one
    knows itself it says so at once, rather than let them wait."""

    def __init__(self) -> None:
        self._handler: PeerHandler | None = None

    def open(self, handler: PeerHandler) -> None:
        self._handler = handler

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if self._handler is None:
            return text_response(503, "member is starting")
        return await self._handler(request)


def _log_slow_call(context: Context, seconds: float) -> None:
    log.warn("request stats", time_spent=f"{seconds * 1000:.3f}ms", remote=context.peer, response_type=context.path)


def _address(bound: socket.socket) -> str:
    return address_name(bound.getsockname())
