"""Where the HTTP/2 machine meets a socket: one read in, one write per turn of the loop out.

The machine decides what may be sent (the peer's windows), the socket how fast. While the socket is full its backlog
counts as pending on every stream, and a peer that takes nothing for long is dropped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from quorate.transport.grpc.limits import SOCKET_HIGH, SOCKET_LOW
from quorate.transport.http2 import Connection
from quorate.transport.sockets import StallWatch, notice_dead_peer

if TYPE_CHECKING:
    from quorate.transport.grpc.flow import Outlet


class Flusher:
    """The connections of one server or channel that have something to write; all are flushed once per turn."""

    def __init__(self) -> None:
        self._dirty: list[Edge] = []

    def add(self, edge: Edge) -> None:
        if not self._dirty:
            edge.loop.call_soon(self.flush)
        self._dirty.append(edge)

    def flush(self) -> None:
        """Write what they have queued, now; whoever knows that a turn is over need not wait for the next one."""
        dirty, self._dirty = self._dirty, []
        for edge in dirty:
            if edge.dirty:
                edge.flush()


class Edge(asyncio.Protocol):
    """Base of both ends of a connection. Subclasses read the events; this class gets the bytes out."""

    def __init__(self, machine: Connection, stall_timeout: float, flusher: Flusher) -> None:
        self.machine = machine
        self.dirty = False
        """True while a flush is sure to come."""
        self._flusher = flusher
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.connected = False
        self._full = False
        self._held = False
        self._unflushed = 0
        self._stall_timeout = stall_timeout
        self._stall: StallWatch = cast(StallWatch, None)
        self.undrained: dict[int, Outlet] = {}
        """Streams, by id, that queued more than they should and want to hear when it is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        notice_dead_peer(transport)
        self.transport.set_write_buffer_limits(high=SOCKET_HIGH, low=SOCKET_LOW)
        self._stall = StallWatch(self.transport, self._stall_timeout)
        self.connected = True
        self.machine.start()
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connected = False
        self.undrained.clear()
        self._stall.stop()

    def wake(self) -> None:
        """Have what the machine queued written at the end of this turn."""
        if not self.dirty:
            self.dirty = True
            self._flusher.add(self)

    def wake_for(self, size: int) -> None:
        """The same for bytes of a stream. Much of them goes out at once, or who sends on would not see it pending."""
        self._unflushed += size
        if self._unflushed > SOCKET_HIGH:
            self.flush()
        else:
            self.wake()

    def flush(self) -> None:
        """Write what the machine lets go. What a full socket does not take waits in the transport's buffer."""
        self.dirty = False
        self._unflushed = 0
        output = self.machine.output()
        if output and self.connected:
            self._stall.written += len(output)
            self.transport.write(output)

    @property
    def backlog(self) -> int:
        """Bytes that wait for the socket; 0 while it takes what it is given."""
        return self.transport.get_write_buffer_size() if self._full else 0

    def hold_reading(self, most: int) -> None:
        """Do not read a peer that asks faster than it takes the answers, so that more than `most` bytes wait."""
        if not self._held and self.backlog > most:
            self._held = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        self._full = True
        self._stall.start()

    def resume_writing(self) -> None:
        self._full = False
        self._stall.stop()
        if self._held:
            self._held = False
            self.transport.resume_reading()
        for outlet in list(self.undrained.values()):
            outlet.check_drained()
