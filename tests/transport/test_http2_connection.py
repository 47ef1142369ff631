"""The ordinary life of a connection: greeting, requests, replies, pings, going away."""

from __future__ import annotations

import struct

import pytest
from http2_wire import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FLAG,
    REQUEST,
    RESPONSE,
    RST_STREAM,
    SETTINGS,
    TRAILERS,
    WINDOW_UPDATE,
    Frame,
    block,
    client,
    frame,
    headers,
    parse,
    server,
    setting,
    talk,
    word,
)

from quorate.transport.http2 import (
    Connection,
    DataReceived,
    ErrorCode,
    GoAwayReceived,
    GoingAwayError,
    HeadersReceived,
    Limits,
    LocalProtocolError,
    PingAcked,
    PingReceived,
    SettingsReceived,
    StreamReset,
    TooManyStreamsError,
)


def test_a_server_greets_with_its_limits_and_a_wide_connection_window() -> None:
    machine = Connection(client=False, limits=Limits(max_concurrent_streams=7))
    machine.start()
    settings, update = parse(machine.output())
    assert settings[:3] == (SETTINGS, 0, 0)
    assert dict(struct.iter_unpack(">HI", settings.payload)) == {3: 7, 4: 1 << 20, 6: 64 << 10}
    assert update == Frame(WINDOW_UPDATE, 0, 0, word((16 << 20) - 65_535))


def test_a_client_greets_with_the_preface_and_forbids_push() -> None:
    machine = Connection(client=True)
    machine.start()
    greeting = machine.output()
    assert greeting.startswith(PREFACE)
    assert dict(struct.iter_unpack(">HI", parse(greeting)[0].payload)) == {2: 0, 4: 1 << 20, 6: 64 << 10}


def test_settings_are_told_and_acknowledged() -> None:
    machine = Connection(client=False)
    machine.start()
    machine.output()
    told = machine.receive(PREFACE + frame(SETTINGS, 0, 0, setting(4, 99) + setting(0xABC, 1) + setting(4, 100)))
    assert told == [SettingsReceived({4: 100, 0xABC: 1})]
    assert parse(machine.output()) == [Frame(SETTINGS, ACK, 0, b"")]
    assert machine.receive(frame(SETTINGS, ACK)) == []


def test_a_greeting_may_come_byte_by_byte() -> None:
    machine = Connection(client=False)
    machine.start()
    greeting = PREFACE + frame(SETTINGS, 0, 0, setting(4, 5))
    events = [event for i in range(len(greeting)) for event in machine.receive(greeting[i : i + 1])]
    assert events == [SettingsReceived({4: 5})]


def test_a_unary_call_from_both_sides() -> None:
    left, right = Connection(client=True), Connection(client=False)
    left.start()
    right.start()
    talk(left, right)
    for stream_id in (1, 3, 5, 7):
        assert left.open_stream(REQUEST, False) == stream_id
        left.send_data(stream_id, b"question", True)
        _, events = talk(left, right)
        assert events == [HeadersReceived(stream_id, REQUEST, False), DataReceived(stream_id, b"question", True)]
        right.send_unary_replies([stream_id], RESPONSE, [b"answer"], TRAILERS)
        events, _ = talk(left, right)
        assert events == [
            HeadersReceived(stream_id, RESPONSE, False),
            DataReceived(stream_id, b"answer", False),
            HeadersReceived(stream_id, TRAILERS, True),
        ]
    assert not left._streams and not right._streams


def test_a_repeated_block_comes_as_the_same_tuple() -> None:
    left, right = Connection(client=True), Connection(client=False)
    left.start()
    right.start()
    seen = []
    for _ in range(4):
        left.open_stream(REQUEST, True)
        seen += [event.headers for event in talk(left, right)[1] if isinstance(event, HeadersReceived)]
    assert seen[1] is seen[2] is seen[3]
    assert seen[0] == seen[1] == REQUEST


def test_a_reply_is_the_same_from_the_slow_and_the_fast_path() -> None:
    fast, slow = server(), server()
    for machine in (fast, slow):
        machine.receive(b"".join(headers(stream_id, END_HEADERS | END_STREAM) for stream_id in (1, 3, 5, 7)))
    for stream_id in (1, 3, 5, 7):
        fast.send_unary_replies([stream_id], RESPONSE, [b"answer"], TRAILERS)
        slow.send_headers(stream_id, RESPONSE, False)
        slow.send_data(stream_id, b"answer", False)
        slow.send_headers(stream_id, TRAILERS, True)
        assert fast.output() == slow.output()


def test_padding_and_priority_fields_are_removed() -> None:
    machine = server()
    padded = b"\x03" + struct.pack(">IB", 0, 15) + block() + bytes(3)
    events = machine.receive(
        frame(HEADERS, END_HEADERS | PADDED | PRIORITY_FLAG, 1, padded)
        + frame(DATA, PADDED, 1, b"\x04body" + bytes(4))
        + frame(DATA, PADDED | END_STREAM, 1, b"\x00")
    )
    assert events == [HeadersReceived(1, REQUEST, False), DataReceived(1, b"body", False), DataReceived(1, b"", True)]


