"""A simulated machine: the sockets of the process on it, how it listens and how it connects."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quorate.testing.sim.loop import MemberLoop
from quorate.testing.sim.tcp import End

if TYPE_CHECKING:
    from quorate.testing.sim.network import Network

SYN_FIRST = 1.0
SYN_LAST = 127.0
"""Seconds until a connection is asked for again, doubled each time, and until the kernel gives up."""

FIRST_EPHEMERAL_PORT = 32_768


class Host:
    """A machine, and the wires of the process on it."""

    def __init__(self, network: Network, name: str, address: str) -> None:
        self.network = network
        self.name = name
        self.address = address
        self.up = True
        self.loop: MemberLoop | None = None
        self.ends: dict[int, End] = {}
        self.listeners: dict[int, Listening] = {}
        self._dirty: dict[int, End] = {}
        self._closing: list[End] = []
        self._next_port = FIRST_EPHEMERAL_PORT

    def attach(self, loop: MemberLoop) -> None:
        """A process starts on the machine."""
        assert self.loop is None or self.loop.is_closed(), "one process a machine"
        self.loop = loop
        loop.wires = self
        if not self.up:
            self.up = True
            self.network.came_up(self)

    def bind(self, port: int) -> SimSocket:
        """A socket to give to `create_server`. Raises OSError when the port is taken."""
        if port in self.listeners:
            raise OSError(errno.EADDRINUSE, f"error while attempting to bind on address ('{self.address}', {port})")
        return SimSocket(self.address, port or self.next_port())

    def ends_to(self, other: Host) -> list[End]:
        """The ends here of all connections to a machine."""
        return [end for end in self.ends.values() if end.pipe.link.target is other]

    # What the loop asks for.

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str | None = None,
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        ssl: Any = None,
        **options: Any,
    ) -> Listening:
        """Listen; at all addresses of the machine, whatever `host` says. Raises OSError."""
        assert ssl is None, "the simulated network has no TLS"
        assert self.loop is not None
        if sock is None:
            sock = self.bind(port)
        bound = int(sock.getsockname()[1])
        listening = self.listeners[bound] = Listening(self, sock, protocol_factory, bound)
        self.loop.note(f"listen {bound}")
        return listening

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: str | None = None,
        port: int = 0,
        *,
        ssl: Any = None,
        **options: Any,
    ) -> tuple[End, asyncio.Protocol]:
        """Connect. Raises OSError: refused, timed out, no such host."""
        assert not ssl, "the simulated network has no TLS"
        assert self.loop is not None
        dial = _Dial(self, self.loop, self.network.find(self, host), port)
        end = await dial.run()
        protocol = protocol_factory()
        end.open(protocol)
        return end, protocol

    def turn_ended(self) -> None:
        """Everything written leaves."""
        while self._dirty:
            dirty, self._dirty = self._dirty, {}
            for serial in sorted(dirty):
                dirty[serial].flush()

    def crashed(self, *, power: bool) -> None:
        """What was written has left. The kernel closes what the process had open; unless it is gone too."""
        self.turn_ended()
        self.listeners.clear()
        self._closing.clear()
        if power:
            self.up = False
            self.network.went_down(self)
        for end in list(self.ends.values()):
            end.loop.keep(end)
            if power:
                end.vanish()
            else:
                end.release()

    # For ends.

    def touch(self, end: End) -> None:
        """`end` has something to send."""
        if end.loop.is_closed():
            return
        self._dirty[end.serial] = end
        if not end.loop.is_running():
            end.loop.need_turn()

    def bury(self, end: End) -> None:
        """`end` is to be closed."""
        if end.loop.is_closed():
            return
        self._closing.append(end)
        if len(self._closing) == 1:
            end.loop.call_soon(self._close_all)

    def forget(self, end: End) -> None:
        """`end` is no more."""
        self.ends.pop(end.serial, None)

    def next_port(self) -> int:
        """A port that nobody uses."""
        while self._next_port in self.listeners:
            self._next_port += 1
        self._next_port += 1
        return self._next_port - 1

    def _close_all(self) -> None:
        closing, self._closing = self._closing, []
        for end in sorted(closing, key=lambda end: end.serial):
            end.finish()


class _Dial:
    """One attempt to connect."""

    def __init__(self, host: Host, loop: MemberLoop, target: Host, port: int) -> None:
        self._host = host
        self._loop = loop
        self._target = target
        self._port = port
        self._out = host.network.link(host.name, target.name)
        self._back = host.network.link(target.name, host.name)
        self._scheduler = host.network.scheduler
        self._began = self._scheduler.now
        self._wait = SYN_FIRST
        self._outcome: asyncio.Future[End] = loop.create_future()
        self._end: End | None = None

    async def run(self) -> End:
        """The near end. Raises OSError."""
        self._loop.note(f"connect {self._target.name}:{self._port}")
        self._ask()
        try:
            return await self._outcome
        except asyncio.CancelledError:
            if self._end is not None:
                self._end.release()
            raise

    def _ask(self) -> None:
        if self._outcome.done() or self._loop.is_closed():
            return
        if self._scheduler.now - self._began >= SYN_LAST:
            self._fail(TimeoutError(errno.ETIMEDOUT, f"Connect call failed {self._name()}"), "connect time-out")
        elif self._out.blocked:
            self._ask_again()
        else:
            self._scheduler.at(self._scheduler.now + self._out.delay(), self._arrive)

    def _ask_again(self) -> None:
        self._scheduler.at(self._scheduler.now + self._wait, self._ask)
        self._wait *= 2

    def _arrive(self) -> None:
        if self._back.blocked or self._loop.is_closed():
            self._ask_again()
            return
        at = self._scheduler.now + self._back.delay()
        listening = self._target.listeners.get(self._port)
        if listening is None:
            error = ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {self._name()}")
            self._scheduler.at(at, self._fail, error, "refused")
            return
        here, there = self._host.network.pair(self._host, self._host.next_port(), self._target, self._port)
        there.pipe.last_arrival = at
        listening.accept(there)
        self._scheduler.at(at, self._connected, here)

    def _connected(self, end: End) -> None:
        if end.gone:
            end.pipe.send_reset()
        elif self._outcome.done():
            end.release()
        else:
            self._loop.note(f"#{end.serial // 2} connected {self._target.name}:{self._port}")
            self._end = end
            self._loop.call_soon(self._settle, end)

    def _settle(self, end: End) -> None:
        if not self._outcome.done():
            self._outcome.set_result(end)

    def _fail(self, error: Exception, why: str) -> None:
        if not self._outcome.done() and not self._loop.is_closed():
            self._loop.note(f"{why} {self._target.name}:{self._port}")
            self._loop.call_soon(self._settle_error, error)

    def _settle_error(self, error: Exception) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)

    def _name(self) -> tuple[str, int]:
        return self._target.address, self._port


class Listening(asyncio.AbstractServer):
    """A listening socket. It accepts even while its process is paused, as the kernel does."""

    def __init__(self, host: Host, sock: socket.socket, factory: Callable[[], asyncio.Protocol], port: int) -> None:
        self.sockets = (sock,)
        self._host = host
        self._factory = factory
        self._port = port
        self._open = True

    def accept(self, end: End) -> None:
        """A connection has come in."""
        end.loop.call_soon(self._serve, end)

    def close(self) -> None:
        if self._open:
            self._open = False
            if self._host.listeners.get(self._port) is self:
                del self._host.listeners[self._port]

    def get_loop(self) -> asyncio.AbstractEventLoop:
        assert self._host.loop is not None
        return self._host.loop

    async def start_serving(self) -> None:
        """It does already."""

    async def serve_forever(self) -> None:
        """Wait until cancelled; then close."""
        try:
            await self.get_loop().create_future()
        finally:
            self.close()

    def is_serving(self) -> bool:
        return self._open

    async def wait_closed(self) -> None:
        """Nothing to wait for."""

    def _serve(self, end: End) -> None:
        if not self._open:
            end.release()
        elif not end.gone:
            end.open(self._factory())


class SimSocket(socket.socket):
    """A bound socket that only knows its name: made by `Host.bind`, taken by `create_server`."""

    def __init__(self, address: str, port: int) -> None:
        self._name = (address, port)

    def getsockname(self) -> tuple[str, int]:
        return self._name

    def close(self) -> None:
        """There is no descriptor behind it."""
