"""Faults and floods: each is answered with the code its RFC names, and costs a bounded amount of memory."""

from __future__ import annotations

import random
import struct

import pytest
from hpack import Encoder
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
    PUSH_PROMISE,
    REQUEST,
    RESPONSE,
    RST_STREAM,
    SETTINGS,
    TRAILERS,
    WINDOW_UPDATE,
    block,
    client,
    closed_with,
    frame,
    headers,
    parse,
    refused_with,
    reset_with,
    server,
    setting,
    word,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.transport.http2 import Connection, ConnectionClosed, ErrorCode, Event, Headers, HeadersReceived, Limits
from quorate.transport.http2 import limits as bounds

E = ErrorCode


def with_stream(stream_id: int = 1, flags: int = END_HEADERS) -> Connection:
    machine = server()
    machine.receive(headers(stream_id, flags))
    return machine


# -- the greeting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"P" * 30,
        b"\x00",
        b"\x16\x03\x01\x02\x00\x01",
        PREFACE[:-1] + b"!",
        PREFACE + frame(PING, 0, 0, bytes(8)),
        PREFACE + frame(SETTINGS, ACK),
        PREFACE + headers(1),
        PREFACE + frame(GOAWAY, 0, 0, bytes(8)),
    ],
)
def test_a_greeting_that_is_none_ends_the_connection(garbage: bytes) -> None:
    machine = Connection(client=False)
    machine.start()
    assert closed_with(machine, machine.receive(garbage), E.PROTOCOL_ERROR)


