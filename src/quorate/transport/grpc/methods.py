"""What a service is to the server: a table from path to method, and what a handler is given.

A unary handler is stepped where the request was read, without a task of its own. Between its steps it may only wait
for plain asyncio futures; a primitive that asks for the current task (`asyncio.timeout`) does not work in it. When the
caller is gone CancelledError is raised where it waits, the future itself is left alone (others may wait for it), and
it may wait for nothing more. Streaming handlers run in a task and may wait for anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from quorate.transport.grpc.metadata import Metadata

if TYPE_CHECKING:
    from quorate.transport.grpc.stream import Stream


class Message(Protocol):
    """A protobuf message, as far as a reply is concerned."""

    def SerializeToString(self) -> bytes: ...


Reply = bytes | Message
Parse = Callable[[bytes], Any]
Outcome = bytes | Exception
"""Of one of several calls: its reply, or what it failed with."""
Together = Sequence[Outcome] | Coroutine[Any, Any, Sequence[Outcome]]


class Context:
    """One call as its handler sees it. Calls that look alike may share one; it is never changed."""

    __slots__ = ("_transport", "deadline", "metadata", "path", "peer")

    def __init__(
        self, path: str, metadata: Metadata, deadline: float | None, peer: str, transport: asyncio.BaseTransport
    ) -> None:
        self.path = path
        self.metadata = metadata
        self.deadline = deadline
        """When the caller stops waiting, on the loop's clock; None = never."""
        self.peer = peer
        self._transport = transport

    def extra(self, name: str) -> Any:
        """What the socket knows: asyncio's `get_extra_info` names, such as `peercert`."""
        return self._transport.get_extra_info(name)


@dataclass(frozen=True, slots=True)
class Unary:
    """One message in, one out. `handle(request, context)` is the reply, or a coroutine that returns it: who need not
    wait need not be a coroutine.

    `together(bodies, context)` answers calls that look alike and came together, from the bytes of their requests: their
    outcomes in order, or a coroutine that returns them, or None to have each call handled by itself.
    """

    parse: Parse
    handle: Callable[[Any, Context], Reply | Coroutine[Any, Any, Reply]]
    together: Callable[[list[bytes], Context], Together | None] | None = None


@dataclass(frozen=True, slots=True)
class ServerStreaming:
    """One message in, many out. `handle(request, stream)` sends replies; its return ends the call with OK."""

    parse: Parse
    handle: Callable[[Any, Stream], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bidi:
    """Many in, many out; with a single `send` before the return it serves a client-streaming method.

    Where each message has one answer, `at_once(request, stream)` may give that of a request which need not wait for
    anything, and None for one that does: from that one on `handle` has the stream. Until then there is no task.
    `together` is that of `Unary`, for calls that consist of one request each and came with their end.
    """

    parse: Parse
    handle: Callable[[Stream], Awaitable[None]]
    at_once: Callable[[Any, Stream], bytes | None] | None = None
    together: Callable[[list[bytes], Context], Together | None] | None = None


Method = Unary | ServerStreaming | Bidi
