"""The scissors: what a cut way holds back, and that it arrives later."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from quorate.testing.process import free_port
from quorate.testing.proxy import Network

SHORT = 0.2


class Echo:
    """Sends back what it gets, behind a proxy; `got` tells what came through."""

    def __init__(self) -> None:
        self.got = b""
        self.port, self.own_port = free_port(), free_port()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            self.got += data
            writer.write(data)
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    made = Echo()
    server = await asyncio.start_server(made.serve, "127.0.0.1", made.own_port)
    yield made
    server.close()


@pytest.fixture
async def network(echo: Echo) -> AsyncIterator[Network]:
    """This process plays the member a; b is the echo."""
    made = Network(lambda: {"a": os.getpid()})
    await made.listen("b", echo.port, echo.own_port)
    yield made
    await made.close()


async def read(reader: asyncio.StreamReader, count: int, seconds: float = 5.0) -> bytes:
    """What comes within the time, or nothing."""
    try:
        return await asyncio.wait_for(reader.readexactly(count), seconds)
    except TimeoutError:
        return b""


async def test_a_cut_way_holds_bytes_until_it_is_healed(network: Network, echo: Echo) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"1")
    assert await read(reader, 1) == b"1"
    await network.cut([("a", "b")])
    writer.write(b"2")
    assert await read(reader, 1, SHORT) == b""
    assert echo.got == b"1"
    await network.heal()
    assert await read(reader, 1) == b"2"
    writer.close()


async def test_the_way_back_can_be_cut_alone(network: Network, echo: Echo) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"1")
    assert await read(reader, 1) == b"1"
    await network.cut([("b", "a")])
    writer.write(b"2")
    assert await read(reader, 1, SHORT) == b""
    assert echo.got == b"12"
    await network.heal()
    assert await read(reader, 1) == b"2"
    writer.close()


async def test_a_cut_between_others_is_not_felt(network: Network, echo: Echo) -> None:
    await network.cut([("c", "b"), ("b", "c")])
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"1")
    assert await read(reader, 1) == b"1"
    writer.close()


async def test_a_new_connection_waits_and_then_stands(network: Network, echo: Echo) -> None:
    await network.cut([("a", "b")])
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"1")
    assert await read(reader, 1, SHORT) == b""
    await network.heal()
    assert await read(reader, 1) == b"1"
    writer.close()


async def test_the_end_of_a_connection_passes(network: Network, echo: Echo) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5.0) == b""
    writer.close()
