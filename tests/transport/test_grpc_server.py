"""What the server does with peers that are late, greedy, silent, or wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import random

import pytest
from grpc_support import PREFIX, Peer, channel_to, outcome, request_headers, serving, until

from quorate.transport.grpc import ChannelLimits, ServerLimits, connection
from quorate.transport.grpc.framing import frame
from quorate.transport.http2 import (
    Connection,
    DataReceived,
    ErrorCode,
    GoAwayReceived,
    Headers,
    HeadersReceived,
    Limits,
    PingAcked,
    PingReceived,
    StreamReset,
)


@pytest.fixture(autouse=True)
def short_goodbyes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER", 0.05)


TINY_WINDOW = Limits(stream_window=100)


async def answer(peer: Peer, stream_id: int) -> dict[bytes, bytes]:
    """The fields of a trailers-only answer."""
    event = await peer.event(HeadersReceived, stream_id)
    assert event.end_stream
    return dict(event.headers)


@pytest.mark.parametrize(
    ("headers", "http", "code", "text"),
    [
        (
            request_headers(kind=b"application/json"),
            b"415",
            b"3",
            b'invalid gRPC request content-type "application/json"',
        ),
        (
            request_headers(kind=b"application/grpcx"),
            b"415",
            b"3",
            b'invalid gRPC request content-type "application/grpcx"',
        ),
        (
            request_headers(verb=b"PUT"),
            b"405",
            b"13",
            b'Received a HEADERS frame with :method "PUT" which should be POST',
        ),
        (request_headers("Echo", (b"grpc-timeout", b"soon")), b"400", b"13", b"malformed grpc-timeout: soon"),
        (request_headers("Echo", (b"grpc-timeout", b"0S")), b"200", b"4", b"context deadline exceeded"),
        (request_headers("Echo", (b"x-bin", b"#")), b"400", b"13", b"malformed binary metadata: "),
        (request_headers(path=b"test.Service/Echo"), b"200", b"12", b'malformed method name: "test.Service/Echo"'),
        (request_headers(path=b"*"), b"200", b"12", b'malformed method name: "*"'),
        (
            request_headers("Echo", (b"grpc-encoding", b"snappy")),
            b"200",
            b"12",
            b'grpc: Decompressor is not installed for grpc-encoding "snappy"',
        ),
    ],
)
async def test_a_request_that_is_no_grpc_call_is_refused(
    headers: Headers, http: bytes, code: bytes, text: bytes
) -> None:
    async with serving() as (service, listener):
        peer = await Peer.connect(listener.port)
        fields = await answer(peer, peer.call(headers, frame(b"")))
        assert (fields[b":status"], fields[b"grpc-status"]) == (http, code)
        assert fields[b"grpc-message"].startswith(text)
        assert fields[b"content-type"] == b"application/grpc"
        assert not service.contexts
        peer.close()


@pytest.mark.parametrize("kind", [b"application/grpc+proto", b"application/grpc;charset=utf-8", b"application/GRPC"])
async def test_subtypes_of_the_content_type_are_served(kind: bytes) -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port)
        stream_id = peer.call(request_headers(kind=kind), frame(b"hi"))
        assert (await peer.event(DataReceived, stream_id)).data == frame(b"hi")
        peer.close()


@pytest.mark.parametrize(
    ("method", "body", "code", "text"),
    [
        ("Echo", b"", b"13", b"unexpected EOF"),
        ("Echo", b"\0\0\0\0\5abc", b"13", b"unexpected EOF"),
        ("Echo", frame(b"a") + frame(b"b"), b"13", b"cardinality violation: received multiple request messages"),
        ("Echo", b"\1\0\0\0\1x", b"13", b"grpc: compressed flag set with identity or empty encoding"),
        ("Count", b"", b"13", b"unexpected EOF"),
        ("Sum", b"\0\0", b"13", b"unexpected EOF"),
    ],
)
async def test_a_body_that_is_not_one_message_is_an_error(method: str, body: bytes, code: bytes, text: bytes) -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port)
        fields = await answer(peer, peer.call(request_headers(method), body))
        assert (fields[b"grpc-status"], fields[b"grpc-message"]) == (code, text)
        peer.close()


async def test_a_request_may_come_byte_by_byte_and_end_with_an_empty_frame() -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port)
        stream_id = peer.machine.open_stream(request_headers(), False)
        for byte in frame(b"slow"):
            peer.machine.send_data(stream_id, bytes([byte]), False)
            peer.flush()
            await asyncio.sleep(0)
        peer.machine.send_data(stream_id, b"", True)
        peer.flush()
        assert (await peer.event(DataReceived, stream_id)).data == frame(b"slow")
        peer.close()


async def test_gzip_is_answered_with_gzip() -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port)
        packed = gzip.compress(b"hello")
        stream_id = peer.call(
            request_headers("Echo", (b"grpc-encoding", b"gzip")), b"\1" + len(packed).to_bytes(4, "big") + packed
        )
        assert dict((await peer.event(HeadersReceived, stream_id)).headers)[b"grpc-encoding"] == b"gzip"
        reply = (await peer.event(DataReceived, stream_id)).data
        assert reply[0] == 1
        assert gzip.decompress(reply[5:]) == b"hello"
        peer.close()


async def test_a_caller_that_still_sends_is_told_to_stop() -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port)
        stream_id = peer.call(request_headers("No"), frame(b"x"), end_stream=False)
        assert (await answer(peer, stream_id))[b"grpc-status"] == b"12"
        assert (await peer.event(StreamReset, stream_id)).code == ErrorCode.NO_ERROR
        stream_id = peer.call(request_headers("Chat"), frame(b"bye"), end_stream=False)
        assert (await answer(peer, stream_id))[b"grpc-status"] == b"0"
        assert (await peer.event(StreamReset, stream_id)).code == ErrorCode.NO_ERROR
        peer.close()


async def test_the_deadline_holds_for_a_request_that_never_comes() -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port)
        stream_id = peer.call(request_headers("Echo", (b"grpc-timeout", b"20m")), b"", end_stream=False)
        fields = await answer(peer, stream_id)
        assert (fields[b"grpc-status"], fields[b"grpc-message"]) == (b"4", b"context deadline exceeded")
        assert (await peer.event(StreamReset, stream_id)).code == ErrorCode.NO_ERROR
        stream_id = peer.call(request_headers(), b"\0\0\x20\0\1", end_stream=False)
        assert (await answer(peer, stream_id))[b"grpc-status"] == b"8"
        assert (await peer.event(StreamReset, stream_id)).code == ErrorCode.NO_ERROR
        peer.close()


async def test_a_peer_that_breaks_http2_hears_why_and_is_hung_up_on() -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port)
        peer.writer.write(b"\0\0\0\0\0\0\0\0\0")
        goaway = await peer.event(GoAwayReceived)
        assert goaway.code == ErrorCode.PROTOCOL_ERROR
        await peer.closed()
        peer.close()
        await until(lambda: listener.connections == 0)


async def test_a_peer_that_sends_no_settings_is_dropped() -> None:
    async with serving(ServerLimits(preface_timeout=0.05)) as (_, listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        async with asyncio.timeout(5):
            await reader.read()
        await until(lambda: listener.connections == 0)
        writer.close()


# -- pings ------------------------------------------------------------------------------------------------------------


async def ping_until_goaway(peer: Peer, most: int) -> int:
    """Ping without pause; how many pings it took to be sent away."""
    for count in range(1, most + 1):
        peer.machine.ping(b"12345678")
        peer.flush()
        await asyncio.sleep(0.01)
        await peer.read()
        for event in peer.events:
            if isinstance(event, GoAwayReceived):
                assert (event.code, event.debug) == (ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")
                return count
    return 0


async def test_pings_that_come_too_often_end_the_connection() -> None:
    async with serving() as (service, listener):
        peer = await Peer.connect(listener.port)
        peer.call(request_headers("Hang"), b"", end_stream=False)
        await until(lambda: bool(service.started))
        assert await ping_until_goaway(peer, 10) == 4
        await peer.closed()
        await until(lambda: service.cancelled == ["hang"])
        peer.close()


async def test_pings_without_a_call_may_not_come_at_all() -> None:
    async with serving(ServerLimits(min_ping_interval=0.0)) as (_, listener):
        peer = await Peer.connect(listener.port)
        assert await ping_until_goaway(peer, 10) == 4
        peer.close()


async def test_pings_in_their_time_are_answered() -> None:
    async with serving(ServerLimits(min_ping_interval=0.0)) as (service, listener):
        peer = await Peer.connect(listener.port)
        peer.call(request_headers("Hang"), b"", end_stream=False)
        await until(lambda: bool(service.started))
        assert await ping_until_goaway(peer, 10) == 0
        peer.close()


async def test_idle_pings_are_answered_where_they_are_permitted() -> None:
    async with serving(ServerLimits(min_ping_interval=0.0, permit_idle_pings=True)) as (_, listener):
        peer = await Peer.connect(listener.port)
        assert await ping_until_goaway(peer, 10) == 0
        peer.close()


async def test_replies_forgive_pings() -> None:
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port)
        for _ in range(10):
            stream_id = peer.call(request_headers(), frame(b"x"))
            peer.machine.ping(b"12345678")
            peer.flush()
            await peer.event(DataReceived, stream_id)
        assert not any(isinstance(event, GoAwayReceived) for event in peer.events)
        peer.close()


async def test_a_large_reply_forgives_pings_while_it_is_sent() -> None:
    """grpc-go pings with every sample of the bandwidth that it takes."""
    async with serving() as (_, listener):
        peer = await Peer.connect(listener.port, Limits(stream_window=16_384))
        stream_id = peer.call(request_headers("Big"), frame(b"300000"))
        received = 0
        while received < 300_000:
            data = await peer.event(DataReceived, stream_id)
            received += len(data.data)
            peer.machine.acknowledge(stream_id, len(data.data))
            peer.machine.ping(b"12345678")
            peer.flush()
            await peer.event(PingAcked)
        assert await ping_until_goaway(peer, 10), "in silence they count again"
        peer.close()


async def test_a_silent_peer_is_pinged_and_kept_when_it_answers() -> None:
    async with serving(ServerLimits(keepalive_time=0.03, keepalive_timeout=0.2)) as (_, listener):
        peer = await Peer.connect(listener.port)
        for _ in range(3):
            await peer.event(PingReceived)
        assert listener.connections == 1
        peer.close()


async def test_a_silent_peer_that_does_not_answer_is_dropped() -> None:
    async with serving(ServerLimits(keepalive_time=0.03, keepalive_timeout=0.03)) as (service, listener):
        peer = await Peer.connect(listener.port)
        peer.call(request_headers("Hang"), b"", end_stream=False)
        await until(lambda: bool(service.started))
        await until(lambda: listener.connections == 0)
        await until(lambda: service.cancelled == ["hang"])
        peer.close()


async def test_our_client_pings_while_it_waits_and_notices_a_dead_server() -> None:
    limits = ChannelLimits(keepalive_time=0.03, keepalive_timeout=0.05)
    async with (
        serving(ServerLimits(min_ping_interval=0.0)) as (_, listener),
        channel_to(listener.port, limits=limits) as channel,
    ):
        call = asyncio.create_task(channel.unary(PREFIX + "Wait", b""))
        await asyncio.sleep(0.3)
        assert not call.done()
        (served,) = listener._served
        served._deaf = True  # type: ignore[union-attr]
        assert await outcome(call) == (14, "keepalive ping failed to receive ACK within timeout")


# -- slow and greedy peers --------------------------------------------------------------------------------------------


async def test_a_stream_tells_what_is_pending_and_when_it_is_gone() -> None:
    async with serving() as (service, listener):
        peer = await Peer.connect(listener.port, TINY_WINDOW)
        stream_id = peer.call(request_headers("Hang"), b"", end_stream=False)
        await until(lambda: bool(service.streams))
        (stream,) = service.streams
        drained: list[int] = []
        stream.on_drain = lambda: drained.append(stream.pending)
        for _ in range(10):
            stream.send(b"x" * 10_000)
        await asyncio.sleep(0)
        assert stream.pending == 10 * 10_005 - 100
        waiting = asyncio.create_task(stream.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        got = 0
        while got < 10 * 10_005:
            event = await peer.event(DataReceived, stream_id)
            got += len(event.data)
            peer.machine.acknowledge(stream_id, len(event.data))
            peer.flush()
        await waiting
        assert len(drained) == 1
        assert drained[0] <= 65_536
        assert stream.pending == 0
        peer.close()


async def test_a_socket_that_is_not_read_counts_as_pending() -> None:
    async with serving() as (service, listener):
        peer = await Peer.connect(listener.port, Limits(stream_window=2**30, connection_window=2**30))
        stream_id = peer.call(request_headers("Flood"), frame(b"3000"))
        await until(lambda: bool(service.streams) and service.streams[0].pending > 200_000)
        await asyncio.sleep(0.05)
        assert 200_000 < service.streams[0].pending < 600_000
        got = 0
        while got < 3000 * 10_005:
            got += len((await peer.event(DataReceived, stream_id)).data)
        peer.close()


async def test_a_peer_that_asks_but_does_not_read_is_not_read_and_then_dropped() -> None:
    limits = ServerLimits(max_unwritten=500_000, socket_stall_timeout=0.2)
    async with serving(limits) as (_, listener):
        peer = await Peer.connect(listener.port, Limits(stream_window=2**30, connection_window=2**30))
        sent = 0
        with pytest.raises(OSError, match=r".*"):
            async with asyncio.timeout(5):
                while True:
                    peer.call(request_headers("Big"), frame(b"10000"))
                    sent += 1
                    await peer.writer.drain()
                    if sent % 10 == 0:
                        await asyncio.sleep(0)
        await until(lambda: listener.connections == 0)
        peer.close()


async def test_a_finished_reply_behind_a_shut_window_is_reset_in_time() -> None:
    async with serving(ServerLimits(window_stall_timeout=0.1)) as (_, listener):
        peer = await Peer.connect(listener.port, TINY_WINDOW)
        stream_id = peer.call(request_headers("Big"), frame(b"1000"))
        reset = await peer.event(StreamReset, stream_id)
        assert reset.code == ErrorCode.CANCEL
        assert listener.connections == 1
        peer.close()


async def test_a_peer_that_lets_too_much_wait_is_hung_up_on() -> None:
    async with serving(http2=Limits(max_pending=50_000)) as (service, listener):
        peer = await Peer.connect(listener.port, TINY_WINDOW)
        peer.call(request_headers("Hang"), b"", end_stream=False)
        await until(lambda: bool(service.streams))
        for _ in range(3):
            service.streams[0].send(b"x" * 40_000)
        assert (await peer.event(GoAwayReceived)).code == ErrorCode.ENHANCE_YOUR_CALM
        await peer.closed()
        await until(lambda: service.cancelled == ["hang"])
        peer.close()


async def test_a_live_stream_behind_a_shut_window_is_left_alone() -> None:
    async with serving(ServerLimits(window_stall_timeout=0.05)) as (service, listener):
        peer = await Peer.connect(listener.port, TINY_WINDOW)
        peer.call(request_headers("Hang"), b"", end_stream=False)
        await until(lambda: bool(service.streams))
        service.streams[0].send(b"x" * 1000)
        await asyncio.sleep(0.3)
        assert not service.streams[0].closed
        peer.close()


async def test_new_calls_are_refused_while_too_much_waits_for_the_peers_window() -> None:
    async with serving(ServerLimits(max_unsent=10_000)) as (_, listener):
        peer = await Peer.connect(listener.port, TINY_WINDOW)
        first = peer.call(request_headers("Big"), frame(b"20000"))
        await peer.event(DataReceived, first)
        second = peer.call(request_headers("Echo"), frame(b"x"))
        assert (await peer.event(StreamReset, second)).code == ErrorCode.REFUSED_STREAM
        peer.machine.reset_stream(first, ErrorCode.CANCEL)
        third = peer.call(request_headers("Echo"), frame(b"x"))
        assert (await peer.event(DataReceived, third)).data == frame(b"x")
        peer.close()


async def test_a_stream_that_is_not_consumed_holds_the_peers_window() -> None:
    async with serving() as (service, listener):
        peer = await Peer.connect(listener.port)
        stream_id = peer.call(request_headers("Hang"), b"", end_stream=False)
        await until(lambda: bool(service.streams))
        for _ in range(100):
            peer.machine.send_data(stream_id, frame(b"x" * 50_000), False)
        peer.flush()
        for _ in range(20):
            peer.call(request_headers(), frame(b"ping"))
            await peer.event(DataReceived)
        assert peer.machine.pending_of(stream_id) > 3_000_000
        stream = service.streams[0]
        for _ in range(100):
            receiving = asyncio.create_task(stream.receive())
            while not receiving.done():
                peer.call(request_headers(), frame(b"ping"))
                await peer.event(DataReceived)
            assert await receiving == b"x" * 50_000
        peer.close()


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_draining_says_goaway_twice_and_waits_for_calls() -> None:
    async with serving() as (service, listener):
        peer = await Peer.connect(listener.port)
        first = peer.call(request_headers("Wait"), frame(b"a"))
        await until(lambda: len(service.started) == 1)
        draining = asyncio.create_task(listener.drain(5.0))
        goaway = await peer.event(GoAwayReceived)
        assert (goaway.last_stream_id, goaway.code) == (2**31 - 1, ErrorCode.NO_ERROR)
        goaway = await peer.event(GoAwayReceived)
        assert (goaway.last_stream_id, goaway.code) == (first, ErrorCode.NO_ERROR)
        assert not draining.done()
        service.gate.set_result(b"b")
        assert (await peer.event(DataReceived, first)).data == frame(b"ab")
        peer.close()
        await draining
        assert listener.connections == 0


async def test_draining_ends_after_its_grace_whatever_goes_on() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        call = asyncio.create_task(channel.unary(PREFIX + "Wait", b""))
        await until(lambda: bool(service.started))
        await listener.drain(0.05)
        assert (await outcome(call))[0] == 14
        await until(lambda: service.cancelled == ["wait"])


async def test_draining_waits_for_no_call_that_lasts_as_long_as_its_caller_likes() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        flood = channel.stream(PREFIX + "Flood")
        flood.send(b"100")
        flood.half_close()
        chat = channel.stream(PREFIX + "Chat")
        chat.send(b"hi")
        assert await chat.receive() == b"you said hi"
        chat.send(b"bye soon")
        async with asyncio.timeout(10):
            await listener.drain(60.0)
        assert await chat.receive() == b"you said bye soon"
        assert await outcome(chat.receive()) == (14, "the server is closing")
        assert sum([len(data) for _ in range(100) if (data := await flood.receive())]) == 1_000_000
        assert await flood.receive() is None


async def test_calls_that_meet_a_draining_server_go_to_the_next_connection() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        waiting = asyncio.create_task(channel.unary(PREFIX + "Wait", b""))
        await until(lambda: bool(service.started))
        (served,) = listener._served
        served.drain()
        async with asyncio.timeout(5):
            while listener.connections < 2:
                replies = await asyncio.gather(*(channel.unary(PREFIX + "Echo", b"%d" % n) for n in range(50)))
                assert replies == [b"%d" % n for n in range(50)]
        service.gate.set_result(b"done")
        assert await waiting == b"done"
        await until(lambda: listener.connections == 1)


async def test_the_default_limits_are_etcds() -> None:
    limits = dataclasses.asdict(ServerLimits())
    assert limits["max_receive_message"] == 2_097_152
    assert limits["min_ping_interval"] == 5.0
    assert limits["permit_idle_pings"] is False
    assert (limits["keepalive_time"], limits["keepalive_timeout"]) == (7200.0, 20.0)


def conversation() -> bytes:
    """What a lively client sends."""
    machine = Connection(client=True)
    machine.start()
    for method, body in (("Echo", b"hi"), ("Chat", b"hello"), ("Count", b"3"), ("Fail", b"late"), ("No", b"")):
        stream_id = machine.open_stream(request_headers(method, (b"grpc-timeout", b"5S"), (b"x-bin", b"AAE")), False)
        machine.send_data(stream_id, frame(body), method != "Chat")
    machine.ping(b"12345678")
    machine.reset_stream(3, ErrorCode.CANCEL)
    return machine.output()


@pytest.mark.parametrize("seed", range(4))
async def test_bytes_gone_wrong_harm_nobody_else(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(seed)
    good = conversation()
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        for _ in range(60):
            data = bytearray(good)
            for _ in range(dice.randrange(1, 6)):
                place = dice.randrange(24, len(data))
                match dice.randrange(3):
                    case 0:
                        data[place] = dice.randrange(256)
                    case 1:
                        del data[place : place + dice.randrange(20)]
                    case 2:
                        data[place:place] = dice.randbytes(dice.randrange(20))
            _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(data)
            await asyncio.sleep(0)
            writer.close()
        assert await channel.unary(PREFIX + "Echo", b"fine") == b"fine"
        await until(lambda: listener.connections == 1)
    assert not caplog.records, f"seed {seed}"
