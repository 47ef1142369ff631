"""How many calls and messages each method has had: what the usual gRPC metrics are made of.

A unary call that ends well costs four additions; everything else is worked out when somebody asks. How long calls take
is measured only where that was asked for.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from quorate.api.errors import Code
from quorate.pkg.histogram import Histogram
from quorate.transport.grpc.methods import Method, ServerStreaming, Unary

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for how long calls take."""


class MethodTally:
    """Counts of one method, since the server was made."""

    __slots__ = (
        "kind",
        "opened",
        "received",
        "received_bytes",
        "seconds",
        "sent",
        "sent_bytes",
        "succeeded",
        "unsuccessful",
    )

    def __init__(self, method: Method, timed: bool = False) -> None:
        self.kind = _kind(method)
        """`unary`, `server_stream` or `bidi_stream`."""
        self.opened = 0
        """Calls that have begun; of unary ones those without a message so far."""
        self.received = 0
        """Messages; of unary calls those that were begun with."""
        self.sent = 0
        """Messages, but for those of unary calls."""
        self.received_bytes = self.sent_bytes = 0
        """Of messages, uncompressed."""
        self.seconds = Histogram(SECONDS) if timed else None
        """How long calls took that have ended; None where that is not measured."""
        self.succeeded = 0
        self.unsuccessful: Counter[int] = Counter()
        """By code."""

    @property
    def started(self) -> int:
        """Calls that have begun."""
        return self.opened + self.received if self.kind == "unary" else self.opened

    @property
    def messages_sent(self) -> int:
        return self.succeeded if self.kind == "unary" else self.sent

    def handled(self, code: int) -> int:
        """Calls that have ended with `code`."""
        return self.succeeded if code == 0 else self.unsuccessful[code]

    def ended(self, code: int) -> None:
        """A call has ended. Codes that gRPC does not define count as UNKNOWN."""
        if code == 0:
            self.succeeded += 1
        else:
            self.unsuccessful[code if code in _CODES else Code.UNKNOWN] += 1

    def begun(self) -> float:
        """When a call begins, for `took`."""
        return 0.0 if self.seconds is None else time.monotonic()

    def took(self, begun: float) -> None:
        """A call has ended that began at `begun`."""
        if self.seconds is not None:
            self.seconds.observe(time.monotonic() - begun)


_CODES = frozenset(int(code) for code in Code)


def tallies(methods: Mapping[str, Method], timed: bool = False) -> dict[str, MethodTally]:
    """One for each path."""
    return {path: MethodTally(method, timed) for path, method in methods.items()}


def _kind(method: Method) -> str:
    if isinstance(method, Unary):
        return "unary"
    return "server_stream" if isinstance(method, ServerStreaming) else "bidi_stream"
