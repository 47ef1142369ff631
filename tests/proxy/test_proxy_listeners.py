"""TLS on both sides of the gRPC proxy, and what it answers over HTTP."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from quorate.client import Client, EtcdError, Tls
from quorate.proxy.config import ProxyConfig, ProxyConfigError
from quorate.proxy.proxy import GrpcProxy
from quorate.testing.certificates import Authority
from quorate.testing.process import MemberProcess

from proxy_support import Backend, at, client_of, proxied, serving  # isort: skip


async def fetch(url: str, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        try:
            with urlopen(url, context=context) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def test_health_is_that_of_the_cluster(backend: Backend) -> None:
    async with proxied(backend.endpoint, metrics_addr="http://127.0.0.1:0") as proxy:
        for port in (proxy.port, proxy.metrics_port):
            for path in ("/health", "/proxy/health"):
                status, body = await fetch(f"http://127.0.0.1:{port}{path}")
                assert (status, json.loads(body)) == (200, {"health": "true", "reason": ""})
            assert (await fetch(f"http://127.0.0.1:{port}/version"))[0] == 404
    async with proxied("127.0.0.1:1") as proxy:
        status, body = await fetch(f"http://{at(proxy)}/health")
        assert status == 503 and json.loads(body)["health"] == "false"
        assert json.loads(body)["reason"].startswith("GET ERROR:")


async def test_metrics_are_those_of_a_member_and_the_proxy_has_its_own(backend: Backend) -> None:
    async with proxied(backend.endpoint) as proxy, client_of(proxy) as client:
        await client.put("k", "v")
        for _ in range(3):
            await client.get("k", serializable=True)
        async with client.watch("k"), client.watch("k"):
            text = (await fetch(f"http://{at(proxy)}/metrics"))[1]
            assert "etcd_server_has_leader 1" in text
            own = (await fetch(f"http://{at(proxy)}/proxy/metrics"))[1]
            for line in (
                "etcd_grpc_proxy_cache_hits_total 2",
                "etcd_grpc_proxy_cache_misses_total 1",
                "etcd_grpc_proxy_cache_keys_total 1",
                "etcd_grpc_proxy_watchers_coalescing_total 2",
                "etcd_grpc_proxy_upstream_watches 1",
            ):
                assert line in own.splitlines()


async def test_both_sides_are_encrypted_and_each_end_shows_who_it_is(tmp_path: Path) -> None:
    members, clients = Authority(tmp_path / "members"), Authority(tmp_path / "clients", "other-ca")
    server = members.issue("server", hosts=["127.0.0.1"])
    caller = members.issue("caller", cn="", hosts=["127.0.0.1"])
    front = clients.issue("front", hosts=["127.0.0.1"])
    user = clients.issue("user", hosts=["127.0.0.1"])
    flags = [f"--cert-file={server.cert}", f"--key-file={server.key}", f"--trusted-ca-file={members.ca}"]
    member = MemberProcess(tmp_path / "data", flags=[*flags, "--client-cert-auth"], client_scheme="https")
    await asyncio.to_thread(member.start)
    upstream = {"cacert": members.ca, "cert": caller.cert, "key": caller.key}
    downstream = {"cert_file": front.cert, "key_file": front.key, "trusted_ca_file": clients.ca}
    try:
        async with proxied(member.endpoint, **upstream, **downstream) as proxy:
            tls = Tls(ca=clients.ca, cert=user.cert, key=user.key)
            async with Client(at(proxy), tls=tls) as client, client.watch("k") as watch:
                await client.put("k", "v")
                assert (await watch.next(5.0)).value == b"v"  # type: ignore[union-attr]
            context = ssl.create_default_context(cafile=clients.ca)
            context.load_cert_chain(user.cert, user.key)
            assert (await fetch(f"https://{at(proxy)}/health", context))[0] == 200
            assert (await fetch(f"https://{at(proxy)}/metrics", context))[0] == 200
            async with Client(at(proxy), tls=Tls(ca=clients.ca), timeout=1.0) as stranger:
                with pytest.raises(EtcdError):
                    await stranger.get("k")
        async with proxied(member.endpoint, cacert=members.ca) as proxy, client_of(proxy, timeout=1.0) as client:
            with pytest.raises(EtcdError):
                await client.get("k")  # the member asks for a certificate
    finally:
        await asyncio.to_thread(member.kill)
    with pytest.raises(ProxyConfigError, match=r"cert has non empty Common Name \(server\)"):
        await GrpcProxy(ProxyConfig(cacert=members.ca, cert=server.cert, key=server.key)).start()


async def test_a_proxy_makes_its_own_certificate(tmp_path: Path) -> None:
    own = tmp_path / "own"
    async with (
        serving("quorate", tmp_path) as backend,
        proxied(backend.endpoint, auto_tls=True, data_dir=str(own)) as proxy,
        Client(at(proxy), tls=Tls(insecure_skip_verify=True)) as client,
    ):
        assert (own / "fixtures" / "proxy" / "cert.pem").exists()
        await client.put("k", "v")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"resolver_prefix": "a"}, "invalid resolver-ttl 0"),
        ({"resolver_ttl": 1}, 'invalid resolver-prefix ""'),
        ({"self_signed_cert_validity": 0}, "selfSignedCertValidity is invalid"),
        ({"listen_addr": "x"}, "invalid listen-addr"),
        ({"metrics_addr": "ftp://127.0.0.1:1"}, "scheme must be http or https"),
        ({"metrics_addr": "https://127.0.0.1:1"}, "there is no certificate"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ProxyConfigError, match=words):
        GrpcProxy(ProxyConfig(**settings))  # type: ignore[arg-type]