def test_a_client_ends_the_connection_to_a_server_that_does_not_greet() -> None:
    machine = Connection(client=True)
    machine.start()
    assert closed_with(machine, machine.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n"), E.PROTOCOL_ERROR)


# -- faults of the connection ----------------------------------------------------------------------------------------

CONNECTION_FAULTS = {
    # §4.2 and the length rules of §6
    "a frame above the limit": (frame(DATA, 0, 1, bytes(16_385)), E.FRAME_SIZE_ERROR),
    "the head of a frame above the limit": (frame(0x55, 0, 0, bytes(1 << 20))[:9], E.FRAME_SIZE_ERROR),
    "settings cut short": (frame(SETTINGS, 0, 0, bytes(5)), E.FRAME_SIZE_ERROR),
    "settings ack with a payload": (frame(SETTINGS, ACK, 0, bytes(6)), E.FRAME_SIZE_ERROR),
    "a short ping": (frame(PING, 0, 0, bytes(7)), E.FRAME_SIZE_ERROR),
    "a long ping": (frame(PING, 0, 0, bytes(9)), E.FRAME_SIZE_ERROR),
    "a short reset": (frame(RST_STREAM, 0, 1, bytes(3)), E.FRAME_SIZE_ERROR),
    "a long window update": (frame(WINDOW_UPDATE, 0, 0, bytes(5)), E.FRAME_SIZE_ERROR),
    "a short goaway": (frame(GOAWAY, 0, 0, bytes(7)), E.FRAME_SIZE_ERROR),
    "a short priority of an idle stream": (frame(PRIORITY, 0, 7, bytes(4)), E.FRAME_SIZE_ERROR),
    "headers too short for their priority": (
        frame(HEADERS, END_HEADERS | PRIORITY_FLAG, 3, bytes(4)),
        E.FRAME_SIZE_ERROR,
    ),
    "padded data without a pad length": (frame(DATA, PADDED, 1), E.FRAME_SIZE_ERROR),
    # stream 0 and stream ids (§5.1.1, §6)
    "data on stream 0": (frame(DATA, 0, 0, b"x"), E.PROTOCOL_ERROR),
    "headers on stream 0": (headers(0), E.PROTOCOL_ERROR),
    "priority on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), E.PROTOCOL_ERROR),
    "reset of stream 0": (frame(RST_STREAM, 0, 0, bytes(4)), E.PROTOCOL_ERROR),
    "continuation on stream 0": (frame(CONTINUATION, END_HEADERS, 0, block()), E.PROTOCOL_ERROR),
    "settings on a stream": (frame(SETTINGS, 0, 1), E.PROTOCOL_ERROR),
    "ping on a stream": (frame(PING, 0, 1, bytes(8)), E.PROTOCOL_ERROR),
    "goaway on a stream": (frame(GOAWAY, 0, 1, bytes(8)), E.PROTOCOL_ERROR),
    "an even stream": (headers(2), E.PROTOCOL_ERROR),
    "a stream below an opened one": (headers(9) + headers(5), E.PROTOCOL_ERROR),
    # idle streams (§5.1)
    "data on an idle stream": (frame(DATA, 0, 3, b"x"), E.PROTOCOL_ERROR),
    "data on an even stream": (headers(9) + frame(DATA, 0, 4, b"x"), E.PROTOCOL_ERROR),
    "reset of an idle stream": (frame(RST_STREAM, 0, 3, bytes(4)), E.PROTOCOL_ERROR),
    "window update of an idle stream": (frame(WINDOW_UPDATE, 0, 3, word(1)), E.PROTOCOL_ERROR),
    # padding (§6.1, §6.2)
    "data padded beyond its end": (frame(DATA, PADDED, 1, b"\x05abcd"), E.PROTOCOL_ERROR),
    "headers padded beyond their end": (frame(HEADERS, PADDED | END_HEADERS, 3, b"\xff" + block()), E.PROTOCOL_ERROR),
    "headers padded into their priority": (
        frame(HEADERS, PADDED | PRIORITY_FLAG | END_HEADERS, 3, b"\x02" + bytes(6)),
        E.PROTOCOL_ERROR,
    ),
    # header blocks (§6.10)
    "continuation out of nothing": (frame(CONTINUATION, END_HEADERS, 1, block()), E.PROTOCOL_ERROR),
    "continuation of another stream": (headers(3, 0) + frame(CONTINUATION, 0, 5), E.PROTOCOL_ERROR),
    "ping inside a block": (headers(3, 0) + frame(PING, 0, 0, bytes(8)), E.PROTOCOL_ERROR),
    "data inside a block": (headers(3, 0) + frame(DATA, 0, 1, b"x"), E.PROTOCOL_ERROR),
    "headers inside a block": (headers(3, 0) + headers(5), E.PROTOCOL_ERROR),
    "an unknown frame inside a block": (headers(3, 0) + frame(0x66), E.PROTOCOL_ERROR),
    # settings (§6.5.2)
    "push neither on nor off": (frame(SETTINGS, 0, 0, setting(2, 2)), E.PROTOCOL_ERROR),
    "a window above 31 bits": (frame(SETTINGS, 0, 0, setting(4, 1 << 31)), E.FLOW_CONTROL_ERROR),
    "a frame limit too small": (frame(SETTINGS, 0, 0, setting(5, 16_383)), E.PROTOCOL_ERROR),
    "a frame limit too large": (frame(SETTINGS, 0, 0, setting(5, 1 << 24)), E.PROTOCOL_ERROR),
    # §8.4, §6.8
    "a push by a client": (frame(PUSH_PROMISE, END_HEADERS, 1, word(2) + block()), E.PROTOCOL_ERROR),
    "a goaway that grows": (
        frame(GOAWAY, 0, 0, word(1) + word(0)) + frame(GOAWAY, 0, 0, word(3) + word(0)),
        E.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_a_fault_of_the_connection_ends_it_with_the_right_code(name: str, chunk: int) -> None:
    data, code = CONNECTION_FAULTS[name]
    machine = with_stream()
    events: list[Event] = []
    for start in range(0, len(data), chunk):
        events += machine.receive(data[start : start + chunk])
    assert closed_with(machine, events, code)


@pytest.mark.parametrize(
    "data",
    [
        headers(3, END_HEADERS, RESPONSE),
        headers(2, END_HEADERS, RESPONSE),
        frame(DATA, 0, 3, b"x"),
        frame(SETTINGS, 0, 0, setting(2, 1)),
        frame(PUSH_PROMISE, END_HEADERS, 1, word(2) + block()),
    ],
)
def test_what_only_a_client_may_do_ends_the_connection_to_a_server(data: bytes) -> None:
    machine = client()
    machine.open_stream(REQUEST, True)
    machine.output()
    assert closed_with(machine, machine.receive(data), E.PROTOCOL_ERROR)


def test_the_goaway_names_the_last_stream_that_was_handled() -> None:
    machine = with_stream(7)
    machine.receive(frame(PING, 0, 0, b"x"))
    assert parse(machine.output())[-1].payload[:4] == word(7)


# -- faults of a stream ----------------------------------------------------------------------------------------------

STREAM_FAULTS = {
    "data after the end": (END_HEADERS | END_STREAM, frame(DATA, 0, 1, b"x"), E.STREAM_CLOSED),
    "headers after the end": (END_HEADERS | END_STREAM, headers(1, END_HEADERS | END_STREAM), E.STREAM_CLOSED),
    "trailers that do not end": (END_HEADERS, headers(1, END_HEADERS, TRAILERS), E.PROTOCOL_ERROR),
    "trailers with a pseudo-header": (END_HEADERS, headers(1, END_HEADERS | END_STREAM), E.PROTOCOL_ERROR),
    "a window update of zero": (END_HEADERS, frame(WINDOW_UPDATE, 0, 1, word(0)), E.PROTOCOL_ERROR),
    "a short priority": (END_HEADERS, frame(PRIORITY, 0, 1, bytes(4)), E.FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_a_fault_of_a_stream_resets_it_with_the_right_code(name: str) -> None:
    flags, data, code = STREAM_FAULTS[name]
    machine = with_stream(1, flags)
    assert reset_with(machine, machine.receive(data), 1, code)


def test_data_on_a_stream_that_has_ended_on_both_sides_is_answered_stream_closed() -> None:
    machine = with_stream(1, END_HEADERS | END_STREAM)
    machine.send_headers(1, RESPONSE, True)
    machine.output()
    assert machine.receive(frame(DATA, 0, 1, b"x")) == []
    assert refused_with(machine, 1, E.STREAM_CLOSED)


def test_headers_on_a_stream_that_has_ended_on_both_sides_end_the_connection() -> None:
    machine = with_stream(1, END_HEADERS | END_STREAM)
    machine.send_headers(1, RESPONSE, True)
    assert closed_with(machine, machine.receive(headers(1)), E.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("length", "data", "good"),
    [
        (b"4", frame(DATA, END_STREAM, 1, b"body"), True),
        (b"4", frame(DATA, 0, 1, b"bo") + frame(DATA, 0, 1, b"dy") + frame(DATA, END_STREAM, 1), True),
        (b"4", frame(DATA, END_STREAM, 1, b"bod"), False),
        (b"4", frame(DATA, 0, 1, b"body!"), False),
        (b"4", headers(1, END_HEADERS | END_STREAM, TRAILERS), False),
        (b"0", headers(1, END_HEADERS | END_STREAM, TRAILERS), True),
    ],
)
def test_a_body_must_be_as_long_as_its_content_length(length: bytes, data: bytes, good: bool) -> None:
    machine = server()
    machine.receive(headers(1, END_HEADERS, (*REQUEST, (b"content-length", length))))
    events = machine.receive(data)
    if good:
        assert events[-1].end_stream and machine.output() == b""  # type: ignore[union-attr]
    else:
        assert reset_with(machine, events, 1, E.PROTOCOL_ERROR)


def test_data_before_a_response_resets_the_call() -> None:
    machine = client()
    machine.open_stream(REQUEST, True)
    machine.output()
    assert reset_with(machine, machine.receive(frame(DATA, 0, 1, b"x")), 1, E.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "fields",
    [
        REQUEST,
        TRAILERS,
        ((b":status", b"20"),),
        ((b":status", b"101"),),
        ((b":status", b"2x0"),),
        (*RESPONSE, *RESPONSE),
    ],
)
def test_a_malformed_response_resets_the_call(fields: Headers) -> None:
    machine = client()
    machine.open_stream(REQUEST, True)
    machine.output()
    assert reset_with(machine, machine.receive(headers(1, END_HEADERS, fields)), 1, E.PROTOCOL_ERROR)


def test_more_streams_than_allowed_are_refused() -> None:
    machine = server(Limits(max_concurrent_streams=2))
    assert len(machine.receive(headers(1) + headers(3) + headers(5))) == 2
    assert refused_with(machine, 5, E.REFUSED_STREAM)
    machine.reset_stream(1, E.CANCEL)
    assert machine.receive(headers(7)) == [HeadersReceived(7, REQUEST, False)]


# -- compression -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        b"\x80",  # index 0 (RFC 7541 §6.1)
        b"\xbe",  # index 62 of an empty dynamic table
        b"\xff\x80\x80\x80\x80\x80\x01",  # endless integer (§5.1)
        b"\xff",  # cut inside an integer
        b"\x40\x05abc",  # cut inside a string
        b"\x7e\x01x",  # name index beyond the table
        b"\x3f\xe2\x1f",  # size update to 4097
        b"\x82\x20",  # size update after a field (§4.2)
        b"\x00\x81\xff\x01x",  # Huffman padding of eight ones (§5.2)
        b"\x00\x84\xff\xff\xff\xff\x01x",  # Huffman end of string
        b"\x00\x81\x00\x01x",  # Huffman padding of zeros
    ],
)
def test_a_block_that_cannot_be_decompressed_ends_the_connection(bad: bytes) -> None:
    machine = server()
    events = machine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, bad))
    assert closed_with(machine, events, E.COMPRESSION_ERROR)


def test_a_block_is_decompressed_even_for_a_stream_that_is_ignored() -> None:
    machine = with_stream()
    machine.reset_stream(1, E.CANCEL)
    events = machine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xbe"))
    assert closed_with(machine, events, E.COMPRESSION_ERROR)


def test_a_header_list_above_the_limit_resets_the_stream_and_keeps_the_context() -> None:
    machine = server(Limits(max_header_list=1000))
    encoder = Encoder()
    large = encoder.encode((*REQUEST, (b"name", b"v" * 900), (b"after", b"it")))
    assert machine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, large)) == []
    assert refused_with(machine, 1, E.ENHANCE_YOUR_CALM)
    later = (*REQUEST, (b"after", b"it"))
    small = encoder.encode(later)
    assert len(small) == len(later), "all indexed"
    assert machine.receive(frame(HEADERS, END_HEADERS, 3, small)) == [HeadersReceived(3, later, False)]
    events = machine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 3, encoder.encode(((b"name", b"v" * 900),) * 2)))
    assert reset_with(machine, events, 3, E.ENHANCE_YOUR_CALM)


