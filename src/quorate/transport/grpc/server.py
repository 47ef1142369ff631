"""The server: a table of methods, shared by all connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quorate.transport.grpc.connection import ServerConnection
from quorate.transport.grpc.edge import Flusher
from quorate.transport.grpc.limits import ServerLimits
from quorate.transport.grpc.methods import Context, Method
from quorate.transport.grpc.tally import tallies
from quorate.transport.http2 import Limits
from quorate.transport.web import HttpHandler


class GrpcServer:
    """`methods` maps paths like `/etcdserverpb.KV/Range` to handlers. Knows no sockets: `mux.serve` brings them."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        limits: ServerLimits | None = None,
        http2: Limits | None = None,
        slow_call: Callable[[Context, float], None] = lambda context, seconds: None,
        *,
        timed: bool = False,
    ) -> None:
        """`timed`: measure how long calls take, for each method."""
        self.timed = timed
        self.methods = dict(methods)
        self.tallies = tallies(self.methods, timed)
        self.services = frozenset(path[1:].rpartition("/")[0] for path in methods)
        self.limits = limits or ServerLimits()
        self.http2 = http2 or Limits()
        self.slow_call = slow_call
        """Told of unary calls that took longer than the limit for them, and how many seconds."""
        self.flusher = Flusher()

    def flush(self) -> None:
        """Write now what calls have answered, for whoever answers many in one go; else it is written a turn later."""
        self.flusher.flush()

    def connection(
        self, on_close: Callable[[ServerConnection], None], web: HttpHandler | None = None
    ) -> ServerConnection:
        """The protocol of a new connection. `web` answers requests that are not gRPC."""
        return ServerConnection(self, on_close, web)
