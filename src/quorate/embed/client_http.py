"""What the client and the metrics listeners answer over HTTP, put together from settings."""

from __future__ import annotations

from collections.abc import Mapping

from quorate.embed.config import Config
from quorate.etcdhttp import AccessControl, ClientHandler, Gateway, Metrics
from quorate.server import Server
from quorate.transport.grpc import Method
from quorate.transport.grpc.tally import MethodTally
from quorate.transport.web import HttpHandler


def client_handler(
    config: Config,
    server: Server,
    methods: Mapping[str, Method],
    tallies: Mapping[str, MethodTally],
    metrics: Metrics,
) -> HttpHandler:
    """`methods` are those that gRPC serves: the gateway calls the same. `tallies` count their calls."""
    gateway = Gateway(methods, tallies, server.config.max_message_bytes) if config.enable_grpc_gateway else None
    profiles = None
    if config.enable_pprof:
        from quorate.etcdhttp.profiles import Profiles

        profiles = Profiles()
    return AccessControl(ClientHandler(server, metrics, gateway, profiles), config.cors, config.host_whitelist)