def test_a_bomb_of_indexed_fields_is_not_kept() -> None:
    machine = server()
    planted = Encoder().encode(((b"a", b"v" * 3920),))
    machine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, block() + planted))
    assert machine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 3, block() + b"\xbe" * 16_000)) == []
    assert refused_with(machine, 3, E.ENHANCE_YOUR_CALM)
    assert not machine._decoder.blocks


def test_cached_blocks_are_bounded() -> None:
    machine = server(Limits(max_concurrent_streams=1))
    choices = [0x80 | index for index in range(15, 62)]
    rng = random.Random(7)
    for stream_id in range(1, 2 * bounds.MAX_WASTED_STREAMS, 2):
        raw = bytes(rng.choices(choices, k=rng.randrange(1, 2 * bounds.CACHED_BLOCK_BYTES)))
        machine.receive(frame(HEADERS, END_HEADERS, stream_id, raw))
    assert machine.closed is None
    assert 0 < len(machine._decoder.blocks) <= bounds.CACHED_BLOCKS
    assert max(map(len, machine._decoder.blocks)) <= bounds.CACHED_BLOCK_BYTES


# -- floods ----------------------------------------------------------------------------------------------------------


def flood(machine: Connection, piece: bytes, most: int) -> tuple[list[Event], int]:
    """Send a piece until the connection ends, taking the output each time; the last events and how many it took."""
    for count in range(1, most + 1):
        events = machine.receive(piece)
        if machine.closed is not None:
            return events, count
        machine.output()
    raise AssertionError(f"{most} pieces and the connection still stands")


