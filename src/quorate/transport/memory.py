"""A connection inside one process: a pair of transports on one event loop, without a socket.

    write ─► buffer of this end ─► (next turn of the loop) ─► data_received of the other end

Behaves as a socket does for who writes to it: bytes arrive in order and a turn later, a reader that pauses lets the
writer's buffer fill up until it is asked to pause, `close` delivers what was written, `abort` does not.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

PEER_NAME = "in-process"
"""What either end knows of the other one's address."""
READ_BYTES = 262_144
"""Most bytes that a protocol gets at once."""
HIGH_WATER = 65_536
"""Bytes in a buffer at which who writes is asked to pause, unless it says otherwise."""

P = TypeVar("P", bound=asyncio.Protocol)


def connect(accept: Callable[[], asyncio.Protocol], call: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    """Connect two protocols on the running loop. Returns the caller's end and its protocol."""
    loop = asyncio.get_running_loop()
    near, far = MemoryTransport(loop), MemoryTransport(loop)
    near.other, far.other = far, near
    far.open(accept())
    protocol = call()
    near.open(protocol)
    return near, protocol


class MemoryTransport(asyncio.Transport):
    """One end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"peername": PEER_NAME, "sockname": PEER_NAME})
        self.other: MemoryTransport = cast(MemoryTransport, None)
        self._loop = loop
        self._protocol: asyncio.Protocol = cast(asyncio.Protocol, None)
        self._written: deque[bytes] = deque()
        self._size = 0
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._full = False
        self._delivering = False
        """A delivery is sure to come."""
        self._paused = False
        self._ended = self._end_told = False
        """Nothing more is written here; the other end knows."""
        self._closing = False
        self._gone = False

    def open(self, protocol: asyncio.Protocol) -> None:
        """Give this end to its protocol."""
        self._protocol = protocol
        protocol.connection_made(self)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # Writing.

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._ended:
            if not self._closing:
                raise RuntimeError("Cannot call write() after write_eof()")
            return
        if not data:
            return
        self._written.append(bytes(data))
        self._size += len(data)
        self._deliver_soon()
        if self._size > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._ended = True
        self._deliver_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return self._size

    # Reading.

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self.other._deliver_soon()

    # The end.

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Read no more, and go once the other end has what was written."""
        if not self._closing:
            self._closing = self._ended = True
            self._deliver_soon()

    def abort(self) -> None:
        """Go now; the other end gets a ConnectionResetError and nothing that is still on its way."""
        self._drop(None)
        self.other._drop(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _drop(self, why: Exception | None) -> None:
        self._closing = self._ended = True
        self._written.clear()
        self._size = 0
        if not self._gone:
            self._gone = True
            self._loop.call_soon(self._protocol_lost, why)

    def _protocol_lost(self, why: Exception | None) -> None:
        self._protocol.connection_lost(why)

    # Delivery.

    def _deliver_soon(self) -> None:
        if not self._delivering and (self._written or self._ended):
            self._delivering = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        """Give the other end what was written, as far as it reads, and then the end."""
        self._delivering = False
        if self._gone:
            return
        other = self.other
        if other._closing:  # as bytes that come to a socket which was closed
            self._written.clear()
            self._size = 0
        elif other._paused:
            return
        elif self._written:
            other._receive(self._take())
        if self._full and self._size <= self._low and not self._gone:
            self._full = False
            self._protocol.resume_writing()
        if self._written:
            self._deliver_soon()
        elif self._ended and not self._gone:
            self._finish()

    def _take(self) -> bytes:
        written = self._written
        if len(written) == 1 and self._size <= READ_BYTES:
            self._size = 0
            return written.popleft()
        data = b"".join(written)
        written.clear()
        if len(data) > READ_BYTES:
            written.append(data[READ_BYTES:])
            data = data[:READ_BYTES]
        self._size -= len(data)
        return data

    def _receive(self, data: bytes) -> None:
        try:
            self._protocol.data_received(data)
        except Exception as error:
            self._broken(error)

    def _finish(self) -> None:
        """All is delivered: say so to the other end, and go if that was asked for."""
        if not self._end_told:
            self._end_told = True
            self.other._hear_end()
        if self._closing:
            self._drop(None)

    def _hear_end(self) -> None:
        if self._closing:
            return
        try:
            stays = self._protocol.eof_received()
        except Exception as error:
            self._broken(error)
            return
        if not stays:
            self.close()

    def _broken(self, error: Exception) -> None:
        """The protocol has a bug: its connection does not outlive it."""
        context = {"message": "Fatal error: protocol failed", "exception": error, "transport": self}
        self._loop.call_exception_handler({**context, "protocol": self._protocol})
        self.abort()
