"""Ends of simulated connections: the transport that a protocol writes to, and what the kernel has of it.

    write ─► End ──► Pipe (a Link: delay, bandwidth, cut) ──► inbox of the other End ─► data_received
             buffer   in flight, at most WINDOW

What an end is not told, by FIN or RST, it does not know: a peer whose machine lost its power, or that gave up behind a
cut link, looks like one that is silent.

What a turn of a member writes leaves at the end of the turn, and connections that it closes go in the next, both in
the order in which they were made: the order in which code goes through a set of connections makes no difference.

Sources: RFC 9293 (RST, FIN), tcp(7), socket(7).
"""

from __future__ import annotations

import asyncio
import errno
import zlib
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from quorate.testing.sim.loop import MemberLoop
from quorate.testing.sim.pipe import FIN, Pipe
from quorate.transport.sockets import KEEPALIVE_IDLE

if TYPE_CHECKING:
    from quorate.testing.sim.host import Host

WINDOW = 262_144
"""Bytes of one direction that the kernels of both ends hold: sent, and not read by the receiving process."""

READ_SIZE = 262_144
"""Bytes that a protocol gets at once."""

HIGH_WATER = 65_536
"""Bytes beyond the window at which a protocol is asked to pause."""

GIVE_UP = 120.0
"""Seconds that a connection outlives bytes which nobody acknowledges."""

KEEPALIVE = 300.0
"""Seconds after which an idle connection notices that the way to its peer is gone."""