def test_streams_opened_and_reset_rapidly_end_the_connection() -> None:
    machine = server()
    data = b"".join(headers(stream_id) + frame(RST_STREAM, 0, stream_id, word(8)) for stream_id in range(1, 4001, 2))
    events = machine.receive(data)
    assert sum(isinstance(event, HeadersReceived) for event in events) == bounds.MAX_WASTED_STREAMS + 1
    assert closed_with(machine, events, E.ENHANCE_YOUR_CALM)


def test_cancelled_calls_among_finished_ones_are_no_flood() -> None:
    machine = server()
    for stream_id in range(1, 12_001, 4):
        machine.receive(headers(stream_id, END_HEADERS | END_STREAM) + headers(stream_id + 2))
        machine.send_unary_replies([stream_id], RESPONSE, [b"x"], TRAILERS)
        machine.receive(frame(RST_STREAM, 0, stream_id + 2, word(8)))
        machine.output()
    assert machine.closed is None


def test_cancelled_streams_that_were_being_answered_are_no_flood() -> None:
    machine = server()
    for stream_id in range(1, 4 * bounds.MAX_WASTED_STREAMS, 2):
        machine.receive(headers(stream_id))
        machine.send_headers(stream_id, RESPONSE, False)
        machine.receive(frame(RST_STREAM, 0, stream_id, word(8)))
    assert machine.closed is None


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (END_HEADERS, lambda stream_id: frame(WINDOW_UPDATE, 0, stream_id, word(0))),
        (END_HEADERS, lambda stream_id: frame(WINDOW_UPDATE, 0, stream_id, word(2**31 - 1))),
        (END_HEADERS, lambda stream_id: frame(PRIORITY, 0, stream_id, bytes(4))),
        (END_HEADERS | END_STREAM, lambda stream_id: frame(DATA, 0, stream_id, b"x")),
        (END_HEADERS | END_STREAM, lambda stream_id: headers(stream_id)),
    ],
)
def test_resets_provoked_from_us_end_the_connection(flags: int, fault) -> None:  # type: ignore[no-untyped-def]
    machine = server()
    for stream_id in range(1, 2 * bounds.MAX_WASTED_STREAMS + 1, 2):
        machine.receive(headers(stream_id, flags) + fault(stream_id))
        machine.output()
    assert machine.closed is None
    events = machine.receive(headers(99_999, flags) + fault(99_999))
    assert closed_with(machine, events, E.ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("fields", [((b"bad", b"request"),), (*REQUEST, (b"Upper", b"case"))])
def test_malformed_requests_in_number_end_the_connection(fields: Headers) -> None:
    machine = server()
    for stream_id in range(1, 2 * bounds.MAX_WASTED_STREAMS + 1, 2):
        machine.receive(headers(stream_id, END_HEADERS, fields))
        machine.output()
    assert machine.closed is None
    assert closed_with(machine, machine.receive(headers(99_999, END_HEADERS, fields)), E.ENHANCE_YOUR_CALM)


def test_refused_streams_in_number_end_the_connection() -> None:
    machine = server(Limits(max_concurrent_streams=0))
    data = b"".join(headers(stream_id) for stream_id in range(1, 2 * bounds.MAX_WASTED_STREAMS + 3, 2))
    assert closed_with(machine, machine.receive(data), E.ENHANCE_YOUR_CALM)


def test_resets_of_streams_long_closed_end_the_connection() -> None:
    machine = with_stream(1, END_HEADERS | END_STREAM)
    machine.send_headers(1, RESPONSE, True)
    events, count = flood(machine, frame(RST_STREAM, 0, 1, word(8)), 5000)
    assert count == bounds.MAX_WASTED_STREAMS + 1
    assert closed_with(machine, events, E.ENHANCE_YOUR_CALM)


def test_a_server_that_resets_every_call_is_no_flood() -> None:
    machine = client()
    for _ in range(2 * bounds.MAX_WASTED_STREAMS):
        stream_id = machine.open_stream(REQUEST, True)
        machine.receive(frame(RST_STREAM, 0, stream_id, word(7)))
        machine.output()
    assert machine.closed is None


def test_a_flood_of_continuation_frames_ends_the_connection() -> None:
    machine = server()
    machine.receive(headers(1, 0))
    events, count = flood(machine, frame(CONTINUATION, 0, 1), 100)
    assert count == bounds.MAX_CONTINUATIONS + 1
    assert closed_with(machine, events, E.ENHANCE_YOUR_CALM)


def test_an_endless_header_block_ends_the_connection() -> None:
    machine = server()
    machine.receive(headers(1, 0))
    events, count = flood(machine, frame(CONTINUATION, 0, 1, bytes(16_384)), 100)
    assert count == bounds.MAX_HEADER_BLOCK // 16_384
    assert closed_with(machine, events, E.ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("piece", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS) + frame(DATA, 0, 1, b"x")])
