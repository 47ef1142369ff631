"""Every test has a member of its own behind the proxy, of Quorate and of real etcd in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quorate.client import Client
from quorate.proxy.proxy import GrpcProxy
from quorate.transport.grpc import Channel

from proxy_support import BACKENDS, Backend, client_of, proxied, serving  # isort: skip


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    async with serving(str(request.param), tmp_path) as backend:
        yield backend


@pytest.fixture
async def proxy(backend: Backend) -> AsyncIterator[GrpcProxy]:
    async with proxied(backend.endpoint) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: GrpcProxy) -> AsyncIterator[Client]:
    """Through the proxy."""
    async with client_of(proxy) as client:
        yield client


@pytest.fixture
async def direct(backend: Backend) -> AsyncIterator[Client]:
    """Past the proxy."""
    async with Client(backend.endpoint) as client:
        yield client


@pytest.fixture
async def channel(proxy: GrpcProxy) -> AsyncIterator[Channel]:
    """To the proxy, for messages as they are."""
    channel = Channel("127.0.0.1", proxy.port)
    yield channel
    await channel.close()
