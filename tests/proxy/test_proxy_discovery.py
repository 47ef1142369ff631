"""Members that are found by DNS, at a server that says what a test wants, and believed by their certificates."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from quorate.client import Client
from quorate.proxy.addresses import AddressError
from quorate.proxy.config import ProxyConfig
from quorate.proxy.discovery import query, trusted
from quorate.proxy.proxy import GrpcProxy
from quorate.proxy.remotes import Target
from quorate.testing.certificates import Authority

from proxy_support import Backend, until  # isort: skip


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
    """SRV records by name, as the system's DNS has them: priority, weight, port, host."""
    found: dict[str, list[str]] = {}
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            asked, caller = server.recvfrom(4096)
            if asked == b"end":
                return
            question = dns.message.from_wire(asked)
            answer = dns.message.make_response(question)
            name = question.question[0].name.to_text().rstrip(".")
            if name in found:
                if found[name]:
                    answer.answer.append(dns.rrset.from_text(name + ".", 60, "IN", "SRV", *found[name]))
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            server.sendto(answer.to_wire(), caller)

    thread = threading.Thread(target=serve)
    thread.start()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], server.getsockname()[1], 2.0
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    yield found
    server.sendto(b"end", server.getsockname())
    thread.join()
    server.close()


def test_records_are_read_by_priority_and_none_are_no_error(records: dict[str, list[str]]) -> None:
    records["_s._tcp.example.com"] = ["2 5 1 c.example.com.", "1 10 2 b.example.com.", "1 20 3 a.example.com."]
    records["_empty._tcp.example.com"] = []
    assert query("_s._tcp.example.com") == [
        Target("a.example.com", 3, 1, 20),
        Target("b.example.com", 2, 1, 10),
        Target("c.example.com", 1, 2, 5),
    ]
    assert query("_empty._tcp.example.com") == query("_nothing._tcp.example.com") == []


def test_a_server_of_names_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], silent.getsockname()[1], 0.2
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        with pytest.raises(AddressError, match=r"error querying DNS SRV records for _s\._tcp\.example\.com"):
            query("_s._tcp.example.com")


async def test_a_grpc_proxy_finds_its_members(backend: Backend, records: dict[str, list[str]]) -> None:
    port = backend.endpoint.rpartition(":")[2]
    records["_etcd-client._tcp.example.com"] = [f"0 0 {port} localhost."]
    settings = {"listen_addr": "127.0.0.1:0", "discovery_srv": "example.com"}
    with pytest.raises(AddressError, match="no endpoints found"):
        await GrpcProxy(ProxyConfig(**settings)).start()  # type: ignore[arg-type]
    proxy = GrpcProxy(ProxyConfig(insecure_discovery=True, **settings))  # type: ignore[arg-type]
    await proxy.start()
    async with Client(f"127.0.0.1:{proxy.port}") as client:
        await client.put("k", "v")
    await proxy.stop()


async def test_only_members_with_a_certificate_for_the_domain_are_believed(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "a"), Authority(tmp_path / "b", "other")
    good = authority.issue("good", hosts=["example.com"])
    wrong_name, wrong_authority = (
        authority.issue("name", hosts=["example.org"]),
        other.issue("x", hosts=["example.com"]),
    )
    servers, targets = [], []
    for issued in (good, wrong_name, wrong_authority):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(issued.cert, issued.key)
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        servers.append(server)
        targets.append(Target("127.0.0.1", server.sockets[0].getsockname()[1]))
    assert await trusted(targets, authority.ca, "example.com") == targets[:1]
    with pytest.raises(AddressError, match=r"no endpoint of example\.com could be verified"):
        await trusted(targets[1:], authority.ca, "example.com")
    for server in servers:
        server.close()


async def test_a_grpc_proxy_follows_the_list_of_members(backend: Backend) -> None:
    proxy = GrpcProxy(
        ProxyConfig(
            endpoints=[backend.endpoint, "127.0.0.1:1"],
            listen_addr="127.0.0.1:0",
            endpoints_auto_sync_interval=0.05,
        )
    )
    await proxy.start()
    await until(lambda: proxy.client.endpoints == [f"http://{backend.endpoint}"])
    await proxy.stop()