def test_acknowledgements_that_are_not_fetched_are_bounded(piece: bytes) -> None:
    machine = with_stream()
    machine.output()
    events = machine.receive(piece * (bounds.MAX_QUEUED_ACKS + 1))
    assert closed_with(machine, events, E.ENHANCE_YOUR_CALM)


def test_pings_of_an_idle_connection_are_no_flood() -> None:
    machine = with_stream()
    for _ in range(5 * bounds.MAX_QUEUED_ACKS):
        machine.receive(frame(PING, 0, 0, bytes(8)))
        machine.output()
    assert machine.closed is None


@pytest.mark.parametrize(
    ("piece", "cost"),
    [
        (frame(SETTINGS, 0, 0, setting(4, 0) + setting(4, 1 << 20)), bounds.SETTINGS_COST),
        (frame(SETTINGS, ACK), bounds.SETTINGS_COST),
        (frame(DATA, 0, 1), 1),
        (frame(DATA, PADDED, 1, bytes(1)), 1),
        (frame(PRIORITY, 0, 1, bytes(5)), 1),
        (frame(0xFA, 0, 0, b"?"), 1),
        (frame(GOAWAY, 0, 0, bytes(8)), 1),
    ],
)
def test_a_flood_of_frames_without_content_ends_the_connection(piece: bytes, cost: int) -> None:
    machine = server()
    machine.receive(headers(1))
    events, count = flood(machine, piece, bounds.MAX_IDLE_FRAMES + 1)
    assert count == bounds.MAX_IDLE_FRAMES // cost + 1
    assert closed_with(machine, events, E.ENHANCE_YOUR_CALM)


