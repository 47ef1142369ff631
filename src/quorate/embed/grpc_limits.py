"""What one connection of a client is granted, from settings."""

from __future__ import annotations

from quorate.embed.config import UNLIMITED_STREAMS, Config
from quorate.server import ServerConfig
from quorate.transport.grpc import ServerLimits
from quorate.transport.http2 import Limits


def grpc_limits(config: Config, settings: ServerConfig) -> tuple[ServerLimits, Limits]:
    """The limits of gRPC, and of HTTP/2 below it. Who sets no number of streams leaves it to this server: a connection
    without any limit is one that can fill its memory."""
    limits = ServerLimits(
        max_receive_message=settings.max_message_bytes,
        slow_unary=settings.warning_unary_request_duration,
        min_ping_interval=config.grpc_keepalive_min_time,
        keepalive_time=config.grpc_keepalive_interval if config.grpc_keepalive_timeout > 0 else 0.0,
        keepalive_timeout=config.grpc_keepalive_timeout,
    )
    if config.max_concurrent_streams in (0, UNLIMITED_STREAMS):
        return limits, Limits()
    return limits, Limits(max_concurrent_streams=config.max_concurrent_streams)
