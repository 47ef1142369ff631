"""A client of either kind, over either wire, of either server; keys and leases are gone when a test begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import product

import pytest

from quorate import embed
from quorate.client import Client, Tls
from quorate.testing.certificates import Authority
from quorate.testing.process import QUORATE, MemberProcess, free_port, real_binary

from client_support import INSIDE, KINDS, SERVERS, WIRES, Server  # isort: skip

PLACES = [pytest.param(place, id="-".join(place)) for place in [*product(SERVERS, WIRES), INSIDE]]
MEMORY = {"in_memory": True, "listen": False, "bcrypt_cost": 4}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def serving(place: tuple[str, str], authority: Authority, factory: pytest.TempPathFactory) -> Iterator[Server]:
    name, wire = place
    if place == INSIDE:
        with embed.start(**MEMORY) as running:
            yield Server(name, wire, running=running)
        return
    binary = real_binary("etcd")
    if name == "etcd" and binary is None:
        pytest.skip("no real etcd here")
    command = QUORATE if name == "quorate" else (str(binary),)
    flags, tls, scheme = ["--unsafe-no-fsync", "--bcrypt-cost=4"], None, "http"
    if wire == "tls":
        own = authority.issue("server", hosts=["127.0.0.1"])
        flags += [f"--cert-file={own.cert}", f"--key-file={own.key}"]
        tls, scheme = Tls(ca=authority.ca), "https"
    folder, port = factory.mktemp("server"), free_port()
    if wire == "unix":  # etcd takes no path, and makes the socket where it runs
        command = ("env", "-C", str(folder), *command)
        flags += [f"--listen-client-urls=http://127.0.0.1:{port},unix://localhost:{port}"]
    with MemberProcess(folder / "data", command=command, flags=flags, client_scheme=scheme, client_port=port) as member:
        endpoint = f"unix://{folder}/localhost:{port}" if wire == "unix" else member.endpoint
        yield Server(name, wire, endpoint, tls, member)


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
