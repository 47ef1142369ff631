"""A new cluster finds its members: by keys in another etcd, by a v2 discovery service, by DNS."""

from __future__ import annotations

import asyncio
import http.server
import json
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rrset
import pytest
from embed_support import channel_to, members

from quorate.client import Client, Tls
from quorate.embed import Config, Etcd
from quorate.embed.discovery import DiscoveryError, discover, registry, srv, v2
from quorate.membership import cluster_id, member_id
from quorate.testing.certificates import Authority
from quorate.testing.process import MemberProcess, free_port, real_binary

TOKEN = "6c007a14875d53d9bf0ef5a6fc0257c817f0fb83"


def settings(path: Path, name: str, **fields: Any) -> Config:
    peer, client = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    return Config(
        name=name,
        data_dir=str(path / name),
        listen_peer_urls=[peer],
        initial_advertise_peer_urls=[peer],
        listen_client_urls=[client],
        advertise_client_urls=[client],
        unsafe_no_fsync=True,
        **fields,
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def names_seen_by(each: Etcd) -> set[str]:
    channel = channel_to(each.endpoints[0])
    try:
        return {member.name for member in await members(channel)}
    finally:
        await channel.close()


@contextmanager
def etcd(path: Path, *flags: str) -> Iterator[MemberProcess]:
    command = real_binary("etcd")
    if command is None:
        pytest.skip("no real etcd")
    with MemberProcess(path / "registry", command=(str(command),), name="registry", flags=flags) as process:
        yield process


# Endpoints and a token.


def by_v3(path: Path, name: str, endpoint: str) -> Config:
    return settings(path, name, discovery_endpoints=[f"http://{endpoint}"], discovery_token=TOKEN)


@pytest.mark.real
async def test_members_find_each_other_by_the_keys_of_an_etcd(tmp_path: Path) -> None:
    with etcd(tmp_path) as process:
        async with Client(process.endpoint) as client:
            place = f"/_etcd/registry/{TOKEN}"
            await client.put(f"{place}/_config/size", "3")
            three = [Etcd(by_v3(tmp_path, f"m{number}", process.endpoint)) for number in range(3)]
            starts = [asyncio.ensure_future(member.start()) for member in three]
            try:
                await asyncio.gather(*starts)
                for member in three:
                    assert await names_seen_by(member) == {"m0", "m1", "m2"}
                found = await client.get(f"{place}/members/", prefix=True)
                entries = {kv.key.decode().rpartition("/")[2]: kv.value.decode() for kv in found.kvs}
                urls = {member.config.name: member.peer_urls for member in three}
                assert entries == {f"{member_id(at, TOKEN):x}": f"{name}={at[0]}" for name, at in urls.items()}
                assert {member.server.cluster_id for member in three if member.server} == {
                    cluster_id(member_id(at, TOKEN) for at in urls.values())
                }
                late = Etcd(by_v3(tmp_path, "late", process.endpoint))
                with pytest.raises(DiscoveryError, match=r"^discovery: cluster is full$"):
                    await late.start()
                assert not late.is_running
                await three[0].stop()
                await client.delete(place, prefix=True)
                await three[0].start()  # who has data asks nobody
            finally:
                await asyncio.gather(*(member.stop() for member in three))


@pytest.mark.real
@pytest.mark.parametrize(("size", "words"), [(None, "size key not found"), ("x", "size key is bad"), ("0", "is bad")])
async def test_a_registry_without_a_size_is_refused(tmp_path: Path, size: str | None, words: str) -> None:
    with etcd(tmp_path) as process:
        async with Client(process.endpoint) as client:
            if size is not None:
                await client.put(f"/_etcd/registry/{TOKEN}/_config/size", size)
        with pytest.raises(DiscoveryError, match=f"^discovery: .*{words}$"):
            await discover(by_v3(tmp_path, "m", process.endpoint))


@pytest.mark.real
async def test_a_registry_that_is_away_is_asked_again_as_the_user_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "FIRST_REST", 0.05)
    with etcd(tmp_path) as process:
        async with Client(process.endpoint) as client:
            await client.put(f"/_etcd/registry/{TOKEN}/_config/size", "1")
            await client.auth.user_add("root", "secret")
            await client.auth.user_grant_role("root", "root")
            await client.auth.enable()
        process.stop()
        config = by_v3(tmp_path, "m", process.endpoint)
        config.discovery_user = "root:secret"
        config.discovery_request_timeout = 0.5
        asked = asyncio.ensure_future(discover(config))
        await asyncio.sleep(0.2)
        assert not asked.done()
        await asyncio.to_thread(process.start)
        async with asyncio.timeout(20):
            found = await asked
        assert found.initial_cluster == {"m": config.initial_advertise_peer_urls}
        assert found.token == TOKEN


