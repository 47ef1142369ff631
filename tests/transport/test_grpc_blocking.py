"""The channel without an event loop calls as the other one does."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from grpc_support import PREFIX, Service, serving, until

from quorate.api.errors import Code
from quorate.transport.grpc.blocking import BlockingChannel
from quorate.transport.grpc.status import Status
from quorate.transport.http2 import Connection, Limits

T = TypeVar("T")


async def aside(call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(ThreadPoolExecutor(1), call)


def outcome(call: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(Status) as caught:
        call()
    return int(caught.value.code), caught.value.message


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_a_call_is_answered_and_sends_its_metadata() -> None:
    async with serving() as (service, listener):
        with BlockingChannel("127.0.0.1", listener.port) as channel:
            call = lambda: channel.unary(PREFIX + "Echo", b"hello", metadata=[("token", "t")], timeout=5.0)  # noqa: E731
            assert await aside(call) == b"hello"
            assert service.contexts[0].metadata.get("token") == "t"
            assert service.contexts[0].deadline is not None


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
async def test_messages_of_all_sizes_pass_both_ways(size: int) -> None:
    async with serving(http2=Limits(stream_window=65_535)) as (_, listener):
        with BlockingChannel("127.0.0.1", listener.port) as channel:
            reply = await aside(lambda: channel.unary(PREFIX + "Big", b"%d" % size))
            assert len(reply) == size
            if size < 1_000_000:
                assert await aside(lambda: channel.unary(PREFIX + "Echo", reply)) == reply


async def test_a_refusal_is_a_status() -> None:
    async with serving() as (_, listener):
        with BlockingChannel("127.0.0.1", listener.port) as channel:

            def calls() -> None:
                assert outcome(lambda: channel.unary(PREFIX + "Fail", b"status")) == (7, "verboten: 100 % ä €\n")
                assert outcome(lambda: channel.unary(PREFIX + "Nope", b""))[0] == Code.UNIMPLEMENTED
                assert channel.unary(PREFIX + "Echo", b"still here") == b"still here"

            await aside(calls)


async def test_a_deadline_ends_a_call_and_the_handler() -> None:
    async with serving() as (service, listener):
        with BlockingChannel("127.0.0.1", listener.port) as channel:
            found = await aside(lambda: outcome(lambda: channel.unary(PREFIX + "Wait", b"", timeout=0.2)))
            assert found == (Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            await until(lambda: service.cancelled == ["wait"])


async def test_streams_go_both_ways() -> None:
    async with serving() as (_, listener):
        with BlockingChannel("127.0.0.1", listener.port) as channel:

            def calls() -> None:
                chat = channel.stream(PREFIX + "Chat", first=b"a")
                assert chat.receive() == b"you said a"
                with pytest.raises(TimeoutError):
                    chat.receive(0.05)
                chat.send(b"b")
                assert chat.receive(5.0) == b"you said b"
                chat.half_close()
                assert chat.receive() is None
                total = channel.stream(PREFIX + "Sum")
                for number in (1, 2, 3):
                    total.send(b"%d" % number)
                total.half_close()
                assert total.receive() == b"6"
                assert total.receive() is None

            await aside(calls)


async def test_a_stream_that_ends_badly_gives_its_messages_first() -> None:
    async with serving() as (_, listener):
        with BlockingChannel("127.0.0.1", listener.port) as channel:

            def calls() -> None:
                count = channel.stream(PREFIX + "Count", first=b"3", last=True)
                assert [count.receive() for _ in range(3)] == [b"0", b"1", b"2"]
                assert outcome(count.receive) == (9, "three is enough")

            await aside(calls)


async def test_a_long_stream_keeps_within_the_windows() -> None:
    async with serving() as (_, listener):
        with BlockingChannel("127.0.0.1", listener.port) as channel:

            def calls() -> int:
                flood = channel.stream(PREFIX + "Flood", first=b"2000", last=True)
                size = 0
                while (message := flood.receive(10.0)) is not None:
                    size += len(message)
                return size

            assert await aside(calls) == 20_000_000


async def test_another_thread_may_send_while_one_waits() -> None:
    async with serving() as (_, listener):
        with BlockingChannel("127.0.0.1", listener.port) as channel:

            def calls() -> bytes | None:
                chat = channel.stream(PREFIX + "Chat")
                threading.Timer(0.1, chat.send, [b"x"]).start()
                return chat.receive(10.0)

            assert await aside(calls) == b"you said x"


async def test_a_cancelled_stream_ends_its_handler() -> None:
    async with serving() as (service, listener):
        with BlockingChannel("127.0.0.1", listener.port) as channel:
            hang = await aside(lambda: channel.stream(PREFIX + "Hang", first=b""))
            await until(lambda: service.started == ["hang"])
            hang.cancel()
            await until(lambda: service.cancelled == ["hang"])
            assert outcome(hang.receive)[0] == Code.CANCELLED


async def test_a_lost_connection_fails_its_calls_and_the_next_one_connects_anew() -> None:
    async with serving() as (service, listener):
        port = listener.port
        channel = BlockingChannel("127.0.0.1", port)
        assert await aside(lambda: channel.unary(PREFIX + "Echo", b"1")) == b"1"
        waiting = asyncio.create_task(aside(lambda: outcome(lambda: channel.unary(PREFIX + "Wait", b""))))
        await until(lambda: service.started == ["wait"])
        await _cut(service, channel)
        assert (await waiting)[0] == Code.UNAVAILABLE
        assert await aside(lambda: channel.unary(PREFIX + "Echo", b"2")) == b"2"
        channel.close()


async def test_a_connection_that_was_lost_unnoticed_is_not_used() -> None:
    async with serving() as (_, listener):
        channel = BlockingChannel("127.0.0.1", listener.port)
        for text in (b"1", b"2"):
            assert await aside(lambda text=text: channel.unary(PREFIX + "Echo", text)) == text  # type: ignore[misc]
            for connection in list(listener._served):
                connection.abort()
            await until(lambda: listener.connections == 0)
        channel.close()


async def _cut(service: Service, channel: BlockingChannel) -> None:
    held = channel._socket
    assert held is not None
    held.shutdown(socket.SHUT_RDWR)


def test_nobody_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    channel = BlockingChannel("127.0.0.1", port)
    code, text = outcome(lambda: channel.unary("/x/Y", b"", timeout=5.0))
    assert code == Code.UNAVAILABLE
    assert f"Error while dialing: dial tcp 127.0.0.1:{port}: connect: connection refused" in text


def test_a_server_that_says_nothing_is_waited_for_until_the_deadline(silent: int) -> None:
    channel = BlockingChannel("127.0.0.1", silent)
    begun = time.monotonic()
    assert outcome(lambda: channel.unary("/x/Y", b"", timeout=0.3))[0] == Code.DEADLINE_EXCEEDED
    assert 0.25 < time.monotonic() - begun < 3.0


def test_a_server_that_answers_no_ping_is_given_up(silent: int) -> None:
    channel = BlockingChannel("127.0.0.1", silent, keepalive_time=0.1, keepalive_timeout=0.2)
    stream = channel.stream("/x/Y", first=b"")
    assert outcome(stream.receive) == (Code.UNAVAILABLE, "keepalive ping failed to receive ACK within timeout")


def test_pings_that_are_answered_keep_a_silent_stream_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            machine = Connection(client=False, limits=Limits())
            machine.start()
            while data := peer.recv(65_536):
                machine.receive(data)
                peer.sendall(machine.output())

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        channel = BlockingChannel("127.0.0.1", port, keepalive_time=0.05, keepalive_timeout=1.0)
        stream = channel.stream("/x/Y", first=b"")
        with pytest.raises(TimeoutError):
            stream.receive(0.5)
        channel.close()
        assert outcome(stream.receive)[0] == Code.CANCELLED


def test_what_speaks_no_http2_is_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            peer.recv(65_536)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        channel = BlockingChannel("127.0.0.1", server.getsockname()[1])
        assert outcome(lambda: channel.unary("/x/Y", b"", timeout=5.0))[0] == Code.UNAVAILABLE


def test_nothing_heavy_is_imported() -> None:
    heavy = {"asyncio", "google.protobuf", "dataclasses", "inspect", "logging", "ssl", "json", "hpack", "subprocess"}
    code = f"import quorate.transport.grpc.blocking, sys; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
