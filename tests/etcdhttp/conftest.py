"""One member inside this process, and an HTTP client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_support import Web

from quorate.embed import Config, Etcd
from quorate.testing.process import free_port


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    """A cluster of one, running, and requests to it."""
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    member = Etcd(
        Config(
            name="m",
            data_dir=str(tmp_path / "data"),
            listen_client_urls=[client],
            advertise_client_urls=[client],
            listen_peer_urls=[peer],
            initial_advertise_peer_urls=[peer],
            initial_cluster=f"m={peer}",
        )
    )
    await member.start()
    web = Web(member, int(client.rpartition(":")[2]))
    try:
        yield web
    finally:
        web.close()
        await member.stop()
