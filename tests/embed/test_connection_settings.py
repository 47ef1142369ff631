"""What connections of clients are granted, and how listeners share ports, as the flags say."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from quorate.api.pb import health_pb2
from quorate.embed import Config, Etcd
from quorate.embed.binding import bind
from quorate.embed.config import UNLIMITED_STREAMS
from quorate.embed.grpc_limits import grpc_limits
from quorate.storage.backend import defrag
from quorate.transport.grpc import Channel
from quorate.transport.http2 import Connection
from quorate.transport.http2.events import PingReceived, SettingsReceived

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"


def limits(**settings: Any) -> tuple[Any, Any]:
    config = Config(**settings)
    return grpc_limits(config, config.server_config())


@pytest.mark.parametrize(("given", "granted"), [(UNLIMITED_STREAMS, 16_384), (0, 16_384), (7, 7), (100_000, 100_000)])
def test_the_number_of_streams_is_the_servers_own_until_one_is_set(given: int, granted: int) -> None:
    assert limits(max_concurrent_streams=given)[1].max_concurrent_streams == granted


def test_keepalive_is_as_set_and_zero_is_never() -> None:
    made = limits()[0]
    assert (made.min_ping_interval, made.keepalive_time, made.keepalive_timeout) == (5.0, 7200.0, 20.0)
    made = limits(grpc_keepalive_min_time=1.0, grpc_keepalive_interval=2.0, grpc_keepalive_timeout=3.0)[0]
    assert (made.min_ping_interval, made.keepalive_time, made.keepalive_timeout) == (1.0, 2.0, 3.0)
    assert limits(grpc_keepalive_interval=0.0)[0].keepalive_time == 0
    assert limits(grpc_keepalive_timeout=0.0)[0].keepalive_time == 0


class Peer:
    """A client that sees frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.machine = Connection(client=True)
        self.machine.start()
        self._reader, self._writer = reader, writer
        self.events: list[Any] = []

    async def until(self, kind: type) -> Any:
        """Read until there is such an event; it is taken away."""
        async with asyncio.timeout(10):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        self.events.remove(event)
                        return event
                self._writer.write(self.machine.output())
                data = await self._reader.read(65536)
                assert data, "closed"
                self.events += self.machine.receive(data)

    def close(self) -> None:
        self._writer.close()


async def peer_of(member: Etcd) -> Peer:
    host, _, port = member.endpoints[0].rpartition(":")
    return Peer(*await asyncio.open_connection(host, int(port)))


async def test_a_member_announces_its_streams_and_pings_who_is_silent() -> None:
    async with Etcd(in_memory=True, max_concurrent_streams=9, grpc_keepalive_interval=0.05) as member:
        peer = await peer_of(member)
        settings: SettingsReceived = await peer.until(SettingsReceived)
        assert peer.machine._max_streams == 9, settings
        await peer.until(PingReceived)
        peer.close()


def status_of(reply: bytes | None) -> int:
    assert reply is not None
    return health_pb2.HealthCheckResponse.FromString(reply).status


async def test_health_says_so_during_a_defragmentation_if_the_gate_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    monkeypatch.setattr(defrag, "BITE_ROWS", 1)
    monkeypatch.setattr(defrag, "ROWS_PER_SECOND", 0)
    for gate, during in ((True, not_serving), (False, serving)):
        async with Etcd(in_memory=True, feature_gates={"StopGRPCServiceOnDefrag": gate}) as member:
            channel = member.channel()

            async def status(channel: Channel = channel) -> int:
                return status_of(await channel.unary(CHECK, b"", timeout=5))

            watch = channel.stream(WATCH)
            watch.send(b"")
            told = [status_of(await watch.receive())]
            assert await status() == serving
            assert member.server is not None
            running = asyncio.ensure_future(member.server.defragmenter.defragment())
            await asyncio.sleep(0)
            assert member.server.defragmenter.is_running
            assert await status() == during
            await running
            assert await status() == serving
            if gate:
                async with asyncio.timeout(5):
                    told += [status_of(await watch.receive()), status_of(await watch.receive())]
            assert told == ([serving, not_serving, serving] if gate else [serving])
            await channel.close()


def test_a_port_is_shared_only_by_those_who_all_say_so() -> None:
    one = bind("http://127.0.0.1:0", reuse_port=True)
    port = one.getsockname()[1]
    two = bind(f"http://127.0.0.1:{port}", reuse_port=True)
    with pytest.raises(OSError, match="address already in use"):
        bind(f"http://127.0.0.1:{port}")
    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    one.close()
    two.close()


def test_short_timeouts_between_members_are_raised_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "quorate")
    made = Config(raft_read_timeout=1.0, raft_write_timeout=7.0).server_config()
    assert (made.raft_read_timeout, made.raft_write_timeout) == (5.0, 7.0)
    assert [line for line in caplog.messages if "raised" in line] == ["--raft-read-timeout is raised to its minimum"]


async def test_other_members_are_called_from_the_advertised_address(tmp_path: Path) -> None:
    """Loopback addresses are not taken by the rule, so it is the caller that is tested."""
    from quorate.transport.http1_client import HttpClient

    seen: asyncio.Queue[str] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.put_nowait(writer.get_extra_info("peername")[0])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for address, source in (("127.0.0.3", "127.0.0.3"), ("", "127.0.0.1")):
        client = HttpClient(connect_timeout=5, local_address=address)
        assert (await client.request("GET", f"http://127.0.0.1:{port}/", timeout=5)).status == 200
        assert await seen.get() == source
        await client.close()
    server.close()
