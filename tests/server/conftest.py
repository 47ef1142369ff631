"""A real server on a real directory, without listeners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from server_support import StartServer

from quorate.server import Server, ServerConfig

PEER = "http://127.0.0.1:2380"


@pytest.fixture
async def start_server(tmp_path: Path) -> AsyncIterator[StartServer]:
    """Start a server on this test's data directory; keyword arguments are settings. Stopped at the end."""
    running: list[Server] = []

    async def start(**settings: Any) -> Server:
        for old in running:
            await old.stop()
        running.clear()
        config = ServerConfig(
            name="m",
            data_dir=tmp_path / "data",
            initial_cluster={"m": [PEER]},
            advertise_client_urls=[],
            peer_urls=[PEER],
            **settings,
        )
        failures: list[BaseException] = []
        server = await Server.open(config, asyncio.get_running_loop(), failures.append)
        server.failures = failures  # type: ignore[attr-defined]
        running.append(server)
        server.start()
        await asyncio.wait_for(server.ready(), 10)
        return server

    yield start
    for server in running:
        await server.stop()