# An URL.


class FakeService:
    """A v2 discovery service for one token; as a proxy it answers for every host."""

    def __init__(self, size: str | None) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.size = size
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if not self.path.endswith("/_config/size"):
                    nodes = [{"key": "/t/_config", "createdIndex": 1}, *outer.nodes]
                    self.answer(200, {"node": {"nodes": nodes}})
                elif outer.size is None:
                    self.answer(404, {"errorCode": 100, "message": "Key not found"})
                else:
                    self.answer(200, {"node": {"value": outer.size}})

            def do_PUT(self) -> None:
                outer.asked.append(self.path)
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                key = "/t/" + self.path.partition("?")[0].rpartition("/")[2]
                value = urllib.request.unquote(form.partition("value=")[2].replace("+", " "))
                if any(node["key"] == key for node in outer.nodes):
                    self.answer(412, {"errorCode": 105, "message": "Key already exists"})
                else:
                    outer.nodes.insert(0, {"key": key, "value": value, "createdIndex": 10 + len(outer.nodes)})
                    self.answer(201, {"node": outer.nodes[0]})

            def answer(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> FakeService:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v2, "LOOK_INTERVAL", 0.02)
    monkeypatch.setattr(registry, "FIRST_REST", 0.02)


@pytest.mark.usefixtures("quick")
async def test_the_first_to_come_to_a_service_are_the_cluster_and_the_others_are_refused(tmp_path: Path) -> None:
    with FakeService("2") as service:
        url = f"http://{service.address}/{TOKEN}"
        one, two, three = (settings(tmp_path, name, discovery=[url]) for name in ("one", "two", "three"))
        first = asyncio.ensure_future(discover(one))
        await until(lambda: bool(service.nodes))
        second = await discover(two)
        assert await first == second
        assert second.initial_cluster == {each.name: each.initial_advertise_peer_urls for each in (one, two)}
        assert second.token == url
        with pytest.raises(DiscoveryError, match=r"^discovery: cluster is full$"):
            await discover(three)
        with pytest.raises(DiscoveryError, match=r"^discovery: found duplicate id$"):
            await discover(one)


@pytest.mark.usefixtures("quick")
async def test_a_service_without_a_good_size_is_refused(tmp_path: Path) -> None:
    for size, words in ((None, "size key not found"), ("many", "size key is bad")):
        with FakeService(size) as service, pytest.raises(DiscoveryError, match=f"^discovery: {words}$"):
            await discover(settings(tmp_path, "m", discovery=[f"http://{service.address}/t"]))


@pytest.mark.usefixtures("quick")
async def test_a_service_is_reached_by_a_proxy(tmp_path: Path) -> None:
    with FakeService("1") as proxy:
        url = "http://discovery.invalid/t"
        for given in (f"http://{proxy.address}", proxy.address):
            proxy.nodes.clear()
            config = settings(tmp_path, "m", discovery=[url], discovery_proxy=given)
            assert (await discover(config)).initial_cluster == {"m": config.initial_advertise_peer_urls}
        assert all(asked.startswith(url) for asked in proxy.asked)


@pytest.mark.usefixtures("quick")
async def test_a_service_that_is_away_is_asked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = settings(tmp_path, "m", discovery=[f"http://127.0.0.1:{free_port()}/t"])
    asked = asyncio.ensure_future(discover(config))
    await until(lambda: sum("failed to ask the discovery service" in line for line in caplog.messages) > 2)
    asked.cancel()


@pytest.mark.real
async def test_members_of_both_kinds_find_each_other_at_a_v2_service_that_is_an_etcd(tmp_path: Path) -> None:
    with etcd(tmp_path, "--enable-v2=true") as service:
        keys = f"http://{service.endpoint}/v2/keys/discovery/{TOKEN}"
        request = urllib.request.Request(f"{keys}/_config/size", data=b"value=3", method="PUT")
        with await asyncio.to_thread(urllib.request.urlopen, request, timeout=10) as reply:
            assert reply.status == 201
        command = service.command
        real = MemberProcess(tmp_path / "real", command=command, name="real")
        real.flags = ["--initial-cluster=", f"--discovery={keys}", "--discovery-fallback=exit"]
        ours = [Etcd(settings(tmp_path, f"m{number}", discovery=[keys], hold_version="3.5")) for number in range(2)]
        real.spawn()
        starts = [asyncio.ensure_future(member.start()) for member in ours]
        try:
            async with asyncio.timeout(40):
                await asyncio.gather(*starts)
            await asyncio.to_thread(real.wait_ready)
            for member in ours:
                assert await names_seen_by(member) == {"real", "m0", "m1"}
        finally:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await asyncio.gather(*(member.stop() for member in ours))
            await asyncio.to_thread(real.stop)


