"""A connection inside one process behaves as a socket does for the protocols at its ends."""

import asyncio

import pytest
from grpc_support import PREFIX, Service, outcome, until

from quorate.transport import memory
from quorate.transport.grpc import Channel, GrpcServer, ServerLimits
from quorate.transport.mux import Listener, serve_inside


class Recorder(asyncio.Protocol):
    """What a protocol is told."""

    def __init__(self, stays: bool = False) -> None:
        self.told: list[object] = []
        self.data = bytearray()
        self.stays = stays
        self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, memory.MemoryTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.stays

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost" if exc is None else type(exc))

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False


def pair(stays: bool = False) -> tuple[Recorder, Recorder]:
    server = Recorder(stays)
    _, client = memory.connect(lambda: server, Recorder)
    return client, server


async def test_bytes_arrive_in_order_and_a_turn_later() -> None:
    client, server = pair()
    client.transport.write(b"one ")
    client.transport.write(b"two")
    assert not server.data
    await asyncio.sleep(0)
    assert server.data == b"one two"
    server.transport.write(b"answer")
    await until(lambda: client.data == b"answer")
    assert client.transport.get_extra_info("peername") == "in-process"


async def test_a_reader_that_pauses_makes_the_writer_pause() -> None:
    client, server = pair()
    client.transport.set_write_buffer_limits(high=1000, low=100)
    server.transport.pause_reading()
    client.transport.write(b"x" * 1000)
    assert not client.full
    client.transport.write(b"x")
    assert client.full and client.transport.get_write_buffer_size() == 1001
    await asyncio.sleep(0.01)
    assert not server.data
    server.transport.resume_reading()
    await until(lambda: not client.full)
    assert len(server.data) == 1001 and client.transport.get_write_buffer_size() == 0


async def test_a_large_write_comes_in_reads_of_bounded_size() -> None:
    client, server = pair()
    sizes: list[int] = []
    server.data_received = lambda data: sizes.append(len(data))  # type: ignore[method-assign]
    client.transport.write(b"x" * (2 * memory.READ_BYTES + 1))
    await until(lambda: sum(sizes) == 2 * memory.READ_BYTES + 1)
    assert sizes == [memory.READ_BYTES, memory.READ_BYTES, 1]


async def test_close_delivers_what_was_written_and_ends_both() -> None:
    client, server = pair()
    server.transport.pause_reading()
    client.transport.write(b"last words")
    client.transport.close()
    client.transport.write(b"too late")
    await asyncio.sleep(0.01)
    assert client.told == [] and client.transport.is_closing()
    server.transport.resume_reading()
    await until(lambda: bool(client.told and len(server.told) == 2))
    assert server.data == b"last words"
    assert client.told == ["lost"] and server.told == ["eof", "lost"]


async def test_abort_delivers_nothing_and_the_other_end_hears_a_reset() -> None:
    client, server = pair()
    client.transport.write(b"never")
    client.transport.abort()
    client.transport.abort()
    await until(lambda: bool(client.told and server.told))
    assert (client.told, server.told) == (["lost"], [ConnectionResetError])
    assert not server.data


async def test_half_a_connection_goes_on_when_its_reader_stays() -> None:
    client, server = pair(stays=True)
    client.transport.write_eof()
    await until(lambda: server.told == ["eof"])
    with pytest.raises(RuntimeError):
        client.transport.write(b"more")
    server.transport.write(b"answer")
    server.transport.close()
    await until(lambda: client.told == ["eof", "lost"])
    assert client.data == b"answer" and server.told == ["eof", "lost"]


async def test_a_protocol_that_fails_loses_its_connection() -> None:
    client, server = pair()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    server.data_received = lambda data: 1 / 0  # type: ignore[assignment,method-assign,return-value]
    client.transport.write(b"x")
    await until(lambda: bool(client.told and server.told))
    assert client.told == [ConnectionResetError] and isinstance(told[0], ZeroDivisionError)


def inside(limits: ServerLimits | None = None) -> tuple[Service, Listener, Channel]:
    service = Service()
    listener = serve_inside(GrpcServer(service.methods(), limits))

    async def dial(make):  # type: ignore[no-untyped-def]
        return memory.connect(listener.accept, make)

    return service, listener, Channel("in-process", 0, authority="in-process", dial=dial)


async def test_calls_of_every_kind_run_without_a_socket() -> None:
    service, listener, channel = inside()
    assert await channel.unary(PREFIX + "Echo", b"hello", timeout=5) == b"hello"
    assert service.contexts[0].peer == "in-process"
    chat = channel.stream(PREFIX + "Chat")
    chat.send(b"hi")
    assert await chat.receive() == b"you said hi"
    chat.send(b"bye")
    assert await chat.receive() is None
    assert len(await channel.unary(PREFIX + "Big", b"3000000", timeout=5)) == 3_000_000
    flood = channel.stream(PREFIX + "Flood")
    flood.send(b"200")
    flood.half_close()
    total = 0
    while (data := await flood.receive()) is not None:
        total += len(data)
    assert total == 2_000_000
    assert listener.connections == 1
    await channel.close()
    await until(lambda: listener.connections == 0)
    listener.close()


async def test_a_drained_listener_says_goodbye_inside_as_well() -> None:
    _, listener, channel = inside()
    await channel.unary(PREFIX + "Echo", b"x", timeout=5)
    await listener.drain(5)
    assert listener.connections == 0
    await channel.close()


@pytest.mark.parametrize("end", ["close", "drain"])
async def test_a_connection_that_is_made_after_the_listener_has_closed_is_dropped(end: str) -> None:
    """A loop accepts first and makes the connection a turn later: the listener may have closed in between."""
    service, listener, channel = inside()
    accepted = listener.accept()
    if end == "drain":
        await listener.drain(5)
    else:
        listener.close()
    _, client = memory.connect(lambda: accepted, Recorder)
    await until(lambda: bool(client.told))
    assert client.told == [ConnectionResetError] and listener.connections == 0
    code, _ = await outcome(channel.unary(PREFIX + "Echo", b"", timeout=5))
    assert code == 14 and not service.contexts
    await channel.close()


async def test_a_dial_of_ones_own_fails_like_any_other() -> None:
    async def refuse(make):  # type: ignore[no-untyped-def]
        raise ConnectionRefusedError(111, "Connection refused")

    channel = Channel("in-process", 0, dial=refuse)
    code, text = await outcome(channel.unary(PREFIX + "Echo", b"", timeout=5))
    assert (code, "dial in-process: connect: connection refused" in text) == (14, True), text
    await channel.close()
