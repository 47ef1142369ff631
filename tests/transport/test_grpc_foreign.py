"""Our server against grpcio's client, and our client against grpcio's server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_support import PREFIX, Serving, channel_to, outcome, serving, until

from quorate.transport.grpc import Status

BIG = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextlib.asynccontextmanager
async def grpcio_client(**options: Any) -> AsyncIterator[tuple[Serving, grpc.aio.Channel]]:
    """Our server, grpcio's channel."""
    async with (
        serving() as (service, listener),
        grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}", options=BIG, **options) as channel,
    ):
        yield (service, listener), channel


async def failure(call: Any) -> tuple[int, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().value[0], caught.value.details() or ""


async def test_grpcio_makes_all_kinds_of_calls_to_us() -> None:
    async with grpcio_client() as (_, channel):
        assert await channel.unary_unary(PREFIX + "Echo")(b"hello") == b"hello"
        assert await channel.unary_unary(PREFIX + "Turns")(b"") == b""
        assert [reply async for reply in channel.unary_stream(PREFIX + "Count")(b"5")] == [b"0", b"1", b"2", b"3", b"4"]
        assert await channel.stream_unary(PREFIX + "Sum")(iter([b"1", b"2", b"3"])) == b"6"
        chat = channel.stream_stream(PREFIX + "Chat")()
        for word in (b"one", b"two"):
            await chat.write(word)
            assert await chat.read() == b"you said " + word
        await chat.done_writing()
        assert await chat.read() == grpc.aio.EOF
        assert await chat.code() == grpc.StatusCode.OK


async def test_grpcio_reads_our_statuses() -> None:
    async with grpcio_client() as (_, channel):
        fail = channel.unary_unary(PREFIX + "Fail")
        assert await failure(fail(b"etcd")) == (3, "etcdserver: key is not provided")
        assert await failure(fail(b"status")) == (7, "verboten: 100 % ä €\n")
        assert await failure(fail(b"late")) == (5, "late")
        assert await failure(fail(b"crash")) == (13, "internal error")
        assert await failure(channel.unary_unary("/no.Service/X")(b"")) == (12, "unknown service no.Service")
        assert await failure(channel.unary_unary(PREFIX + "X")(b"")) == (
            12,
            "unknown method X for service test.Service",
        )
        assert await failure(channel.unary_unary(PREFIX + "Echo")(b"\xff")) == (
            13,
            "grpc: error unmarshalling request: not a message",
        )
        counting = channel.unary_stream(PREFIX + "Count")(b"3")
        assert [await counting.read() for _ in range(3)] == [b"0", b"1", b"2"]
        assert await failure(counting.read()) == (9, "three is enough")


async def test_grpcio_sends_and_takes_large_messages() -> None:
    async with grpcio_client() as (_, channel):
        upload = b"u" * 1_572_864
        assert await channel.unary_unary(PREFIX + "Echo")(upload) == upload
        assert len(await channel.unary_unary(PREFIX + "Big")(b"20971520")) == 20_971_520
        size = 0
        async for reply in channel.unary_stream(PREFIX + "Flood")(b"2000"):
            size += len(reply)
        assert size == 20_000_000
        assert await failure(channel.unary_unary(PREFIX + "Echo")(bytes(3_000_000))) == (
            8,
            "grpc: received message larger than max (3000000 vs. 2097152)",
        )


async def test_grpcio_may_compress_and_is_answered_alike() -> None:
    async with grpcio_client(compression=grpc.Compression.Gzip) as ((service, _), channel):
        text = b"abc" * 100_000
        assert await channel.unary_unary(PREFIX + "Echo")(text) == text
        chat = channel.stream_stream(PREFIX + "Chat")()
        await chat.write(text)
        assert await chat.read() == b"you said " + text
        await chat.done_writing()
        assert await chat.code() == grpc.StatusCode.OK
        assert service.contexts[0].metadata.get("grpc-encoding") is None


async def test_grpcio_gets_unimplemented_for_an_encoding_we_lack() -> None:
    async with grpcio_client(compression=grpc.Compression.Deflate) as (_, channel):
        text = 'grpc: Decompressor is not installed for grpc-encoding "deflate"'
        assert await failure(channel.unary_unary(PREFIX + "Echo")(b"x" * 10_000)) == (12, text)


async def test_grpcio_sends_metadata_and_deadlines() -> None:
    async with grpcio_client() as ((service, _), channel):
        metadata = (("token", "t0k"), ("blob-bin", b"\0\xff"))
        assert await channel.unary_unary(PREFIX + "Echo")(b"", metadata=metadata, timeout=30) == b""
        (context,) = service.contexts
        assert context.metadata.get("token") == "t0k"
        assert context.metadata.get_bytes("blob-bin") == b"\0\xff"
        assert context.deadline is not None
        assert 20 < context.deadline - asyncio.get_running_loop().time() <= 31
        assert (await failure(channel.unary_unary(PREFIX + "Wait")(b"", timeout=0.1)))[0] == 4
        assert (await failure(channel.stream_stream(PREFIX + "Hang")(timeout=0.1).read()))[0] == 4
        await until(lambda: sorted(service.cancelled) == ["hang", "wait"])


async def test_a_call_grpcio_cancels_is_cancelled_here() -> None:
    async with grpcio_client() as ((service, _), channel):
        call = channel.unary_unary(PREFIX + "Wait")(b"")
        stream = channel.stream_stream(PREFIX + "Hang")()
        opened = asyncio.ensure_future(stream.read())
        waiting = asyncio.ensure_future(call.code())
        await until(lambda: len(service.started) == 2)
        call.cancel()
        stream.cancel()
        await until(lambda: sorted(service.cancelled) == ["hang", "wait"])
        opened.cancel()
        waiting.cancel()


async def test_grpcio_calls_end_well_while_we_drain() -> None:
    async with grpcio_client() as ((service, listener), channel):
        call = asyncio.ensure_future(channel.unary_unary(PREFIX + "Wait")(b"last"))

        async def run() -> bytes:
            return await call

        task = asyncio.create_task(run())
        await until(lambda: bool(service.started))
        draining = asyncio.create_task(listener.drain(5.0))
        await asyncio.sleep(0.05)
        service.gate.set_result(b" words")
        assert await task == b"last words"
        await draining
        assert listener.connections == 0


# -- our client -------------------------------------------------------------------------------------------------------


class Foreign(grpc.GenericRpcHandler):
    """The test service in grpcio."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.cancelled = asyncio.Event()
        self.started = asyncio.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        self.metadata = dict(handler_call_details.invocation_metadata)
        match handler_call_details.method.removeprefix(PREFIX):
            case "Echo":
                return grpc.unary_unary_rpc_method_handler(self.echo)
            case "Fail":
                return grpc.unary_unary_rpc_method_handler(self.fail)
            case "Count":
                return grpc.unary_stream_rpc_method_handler(self.count)
            case "Sum":
                return grpc.stream_unary_rpc_method_handler(self.sum)
            case "Chat":
                return grpc.stream_stream_rpc_method_handler(self.chat)
            case "Hang":
                return grpc.unary_unary_rpc_method_handler(self.hang)
        return None

    async def echo(self, request: bytes, context: Any) -> bytes:
        return request

    async def fail(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "verboten: 100 % ä €\n")
        raise AssertionError

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number

    async def sum(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % sum([int(request) async for request in requests])

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield b"you said " + request

    async def hang(self, request: bytes, context: Any) -> bytes:
        self.started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""


@contextlib.asynccontextmanager
async def grpcio_server(**options: Any) -> AsyncIterator[tuple[Foreign, grpc.aio.Server, int]]:
    service = Foreign()
    server = grpc.aio.server(handlers=(service,), options=BIG, **options)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield service, server, port
    finally:
        await server.stop(None)


async def test_we_make_all_kinds_of_calls_to_grpcio() -> None:
    async with grpcio_server() as (_, _, port), channel_to(port) as channel:
        assert await channel.unary(PREFIX + "Echo", b"hello") == b"hello"
        assert await channel.unary(PREFIX + "Echo", b"") == b""
        assert await asyncio.gather(*(channel.unary(PREFIX + "Echo", b"%d" % n) for n in range(200))) == [
            b"%d" % n for n in range(200)
        ]
        stream = channel.stream(PREFIX + "Count")
        stream.send(b"4")
        stream.half_close()
        assert [reply async for reply in stream] == [b"0", b"1", b"2", b"3"]
        stream = channel.stream(PREFIX + "Sum")
        for number in (b"1", b"2", b"3"):
            stream.send(number)
        stream.half_close()
        assert await stream.receive() == b"6"
        assert await stream.receive() is None
        stream = channel.stream(PREFIX + "Chat")
        for word in (b"one", b"two"):
            stream.send(word)
            assert await stream.receive() == b"you said " + word
        stream.half_close()
        assert await stream.receive() is None


async def test_we_read_grpcios_statuses() -> None:
    async with grpcio_server() as (_, _, port), channel_to(port) as channel:
        assert await outcome(channel.unary(PREFIX + "Fail", b"")) == (7, "verboten: 100 % ä €\n")
        assert (await outcome(channel.unary(PREFIX + "X", b"")))[0] == 12
        stream = channel.stream(PREFIX + "Fail")
        stream.send(b"")
        assert await outcome(stream.receive()) == (7, "verboten: 100 % ä €\n")


async def test_we_send_and_take_large_messages_with_grpcio() -> None:
    async with grpcio_server() as (_, _, port), channel_to(port) as channel:
        body = b"u" * 20_971_520
        assert await channel.unary(PREFIX + "Echo", body) == body


async def test_we_take_replies_that_grpcio_compressed() -> None:
    async with grpcio_server(compression=grpc.Compression.Gzip) as (_, _, port), channel_to(port) as channel:
        assert await channel.unary(PREFIX + "Echo", b"abc" * 10_000) == b"abc" * 10_000
        stream = channel.stream(PREFIX + "Chat")
        stream.send(b"abc" * 10_000)
        assert await stream.receive() == b"you said " + b"abc" * 10_000
        stream.cancel()


async def test_we_send_metadata_and_deadlines_to_grpcio() -> None:
    async with grpcio_server() as (service, _, port), channel_to(port) as channel:
        await channel.unary(PREFIX + "Echo", b"", metadata=[("token", "t0k"), ("blob-bin", b"\0\xff")], timeout=10)
        assert service.metadata["token"] == "t0k"
        assert service.metadata["blob-bin"] == b"\0\xff"
        code, text = await outcome(channel.unary(PREFIX + "Hang", b"", timeout=0.1))
        assert code == 4
        assert text in (
            "context deadline exceeded",
            "Deadline Exceeded",
        )  # ours or theirs: both watch the same deadline
        await asyncio.wait_for(service.cancelled.wait(), 5)


async def test_a_call_we_cancel_is_cancelled_at_grpcio() -> None:
    async with grpcio_server() as (service, _, port), channel_to(port) as channel:
        call = asyncio.create_task(channel.unary(PREFIX + "Hang", b""))
        await asyncio.wait_for(service.started.wait(), 5)
        call.cancel()
        await asyncio.wait_for(service.cancelled.wait(), 5)


async def test_our_calls_survive_grpcios_graceful_stop() -> None:
    async with grpcio_server() as (_, server, port), channel_to(port) as channel:
        stream = channel.stream(PREFIX + "Chat")
        stream.send(b"a")
        assert await stream.receive() == b"you said a"
        stopping = asyncio.create_task(server.stop(5))
        await asyncio.sleep(0.05)
        stream.send(b"b")
        assert await stream.receive() == b"you said b"
        stream.half_close()
        assert await stream.receive() is None
        await stopping
        with pytest.raises(Status, match="UNAVAILABLE"):
            await channel.unary(PREFIX + "Echo", b"")
