"""The simulated network: machines with addresses, and a link from each to each other.

    network = Network(scheduler, rng)
    network.host("m1", "10.0.0.1").attach(loop)         the process on the machine; again after each restart
    network.link("m1", "m2").latency = (0.05, 0.2)      one direction
    network.partition(["m1"], ["m2", "m3"]); network.heal()

A process listens and connects with `loop.create_server` and `loop.create_connection`; what they return are `End`s of
connections (`tcp`). All chance is from `rng`. Names of machines and their addresses both work as host names.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Sequence
from random import Random

from quorate.testing.sim.host import Host
from quorate.testing.sim.pipe import Link, Pipe
from quorate.testing.sim.scheduler import Scheduler
from quorate.testing.sim.tcp import End

OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", ""})


class Network:
    """All machines and links, and what may go wrong with them."""

    def __init__(self, scheduler: Scheduler, rng: Random) -> None:
        self.scheduler = scheduler
        self._rng = rng
        self._hosts: dict[str, Host] = {}
        self._by_address: dict[str, Host] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._serial = 0

    def host(self, name: str, address: str | None = None) -> Host:
        """The machine `name`; with `address` a new one."""
        if address is not None:
            assert name not in self._hosts and address not in self._by_address, "names and addresses are unique"
            host = self._hosts[name] = self._by_address[address] = Host(self, name, address)
            for other in self._hosts.values():
                for pair in ((host, other), (other, host)):
                    self._links[pair[0].name, pair[1].name] = Link(self.scheduler, self._rng, *pair)
        return self._hosts[name]

    def link(self, source: str, target: str) -> Link:
        """The way from one machine to another."""
        return self._links[source, target]

    # Faults.

    def cut(self, source: str, target: str) -> None:
        """Let nothing through from one machine to another; the other way stays as it is."""
        link = self._links[source, target]
        if not link.cut:
            link.cut = True
            self.scheduler.note("net", f"cut {source}>{target}")
            self._severed(link.source, link.target)

    def partition(self, left: Iterable[str], right: Sequence[str]) -> None:
        """Let nothing through between two groups of machines."""
        for one in left:
            for other in right:
                self.cut(one, other)
                self.cut(other, one)

    def isolate(self, name: str) -> None:
        """Let nothing through from or to a machine."""
        self.partition([name], [other for other in self._hosts if other != name])

    def heal(self, *pair: str) -> None:
        """Let everything through again: from a machine to another, or everywhere."""
        for link in [self._links[pair[0], pair[1]]] if pair else self._links.values():
            if link.cut:
                link.cut = False
                self.scheduler.note("net", f"heal {link.source.name}>{link.target.name}")
                self._healed(link.source, link.target)

    def reset(self, one: str, other: str) -> None:
        """Break all connections between two machines, as a middlebox does that forgets them."""
        for name, peer in ((one, other), (other, one)):
            for end in self._hosts[name].ends_to(self._hosts[peer]):
                end.broken(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "reset by network")

    # For hosts.

    def find(self, asking: Host, name: str | None) -> Host:
        """The machine meant by a host name. Raises OSError."""
        if name is None or name in OWN_NAMES:
            return asking
        host = self._by_address.get(name) or self._hosts.get(name)
        if host is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return host

    def pair(self, client: Host, client_port: int, server: Host, server_port: int) -> tuple[End, End]:
        """Both ends of a new connection."""
        assert client.loop is not None and server.loop is not None
        self._serial += 2
        near, far = (client.address, client_port), (server.address, server_port)
        here = End(client, client.loop, self._serial, near, far)
        there = End(server, server.loop, self._serial + 1, far, near)
        here.pipe = there.pipe_back = Pipe(self._links[client.name, server.name], here, there)
        there.pipe = here.pipe_back = Pipe(self._links[server.name, client.name], there, here)
        client.ends[here.serial], server.ends[there.serial] = here, there
        return here, there

    def went_down(self, host: Host) -> None:
        """A machine is off."""
        for other in self._hosts.values():
            self._severed(host, other)

    def came_up(self, host: Host) -> None:
        """A machine is on again: it knows none of the connections that others have to it."""
        for other in self._hosts.values():
            self._healed(other, host)

    def _severed(self, one: Host, other: Host) -> None:
        for end in [*one.ends_to(other), *other.ends_to(one)]:
            end.watch()

    def _healed(self, one: Host, other: Host) -> None:
        there_and_back = self._links[one.name, other.name], self._links[other.name, one.name]
        whole = not any(link.blocked for link in there_and_back)
        for end in [*one.ends_to(other), *other.ends_to(one)]:
            if whole:
                end.healed()
            for pipe in (end.pipe, end.pipe_back):
                pipe.healed()
                pipe.catch_up()
