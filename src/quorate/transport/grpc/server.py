"""The server: a table of methods, shared by all connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quorate.transport.http2 import Limits

from .connection import ServerConnection
from .limits import ServerLimits
from .methods import Method


class GrpcServer:
    """`methods` maps paths like `/etcdserverpb.KV/Range` to handlers. Knows no sockets: `mux.serve` brings them."""

    def __init__(
        self, methods: Mapping[str, Method], limits: ServerLimits | None = None, http2: Limits | None = None
    ) -> None:
        self._methods = dict(methods)
        self._services = frozenset(path[1:].rpartition("/")[0] for path in methods)
        self._limits = limits or ServerLimits()
        self._http2 = http2 or Limits()

    def connection(self, on_close: Callable[[ServerConnection], None]) -> ServerConnection:
        """The protocol of a new connection."""
        return ServerConnection(self._methods, self._services, self._limits, self._http2, on_close)
