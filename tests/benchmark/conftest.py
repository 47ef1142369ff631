"""A member to load: Quorate's, and real etcd's beside it, for what must hold against both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from quorate.client.methods import METHODS
from quorate.testing.process import QUORATE, MemberProcess, real_binary
from quorate.transport.grpc import Channel

Ask = Callable[[Message], Any]


@pytest.fixture(scope="module", params=["quorate", pytest.param("etcd", marks=pytest.mark.real)])
def member(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemberProcess]:
    """One running member."""
    binary = real_binary("etcd")
    if request.param == "etcd" and binary is None:
        pytest.skip("real etcd is not installed")
    command = QUORATE if request.param == "quorate" else (str(binary),)
    place: Path = tmp_path_factory.mktemp("member") / "data"
    with MemberProcess(place, command=command) as running:
        yield running


@pytest.fixture
def ask(member: MemberProcess) -> Ask:
    """One call to the member."""

    def call(request: Message) -> Any:
        async def once() -> Any:
            method = METHODS[type(request)]
            channel = Channel("127.0.0.1", member.client_port)
            try:
                return method.decode(await channel.unary(method.path, request.SerializeToString(), timeout=10.0))
            finally:
                await channel.close()

        return asyncio.run(once())

    return call
