"""A client of either kind, over either wire, of either server; keys and leases are gone when a test begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import product

import pytest

from quorate.client import Client, Tls
from quorate.testing.certificates import Authority
from quorate.testing.process import QUORATE, MemberProcess, real_binary

from client_support import KINDS, SERVERS, WIRES, Server  # isort: skip

PLACES = [pytest.param(place, id="-".join(place)) for place in product(SERVERS, WIRES)]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def serving(place: tuple[str, str], authority: Authority, factory: pytest.TempPathFactory) -> Iterator[Server]:
    name, wire = place
    binary = real_binary("etcd")
    if name == "etcd" and binary is None:
        pytest.skip("no real etcd here")
    command = QUORATE if name == "quorate" else (str(binary),)
    flags, tls, scheme = ["--unsafe-no-fsync", "--bcrypt-cost=4"], None, "http"
    if wire == "tls":
        own = authority.issue("server", hosts=["127.0.0.1"])
        flags += [f"--cert-file={own.cert}", f"--key-file={own.key}"]
        tls, scheme = Tls(ca=authority.ca), "https"
    folder = factory.mktemp("server") / "data"
    with MemberProcess(folder, command=command, flags=flags, client_scheme=scheme) as member:
        yield Server(name, wire, member, tls)


@pytest.fixture(scope="session", params=PLACES)
def server(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(request.param, authority, tmp_path_factory) as server:
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(server: Server, kind: str) -> AsyncIterator[Client]:
    async with server.connect(kind) as client:
        for lease in await client.leases():
            await client.revoke(lease)
        await client.delete("", prefix=True)
        yield client