def test_a_block_in_continuation_frames_is_one_block() -> None:
    machine = server()
    whole = block()
    pieces = frame(HEADERS, END_STREAM, 1, whole[:3]) + frame(CONTINUATION, 0, 1, b"")
    assert machine.receive(pieces + frame(CONTINUATION, 0, 1, whole[3:9])) == []
    assert machine.receive(frame(CONTINUATION, END_HEADERS, 1, whole[9:])) == [HeadersReceived(1, REQUEST, True)]


def test_a_block_larger_than_the_peers_frames_goes_out_in_continuation_frames() -> None:
    left, right = client(), server()
    large = (*REQUEST, (b"metadata", bytes(range(33, 126)) * 400))
    left.open_stream(large, True)
    sent = left.output()
    assert [(found.kind, found.flags) for found in parse(sent)] == [
        (HEADERS, END_STREAM),
        (CONTINUATION, 0),
        (CONTINUATION, END_HEADERS),
    ]
    assert max(len(found.payload) for found in parse(sent)) == 16_384
    assert right.receive(sent) == [HeadersReceived(1, large, True)]


def test_request_trailers_end_a_stream() -> None:
    machine = server()
    events = machine.receive(
        headers(1) + frame(DATA, 0, 1, b"body") + headers(1, END_HEADERS | END_STREAM, ((b"checksum", b"1"),))
    )
    assert events[2] == HeadersReceived(1, ((b"checksum", b"1"),), True)


def test_interim_responses_are_passed_over() -> None:
    machine = client()
    machine.open_stream(REQUEST, True)
    events = machine.receive(headers(1, END_HEADERS, ((b":status", b"103"),)) + headers(1, END_HEADERS, RESPONSE))
    assert events == [HeadersReceived(1, RESPONSE, False)]


def test_priority_and_unknown_frames_are_ignored() -> None:
    machine = server()
    assert machine.receive(frame(PRIORITY, 0, 9, bytes(5)) + frame(0x77, 0xFF, 0, b"?") + frame(0x10, 0, 3)) == []
    assert machine.output() == b""


def test_unknown_flags_are_ignored() -> None:
    events = server().receive(frame(HEADERS, END_HEADERS | END_STREAM | 0xC2, 1, block()))
    assert events == [HeadersReceived(1, REQUEST, True)]


def test_the_reserved_bit_of_a_stream_id_is_ignored() -> None:
    machine = server()
    events = machine.receive(headers(1 << 31 | 1) + frame(DATA, END_STREAM, 1 << 31 | 1, b"x"))
    assert events == [HeadersReceived(1, REQUEST, False), DataReceived(1, b"x", True)]


def test_pings_are_answered_and_answers_are_told() -> None:
    machine = server()
    assert machine.receive(frame(PING, 0, 0, b"12345678")) == [PingReceived(b"12345678")]
    assert parse(machine.output()) == [Frame(PING, ACK, 0, b"12345678")]
    machine.ping(b"abcdefgh")
    assert parse(machine.output()) == [Frame(PING, 0, 0, b"abcdefgh")]
    assert machine.receive(frame(PING, ACK, 0, b"abcdefgh")) == [PingAcked(b"abcdefgh")]


def test_a_reset_by_the_peer_ends_the_stream_and_drops_its_output() -> None:
    machine = server(peer_settings=setting(4, 0))
    machine.receive(headers(1))
    machine.send_headers(1, RESPONSE, False)
    machine.send_data(1, b"waiting", False)
    assert machine.pending() == machine.pending_of(1) == 7
    assert machine.receive(frame(RST_STREAM, 0, 1, word(8))) == [StreamReset(1, ErrorCode.CANCEL, True)]
    assert machine.pending() == machine.pending_of(1) == 0


def test_a_reset_by_us_is_sent_and_late_frames_are_ignored() -> None:
    machine = server()
    machine.receive(headers(1))
    machine.reset_stream(1, ErrorCode.CANCEL)
    assert parse(machine.output()) == [Frame(RST_STREAM, 0, 1, word(8))]
    late = (
        frame(DATA, 0, 1, b"late") + headers(1, END_HEADERS | END_STREAM, TRAILERS) + frame(RST_STREAM, 0, 1, word(8))
    )
    assert machine.receive(late + frame(WINDOW_UPDATE, 0, 1, word(1))) == []
    assert machine.output() == b""


