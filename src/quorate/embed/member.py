"""A running member: listeners and server, started and stopped in the one order that is safe.

Sockets are bound first, so that a taken port is found before any data is touched. The other members are served next:
they may ask while this one still asks them. Clients are served last, once the member has told the cluster about itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from quorate.embed.binding import bind, release
from quorate.embed.client_http import client_handler
from quorate.embed.config import DEFAULT_NAME, EXTENSIVE, Config
from quorate.embed.discovery import discover
from quorate.embed.grpc_limits import grpc_limits
from quorate.embed.keywords import config_of
from quorate.embed.memory_dir import MemoryDirectory
from quorate.embed.open_files import watch_open_files
from quorate.embed.ports import endpoint, is_free, settle, with_port
from quorate.embed.security import Security
from quorate.etcdhttp import Metrics, MetricsHandler, PeerHandler, streamed_paths
from quorate.pkg.jsonlog import get_log
from quorate.server import Server, ServerConfig
from quorate.server.world import World
from quorate.transport.grpc import Channel, ChannelLimits, Context, GrpcServer
from quorate.transport.grpc.tally import MethodTally
from quorate.transport.memory import PEER_NAME, connect
from quorate.transport.mux import Listener, serve, serve_inside
from quorate.transport.sockets import address_name
from quorate.transport.web import HttpRequest, HttpResponse, text_response
from quorate.v3rpc import ClientVersions, build_methods
from quorate.version import ETCD_VERSION, QUORATE_VERSION

if TYPE_CHECKING:
    from quorate.client import Client

log = get_log(__name__)

DRAIN_GRACE = 2.0
"""Seconds that calls under way get to finish when the member stops."""
MEMORY_SEGMENT_BYTES = 1 << 20
"""A segment of a log in memory: all of it is reserved at once, and then takes memory."""
STREAMED_PATHS = frozenset({"/raft/snapshot"})
"""Requests whose bodies are too large to be held in memory."""

P = TypeVar("P", bound=asyncio.Protocol)


class Etcd:
    """One member in this process, on the event loop that starts it.

    Settings are a `Config`, or keywords: `data_dir`, `name` and any other field of `Config` (etcd's flags in
    snake_case). By keywords, it listens at free ports of 127.0.0.1 where no URLs are given; with `listen=False` at
    none: a member alone, reached by `channel` only. With `in_memory=True` its data is in a directory in memory that is
    made at its start and removed at its end, and nothing is synced. Log lines go to the logger "quorate", wherever the
    program sends them; `log_level` and `log_outputs` are for the command.

        async with Etcd(data_dir="db") as etcd: ...

    It can be started again once it has stopped, at the ports that it had.
    Raises ConfigError for settings that exclude each other, TypeError for unknown ones.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        data_dir: str | Path | None = None,
        name: str = DEFAULT_NAME,
        listen: bool = True,
        in_memory: bool = False,
        **config_fields: Any,
    ) -> None:
        if config is None:
            config = config_of(data_dir, name, listen, in_memory, config_fields)
        elif data_dir is not None or name != DEFAULT_NAME or not listen or in_memory or config_fields:
            raise TypeError("settings are given as a Config or as keywords, not as both")
        self.config = config
        self.world = World(segment_bytes=MEMORY_SEGMENT_BYTES) if in_memory else World()
        """The machine that it runs on; another may be put in its place before a start."""
        self.server: Server | None = None
        """None while it does not run."""
        self.failed: asyncio.Future[None] = cast("asyncio.Future[None]", None)
        """Since the last start. Gets an exception when the member must stop: a disk that fails, state that could
        differ from the others'."""
        self._in_memory = in_memory
        self._memory: MemoryDirectory | None = None
        self._peers_move = False
        """The peer port is a new one at every construction."""
        self._running = False
        self._sockets: list[tuple[str, socket.socket]] = []
        self._held: dict[str, socket.socket] = {}
        """Those of them whose port the system chose, until they are listened at."""
        self._listeners: list[Listener] = []
        self._inside: Listener | None = None
        self._tallies: Mapping[str, MethodTally] = {}

    async def __aenter__(self) -> Etcd:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def is_running(self) -> bool:
        """True from the beginning of a start until the member has stopped."""
        return self._running

    @property
    def work_done(self) -> int:
        """Calls of clients and entries applied, since its start."""
        calls = sum(tally.started for tally in self._tallies.values())
        return calls if self.server is None else calls + self.server.applied_index

    @property
    def client_urls(self) -> list[str]:
        """Where clients find it, since its first start if the ports are free ones; empty without listeners."""
        told = self.config.advertise_client_urls
        return list(self.config.listen_client_urls if told is None else told)

    @property
    def endpoints(self) -> list[str]:
        """The same as clients take it: `host:port`."""
        return [endpoint(url) for url in self.client_urls]

    @property
    def peer_urls(self) -> list[str]:
        """Where other members find it; empty without listeners."""
        return list(self.config.initial_advertise_peer_urls if self.config.listen_peer_urls else ())

    def channel(self, *, limits: ChannelLimits | None = None) -> Channel:
        """A channel to this member without a socket, for callers on its own event loop only. While the member does not
        run, calls fail with UNAVAILABLE; once it has started again they find it again. To be closed by the caller."""
        return Channel(PEER_NAME, 0, authority=PEER_NAME, limits=limits, dial=self._dial)

    def client(self, *, user: str | None = None, password: str | None = None, timeout: float | None = None) -> Client:
        """A client of this member without a socket, as `channel`. To be closed by the caller."""
        from quorate.client.client import CALL_SECONDS, Client

        seconds = CALL_SECONDS if timeout is None else timeout
        return Client(user=user, password=password, timeout=seconds, dial=lambda _: self.channel())

    async def start(self) -> None:
        """Return once clients are served; a start that fails leaves nothing behind.

        Raises ConfigError, TlsError, OSError, or what the data directory has wrong.
        """
        if self._running:
            raise RuntimeError("this member runs already")
        self._running = True
        self.failed = asyncio.get_running_loop().create_future()
        try:
            await self._start()
        except BaseException:
            await self.abort()
            raise

    async def _start(self) -> None:
        if self._in_memory:
            self._memory = MemoryDirectory()
            self.config = replace(self.config, data_dir=str(self._memory.path / "data"))
        self._settle_ports()
        settings = self.config.server_config()
        security = Security.prepare(self.config)
        log.info("configuring peer listeners", listen_peer_urls=self.config.listen_peer_urls)
        peers = [self._bind(url) for url in self.config.listen_peer_urls]
        log.info("configuring client listeners", listen_client_urls=self.config.listen_client_urls)
        clients = [self._bind(url) for url in self.config.listen_client_urls]
        web_only = [self._bind(url) for url in self.config.listen_client_http_urls]
        watched = [self._bind(url) for url in self.config.listen_metrics_urls]
        self._log_start(settings)
        if self.config.discovers and not self.config.has_log():
            found = await discover(self.config)
            settings = replace(settings, initial_cluster=found.initial_cluster, initial_cluster_token=found.token)
        door = _PeerDoor()
        for url, bound in zip(self.config.listen_peer_urls, peers, strict=True):
            tls = security.peer_listener(url)
            self._listeners.append(await serve(bound, None, door, tls=tls, streamed=STREAMED_PATHS))
            log.info("serving peer traffic", address=_address(bound), encrypted=tls is not None)
        loop = asyncio.get_running_loop()
        server = self.server = await Server.open(settings, loop, self._fail, self.world, security.peer_caller)
        door.open(PeerHandler(server))
        server.start()
        try:
            await server.ready()
        except Exception:
            if self.failed.done():
                self.failed.result()  # why it stopped says more than that it did
            raise
        if self._peers_move:
            await _tell_peer_urls(server)
        await self._serve_clients(server, security, clients, web_only, watched)
        server.spawn(watch_open_files())

    async def _serve_clients(
        self,
        server: Server,
        security: Security,
        clients: list[socket.socket],
        web_only: list[socket.socket],
        watched: list[socket.socket],
    ) -> None:
        settings = server.config
        versions = ClientVersions()
        methods = build_methods(server, versions)
        limits, http2 = grpc_limits(self.config, settings)
        timed = self.config.metrics == EXTENSIVE
        grpc = GrpcServer(methods, limits, http2=http2, slow_call=_log_slow_call, timed=timed)
        server.raft.turn_ended = grpc.flush
        self._tallies = grpc.tallies
        self._inside = serve_inside(grpc)
        self._listeners.append(self._inside)
        metrics = Metrics(server, grpc.tallies, versions.all)
        http = client_handler(self.config, server, methods, grpc.tallies, metrics)
        streamed = streamed_paths(methods)
        for url, bound in zip(self.config.listen_client_urls, clients, strict=True):
            web, tls = None if web_only else http, security.client_listener(url)
            self._listeners.append(await serve(bound, grpc, web, tls=tls, streamed=streamed))
        for url, bound in zip(self.config.listen_client_http_urls, web_only, strict=True):
            tls = security.client_listener(url)
            self._listeners.append(await serve(bound, None, http, tls=tls, streamed=streamed))
        for url, bound in zip(self.config.listen_metrics_urls, watched, strict=True):
            tls = security.client_listener(url)
            self._listeners.append(await serve(bound, None, MetricsHandler(server, metrics), tls=tls))
            log.info("serving metrics", address=_address(bound), encrypted=tls is not None)
        log.info("ready to serve client requests")
        urls = self.config.listen_client_urls + self.config.listen_client_http_urls
        for url, bound in zip(urls, clients + web_only, strict=True):
            secure = security.client_listener(url) is not None
            words = "securely" if secure else "insecurely; this is strongly discouraged!"
            log.info(f"serving client traffic {words}", address=_address(bound))

    async def stop(self, *, transfer: bool = True) -> None:
        """Let calls under way finish, then put everything on disk and let it go. Does nothing if it does not run.

        A leader hands leadership over first; not so without `transfer`, for who stops all members.
        """
        if not self._running:
            return
        names = {"name": self.config.name, "data_dir": str(self.config.directory())}
        log.info("closing etcd server", **names)
        try:
            if self.server is not None:
                await self.server.leave(transfer)
            await asyncio.gather(*(listener.drain(DRAIN_GRACE) for listener in self._listeners))
            self._close_sockets()
            if self.server is not None:
                await self.server.stop()
        finally:
            self._let_go()
        log.info("closed etcd server", **names)

    async def abort(self) -> None:
        """Stop at once, as a crash would: nothing more is written, what is on disk stays as it is."""
        for listener in self._listeners:
            listener.close()
        self._close_sockets()
        try:
            if self.server is not None:
                await self.server.abort()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Nothing of it runs any more: ready for another start."""
        self._close_sockets()
        self._listeners, self._inside, self.server = [], None, None
        if self._memory is not None:
            self._memory.remove()
            self._memory = None
        if self.failed is not None and self.failed.done() and not self.failed.cancelled():
            self.failed.exception()  # it was logged; whoever did not ask need not be told once more
        self._running = False

    async def _dial(self, make: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        if self._inside is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        if asyncio.get_running_loop() is not self.failed.get_loop():
            raise RuntimeError("a channel without a socket works on the event loop of its member only")
        return connect(self._inside.accept, make)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def _settle_ports(self) -> None:
        """Bind what is left to the system, and name it in the settings."""
        config = self.config
        if any(map(is_free, config.listening_urls())):
            config.check()
            self._peers_move = any(map(is_free, config.initial_advertise_peer_urls))
            self.config = settle(config, self._hold)

    def _hold(self, url: str) -> str:
        bound = bind(url, reuse_port=self.config.socket_reuse_port)
        url = with_port(url, bound.getsockname()[1])
        self._sockets.append((url, bound))
        self._held[url] = bound
        return url

    def _bind(self, url: str) -> socket.socket:
        if (held := self._held.pop(url, None)) is not None:
            return held
        bound = bind(url, reuse_port=self.config.socket_reuse_port)
        self._sockets.append((url, bound))
        return bound

    def _close_sockets(self) -> None:
        for url, bound in self._sockets:
            release(url, bound)
        self._sockets, self._held = [], {}

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


async def _tell_peer_urls(server: Server) -> None:
    """A member alone that came back at another free port: the list of members is to show where it is now."""
    own = server.cluster.member(server.member_id)
    if own is not None and len(server.cluster.members()) == 1 and list(own.peer_urls) != server.config.peer_urls:
        await server.members.update(server.member_id, server.config.peer_urls)


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
