"""The network between members, with scissors: one TCP proxy before each member's peer port.

    a ──dials──► proxy of b ──► b        bytes a→b pass while the way a→b is open, bytes b→a while b→a is

A cut way holds bytes back as a network does that loses packets: nothing is answered, nothing is refused, and what was
under way arrives when the way is open again, if both ends are still there. The two directions of one connection belong
to two ways, so that a way may be cut in one direction only. Who dialled is told by the process that owns the other end
of the socket (Linux, `/proc/net/tcp`), not by what it says: any protocol, encrypted or not, is carried alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

CHUNK_BYTES = 65_536
DIAL_SECONDS = 5.0

Way = tuple[str, str]
"""From a member to a member, by name."""


class Network:
    """All proxies of one cluster. Everything here runs on one event loop.

    `pids` gives the processes of the members that run now, by name.
    """

    def __init__(self, pids: Callable[[], dict[str, int]]) -> None:
        self._pids = pids
        self._cut: set[Way] = set()
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, name: str, port: int, target: int) -> None:
        """Take connections for member `name` at `port` and carry them to its own port `target`."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._carry(_Link(name, reader, writer), target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._servers.append(await asyncio.start_server(accept, "127.0.0.1", port))

    async def cut(self, ways: Iterable[Way]) -> None:
        """Close these ways, besides those that are closed already."""
        self._cut.update(ways)
        self._identify(link for link in self._links if not link.source)
        self._wake()

    async def heal(self) -> None:
        """Open all ways."""
        self._cut.clear()
        self._wake()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _identify(self, links: Iterable[_Link]) -> None:
        """Find out who dialled. One that is gone stays nameless, and a nameless one is cut off with the member."""
        wanted = {link.port: link for link in links}
        if not wanted:
            return
        owners = {inode: name for name, pid in self._pids().items() for inode in _socket_inodes(pid)}
        for port, inode in _inodes_of_ports(wanted.keys()):
            wanted[port].source = owners.get(inode, "")

    async def _open(self, link: _Link, outward: bool) -> None:
        """Return when bytes may pass: `outward` is the direction of who dialled."""
        while self._cut:
            if not link.source:
                self._identify([link])
            ends = (link.source, link.target) if outward else (link.target, link.source)
            nameless = not link.source and any(link.target in way for way in self._cut)
            if ends not in self._cut and not nameless:
                return
            await self._changed.wait()

    async def _carry(self, link: _Link, target: int) -> None:
        self._links.add(link)
        writers = [link.writer]
        try:
            await self._open(link, True)
            await self._open(link, False)  # the answer to the first packet
            async with asyncio.timeout(DIAL_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", target)
            writers.append(writer)
            await asyncio.gather(
                self._pump(link, link.reader, writer, outward=True),
                self._pump(link, reader, link.writer, outward=False),
            )
        except (OSError, TimeoutError):
            pass
        finally:
            self._links.discard(link)
            for writer in writers:
                writer.close()

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, outward: bool
    ) -> None:
        """Carry one direction until it ends; the end passes like everything else."""
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self._open(link, outward)
                writer.write(data)
                await writer.drain()
            await self._open(link, outward)
            writer.write_eof()
        except (OSError, RuntimeError) as error:  # RuntimeError: uvloop's word for a transport that is closed
            await self._open(link, outward)
            await self._open(link, not outward)
            raise ConnectionError(str(error)) from error


class _Link:
    """One connection that somebody dialled."""

    def __init__(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.target = target
        self.reader = reader
        self.writer = writer
        self.port: int = writer.get_extra_info("peername")[1]
        self.source = ""


def _socket_inodes(pid: int) -> set[int]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                where = os.readlink(entry.path)
                if where.startswith("socket:["):
                    found.add(int(where[8:-1]))
    return found


def _inodes_of_ports(ports: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Inode of the socket whose own port is each of `ports`, from the kernel's table of IPv4 connections."""
    wanted = {f"{port:04X}": port for port in ports}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        port = wanted.get(fields[1].partition(":")[2])
        if port is not None and fields[9] != "0":
            yield port, int(fields[9])
