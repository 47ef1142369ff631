"""A client of either kind, over either wire, of either server; keys and leases are gone when a test begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from quorate import embed
from quorate.client import Client
from quorate.testing.certificates import Authority

from client_support import KINDS, MEMORY, PLACES, Server, serving  # isort: skip


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session", params=PLACES)
def server(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(request.param, authority, tmp_path_factory) as server:
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
async def housed(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """The member on the loop of the test, if the test is to have one."""
    server = request.getfixturevalue("server") if "server" in request.fixturenames else None
    if not isinstance(server, Server) or server.wire != "inside" or request.getfixturevalue("kind") != "async":
        yield
        return
    async with embed.Etcd(**MEMORY) as server.etcd:
        yield


@pytest.fixture
async def client(server: Server, kind: str) -> AsyncIterator[Client]:
    async with server.connect(kind) as client:
        for lease in await client.leases():
            await client.revoke(lease)
        await client.delete("", prefix=True)
        yield client