def test_empty_data_among_content_is_no_flood() -> None:
    machine = with_stream()
    for _ in range(3 * bounds.MAX_IDLE_FRAMES):
        machine.receive(frame(DATA, 0, 1) + frame(DATA, 0, 1, b"x"))
    assert machine.closed is None


def test_interim_responses_without_end_are_a_flood() -> None:
    machine = client()
    machine.open_stream(REQUEST, True)
    events, _ = flood(machine, headers(1, END_HEADERS, ((b":status", b"100"),)), bounds.MAX_IDLE_FRAMES + 1)
    assert closed_with(machine, events, E.ENHANCE_YOUR_CALM)


def test_reset_streams_are_remembered_within_bounds() -> None:
    machine = server()
    last = 2 * bounds.REMEMBERED_RESETS + 2001
    for stream_id in range(1, last, 2):
        machine.receive(headers(stream_id))
        machine.reset_stream(stream_id, E.CANCEL)
        machine.output()
    assert len(machine._resets) == bounds.REMEMBERED_RESETS
    late = b"".join(frame(DATA, 0, stream_id, b"x") for stream_id in range(1, last, 2))
    assert machine.receive(late) == []
    assert machine.output() == b"" and machine.closed is None


def test_streams_after_a_goaway_cost_no_memory() -> None:
    machine = server()
    machine.go_away(last_stream_id=0)
    machine.output()
    for stream_id in range(1, 4 * bounds.REMEMBERED_RESETS, 2):
        assert machine.receive(headers(stream_id)) == []
    assert len(machine._resets) == bounds.REMEMBERED_RESETS and not machine._streams


