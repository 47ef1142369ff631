"""Every call is counted once when it begins and once when it ends, whichever way."""

from __future__ import annotations

import asyncio

from grpc_support import PREFIX, Service, channel_to, outcome, until

from quorate.transport.grpc import Bidi, GrpcServer, Stream
from quorate.transport.grpc.tally import MethodTally
from quorate.transport.mux import serve


def told(tally: MethodTally) -> tuple[int, int, int, dict[int, int]]:
    """Begun, messages in and out, ended by code."""
    ended = {code: tally.handled(code) for code in range(17) if tally.handled(code)}
    return tally.started, tally.received, tally.messages_sent, ended


async def test_calls_and_messages_are_counted_by_method_and_status() -> None:
    service = Service()
    grpc = GrpcServer(service.methods())
    listener = await serve(("127.0.0.1", 0), grpc, None)
    tallies = grpc.tallies
    async with channel_to(listener.port) as channel:
        for body in (b"a", b"b" * 100_000):  # in one piece, and in many
            await channel.unary(PREFIX + "Echo", body, timeout=5)
        await outcome(channel.unary(PREFIX + "Echo", b"\xff", timeout=5))
        assert told(tallies[PREFIX + "Echo"]) == (3, 3, 2, {0: 2, 13: 1})

        await channel.unary(PREFIX + "Turns", b"x", timeout=5)
        assert told(tallies[PREFIX + "Turns"]) == (1, 1, 1, {0: 1})

        for body in (b"etcd", b"status", b"late", b"bug", b"none"):
            await outcome(channel.unary(PREFIX + "Fail", body, timeout=5))
        assert told(tallies[PREFIX + "Fail"]) == (5, 5, 0, {3: 1, 5: 1, 7: 1, 13: 2})

        waiting = asyncio.ensure_future(channel.unary(PREFIX + "Wait", b"", timeout=5))
        await until(lambda: service.started == ["wait"])
        assert told(tallies[PREFIX + "Wait"]) == (1, 1, 0, {})
        waiting.cancel()
        await until(lambda: told(tallies[PREFIX + "Wait"]) == (1, 1, 0, {1: 1}))
        await outcome(channel.unary(PREFIX + "Wait", b"", timeout=0.05))
        await until(lambda: tallies[PREFIX + "Wait"].started == sum(told(tallies[PREFIX + "Wait"])[3].values()) == 2)

        stream = channel.stream(PREFIX + "Count", timeout=5)
        stream.send(b"3")
        stream.half_close()
        assert (await outcome(_all(stream)))[0] == 9
        assert told(tallies[PREFIX + "Count"]) == (1, 1, 3, {9: 1})

        chat = channel.stream(PREFIX + "Chat", timeout=5)
        chat.send(b"hello")
        await chat.receive()
        assert told(tallies[PREFIX + "Chat"]) == (1, 1, 1, {})
        chat.send(b"bye")
        assert await chat.receive() is None
        assert told(tallies[PREFIX + "Chat"]) == (1, 2, 1, {0: 1})

        hang = channel.stream(PREFIX + "Hang", timeout=5)
        hang.send(b"")
        await until(lambda: service.started[-1] == "hang")
        hang.cancel()
        await until(lambda: told(tallies[PREFIX + "Hang"])[3] == {1: 1})
    listener.close()


async def test_a_caller_that_hangs_up_before_its_message_is_counted() -> None:
    grpc = GrpcServer(Service().methods())
    listener = await serve(("127.0.0.1", 0), grpc, None)
    tally = grpc.tallies[PREFIX + "Echo"]
    async with channel_to(listener.port) as channel:
        stream = channel.stream(PREFIX + "Echo", timeout=5)
        stream.half_close()
        assert (await outcome(stream.receive()))[0] == 13
        assert told(tally) == (1, 0, 0, {13: 1})
    listener.close()


async def test_replies_in_one_piece_are_several_messages() -> None:
    async def answer(stream: Stream) -> None:
        await stream.receive()
        stream.send_all([b"a", b"", b"bc" * 50_000])

    grpc = GrpcServer({PREFIX + "Together": Bidi(bytes, answer)})
    listener = await serve(("127.0.0.1", 0), grpc, None)
    tally = grpc.tallies[PREFIX + "Together"]
    async with channel_to(listener.port) as channel:
        stream = channel.stream(PREFIX + "Together", timeout=5)
        stream.send(b"")
        assert await _all(stream) == [b"a", b"", b"bc" * 50_000]
    assert (tally.messages_sent, tally.sent_bytes) == (3, 100_001)
    listener.close()


async def _all(stream: object) -> list[bytes]:
    return [message async for message in stream]  # type: ignore[attr-defined]