# DNS.


class NameServer(asyncio.DatagramProtocol):
    """Answers questions for SRV records by a table; nobody else has any."""

    def __init__(self, records: dict[str, list[str]]) -> None:
        self._records = {f"{name}.": found for name, found in records.items()}
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text()
        self.asked.append(name)
        reply = dns.message.make_response(query)
        if name in self._records:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *self._records[name]))
        else:
            reply.set_rcode(3)
        self._transport.sendto(reply.to_wire(), addr)


async def answering(records: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> NameServer:
    """A name server of one's own, asked from now on."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: NameServer(records), local_addr=("127.0.0.1", 0))

    def resolver() -> dns.asyncresolver.Resolver:
        made = dns.asyncresolver.Resolver(configure=False)
        made.nameservers, made.port = ["127.0.0.1"], transport.get_extra_info("sockname")[1]
        return made

    monkeypatch.setattr(srv, "system_resolver", resolver)
    return server


def port_of(config: Config) -> int:
    return int(config.listen_peer_urls[0].rpartition(":")[2])


@pytest.mark.parametrize("suffix", ["", "blue"])
async def test_records_of_a_domain_make_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    configs = [
        settings(tmp_path, f"m{number}", discovery_srv="example.test", discovery_srv_name=suffix) for number in range(3)
    ]
    service = "_etcd-server" + (f"-{suffix}" if suffix else "")
    records = [f"0 0 {port_of(config)} localhost." for config in configs]
    server = await answering({f"{service}._tcp.example.test": records}, monkeypatch)
    three = [Etcd(config) for config in configs]
    try:
        await asyncio.gather(*(member.start() for member in three))
        seen = [await names_seen_by(member) for member in three]
        assert seen[0] == {"m0", "m1", "m2"}
        assert {name.partition(".")[0] for name in server.asked} == {
            service,
            service.replace("_etcd-server", "_etcd-server-ssl"),
        }
    finally:
        await asyncio.gather(*(member.stop() for member in three))


async def test_a_domain_that_does_not_name_this_member_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path, "m", discovery_srv="example.test")
    await answering({"_etcd-server._tcp.example.test": ["0 0 1 localhost."]}, monkeypatch)
    with pytest.raises(DiscoveryError, match=r'^cannot find local etcd member "m" in SRV records$'):
        await discover(config)
    await answering({"_etcd-server-ssl._tcp.example.test": [f"0 0 {port_of(config)} localhost."]}, monkeypatch)
    with pytest.raises(DiscoveryError, match="has scheme mismatch with expected peer http://127"):
        await discover(config)


async def test_a_domain_without_records_is_refused_by_the_names_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await answering({}, monkeypatch)
    with pytest.raises(DiscoveryError) as caught:
        await discover(settings(tmp_path, "m", discovery_srv="example.test"))
    assert re.match(
        r"error setting up initial cluster: error querying DNS SRV records for _etcd-server-ssl lookup "
        r"_etcd-server-ssl\._tcp\.example\.test: .*; error querying DNS SRV records for _etcd-server lookup ",
        str(caught.value),
    )


@pytest.mark.real
async def test_a_registry_is_reached_encrypted_with_a_certificate_to_show(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    server, caller = ca.issue("server", hosts=["127.0.0.1"]), ca.issue("caller")
    flags = [f"--cert-file={server.cert}", f"--key-file={server.key}", f"--trusted-ca-file={ca.ca}"]
    command = real_binary("etcd")
    if command is None:
        pytest.skip("no real etcd")
    process = MemberProcess(tmp_path / "r", command=(str(command),), flags=[*flags, "--client-cert-auth"])
    process.client_scheme = "https"
    with process:
        tls = Tls(ca=ca.ca, cert=caller.cert, key=caller.key)
        async with Client(f"https://{process.endpoint}", tls=tls) as client:
            await client.put(f"/_etcd/registry/{TOKEN}/_config/size", "1")
        config = by_v3(tmp_path, "m", process.endpoint)
        config.discovery_endpoints = [process.endpoint]
        config.discovery_insecure_transport = False
        config.discovery_cacert, config.discovery_cert, config.discovery_key = map(
            str, (ca.ca, caller.cert, caller.key)
        )
        async with asyncio.timeout(20):
            assert (await discover(config)).initial_cluster == {"m": config.initial_advertise_peer_urls}