def test_a_peer_that_asks_again_and_again_without_reading_holds_no_dead_streams() -> None:
    machine = server(peer_settings=setting(4, 1 << 20))
    machine.receive(headers(1, END_HEADERS | END_STREAM))
    machine.send_headers(1, RESPONSE, False)
    machine.send_data(1, bytes(65_535), False)  # the connection's window is used up
    for stream_id in range(3, 1003, 2):
        machine.receive(headers(stream_id, END_HEADERS | END_STREAM))
        machine.send_unary_replies([stream_id], RESPONSE, [bytes(100)], TRAILERS)
        machine.receive(frame(RST_STREAM, 0, stream_id, word(8)))
        machine.output()
    assert machine.pending() == 0 and not machine._ready and list(machine._streams) == [1]


# -- anything at all -------------------------------------------------------------------------------------------------

RAW_FRAMES = st.builds(
    frame,
    st.integers(0, 11),
    st.integers(0, 255) | st.sampled_from([0, END_STREAM, END_HEADERS, END_HEADERS | END_STREAM]),
    st.sampled_from([0, 1, 1, 2, 3, 5, 7, 9, 2**31 - 1]),
    st.binary(max_size=40) | st.sampled_from([block(), block(TRAILERS), bytes(4), word(1), bytes(8), bytes(5), b""]),
)


@settings(max_examples=300, deadline=None, print_blob=True)
@given(st.lists(RAW_FRAMES, max_size=30), st.booleans(), st.booleans())
def test_no_frames_raise_out_of_the_machine(pieces: list[bytes], as_client: bool, answering: bool) -> None:
    machine = client() if as_client else server()
    if as_client:
        for end_stream in (True, False, True):
            machine.open_stream(REQUEST, end_stream)
    for piece in pieces:
        for event in machine.receive(piece):
            if isinstance(event, HeadersReceived) and answering and not as_client:
                machine.send_unary_replies([event.stream_id], RESPONSE, [bytes(40_000)], TRAILERS)
        parse(machine.output())
        assert machine.pending() == sum(stream.queued for stream in machine._streams.values())


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_raise_out_of_the_machine(noise: bytes, greeted: bool) -> None:
    machine = server() if greeted else Connection(client=False)
    machine.receive(noise)
    machine.receive(noise)
    parse(machine.output())


@pytest.mark.parametrize("seed", range(20))
def test_no_flipped_bits_raise_out_of_the_machine(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    left = Connection(client=True)
    left.start()
    for _ in range(5):
        stream_id = left.open_stream(REQUEST, False)
        left.send_data(stream_id, rng.randbytes(rng.randrange(100)), True)
    good = bytearray(left.output())
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            bad[rng.randrange(24, len(bad))] ^= 1 << rng.randrange(8)
        machine = Connection(client=False)
        machine.start()
        events = machine.receive(bytes(bad))
        assert all(isinstance(event, tuple) for event in events)
        assert (machine.closed is not None) == any(isinstance(event, ConnectionClosed) for event in events)
        struct.unpack_from(">I", machine.output())
