"""Calls that look alike and come in one read are answered together, and each as if it had come alone."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest
from grpc_support import PREFIX, Peer, Service, request_headers, serving, until

from quorate.transport.grpc import GrpcServer, ServerLimits
from quorate.transport.grpc.framing import frame
from quorate.transport.http2 import DataReceived, ErrorCode, Headers, HeadersReceived, StreamReset
from quorate.transport.mux import serve

HEADERS = request_headers("Alike")


@pytest.fixture
async def served() -> AsyncIterator[tuple[Service, Peer]]:
    async with serving() as (service, listener):
        peer = await Peer.connect(listener.port)
        yield service, peer
        peer.close()


async def burst(peer: Peer, bodies: list[bytes], headers: Headers = HEADERS) -> list[int]:
    """Calls in one write, of a header block that the server knows by then; their streams."""
    for _ in range(3):
        await reply_of(peer, peer.call(headers, frame(b"alone")))
    return send(peer, [frame(body) for body in bodies], headers)


def send(peer: Peer, parts: list[bytes], headers: Headers = HEADERS) -> list[int]:
    """Calls with these bytes for messages, in one write; their streams."""
    stream_ids = []
    for part in parts:
        stream_ids.append(peer.machine.open_stream(headers, False))
        peer.machine.send_data(stream_ids[-1], part, True)
    peer.flush()
    return stream_ids


async def reply_of(peer: Peer, stream_id: int) -> bytes:
    """The message of a call that ended well."""
    data: bytes = (await peer.event(DataReceived, stream_id)).data
    while (ended := await peer.event(HeadersReceived, stream_id)).end_stream is False:
        pass
    assert (b"grpc-status", b"0") in ended.headers
    return data[5:]


async def status_of(peer: Peer, stream_id: int) -> bytes:
    """The status of a call that has no message."""
    return dict((await peer.event(HeadersReceived, stream_id)).headers)[b"grpc-status"]


async def test_calls_of_one_read_are_answered_together_and_in_order(served: tuple[Service, Peer]) -> None:
    service, peer = served
    for stream_id, body in zip(await burst(peer, [b"a", b"b", b"c"]), [b"a", b"b", b"c"], strict=True):
        assert await reply_of(peer, stream_id) == b"all " + body
    assert service.groups == [[b"a", b"b", b"c"]]


async def test_a_method_may_have_each_handled_by_itself(served: tuple[Service, Peer]) -> None:
    service, peer = served
    assert [await reply_of(peer, stream_id) for stream_id in await burst(peer, [b"a", b"each"])] == [b"a", b"each"]
    assert service.groups == [[b"a", b"each"]]


async def test_an_error_is_the_answer_to_all(served: tuple[Service, Peer]) -> None:
    _, peer = served
    assert [await status_of(peer, stream_id) for stream_id in await burst(peer, [b"a", b"bad"])] == [b"3", b"3"]


async def test_a_body_that_is_no_message_harms_no_other(served: tuple[Service, Peer]) -> None:
    service, peer = served
    await burst(peer, [])
    good, bad, more = send(peer, [frame(b"a"), b"\0\0\0\0\x09short", frame(b"c")])
    assert await status_of(peer, bad) == b"13"
    assert (await reply_of(peer, good), await reply_of(peer, more)) == (b"a", b"c")
    assert service.groups == []


async def test_calls_that_wait_together_are_answered_but_for_those_that_were_given_up(
    served: tuple[Service, Peer],
) -> None:
    service, peer = served
    first, second, third = await burst(peer, [b"a", b"wait", b"c"])
    await until(lambda: bool(service.groups))
    peer.machine.reset_stream(second, ErrorCode.CANCEL)
    peer.flush()
    await reply_of(peer, peer.call(request_headers(), frame(b"behind the reset")))
    service.gate.set_result(b"")
    assert (await reply_of(peer, first), await reply_of(peer, third)) == (b"late a", b"late c")
    assert not service.cancelled


async def test_a_wait_that_all_have_given_up_is_cancelled(served: tuple[Service, Peer]) -> None:
    service, peer = served
    for stream_id in await burst(peer, [b"a", b"wait"]):
        await until(lambda: bool(service.groups))
        peer.machine.reset_stream(stream_id, ErrorCode.CANCEL)
    peer.flush()
    await until(lambda: service.cancelled == ["alike"])


async def test_a_wait_ends_with_the_connection(served: tuple[Service, Peer]) -> None:
    service, peer = served
    await burst(peer, [b"a", b"wait"])
    await until(lambda: bool(service.groups))
    peer.close()
    await until(lambda: service.cancelled == ["alike"])


async def test_a_failed_wait_is_the_failure_of_all(served: tuple[Service, Peer]) -> None:
    service, peer = served
    stream_ids = await burst(peer, [b"a", b"wait"])
    await until(lambda: bool(service.groups))
    service.gate.set_exception(ZeroDivisionError())
    assert [await status_of(peer, stream_id) for stream_id in stream_ids] == [b"13", b"13"]


async def test_the_deadline_of_calls_that_wait_together_holds(served: tuple[Service, Peer]) -> None:
    service, peer = served
    headers = request_headers("Alike", (b"grpc-timeout", b"300m"))
    stream_ids = await burst(peer, [b"a", b"wait"], headers)
    assert [await status_of(peer, stream_id) for stream_id in stream_ids] == [b"4", b"4"]
    assert service.groups == [[b"a", b"wait"]] and service.cancelled == ["alike"]


async def test_who_compresses_is_answered_compressed(served: tuple[Service, Peer]) -> None:
    _, peer = served
    headers = request_headers("Alike", (b"grpc-encoding", b"gzip"))
    replies = [await reply_of(peer, stream_id) for stream_id in await burst(peer, [b"a", b"b"], headers)]
    assert [gzip.decompress(reply) for reply in replies] == [b"all a", b"all b"]


async def test_calls_answered_together_count_and_are_timed_one_by_one() -> None:
    slow: list[float] = []
    service = Service()
    server = GrpcServer(
        service.methods(), ServerLimits(slow_unary=0.0), timed=True, slow_call=lambda _, took: slow.append(took)
    )
    listener = await serve(("127.0.0.1", 0), server, None)
    peer = await Peer.connect(listener.port)
    tally = server.tallies[PREFIX + "Alike"]
    for stream_id in await burst(peer, [b"a", b"b"]):
        await reply_of(peer, stream_id)
    assert (tally.started, tally.received_bytes, tally.sent_bytes) == (5, 3 * 5 + 2, 3 * 5 + 2 * 5)
    stream_ids = await burst(peer, [b"a", b"wait", b"c"])
    await until(lambda: len(service.groups) == 2)
    peer.machine.reset_stream(stream_ids[0], ErrorCode.CANCEL)
    peer.flush()
    await until(lambda: tally.handled(1) == 1)
    service.gate.set_result(b"")
    await reply_of(peer, stream_ids[2])
    assert (tally.started, tally.handled(0)) == (11, 10)
    assert tally.seconds is not None and tally.seconds.count == 11
    assert len(slow) == 2
    for stream_id in await burst(peer, [b"a", b"bad"]):
        await status_of(peer, stream_id)
    assert (tally.started, tally.handled(0), tally.handled(3), tally.seconds.count) == (16, 13, 2, 16)
    peer.close()
    listener.close()


async def test_calls_too_many_for_the_peers_window_are_refused() -> None:
    async with serving(ServerLimits(max_unsent=0)) as (_, listener):
        peer = await Peer.connect(listener.port)
        await burst(peer, [b"a"])
        await reply_of(peer, 7)
        blocked = peer.call(request_headers("Big"), frame(b"3000000"))
        await peer.event(DataReceived, blocked)
        for stream_id in send(peer, [frame(b"b")] * 2):
            assert (await peer.event(StreamReset, stream_id)).code == ErrorCode.REFUSED_STREAM
        peer.close()
