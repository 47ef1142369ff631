"""gRPC on our own HTTP/2 machine, both ends.

Knows: calls, messages, metadata, deadlines, status; sockets through asyncio protocols; what a peer may cost.
Refuses to know: which methods there are, what a message means, who may call.

    read -> machine -> events -> call -> handler -> reply -> machine -> one write per turn of the loop

A call in HTTP/2 frames:

    client  HEADERS  :method POST, :path /service/method, content-type application/grpc, [grpc-timeout], metadata
            DATA     flag + length + message (any number), END_STREAM
    server  HEADERS  :status 200, content-type application/grpc
            DATA     flag + length + message (any number)
            HEADERS  grpc-status, [grpc-message], END_STREAM
    or      HEADERS  all of the server's in one block, END_STREAM: a call that ends without a message

- `status` `metadata` `framing`   values and how they are written
- `methods` `heads`               what a server offers, what a request asks for
- `edge` `flow` `keepalive`       what both ends do alike: writing, waiting, pinging
- `connection` `unary` `alike` `steps` `stream` `unsent` `server`   the server; `web_call` for what is not gRPC
- `channel` `client` `exchange`   the client; `blocking` `blocking_stream` another one, without an event loop

Sources: gRPC over HTTP/2 (PROTOCOL-HTTP2), gRPC status codes, proposals A8 and A9 (keepalive), A6 (transparent
retry), RFC 9113.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quorate.transport.grpc.channel import Channel, unix_socket
    from quorate.transport.grpc.connection import ServerConnection
    from quorate.transport.grpc.exchange import ClientStream
    from quorate.transport.grpc.limits import ChannelLimits, ServerLimits
    from quorate.transport.grpc.metadata import Metadata
    from quorate.transport.grpc.methods import Bidi, Context, Message, Method, Reply, ServerStreaming, Unary
    from quorate.transport.grpc.server import GrpcServer
    from quorate.transport.grpc.status import Status
    from quorate.transport.grpc.stream import Stream

__all__ = [
    "Bidi",
    "Channel",
    "ChannelLimits",
    "ClientStream",
    "Context",
    "GrpcServer",
    "Message",
    "Metadata",
    "Method",
    "Reply",
    "ServerConnection",
    "ServerLimits",
    "ServerStreaming",
    "Status",
    "Stream",
    "Unary",
    "unix_socket",
]

_ROOMS = {
    "Bidi": "methods",
    "Channel": "channel",
    "ChannelLimits": "limits",
    "ClientStream": "exchange",
    "Context": "methods",
    "GrpcServer": "server",
    "Message": "methods",
    "Metadata": "metadata",
    "Method": "methods",
    "Outcome": "methods",
    "Reply": "methods",
    "ServerConnection": "connection",
    "ServerLimits": "limits",
    "ServerStreaming": "methods",
    "Status": "status",
    "Stream": "stream",
    "Together": "methods",
    "Unary": "methods",
    "unix_socket": "channel",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a caller without an event loop does not wait for asyncio to be read."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = found
    return found