class End(asyncio.Transport):
    """One end of a connection: the transport of a protocol, and what the kernel has of it."""

    def __init__(
        self, host: Host, loop: MemberLoop, serial: int, local: tuple[str, int], remote: tuple[str, int]
    ) -> None:
        super().__init__({"sockname": local, "peername": remote})
        self.host = host
        self.loop = loop
        self.serial = serial
        self.pipe: Pipe = cast(Pipe, None)
        """What this end sends."""
        self.pipe_back: Pipe = cast(Pipe, None)
        """What it gets."""
        self.gone = False
        """The kernel knows nothing of it (any more)."""
        self._protocol: asyncio.Protocol | None = None
        self._out: deque[bytes] = deque()
        self._out_size = 0
        self._inbox: deque[bytes] = deque()
        self._ended = False
        """The peer has sent FIN."""
        self._fin = self._fin_sent = False
        self._closing = False
        self._buried = False
        self._error: Exception | None = None
        self._reading = self._paused_reading = self._paused_writing = False
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._deadline: float | None = None
        self._severed_at = 0.0

    # The transport, called by the member.

    def open(self, protocol: asyncio.Protocol) -> None:
        """Give it to a protocol."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._want_read()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.Protocol, self._protocol)

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._paused_reading and not self._closing

    def pause_reading(self) -> None:
        self._paused_reading = True

    def resume_reading(self) -> None:
        self._paused_reading = False
        self._want_read()

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
        over = self._out_size + self.pipe.in_flight - WINDOW
        return min(over, self._out_size) if over > 0 else 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._fin and not self._closing:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self._closing or self.gone:
            return
        self._out.append(bytes(data))
        self._out_size += len(data)
        self.host.touch(self)
        if not self._paused_writing and self.get_write_buffer_size() > self._high:
            self._paused_writing = True
            assert self._protocol is not None
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._fin and not self._closing:
            self._fin = True
            self.host.touch(self)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.get_write_buffer_size():
                self._bury()

    def abort(self) -> None:
        self._force_close(None)

    # The socket, called by the network, and by the host at the end of a turn.

    @property
    def is_full(self) -> bool:
        """It has more to send than the window takes."""
        return self._out_size > 0

    def flush(self) -> None:
        """Send what was written, as far as there is room."""
        if self._out_size and not self.gone:
            room = WINDOW - self.pipe.in_flight
            if room > 0:
                data = b"".join(self._out)
                self._out.clear()
                if len(data) > room:
                    self._out.append(data[room:])
                    data = data[:room]
                self._out_size -= len(data)
                self.pipe.send(data)
                if self._deadline is not None:
                    self.watch()
        if self._paused_writing and self.get_write_buffer_size() <= self._low:
            self.loop.call_soon(self._resume_writing)
        if self._out_size:
            return
        if self._closing:
            self._bury()
        elif self._fin:
            self._send_fin()

    def room_came(self) -> None:
        """The peer has read something."""
        if not self.gone:
            self.host.touch(self)

    def take(self, data: bytes) -> None:
        """Something arrived: bytes, or FIN."""
        if self.host.network.scheduler.trace.keep:
            self._note(f"got {len(data)} {zlib.crc32(data):08x}" if data else "got end")
        if data:
            self._inbox.append(data)
        else:
            self._ended = True
        self._want_read()

    def broken(self, error: Exception, why: str) -> None:
        """The connection is no more."""
        if self.gone:
            return
        self._note(why)
        self._leave()
        self._inbox.clear()
        self.loop.call_soon(self._force_close, error)

    def release(self) -> None:
        """The process has let go of its socket, or is gone itself: FIN, or RST when it left something unread."""
        if self.gone:
            return
        if self._inbox:
            self._note("close, unread")
            self.pipe.send_reset()
        else:
            self._note("close")
            self._send_fin()
        self._leave()

    def vanish(self) -> None:
        """The machine is off; nobody is told, and what its kernel still had to send is gone."""
        self.pipe.held.clear()
        self._leave()

    def watch(self) -> None:
        """The way to the peer or back is cut: give up in time, if it stays so."""
        if self.gone:
            return
        now = self.host.network.scheduler.now
        if self._deadline is None:
            self._severed_at = now
        deadline = now + GIVE_UP if self.pipe.in_flight else self._severed_at + KEEPALIVE
        if self._deadline is None or deadline < self._deadline:
            self._deadline = deadline
            self.host.network.scheduler.at(deadline, self._expire, deadline)

    def healed(self) -> None:
        """The way is whole. One whose peer has gone without a word finds out when it next asks."""
        if not self.pipe.receiver.gone:
            self._deadline = None
        elif not self.gone:
            scheduler = self.host.network.scheduler
            scheduler.at(scheduler.now + KEEPALIVE_IDLE, self._probe)

    # Inside.

    def _probe(self) -> None:
        if not self.gone and not self.pipe.link.blocked and not self.pipe_back.link.blocked:
            self.broken(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "reset")

    def _expire(self, deadline: float) -> None:
        if deadline != self._deadline or self.gone:
            return
        latest = self._severed_at + KEEPALIVE
        if deadline < latest and not self.pipe.in_flight:
            self._deadline = latest
            self.host.network.scheduler.at(latest, self._expire, latest)
            return
        self.broken(TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "time-out")

    def _send_fin(self) -> None:
        if not self._fin_sent and not self.gone:
            self._fin_sent = True
            self.pipe.send(FIN)

    def _want_read(self) -> None:
        if not self._reading and not self._paused_reading and (self._inbox or self._ended) and self._protocol:
            self._reading = True
            self.loop.call_soon(self._read)

    def _read(self) -> None:
        self._reading = False
        if self._closing or self._paused_reading or self._protocol is None:
            return
        try:
            if self._inbox:
                self._protocol.data_received(self._next_bytes())
                if self._inbox or self._ended:
                    self._want_read()
            elif self._ended:
                self._ended = False
                if not self._protocol.eof_received():
                    self.close()
        except Exception as error:
            self.loop.call_exception_handler(
                {"message": "protocol failed", "exception": error, "transport": self, "protocol": self._protocol}
            )
            self._force_close(error)

    def _next_bytes(self) -> bytes:
        pieces, size = [], 0
        while self._inbox and (not size or size + len(self._inbox[0]) <= READ_SIZE):
            pieces.append(self._inbox.popleft())
            size += len(pieces[-1])
        self.pipe_back.read(size)
        return b"".join(pieces) if len(pieces) > 1 else pieces[0]

    def _resume_writing(self) -> None:
        if self._paused_writing and self._protocol is not None and self.get_write_buffer_size() <= self._low:
            self._paused_writing = False
            self._protocol.resume_writing()

    def _force_close(self, error: Exception | None) -> None:
        """Close without what the kernel does not take at once."""
        self._closing = True
        over = self.get_write_buffer_size()
        if over:
            kept = b"".join(self._out)[: self._out_size - over]
            self._out = deque([kept] if kept else [])
            self._out_size = len(kept)
        if not self._buried:
            self._error = error
        self._bury()

    def _bury(self) -> None:
        if not self._buried:
            self._buried = True
            self.host.bury(self)

    def finish(self) -> None:
        """The protocol hears that it is over, then the socket is let go."""
        self.flush()
        protocol, self._protocol = self._protocol, None
        try:
            if protocol is not None:
                protocol.connection_lost(self._error)
        finally:
            self.release()

    def _leave(self) -> None:
        self.gone = True
        self._out.clear()
        self._out_size = 0
        self.host.forget(self)

    def _note(self, what: str) -> None:
        scheduler = self.host.network.scheduler
        if scheduler.trace.keep:
            scheduler.note(self.host.name, f"#{self.serial // 2} {what}")
