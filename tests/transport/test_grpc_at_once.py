"""A stream whose messages are answered at once has no task until one of them must wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from grpc_support import Peer, Service, channel_to, outcome, request_headers, serving, until

from quorate.transport.grpc import Channel, connection
from quorate.transport.grpc.framing import frame
from quorate.transport.grpc.stream import Stream
from quorate.transport.http2 import DataReceived, ErrorCode, HeadersReceived, Limits

ASK = "/test.Service/Ask"
HEADERS = request_headers("Ask")


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """Those that the server opens."""
    opened: list[Stream] = []

    def open_stream(*args: object) -> Stream:
        opened.append(Stream(*args))  # type: ignore[arg-type]
        return opened[-1]

    monkeypatch.setattr(connection, "Stream", open_stream)
    return opened


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        yield channel


async def test_answers_at_once_need_no_task(streams: list[Stream], channel: Channel) -> None:
    call = channel.stream(ASK)
    for word in (b"a", b"b"):
        call.send(word)
        assert await call.receive() == b"at once " + word
    assert [stream._task for stream in streams] == [None]
    call.half_close()
    assert await call.receive() is None
    assert streams[0].closed


async def test_from_the_first_that_waits_the_handler_answers(streams: list[Stream], channel: Channel) -> None:
    call = channel.stream(ASK)
    for word in (b"a", b"wait", b"b"):
        call.send(word)
    assert [await call.receive() for _ in range(3)] == [b"at once a", b"you said wait", b"you said b"]
    call.send(b"bye")
    assert await call.receive() is None
    assert streams[0]._task is not None


async def test_a_stream_without_a_message_ends_well(streams: list[Stream], channel: Channel) -> None:
    call = channel.stream(ASK)
    call.half_close()
    assert await call.receive() is None


@pytest.mark.parametrize(("word", "code"), [(b"bad", 3), (b"\xffno message", 13)])
async def test_a_message_that_cannot_be_answered_ends_the_stream(channel: Channel, word: bytes, code: int) -> None:
    call = channel.stream(ASK)
    call.send(b"a")
    assert await call.receive() == b"at once a"
    call.send(word)
    assert (await outcome(call.receive()))[0] == code


async def test_a_caller_that_leaves_or_is_late_is_forgotten(streams: list[Stream], channel: Channel) -> None:
    call = channel.stream(ASK)
    call.send(b"a")
    await call.receive()
    call.cancel()
    await until(lambda: streams[0].closed)
    late = channel.stream(ASK, timeout=0.05)
    assert (await outcome(late.receive()))[0] == 4
    await until(lambda: streams[1].closed)


async def test_a_message_cut_short_is_an_error() -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port)
        stream_id = peer.call(HEADERS, b"\0\0\0\0\x09short")
        assert dict((await peer.event(HeadersReceived, stream_id)).headers)[b"grpc-status"] == b"13"
        peer.close()


async def test_a_peer_that_takes_no_answers_is_left_to_the_handler(streams: list[Stream]) -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port, Limits(stream_window=10))
        stream_id = peer.call(HEADERS, frame(b"first") + frame(b"second") + frame(b"third"), False)
        await until(lambda: bool(streams) and streams[0]._task is not None)
        heard = b""
        async with asyncio.timeout(5):
            while not heard.endswith(b"third"):
                data = (await peer.event(DataReceived, stream_id)).data
                peer.machine.acknowledge(stream_id, len(data))
                peer.flush()
                heard += data
        assert heard == frame(b"at once first") + frame(b"you said second") + frame(b"you said third")
        peer.close()


async def served_together(service: Service, peer: Peer, words: list[bytes]) -> list[bytes]:
    """Answers to calls of one message and its end each, sent in one write; the server knows their headers."""
    for _ in range(3):
        await peer.event(DataReceived, peer.call(HEADERS, frame(b"alone")))
    stream_ids = []
    for word in words:
        stream_ids.append(peer.machine.open_stream(HEADERS, False))
        peer.machine.send_data(stream_ids[-1], frame(word), True)
    peer.flush()
    return [(await peer.event(DataReceived, stream_id)).data[5:] for stream_id in stream_ids]


async def test_streams_of_one_message_each_are_answered_together(streams: list[Stream]) -> None:
    async with serving() as (service, listener):
        peer = await Peer.connect(listener.port)
        assert await served_together(service, peer, [b"a", b"b"]) == [b"all a", b"all b"]
        assert len(streams) == 3  # those that came alone
        assert await served_together(service, peer, [b"a", b"wait"]) == [b"at once a", b"you said wait"]
        peer.machine.reset_stream(1, ErrorCode.CANCEL)
        peer.close()
