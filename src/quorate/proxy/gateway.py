"""`etcd gateway`: a port whose connections are carried to the members, byte by byte. It never looks inside.

client ──► Side ──► Side ──► member      what one side reads the other writes, no faster than that one is read
       ◄──      ◄──                      an end of one direction is passed on; a broken side breaks the other
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from typing import Any, cast

from quorate.pkg.jsonlog import get_log
from quorate.proxy.remotes import Remote, Remotes, Target
from quorate.transport.sockets import notice_dead_peer, peer_name

log = get_log(__name__)

DIAL_SECONDS = 5.0
BACKLOG = 4096
HIGH_WATER = 262_144
"""Bytes that one side does not take, above which the other is not read."""


class Gateway:
    """Listens at an address and carries each connection to one of `targets`. Belongs to the loop that starts it."""

    def __init__(self, host: str, port: int, targets: list[Target], retry_delay: float) -> None:
        """`retry_delay`: seconds until a target that failed is tried again. Raises ValueError for no targets."""
        self.remotes = Remotes(targets, Random())
        self._host = host
        self._port = port
        self._retry_delay = retry_delay
        self._server: asyncio.Server | None = None
        self._sides: set[Side] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port bound, for those who asked for port 0."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Open ones, those to clients and those to members."""
        return len(self._sides)

    async def start(self) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, self._host or None, self._port, backlog=BACKLOG)
        self._spawn(self._retry())
        log.info("ready to proxy client requests", endpoints=[str(remote.target) for remote in self.remotes.all])

    async def stop(self) -> None:
        """Close everything, connections under way too."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for side in list(self._sides):
            side.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self) -> Side:
        side = Side(self._sides)
        side.on_open = partial(self._open, side)
        return side

    def _open(self, client: Side) -> None:
        self._spawn(self._connect(client))

    async def _connect(self, client: Side) -> None:
        """Find a member for a client; without any, hang up."""
        while not client.lost:
            remote = self.remotes.pick()
            if remote is None:
                log.warn("no endpoint takes connections", remote_addr=peer_name(client.transport))
                client.abort()
                return
            member = await self._dial(remote)
            if member is not None:
                client.join(member)
                return

    async def _dial(self, remote: Remote) -> Side | None:
        """A side that is connected; None, and the remote is set aside, when that fails."""
        target = remote.target
        loop = asyncio.get_running_loop()
        side = Side(self._sides)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await loop.create_connection(lambda: side, target.host, target.port)
        except (OSError, TimeoutError) as error:
            if remote.works:
                pause = f"{self._retry_delay:g}s"
                log.warn("deactivated endpoint", address=str(target), interval=pause, error=str(error) or "i/o timeout")
            remote.works = False
            return None
        except BaseException:
            side.abort()
            raise
        return side

    async def _retry(self) -> None:
        """Try those again that were set aside."""
        while True:
            await asyncio.sleep(self._retry_delay)
            for remote in self.remotes.set_aside():
                side = await self._dial(remote)
                if side is not None:
                    side.abort()
                    remote.works = True
                    log.info("activated endpoint", address=str(remote.target))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Side(asyncio.Protocol):
    """One of the two sockets of a connection that is carried. It is not read before it has another side."""

    def __init__(self, sides: set[Side]) -> None:
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.lost = False
        self.on_open: Callable[[], None] | None = None
        """Called when the socket is there."""
        self._sides = sides
        self._other: Side | None = None
        self._ended = False
        self._early = b""
        """What came before there was another side: a loop may read once more after it was told to wait."""

    def join(self, other: Side) -> None:
        """Carry what comes here to `other`, and back, from now on."""
        if self.lost or other.lost:
            self.abort()
            other.abort()
            return
        self._other, other._other = other, self
        for side in (self, other):
            if side._early:
                side.data_received(side._early)
                side._early = b""
            if side._ended:
                side.eof_received()
        for side in (self, other):
            side.transport.resume_reading()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        notice_dead_peer(transport)
        self._sides.add(self)
        if self.on_open is not None:
            self.on_open()

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._other.transport.write(data)
        else:
            self._early += data
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The peer writes no more, but may still read: True keeps the socket open."""
        self._ended = True
        other = self._other
        if other is None:
            return True
        with contextlib.suppress(OSError, RuntimeError):  # it may be closed already
            other.transport.write_eof()
        if other._ended:
            self.transport.close()
            other.transport.close()
        return True

    def pause_writing(self) -> None:
        if self._other is not None and not self._other.lost:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and not self._other.lost:
            self._other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._sides.discard(self)
        if self._other is not None and not self._other.lost:
            self._other.transport.close()
