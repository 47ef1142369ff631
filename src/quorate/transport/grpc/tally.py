"""How many calls and messages each method has had: what the usual gRPC metrics are made of.

A unary call that ends well costs two additions; everything else is worked out when somebody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from quorate.api.errors import Code
from quorate.transport.grpc.methods import Method, ServerStreaming, Unary


class MethodTally:
    """Counts of one method, since the server was made."""

    __slots__ = ("kind", "opened", "received", "sent", "succeeded", "unsuccessful")

    def __init__(self, method: Method) -> None:
        self.kind = _kind(method)
        """`unary`, `server_stream` or `bidi_stream`."""
        self.opened = 0
        """Calls that have begun; of unary ones those without a message so far."""
        self.received = 0
        """Messages; of unary calls those that were begun with."""
        self.sent = 0
        """Messages, but for those of unary calls."""
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


_CODES = frozenset(int(code) for code in Code)


def tallies(methods: Mapping[str, Method]) -> dict[str, MethodTally]:
    """One for each path."""
    return {path: MethodTally(method) for path, method in methods.items()}


def _kind(method: Method) -> str:
    if isinstance(method, Unary):
        return "unary"
    return "server_stream" if isinstance(method, ServerStreaming) else "bidi_stream"
