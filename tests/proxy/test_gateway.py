"""What a gateway carries, to whom, and what becomes of members that are away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
import uvloop

from quorate.client import Client
from quorate.proxy.addresses import AddressError, check_no_loop, parse_targets, strip_scheme
from quorate.proxy.discovery import discover
from quorate.proxy.gateway import Gateway
from quorate.proxy.remotes import Remotes, Target
from quorate.testing.process import free_port

from proxy_support import Backend, until  # isort: skip


@asynccontextmanager
async def carrying(*targets: Target, retry_delay: float = 60.0) -> AsyncIterator[Gateway]:
    gateway = Gateway("127.0.0.1", 0, list(targets), retry_delay)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


class Named:
    """A server that says its name and then what it is told, until the end."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.port = free_port()
        self._server: asyncio.Server | None = None

    @property
    def target(self) -> Target:
        return Target("127.0.0.1", self.port)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.name)
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write(b"end")
        writer.close()


@asynccontextmanager
async def servers(*names: bytes) -> AsyncIterator[list[Named]]:
    found = [Named(name) for name in names]
    for server in found:
        await server.start()
    try:
        yield found
    finally:
        for server in found:
            server.stop()


async def ask(gateway: Gateway) -> bytes:
    """The name of the server that a new connection is carried to; empty when it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        return await reader.read(1)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_connections_go_to_the_members_in_turn() -> None:
    async with servers(b"a", b"b", b"c") as found, carrying(*(each.target for each in found)) as gateway:
        names = [await ask(gateway) for _ in range(9)]
        assert sorted(names[:3]) == [b"a", b"b", b"c"]
        assert names == names[:3] * 3


async def test_a_member_that_is_away_is_set_aside_and_comes_back() -> None:
    async with servers(b"a", b"b") as both:
        first, second = both
        async with carrying(first.target, second.target, retry_delay=0.05) as gateway:
            first.stop()
            assert [await ask(gateway) for _ in range(6)] == [b"b"] * 6
            second.stop()
            await until(lambda: _is(ask(gateway), b""))
            await first.start()
            await until(lambda: _is(ask(gateway), b"a"))
            await second.start()
            await until(lambda: all(remote.works for remote in gateway.remotes.all))
            assert {await ask(gateway) for _ in range(2)} == {b"a", b"b"}


async def _is(found: object, wanted: bytes) -> bool:
    return await found == wanted  # type: ignore[misc, no-any-return]


async def test_the_end_of_one_side_is_passed_on_and_the_other_side_goes_on() -> None:
    async with servers(b"a") as (server,), carrying(server.target) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"ahelloend"
        writer.close()
        await until(lambda: gateway.connections == 0)


@pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_a_client_says_at_once_is_carried_and_its_end_too(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def speak() -> None:
        async with servers(b"a") as (server,), carrying(server.target) as gateway:
            for _ in range(50):
                with socket.create_connection(("127.0.0.1", gateway.port)) as client:
                    client.sendall(b"hello")
                    client.shutdown(socket.SHUT_WR)
                    client.setblocking(False)
                    found = b""
                    while data := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), 10.0):
                        found += data
                    assert found == b"ahelloend"

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(speak())


async def test_a_reader_that_is_slow_holds_back_who_writes() -> None:
    async with servers(b"") as (server,), carrying(server.target) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
        size = 64 << 20
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                writer.write(b"x" * size)
                await writer.drain()
        held = sum(side.transport.get_write_buffer_size() for side in gateway._sides)
        assert held < 4 << 20
        writer.write_eof()
        found = 0
        async with asyncio.timeout(60.0):
            while data := await reader.read(1 << 20):
                found += len(data)
        assert found == size + len(b"end")
        writer.close()


async def test_a_broken_side_breaks_the_other() -> None:
    async with servers(b"a") as (server,), carrying(server.target) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        assert await reader.read(1) == b"a"
        writer.transport.abort()
        await until(lambda: gateway.connections == 0)


async def test_clients_work_through_it(backend: Backend) -> None:
    host, _, port = backend.endpoint.partition(":")
    async with carrying(Target(host, int(port))) as gateway, Client(f"127.0.0.1:{gateway.port}") as client:
        async with client.watch("k") as watch:
            await client.put("k", "v")
            event = await watch.next(5.0)
            assert event is not None and event.value == b"v"
        async with client.session(5) as session:
            await client.put("l", "", lease=session.lease)


def test_priority_comes_before_weight_and_weight_before_turns() -> None:
    first, heavy, light = Target("a", 1, 1, 0), Target("b", 1, 2, 90), Target("c", 1, 2, 10)
    remotes = Remotes([heavy, light, first], Random(1))
    assert {str(remotes.pick().target) for _ in range(10)} == {"a:1"}  # type: ignore[union-attr]
    remotes.all[2].works = False
    picked = [remotes.pick().target.host for _ in range(1000)]  # type: ignore[union-attr]
    assert 800 < picked.count("b") < 970
    for remote in remotes.all:
        remote.works = False
    assert remotes.pick() is None


@pytest.mark.parametrize("text", ["", "a", "a b:1", ":1", "a:", "a:x", "a:70000", "::1:1"])
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(AddressError, match=r"^error parsing endpoint "):
        parse_targets([text])


def test_addresses_lose_their_scheme() -> None:
    given = ["http://a:1", "https://a:1/", "a:1", "http://[::1]:1"]
    assert [strip_scheme(each) for each in given] == ["a:1", "a:1", "a:1", "[::1]:1"]
    assert parse_targets(given) == [Target("a", 1)] * 3 + [Target("::1", 1)]


@pytest.mark.parametrize("listen", ["127.0.0.1:5", "localhost:5", ":5"])
def test_a_gateway_does_not_carry_to_itself(listen: str) -> None:
    with pytest.raises(AddressError, match="should not resolve to the gateway listen addr"):
        check_no_loop(listen, [Target("127.0.0.1", 4), Target("localhost", 5)])
    assert check_no_loop(listen, [Target("127.0.0.1", 4)])[1] == 5


def test_members_are_found_by_dns_and_those_without_tls_only_if_they_are_wanted() -> None:
    records = {
        "_etcd-client-ssl._tcp.example.com": [Target("a", 1)],
        "_etcd-client._tcp.example.com": [Target("b", 2)],
        "_etcd-client-x._tcp.example.com": [Target("c", 3)],
    }

    def lookup(name: str) -> list[Target]:
        return records.get(name, [])

    assert discover("example.com", "", False, lookup).endpoints == ["https://a:1"]
    assert discover("example.com", "", True, lookup).endpoints == ["https://a:1", "http://b:2"]
    assert discover("example.com", "x", True, lookup).targets == [Target("c", 3)]
    with pytest.raises(AddressError, match="no endpoints found"):
        discover("example.com", "x", False, lookup)
