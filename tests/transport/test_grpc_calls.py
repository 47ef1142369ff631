"""All kinds of calls between our client and our server."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from grpc_support import PREFIX, channel_to, outcome, serving, until

from quorate.transport.grpc import Channel, ChannelLimits, Status
from quorate.transport.http2 import Limits


async def test_a_unary_call_brings_its_reply() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        assert await channel.unary(PREFIX + "Echo", b"hello") == b"hello"
        assert await channel.unary(PREFIX + "Echo", b"") == b""
        assert await channel.unary(PREFIX + "Turns", b"slow") == b"slow"


async def test_many_calls_at_once_get_their_own_replies() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        bodies = [b"%d" % number for number in range(300)]
        calls = [channel.unary(PREFIX + method, body) for body in bodies for method in ("Echo", "Turns")]
        replies = await asyncio.gather(*calls)
        assert replies[::2] == bodies == replies[1::2]
        assert listener.connections == 1


async def test_a_handler_may_wait_for_a_future_and_others_go_on() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        waiting = [asyncio.create_task(channel.unary(PREFIX + "Wait", b"a")) for _ in range(3)]
        await until(lambda: len(service.started) == 3)
        assert await channel.unary(PREFIX + "Echo", b"meanwhile") == b"meanwhile"
        service.gate.set_result(b"!")
        assert await asyncio.gather(*waiting) == [b"a!"] * 3


async def test_large_messages_pass_both_ways() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        upload = b"u" * 1_572_864
        assert await channel.unary(PREFIX + "Echo", upload) == upload
        assert len(await channel.unary(PREFIX + "Big", b"20971520")) == 20_971_520


async def test_a_stream_of_replies_ends_with_the_handlers_return() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        stream = channel.stream(PREFIX + "Count")
        stream.send(b"5")
        stream.half_close()
        assert [message async for message in stream] == [b"0", b"1", b"2", b"3", b"4"]
        assert stream.closed


async def test_a_stream_of_replies_may_end_with_a_status() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        stream = channel.stream(PREFIX + "Count")
        stream.send(b"3")
        stream.half_close()
        assert [await stream.receive() for _ in range(3)] == [b"0", b"1", b"2"]
        assert await outcome(stream.receive()) == (9, "three is enough")
        assert await outcome(stream.receive()) == (9, "three is enough")


async def test_a_stream_of_requests_gets_one_reply() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        stream = channel.stream(PREFIX + "Sum")
        for number in range(100):
            stream.send(b"%d" % number)
        stream.half_close()
        assert await stream.receive() == b"4950"
        assert await stream.receive() is None


async def test_both_sides_talk_in_turn() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        stream = channel.stream(PREFIX + "Chat")
        for word in (b"one", b"two", b"three"):
            stream.send(word)
            assert await stream.receive() == b"you said " + word
        stream.send(b"bye")
        assert await stream.receive() is None
        stream.send(b"into the void")


async def test_large_stream_messages_pass_both_ways() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        stream = channel.stream(PREFIX + "Chat")
        for _ in range(3):
            stream.send(b"z" * 2_000_000)
        for _ in range(3):
            assert await stream.receive() == b"you said " + b"z" * 2_000_000
        stream.half_close()
        assert await stream.receive() is None


async def test_errors_of_etcd_travel_with_code_and_text() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        assert await outcome(channel.unary(PREFIX + "Fail", b"etcd")) == (3, "etcdserver: key is not provided")
        assert await outcome(channel.unary(PREFIX + "Fail", b"status")) == (7, "verboten: 100 % ä €\n")
        assert await outcome(channel.unary(PREFIX + "Fail", b"late")) == (5, "late")


async def test_a_handler_may_refuse_before_it_is_a_coroutine() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        refused = (3, "etcdserver: key is not provided")
        assert await channel.unary(PREFIX + "Guarded", b"yes") == b"yes"
        assert await outcome(channel.unary(PREFIX + "Guarded", b"no")) == refused
        assert await outcome(channel.unary(PREFIX + "Guarded", b"no" * 100_000)) == refused


async def test_a_handler_that_misbehaves_harms_its_own_call_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        assert await outcome(channel.unary(PREFIX + "Odd", b"cancelled")) == (1, "context canceled")
        assert await outcome(channel.unary(PREFIX + "Odd", b"generator")) == (13, "internal error")
        assert "may wait for asyncio futures only, not for 'something'" in caplog.text
        assert await outcome(channel.unary(PREFIX + "Odd", b"timeout")) == (13, "internal error")
        assert (await outcome(channel.unary(PREFIX + "Odd", b"stubborn", timeout=0.02)))[0] == 4
        await until(lambda: service.cancelled == ["stubborn"])
        assert await channel.unary(PREFIX + "Echo", b"ok") == b"ok"
        assert listener.connections == 1


async def test_an_unforeseen_error_is_told_to_the_log_and_not_to_the_caller(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        with caplog.at_level(logging.ERROR):
            assert await outcome(channel.unary(PREFIX + "Fail", b"crash")) == (13, "internal error")
            assert await outcome(channel.unary(PREFIX + "Fail", b"none")) == (13, "internal error")
            stream = channel.stream(PREFIX + "Chat")
            stream.send(b"crash")
            assert await outcome(stream.receive()) == (13, "internal error")
        assert "ZeroDivisionError: a secret of the server" in caplog.text
        assert [record.message for record in caplog.records] == [
            "handler of /test.Service/Fail failed",
            "handler of /test.Service/Fail failed",
            "handler of /test.Service/Chat failed",
        ]
        assert await channel.unary(PREFIX + "Echo", b"still here") == b"still here"
        assert listener.connections == 1
    assert capfd.readouterr().err == ""


async def test_metadata_reaches_the_handler() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        pairs = [("Token", "t0k"), ("blob-bin", b"\0\xff"), ("many", "1"), ("many", "2")]
        await channel.unary(PREFIX + "Echo", b"", metadata=pairs)
        stream = channel.stream(PREFIX + "Chat", metadata=pairs)
        stream.half_close()
        assert await stream.receive() is None
        for context in service.contexts:
            assert context.metadata.get("token") == "t0k"
            assert context.metadata.get_bytes("blob-bin") == b"\0\xff"
            assert context.metadata.get_all("many") == ["1", "2"]
            assert context.peer.startswith("127.0.0.1:")
            assert context.deadline is None
            assert context.extra("peername")[0] == "127.0.0.1"
        assert [context.path for context in service.contexts] == [PREFIX + "Echo", PREFIX + "Chat"]


async def test_a_deadline_ends_the_call_on_both_sides() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        exceeded = (4, "context deadline exceeded")
        assert await outcome(channel.unary(PREFIX + "Wait", b"", timeout=0.05)) == exceeded
        stream = channel.stream(PREFIX + "Hang", timeout=0.05)
        assert await outcome(stream.receive()) == exceeded
        await until(lambda: sorted(service.cancelled) == ["hang", "wait"])


async def test_a_deadline_in_time_changes_nothing() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        before = asyncio.get_running_loop().time()
        assert await channel.unary(PREFIX + "Echo", b"x", timeout=5.0) == b"x"
        assert await channel.unary(PREFIX + "Turns", b"x", timeout=5.0) == b"x"
        deadline = service.contexts[0].deadline
        assert deadline is not None
        assert 4.0 < deadline - before < 7.0


async def test_a_caller_that_gives_up_cancels_the_handler() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        call = asyncio.create_task(channel.unary(PREFIX + "Wait", b""))
        stream = channel.stream(PREFIX + "Hang")
        await until(lambda: len(service.started) == 2)
        closed: list[bool] = []
        service.streams[0].on_close = lambda: closed.append(True)
        call.cancel()
        stream.cancel()
        assert await outcome(stream.receive()) == (1, "context canceled")
        await until(lambda: sorted(service.cancelled) == ["hang", "wait"])
        assert closed == [True]
        assert service.streams[0].closed
        service.streams[0].send(b"nobody hears this")
        assert not service.gate.cancelled()
        assert await channel.unary(PREFIX + "Echo", b"ok") == b"ok"


async def test_a_lost_connection_cancels_handlers_and_fails_calls() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        stream = channel.stream(PREFIX + "Hang")
        call = asyncio.create_task(channel.unary(PREFIX + "Wait", b""))
        await until(lambda: len(service.started) == 2)
        listener.close()
        assert (await outcome(call))[0] == 14
        assert (await outcome(stream.receive()))[0] == 14
        await until(lambda: sorted(service.cancelled) == ["hang", "wait"])


async def test_unknown_services_and_methods_are_named() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        assert await outcome(channel.unary("/test.Service/No", b"")) == (
            12,
            "unknown method No for service test.Service",
        )
        assert await outcome(channel.unary("/no.Service/Echo", b"")) == (12, "unknown service no.Service")
        assert await outcome(channel.unary("/nothing", b"")) == (12, 'malformed method name: "/nothing"')
        assert (await outcome(channel.stream("/no.Service/Chat").receive()))[0] == 12


async def test_a_request_that_cannot_be_parsed_is_an_internal_error() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        wanted = (13, "grpc: error unmarshalling request: not a message")
        assert await outcome(channel.unary(PREFIX + "Echo", b"\xff")) == wanted
        for method in ("Count", "Chat"):
            stream = channel.stream(PREFIX + method)
            stream.send(b"\xff")
            stream.half_close()
            assert await outcome(stream.receive()) == wanted


async def test_messages_above_the_servers_limit_are_refused() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        wanted = (8, "grpc: received message larger than max (2097153 vs. 2097152)")
        assert await outcome(channel.unary(PREFIX + "Echo", bytes(2_097_153))) == wanted
        stream = channel.stream(PREFIX + "Chat")
        stream.send(bytes(2_097_153))
        assert await outcome(stream.receive()) == wanted
        assert len(await channel.unary(PREFIX + "Echo", bytes(2_097_152))) == 2_097_152


async def test_messages_above_the_channels_limits_are_refused() -> None:
    limits = ChannelLimits(max_receive_message=1000, max_send_message=2000)
    async with serving() as (_, listener), channel_to(listener.port, limits=limits) as channel:
        assert await outcome(channel.unary(PREFIX + "Echo", bytes(1001))) == (
            8,
            "grpc: received message larger than max (1001 vs. 1000)",
        )
        assert await outcome(channel.unary(PREFIX + "Echo", bytes(2001))) == (
            8,
            "grpc: trying to send message larger than max (2001 vs. 2000)",
        )


async def test_calls_beyond_the_servers_stream_limit_wait_their_turn() -> None:
    async with (
        serving(http2=Limits(max_concurrent_streams=2)) as (service, listener),
        channel_to(listener.port) as channel,
    ):
        assert await channel.unary(PREFIX + "Echo", b"settings are known now") != b""
        waiting = [asyncio.create_task(channel.unary(PREFIX + "Wait", b"")) for _ in range(2)]
        await until(lambda: len(service.started) == 2)
        third = asyncio.create_task(channel.unary(PREFIX + "Echo", b"third"))
        fourth = channel.stream(PREFIX + "Sum")
        fourth.send(b"4")
        fourth.half_close()
        assert await outcome(channel.unary(PREFIX + "Echo", b"", timeout=0.05)) == (4, "context deadline exceeded")
        service.gate.set_result(b"go")
        assert await asyncio.gather(*waiting) == [b"go", b"go"]
        assert await third == b"third"
        assert await fourth.receive() == b"4"


async def test_a_crowd_behind_a_small_stream_limit_gets_through() -> None:
    async with (
        serving(http2=Limits(max_concurrent_streams=3)) as (_, listener),
        channel_to(listener.port) as channel,
    ):
        await channel.unary(PREFIX + "Echo", b"settings are known now")
        calls = [asyncio.create_task(channel.unary(PREFIX + "Turns", b"%d" % n)) for n in range(300)]
        await asyncio.sleep(0)
        for call in calls[::3]:
            call.cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert [reply for reply in done if isinstance(reply, bytes)] == [b"%d" % n for n in range(300) if n % 3]


async def test_an_address_where_nobody_listens_is_unavailable() -> None:
    async with serving() as (_, listener):
        port = listener.port
    channel = Channel("127.0.0.1", port)
    code, text = await outcome(channel.unary(PREFIX + "Echo", b""))
    assert code == 14
    assert text == (
        f'connection error: desc = "transport: Error while dialing: '
        f'dial tcp 127.0.0.1:{port}: connect: connection refused"'
    )
    assert (await outcome(channel.stream(PREFIX + "Chat").receive()))[0] == 14
    await channel.close()


async def test_a_channel_connects_anew_after_the_server_came_back() -> None:
    async with serving() as (_, listener):
        port = listener.port
        channel = Channel("127.0.0.1", port)
        assert await channel.unary(PREFIX + "Echo", b"1") == b"1"
    assert (await outcome(channel.unary(PREFIX + "Echo", b"2")))[0] == 14
    from grpc_support import Service

    from quorate.transport.grpc import GrpcServer
    from quorate.transport.mux import serve

    again = await serve(("127.0.0.1", port), GrpcServer(Service().methods()), None)
    assert await channel.unary(PREFIX + "Echo", b"3") == b"3"
    await channel.close()
    again.close()


async def test_a_closed_channel_refuses_calls() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        call = asyncio.create_task(channel.unary(PREFIX + "Wait", b""))
        await until(lambda: bool(service.started))
        await channel.close()
        assert await outcome(call) == (1, "grpc: the client connection is closing")
        assert await outcome(channel.unary(PREFIX + "Echo", b"")) == (1, "grpc: the client connection is closing")
        assert (await outcome(channel.stream(PREFIX + "Chat").receive()))[0] == 1
        await until(lambda: listener.connections == 0)


async def test_a_host_that_does_not_answer_is_given_up_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with channel_to(port) as channel:
        assert await outcome(channel.unary(PREFIX + "Echo", b"", timeout=0.05)) == (4, "context deadline exceeded")
    server.close()


async def test_finished_calls_leave_nothing_behind() -> None:
    async with serving() as (_, listener), channel_to(listener.port) as channel:
        for _ in range(20):
            await channel.unary(PREFIX + "Turns", b"", timeout=60)
            stream = channel.stream(PREFIX + "Chat", timeout=60)
            stream.send(b"bye")
            assert await stream.receive() is None
        (connection,) = listener._served
        assert not connection._calls  # type: ignore[union-attr]
        assert not connection.machine._streams  # type: ignore[union-attr]
        assert channel._connection is not None
        assert not channel._connection._calls
        assert not channel._connection.machine._streams
        gc.collect()


async def test_a_status_is_an_exception_with_code_and_message() -> None:
    status = Status(5, "gone")
    assert (status.code.name, status.message, str(status)) == ("NOT_FOUND", "gone", "NOT_FOUND: gone")


async def test_streams_that_nobody_consumes_do_not_hold_up_other_calls() -> None:
    async with serving() as (service, listener), channel_to(listener.port) as channel:
        idle = [channel.stream(PREFIX + "Flood") for _ in range(20)]
        for stream in idle:
            stream.send(b"150")
            stream.half_close()
        await until(lambda: len(service.streams) == 20)
        assert len(await channel.unary(PREFIX + "Big", b"3000000", timeout=5.0)) == 3_000_000
        for stream in idle:
            assert sum([len(message) async for message in stream]) == 1_500_000
