"""A running gRPC proxy: its parts put together, its listeners started and stopped."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

from quorate.client import Client
from quorate.client.endpoints import parse_endpoints
from quorate.client.errors import EtcdError
from quorate.client.methods import METHODS
from quorate.client.raw import wire_of
from quorate.client.recipes import Namespace
from quorate.client.recipes.namespace import Names
from quorate.pkg.jsonlog import get_log
from quorate.proxy import forward
from quorate.proxy.addresses import split_address
from quorate.proxy.cache import ReadCache
from quorate.proxy.config import ProxyConfig
from quorate.proxy.discovery import discover
from quorate.proxy.keepalive import KeepAlives
from quorate.proxy.kv import KV
from quorate.proxy.leasing import OwnedKeys
from quorate.proxy.members import Members
from quorate.proxy.names import changes
from quorate.proxy.upstream import Upstream
from quorate.proxy.watch import Hub
from quorate.proxy.web import Web, caller_tls
from quorate.transport.grpc import Context, GrpcServer, Method, ServerLimits
from quorate.transport.http2 import Limits
from quorate.transport.mux import Listener, serve

log = get_log(__name__)

DRAIN_GRACE = 1.0
MIN_RECEIVE = 4 << 20
"""Bytes of a request that are taken at least."""
OVERHEAD = 524_288

_UNARY = {
    "/v3lockpb.Lock/Lock": True,
    "/v3lockpb.Lock/Unlock": True,
    "/v3electionpb.Election/Campaign": True,
    "/v3electionpb.Election/Proclaim": True,
    "/v3electionpb.Election/Leader": False,
    "/v3electionpb.Election/Resign": True,
    "/grpc.health.v1.Health/Check": False,
    "/grpc.health.v1.Health/List": False,
}
"""Calls besides those of the client, and whether they write keys."""
_STREAMING = (
    "/etcdserverpb.KV/RangeStream",
    "/etcdserverpb.Maintenance/Snapshot",
    "/v3electionpb.Election/Observe",
    "/grpc.health.v1.Health/Watch",
)
_REVOKE = "/etcdserverpb.Lease/LeaseRevoke"


class GrpcProxy:
    """Serves the API for the members of a cluster, on the event loop that starts it."""

    def __init__(self, config: ProxyConfig) -> None:
        """Raises ProxyConfigError."""
        config.check()
        self.config = config
        self._stack = AsyncExitStack()
        self._listeners: list[Listener] = []

    @property
    def port(self) -> int:
        """The port bound, for those who asked for port 0."""
        return self._listeners[0].port

    @property
    def metrics_port(self) -> int:
        return self._listeners[1].port

    async def start(self) -> None:
        """Raises ProxyConfigError, TlsError, OSError, ValueError for endpoints; EtcdError if keys cannot be leased."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let calls under way end for a moment, then let go of everything."""
        await asyncio.gather(*(listener.drain(DRAIN_GRACE) for listener in self._listeners))
        self._listeners.clear()
        await self._stack.aclose()

    async def _start(self) -> None:
        config = self.config
        listener_tls, tls = config.listener_tls(), config.upstream_tls()
        endpoints = config.endpoints
        if config.discovery_srv:
            found = discover(config.discovery_srv, config.discovery_srv_name, config.insecure_discovery)
            endpoints = found.endpoints
        encrypted = parse_endpoints(endpoints, tls is not None)
        client = Client([str(each) for each in encrypted], tls=tls, dial=partial(config.dial, tls=tls))
        self._stack.push_async_callback(client.close)
        self.client = client
        if config.endpoints_auto_sync_interval > 0:
            self._background(self._sync(client))
        self._build(client)
        own = Namespace(client, config.namespace) if config.namespace else client
        methods = await self._methods(client, own)
        grpc = GrpcServer(
            methods, self._server_limits(), Limits(max_concurrent_streams=config.max_concurrent_streams), _log_call
        )
        https = any(each.encrypted for each in encrypted)
        callers = (config.cacert, config.cert, config.key, config.insecure_skip_tls_verify)
        web = Web(self.upstream, self.numbers, caller_tls(*callers) if https else None)
        self._stack.push_async_callback(web.close)
        self._listeners.append(await serve(split_address(config.listen_addr), grpc, web, tls=listener_tls))
        log.info("listening for gRPC proxy client requests", address=config.listen_addr)
        if config.metrics_addr:
            where = split_address(config.metrics_host_port)
            metrics_tls = listener_tls if config.metrics_addr.startswith("https://") else None
            self._listeners.append(await serve(where, None, web, tls=metrics_tls))
            log.info("listening for metrics requests", address=config.metrics_addr)
        log.info("started gRPC proxy", address=config.listen_addr, endpoints=client.endpoints)

    def _build(self, client: Client) -> None:
        self.upstream = Upstream(wire_of(client))
        self.cache = ReadCache(asyncio.get_running_loop().time)
        self.names = Names(self.config.namespace.encode()) if self.config.namespace else None
        self.hub = Hub(self.upstream, self.cache, self.names)
        self._stack.callback(self.hub.close)
        self.keep_alives = KeepAlives(self.upstream)
        self._stack.callback(self.keep_alives.close)

    async def _methods(self, client: Client, own: Client) -> dict[str, Method]:
        """Everything that is served; later ones stand for earlier ones."""
        owned = await self._owned(own) if self.config.leasing_prefix else None
        names = None if owned is not None else self.names  # who owns keys has the namespace below already
        ordering = self.config.serializable_ordering
        kv = KV(self.upstream, self.cache, names, ordering=ordering, owned=owned)
        methods: dict[str, Method] = {
            **self._forwarded(),
            **kv.methods(),
            **self.hub.methods(),
            **self.keep_alives.methods(),
        }
        if self.config.advertise_client_url:
            members = Members(own, self.config.advertise_client_url)
            self._stack.push_async_callback(members.close)
            methods |= members.methods()
            if self.config.resolver_prefix:
                members.register(self.config.resolver_prefix, self.config.resolver_ttl)
        return methods

    def _forwarded(self) -> dict[str, Method]:
        """What the proxy does not look into, but for keys where there is a namespace."""
        methods: dict[str, Method] = {}
        for method in METHODS.values():
            writes = "/etcdserverpb.Auth/" in method.path and not method.repeatable
            clears = self._revoked if method.path == _REVOKE else self.cache.clear if writes else None
            methods[method.path] = self._unary(method.path, method.repeatable, clears)
        for path, writes in _UNARY.items():
            methods[path] = self._unary(path, not writes, self.cache.clear if writes else None)
        for path in _STREAMING:
            outward, inward = (self.names and changes(self.names, path)) or (forward.same, forward.same)
            methods[path] = forward.streaming(self.upstream, path, outward=outward, inward=inward)
        return methods

    def _unary(self, path: str, reads: bool, after: Callable[[], None] | None) -> Method:
        outward, inward = (self.names and changes(self.names, path)) or (forward.same, forward.same)
        return forward.unary(self.upstream, path, reads=reads, outward=outward, inward=inward, after=after)

    def _revoked(self) -> None:
        """A lease has ended, and with it keys that nobody here knows."""
        self.cache.clear()
        self.keep_alives.forget()

    async def _owned(self, client: Client) -> OwnedKeys:
        owned = OwnedKeys(client, self.config.leasing_prefix)
        self._stack.push_async_callback(owned.close)
        await owned.open()
        return owned

    def _server_limits(self) -> ServerLimits:
        config = self.config
        return ServerLimits(
            max_receive_message=max(MIN_RECEIVE, config.max_send_bytes + OVERHEAD),
            min_ping_interval=config.grpc_keepalive_min_time,
            keepalive_time=config.grpc_keepalive_interval,
            keepalive_timeout=config.grpc_keepalive_timeout,
            slow_unary=0.0 if config.enable_grpc_logging else math.inf,
        )

    async def _sync(self, client: Client) -> None:
        while True:
            await asyncio.sleep(self.config.endpoints_auto_sync_interval)
            with suppress(EtcdError):
                await client.sync_endpoints()

    def numbers(self) -> Iterator[tuple[str, str, str, float]]:
        """Kind, name, help and value of what /proxy/metrics shows."""
        prefix = "etcd_grpc_proxy_"
        yield "gauge", f"{prefix}watchers_coalescing_total", "Watchers of callers now.", self.hub.watchers
        yield "counter", f"{prefix}events_coalescing_total", "Events told to callers.", self.hub.events
        yield "gauge", f"{prefix}cache_keys_total", "Reads that are kept.", len(self.cache)
        yield "gauge", f"{prefix}cache_hits_total", "Reads answered from the cache.", self.cache.hits
        yield "gauge", f"{prefix}cache_misses_total", "Serializable reads that were not.", self.cache.misses
        yield "gauge", f"{prefix}upstream_watches", "Watches at members now.", len(self.hub.broadcasts)
        yield "gauge", f"{prefix}upstream_keepalive_streams", "Streams of renewals now.", self.keep_alives.streams
        yield "counter", f"{prefix}upstream_renewals_total", "Renewals asked of members.", self.keep_alives.renewals

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._stack.callback(task.cancel)


def _log_call(context: Context, seconds: float) -> None:
    log.info("served a call", method=context.path, remote=context.peer, took=f"{seconds * 1000:.3f}ms")