def test_a_late_header_block_still_feeds_the_compression_context() -> None:
    left, right = client(), server()
    left.open_stream(REQUEST, False)
    talk(left, right)
    right.reset_stream(1, ErrorCode.CANCEL)
    left.send_headers(1, ((b"later", b"indexed"),), True)
    right.receive(left.output())
    left.open_stream((*REQUEST, (b"later", b"indexed")), True)
    assert right.receive(left.output()) == [HeadersReceived(3, (*REQUEST, (b"later", b"indexed")), True)]


def test_sending_on_a_stream_that_has_gone_does_nothing() -> None:
    machine = server()
    machine.receive(headers(1) + frame(RST_STREAM, 0, 1, word(8)))
    machine.send_headers(1, RESPONSE, False)
    machine.send_data(1, b"x", True)
    machine.send_unary_replies([1], RESPONSE, [b"x"], TRAILERS)
    machine.reset_stream(1, ErrorCode.CANCEL)
    machine.acknowledge(1, 10)
    assert machine.output() == b""


def test_sending_out_of_order_is_the_callers_fault() -> None:
    machine = server()
    machine.receive(headers(1, END_HEADERS | END_STREAM) + headers(3))
    with pytest.raises(LocalProtocolError):
        machine.send_data(1, b"before headers", False)
    with pytest.raises(LocalProtocolError):
        machine.send_headers(9, RESPONSE, False)
    machine.send_headers(3, RESPONSE, False)
    with pytest.raises(LocalProtocolError):
        machine.send_headers(3, RESPONSE, False)
    machine.send_headers(3, TRAILERS, True)
    with pytest.raises(LocalProtocolError):
        machine.send_data(3, b"after the end", True)
    with pytest.raises(LocalProtocolError):
        machine.send_unary_replies([3], RESPONSE, [b"again"], TRAILERS)


def test_a_client_opens_no_more_streams_than_the_server_allows() -> None:
    machine = client(peer_settings=setting(3, 2))
    machine.open_stream(REQUEST, True)
    machine.open_stream(REQUEST, True)
    with pytest.raises(TooManyStreamsError):
        machine.open_stream(REQUEST, True)
    machine.receive(headers(1, END_HEADERS | END_STREAM, RESPONSE))
    assert machine.open_stream(REQUEST, True) == 5


def test_a_client_whose_ids_are_used_up_needs_another_connection() -> None:
    machine = client()
    machine._next_id = 2**31 - 1
    assert machine.open_stream(REQUEST, True) == 2**31 - 1
    with pytest.raises(GoingAwayError):
        machine.open_stream(REQUEST, True)


def test_a_graceful_drain_says_so_twice_and_lets_streams_finish() -> None:
    left, right = client(), server()
    first = left.open_stream(REQUEST, True)
    talk(left, right)
    right.go_away()
    second = left.open_stream(REQUEST, True)  # on its way when the first GOAWAY comes
    events, right_events = talk(left, right)
    assert GoAwayReceived(2**31 - 1, 0, b"") in events
    assert HeadersReceived(second, REQUEST, True) in right_events
    with pytest.raises(GoingAwayError):
        left.open_stream(REQUEST, True)
    right.go_away()
    assert talk(left, right)[0] == [GoAwayReceived(second, 0, b"")]
    for stream_id in (first, second):
        assert not right.drained and not left.drained
        right.send_unary_replies([stream_id], RESPONSE, [b"done"], TRAILERS)
        assert len(talk(left, right)[0]) == 3
    assert right.drained and left.drained
    assert right.closed is None


def test_streams_after_the_final_goaway_are_ignored() -> None:
    machine = server()
    machine.receive(headers(1))
    machine.go_away()
    machine.go_away()
    assert [found.kind for found in parse(machine.output())] == [GOAWAY, GOAWAY]
    assert machine.receive(headers(3) + frame(DATA, END_STREAM, 3, b"x") + frame(RST_STREAM, 0, 3, word(8))) == []
    assert machine.output() == b""


def test_calls_that_a_goaway_left_out_are_told_as_refused() -> None:
    machine = client()
    for _ in range(3):
        machine.open_stream(REQUEST, True)
    events = machine.receive(frame(GOAWAY, 0, 0, word(1) + word(0) + b"bye"))
    assert events == [
        GoAwayReceived(1, 0, b"bye"),
        StreamReset(3, ErrorCode.REFUSED_STREAM, True),
        StreamReset(5, ErrorCode.REFUSED_STREAM, True),
    ]
    assert machine.receive(headers(1, END_HEADERS | END_STREAM, RESPONSE)) == [HeadersReceived(1, RESPONSE, True)]
    assert machine.drained


def test_going_away_with_an_error_ends_the_connection_at_once() -> None:
    machine = server()
    machine.receive(headers(1))
    machine.go_away(ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")
    assert parse(machine.output()) == [Frame(GOAWAY, 0, 0, word(1) + word(11) + b"too_many_pings")]
    assert machine.closed == (11, "too_many_pings")
    machine.send_headers(1, RESPONSE, True)
    machine.ping(bytes(8))
    machine.go_away()
    assert machine.output() == b""
