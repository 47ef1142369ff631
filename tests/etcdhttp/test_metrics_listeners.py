"""Listeners for who watches: https with client certificates as Kubernetes has it, and plain ones beside."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from quorate.embed import Etcd
from quorate.testing.certificates import Authority


def scrape(url: str, context: ssl.SSLContext | None = None) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10, context=context) as page:
        text: str = page.read().decode()
    return text


async def test_encrypted_metrics_want_the_certificate_that_clients_want_and_plain_ones_beside_do_not(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path / "authority")
    own, health = authority.issue("own", hosts=["127.0.0.1"]), authority.issue("healthcheck-client")
    settings = {"cert_file": str(own.cert), "key_file": str(own.key), "trusted_ca_file": str(authority.ca)}
    urls = ["https://127.0.0.1:0", "http://127.0.0.1:0"]
    async with Etcd(in_memory=True, listen_metrics_urls=urls, client_cert_auth=True, **settings) as member:
        safe, plain = member.config.listen_metrics_urls
        known = ssl.create_default_context(cafile=str(authority.ca))
        with pytest.raises((urllib.error.URLError, OSError)):
            await asyncio.to_thread(scrape, safe, known)
        known.load_cert_chain(health.cert, health.key)
        for url in (safe, member.client_urls[0]):
            assert "etcd_server_has_leader 1\n" in await asyncio.to_thread(scrape, url, known)
        assert "etcd_server_has_leader 1\n" in await asyncio.to_thread(scrape, plain)
