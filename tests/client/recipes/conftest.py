"""One member a module, Quorate's and real etcd's; a client and names of its own for each test; stock etcdctl beside."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from client_kit import PATIENCE, Ctl, Etcdctl

from quorate.client import Client
from quorate.testing.process import QUORATE, MemberProcess, real_binary

_numbers = itertools.count()


@pytest.fixture(scope="module", params=["quorate", pytest.param("etcd", marks=pytest.mark.real)])
def member(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemberProcess]:
    """Runs for all tests of a module."""
    command = QUORATE
    if request.param == "etcd":
        binary = real_binary("etcd")
        if binary is None:
            pytest.skip("no real etcd here")
        command = (str(binary),)
    data = tmp_path_factory.mktemp("member") / "m0.data"
    with MemberProcess(data, command=command, flags=("--unsafe-no-fsync",)) as running:
        yield running


@pytest.fixture
async def client(member: MemberProcess) -> AsyncIterator[Client]:
    async with Client(member.endpoint, timeout=PATIENCE) as made:
        yield made


@pytest.fixture
async def other(member: MemberProcess) -> AsyncIterator[Client]:
    """A second program's."""
    async with Client(member.endpoint, timeout=PATIENCE) as made:
        yield made


@pytest.fixture
def prefix() -> bytes:
    """Nobody else's."""
    return b"test-%d" % next(_numbers)


@pytest.fixture
def etcdctl(member: MemberProcess) -> Etcdctl:
    """A function that runs etcdctl against the member."""
    binary = real_binary("etcdctl")
    if binary is None:
        pytest.skip("no real etcdctl here")
    path: Path = binary

    @asynccontextmanager
    async def run(*args: str) -> AsyncIterator[Ctl]:
        env = {**os.environ, "ETCDCTL_ENDPOINTS": member.endpoint}
        pipe = asyncio.subprocess.PIPE
        running = Ctl(await asyncio.create_subprocess_exec(str(path), *args, stdin=pipe, stdout=pipe, env=env))
        try:
            yield running
        finally:
            await running.stop()

    return run
