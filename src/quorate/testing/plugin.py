"""Fixtures for pytest: an etcd for every test. pytest finds them by itself where Quorate is installed.

    def test_greeting(etcd_client):
        etcd_client.put("greeting", "hello")

- `etcd`               an empty server: `endpoints`, `client_urls`, `reset()`; see `shared`
- `etcd_client`        a client of it, `etcd_async_client` one for asyncio
- `etcd_cluster`       `etcd_cluster(3)` makes a cluster whose members can be killed, paused and cut off; see `faulty`

The server of `etcd` is started when the first test asks for it. pytest is imported here only, and everything else when
it is used: who does not ask for an etcd pays nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from quorate.testing.environment import ENDPOINTS, MAY_WIPE

if TYPE_CHECKING:
    from quorate.client import Client, sync
    from quorate.testing.faulty import FaultyCluster
    from quorate.testing.shared import SharedServer

CLUSTERS = pytest.StashKey["list[FaultyCluster]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("etcd", "etcd for tests (Quorate)")
    group.addoption(
        "--etcd-endpoints",
        default=os.environ.get(ENDPOINTS, ""),
        metavar="HOST:PORT,...",
        help=f"use this server, instead of one in this process; or ${ENDPOINTS}",
    )
    group.addoption(
        "--etcd-may-wipe",
        action="store_true",
        default=os.environ.get(MAY_WIPE, "") not in ("", "0"),
        help=f"tests may delete everything that this server holds; or ${MAY_WIPE}=1",
    )


@pytest.fixture(scope="session")
def _etcd_server(request: pytest.FixtureRequest) -> Iterator[SharedServer]:
    from quorate.testing.shared import ExistingServer, MemberInside

    endpoints = request.config.getoption("--etcd-endpoints")
    server: SharedServer
    if endpoints:
        try:
            server = ExistingServer(endpoints, request.config.getoption("--etcd-may-wipe"))
        except (PermissionError, ValueError) as error:
            pytest.fail(f"--etcd-endpoints: {error}; --etcd-may-wipe allows tests to empty it", pytrace=False)
    else:
        server = MemberInside()
    yield server
    server.close()


@pytest.fixture
def etcd(_etcd_server: SharedServer) -> Iterator[SharedServer]:
    """An empty etcd: `endpoints` (host:port), `client_urls`, `reset()`. Its revision goes on from test to test."""
    with _etcd_server.turn():
        yield _etcd_server


@pytest.fixture
def etcd_client(etcd: SharedServer) -> Iterator[sync.Client]:
    """A client of `etcd`, of `quorate.client.sync`."""
    from quorate.client import sync

    with sync.connect(etcd.endpoints) as client:
        yield client


@pytest.fixture
def etcd_async_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of `etcd`, of `quorate.client`, for tests that pytest-asyncio or anyio runs."""
    if "anyio_backend" in request.fixturenames:
        # Its plugin runs this other fixture on the loop of the test.
        yield request.getfixturevalue("_etcd_anyio_client")
        return
    # The loop of pytest-asyncio is asked for first, so that it is closed last.
    for name in request.fixturenames:
        if name.endswith("_scoped_runner"):
            request.getfixturevalue(name)
    from quorate.client import Client

    client = Client(request.getfixturevalue("etcd").endpoints)
    yield client
    loop: asyncio.AbstractEventLoop | None = client._wire._loop  # None if it was never used
    if loop is not None and not loop.is_closed():
        loop.run_until_complete(client.close())


@pytest.fixture
async def _etcd_anyio_client(etcd: SharedServer, anyio_backend: Any) -> AsyncIterator[Client]:
    from quorate.client import Client

    async with Client(etcd.endpoints) as client:
        yield client


@pytest.fixture
def etcd_cluster(request: pytest.FixtureRequest) -> Iterator[Callable[..., FaultyCluster]]:
    """`etcd_cluster(3)`: a running cluster of processes. `flags=[...]` goes to each member. Ended with the test."""
    from quorate.testing.faulty import FaultyCluster

    made = request.node.stash.setdefault(CLUSTERS, [])

    def make(size: int = 3, **more: Any) -> FaultyCluster:
        cluster = FaultyCluster(size, **more)
        made.append(cluster)
        cluster.start()
        return cluster

    yield make
    while made:
        made.pop().close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows what its members have logged."""
    report = yield
    if report.failed:
        for cluster in item.stash.get(CLUSTERS, []):
            report.sections.append(("Log of etcd_cluster", cluster.log()))
    return report
