"""One member inside this process and a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from v3rpc_support import Caller

from quorate.embed import Config, Etcd
from quorate.testing.process import free_port
from quorate.transport.grpc import Channel


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    """A cluster of one, running, and calls to it."""
    client, peer = (free_port() for _ in range(2))
    urls = {"client": [f"http://127.0.0.1:{client}"], "peer": [f"http://127.0.0.1:{peer}"]}
    member = Etcd(
        Config(
            name="m",
            data_dir=str(tmp_path / "data"),
            listen_client_urls=urls["client"],
            advertise_client_urls=urls["client"],
            listen_peer_urls=urls["peer"],
            initial_advertise_peer_urls=urls["peer"],
            initial_cluster=f"m={urls['peer'][0]}",
        )
    )
    channel = Channel("127.0.0.1", client)
    await member.start()
    caller = Caller(member, channel, peer)
    try:
        yield caller
    finally:
        await channel.close()
        await caller.member.stop()  # a test may have put another in its place
