"""Calls to the members, in bytes: whom to ask, what of a caller's metadata goes along, when to ask again.

never sent                   another member, for as long as PATIENCE
no answer, and only a read   another member, each once
anything else                the caller hears of it, and knows best
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.retry import Cause, cause_of
from quorate.client.wire import End, Wire
from quorate.transport.grpc import ClientStream, Context, Metadata, Status

PATIENCE = 3.0
"""Seconds for which a call that was never sent is tried again."""
HAS_LEADER = ("hasleader", "true")
_OWN = frozenset({"user-agent", "host", "connection", "content-length", "accept-encoding"})
"""Header fields of one connection, which say nothing about the call."""
_CREDENTIALS = ("token", "authorization")

Pairs = tuple[tuple[str, str | bytes], ...]


def carried(metadata: Metadata) -> Pairs:
    """What of a caller's metadata its calls to members carry."""
    return tuple((key, value) for key, value in metadata if key not in _OWN and not key.startswith("grpc-"))


def credentials(metadata: Metadata) -> Pairs:
    """Who calls, as far as members look."""
    return tuple((key, value) for key, value in metadata if key in _CREDENTIALS)


class Upstream:
    """The members of one cluster."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def unary(self, path: str, body: bytes, metadata: Pairs, *, reads: bool = False) -> bytes:
        """The answer of some member. `reads`: it may be asked twice. Raises Status.

        Without a deadline of its own: who gives up cancels.
        """
        wire, loop = self.wire, asyncio.get_running_loop()
        patient_until = loop.time() + PATIENCE
        silent = 0
        while True:
            end = wire.pick()
            try:
                answer = await end.channel.unary(path, body, metadata=metadata)
            except Status as status:
                cause = cause_of(status)
                self.failed(end, cause)
                if cause is Cause.UNKNOWN_OUTCOME and reads and silent < len(wire.endpoints):
                    silent += 1
                elif cause is not Cause.NOT_SENT or loop.time() >= patient_until:
                    raise
            else:
                wire.works(end)
                return answer
            await wire.rest(patient_until)

    def open(self, path: str, metadata: Pairs) -> tuple[End, ClientStream]:
        """A stream to some member. How it went is told by its `receive`."""
        end = self.wire.pick()
        return end, end.channel.stream(path, metadata=metadata)

    def open_led(self, path: str, who: Pairs) -> tuple[End, ClientStream]:
        """A stream that ends when its member loses its leader, for who can go on elsewhere."""
        return self.open(path, (*who, HAS_LEADER))

    def failed(self, end: End, cause: Cause) -> None:
        """A member did not serve. A refused token is no fault of its."""
        if cause in (Cause.NOT_SENT, Cause.UNKNOWN_OUTCOME):
            self.wire.failed(end, cause)


def in_task(work: Coroutine[Any, Any, bytes]) -> Coroutine[Any, Any, bytes]:
    """For unary handlers that wait for more than plain futures."""

    async def run() -> bytes:
        task = asyncio.get_running_loop().create_task(work)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()  # the caller is gone
            raise

    return run()


def tasked(handle: Callable[[Any, Context], Coroutine[Any, Any, bytes]]) -> Callable[[Any, Context], Any]:
    """`handle` as a unary handler that may wait for anything."""
    return lambda request, context: in_task(handle(request, context))


def revision_of(answer: bytes) -> int:
    """The revision in the header of any answer; 0 without one. Raises ValueError for what is none."""
    if answer[:1] != b"\x0a":
        return 0
    size, place, shift = 0, 1, 0
    while True:
        byte = answer[place]
        place += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return int(pb.ResponseHeader.FromString(answer[place : place + size]).revision)
        shift += 7
