"""Windows both ways (RFC 9113 §5.2, §6.9)."""

from __future__ import annotations

import pytest
from http2_wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    REQUEST,
    RESPONSE,
    RST_STREAM,
    SETTINGS,
    TRAILERS,
    WINDOW_UPDATE,
    Frame,
    client,
    closed_with,
    frame,
    headers,
    parse,
    refused_with,
    reset_with,
    server,
    setting,
    talk,
    word,
)

from quorate.transport.http2 import (
    Connection,
    ConnectionClosed,
    DataReceived,
    ErrorCode,
    HeadersReceived,
    Limits,
    SettingsReceived,
    StreamWindow,
)

SMALL = Limits(stream_window=1000, connection_window=100_000)


def bodies(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for piece in parse(data):
        if piece.kind == DATA:
            found[piece.stream_id] = found.get(piece.stream_id, b"") + piece.payload
    return found


def serving(*stream_ids: int, peer_settings: bytes = b"", limits: Limits | None = None) -> Connection:
    """A server with these streams open and response headers sent."""
    machine = server(limits, peer_settings)
    for stream_id in stream_ids:
        machine.receive(headers(stream_id, END_HEADERS | END_STREAM))
        machine.send_headers(stream_id, RESPONSE, False)
    machine.output()
    return machine


def test_data_waits_for_the_streams_window() -> None:
    machine = serving(1, peer_settings=setting(4, 10))
    machine.send_data(1, b"0123456789abcdef", False)
    machine.send_headers(1, TRAILERS, True)
    assert bodies(machine.output()) == {1: b"0123456789"}
    assert machine.pending() == machine.pending_of(1) == 6
    machine.receive(frame(WINDOW_UPDATE, 0, 1, word(2)))
    assert bodies(machine.output()) == {1: b"ab"}
    machine.receive(frame(WINDOW_UPDATE, 0, 1, word(100)))
    sent = parse(machine.output())
    assert [(piece.kind, piece.flags & END_STREAM) for piece in sent] == [(DATA, 0), (HEADERS, END_STREAM)]
    assert machine.pending() == 0


def test_data_waits_for_the_connections_window_and_streams_share_it() -> None:
    machine = serving(1, 3, 5, peer_settings=setting(4, 1 << 20))
    for stream_id in (1, 3, 5):
        machine.send_data(stream_id, bytes(60_000), True)
    first = bodies(machine.output())
    assert sum(map(len, first.values())) == 65_535
    assert machine.pending() == 180_000 - 65_535
    machine.receive(frame(WINDOW_UPDATE, 0, 0, word(3 * 16_384)))
    second = bodies(machine.output())
    assert {stream_id: len(body) for stream_id, body in second.items()} == {3: 16_384 * 2, 5: 16_384}
    machine.receive(frame(WINDOW_UPDATE, 0, 0, word(1 << 20)))
    third = parse(machine.output())
    assert [piece.stream_id for piece in third if piece.flags & END_STREAM] == [3, 5]
    assert machine.pending() == 0 and not machine._streams and not machine._ready


def test_one_frame_is_never_larger_than_the_peer_takes() -> None:
    machine = serving(1, peer_settings=setting(4, 1 << 20) + setting(5, 20_000))
    machine.send_data(1, bytes(50_000), True)
    assert [len(piece.payload) for piece in parse(machine.output())] == [20_000, 20_000, 10_000]


def test_a_changed_initial_window_moves_open_streams_below_zero_too() -> None:
    machine = serving(1, peer_settings=setting(4, 100))
    machine.send_data(1, bytes(150), False)
    assert len(bodies(machine.output())[1]) == 100
    machine.receive(frame(SETTINGS, 0, 0, setting(4, 30)))  # window: -70
    machine.receive(frame(WINDOW_UPDATE, 0, 1, word(70)))
    assert bodies(machine.output()) == {}
    machine.receive(frame(SETTINGS, 0, 0, setting(4, 50)))
    assert len(bodies(machine.output())[1]) == 20


def test_the_end_of_a_stream_needs_no_window() -> None:
    machine = serving(1, peer_settings=setting(4, 100))
    machine.send_data(1, bytes(100), False)
    machine.receive(frame(SETTINGS, 0, 0, setting(4, 0)))
    machine.output()
    machine.send_data(1, b"", True)
    assert parse(machine.output()) == [Frame(DATA, END_STREAM, 1, b"")]


def test_queued_empty_data_keeps_its_place() -> None:
    machine = serving(1, peer_settings=setting(4, 1))
    machine.send_data(1, b"ab", False)
    machine.send_data(1, b"", True)
    machine.output()
    machine.receive(frame(WINDOW_UPDATE, 0, 1, word(1)))
    assert parse(machine.output()) == [Frame(DATA, 0, 1, b"b"), Frame(DATA, END_STREAM, 1, b"")]


def test_a_unary_reply_that_finds_no_window_waits_whole() -> None:
    machine = server(peer_settings=setting(4, 3))
    machine.receive(b"".join(headers(stream_id, END_HEADERS | END_STREAM) for stream_id in (1, 3, 5)))
    for stream_id in (1, 3, 5):
        machine.send_unary_replies([stream_id], RESPONSE, [b"answer"], TRAILERS)
    assert bodies(machine.output()) == {1: b"ans", 3: b"ans", 5: b"ans"}
    machine.receive(frame(WINDOW_UPDATE, 0, 5, word(3)))
    sent = parse(machine.output())
    assert [(piece.stream_id, piece.kind, piece.flags & END_STREAM) for piece in sent] == [
        (5, DATA, 0),
        (5, HEADERS, END_STREAM),
    ]


def test_draining_to_the_low_mark_is_told_once() -> None:
    machine = serving(1, peer_settings=setting(4, 0), limits=Limits(low_mark=10))
    machine.send_data(1, bytes(30), False)
    assert machine.receive(frame(WINDOW_UPDATE, 0, 1, word(19))) == []
    assert machine.receive(frame(WINDOW_UPDATE, 0, 1, word(1))) == [StreamWindow(1)]
    assert machine.receive(frame(WINDOW_UPDATE, 0, 1, word(100))) == []
    machine.receive(frame(SETTINGS, 0, 0, setting(4, 0)))
    machine.send_data(1, bytes(500), False)
    assert machine.receive(frame(SETTINGS, 0, 0, setting(4, 1000))) == [StreamWindow(1), SettingsReceived({4: 1000})]


def test_output_that_nobody_lets_through_is_bounded() -> None:
    machine = serving(1, 3, peer_settings=setting(4, 0), limits=Limits(max_pending=1000))
    machine.send_data(1, bytes(600), False)
    machine.send_data(3, bytes(600), False)
    assert machine.closed is None and machine.pending() == 1200
    machine.send_data(1, b"more", False)
    assert machine.pending() == machine.pending_of(1) == 0
    assert isinstance(machine.closed, ConnectionClosed)
    machine.send_data(3, b"more", False)
    assert closed_with(machine, machine.receive(b""), ErrorCode.ENHANCE_YOUR_CALM)


def test_a_stalled_streams_output_is_freed_by_its_reset() -> None:
    machine = serving(1, 3, peer_settings=setting(4, 0))
    machine.send_data(1, bytes(600), False)
    machine.send_data(3, bytes(60), False)
    machine.reset_stream(1, ErrorCode.CANCEL)
    assert machine.pending() == 60
    machine.receive(frame(WINDOW_UPDATE, 0, 3, word(60)))
    assert bodies(machine.output()) == {3: bytes(60)}


def test_taken_data_is_granted_again_in_large_steps() -> None:
    machine = server(SMALL)
    machine.receive(headers(1) + frame(DATA, 0, 1, bytes(900)))
    assert machine.output() == b""
    machine.acknowledge(1, 400)
    assert machine.output() == b""
    machine.acknowledge(1, 200)
    assert parse(machine.output()) == [Frame(WINDOW_UPDATE, 0, 1, word(600))]
    machine.acknowledge(1, 10_000)  # no more than came
    assert machine.receive(frame(DATA, 0, 1, bytes(700))) == [DataReceived(1, bytes(700), False)]


def test_padding_is_granted_again_by_itself() -> None:
    machine = server(SMALL)
    machine.receive(headers(1) + frame(DATA, PADDED, 1, b"\xff" + b"x" + bytes(255)) * 2)
    machine.acknowledge(1, 2)
    assert parse(machine.output()) == [Frame(WINDOW_UPDATE, 0, 1, word(512))]


@pytest.mark.parametrize("end", ["ended", "reset by the peer", "reset by us", "faulty"])
def test_what_a_finished_stream_held_is_granted_to_the_connection(end: str) -> None:
    machine = server(Limits(stream_window=20_000, connection_window=70_000))
    taken = 0
    for stream_id in range(1, 200, 2):
        machine.receive(headers(stream_id) + frame(DATA, 0, stream_id, bytes(9_000)))
        if end == "ended":
            machine.receive(frame(DATA, END_STREAM, stream_id, bytes(1_000)))
            machine.acknowledge(stream_id, 10_000)  # harmless
        elif end == "reset by the peer":
            machine.receive(frame(RST_STREAM, 0, stream_id, word(8)))
        elif end == "reset by us":
            machine.reset_stream(stream_id, ErrorCode.CANCEL)
            machine.receive(frame(DATA, END_STREAM, stream_id, bytes(1_000)))
        else:
            machine.receive(frame(WINDOW_UPDATE, 0, stream_id, word(0)))
        for piece in parse(machine.output()):
            if piece.kind == WINDOW_UPDATE:
                assert piece.stream_id == 0
                taken += int.from_bytes(piece.payload, "big")
    assert machine.closed is None
    assert taken >= 100 * 9_000 - 35_000


def test_data_beyond_a_streams_window_resets_it() -> None:
    machine = server(SMALL)
    events = machine.receive(headers(1) + frame(DATA, 0, 1, bytes(600)) + frame(DATA, 0, 1, bytes(401)))
    assert reset_with(machine, events, 1, ErrorCode.FLOW_CONTROL_ERROR)


def test_data_beyond_the_connections_window_ends_it() -> None:
    machine = server(Limits(stream_window=1 << 20, connection_window=70_000))
    events = machine.receive(headers(1) + frame(DATA, 0, 1, bytes(16_384)) * 4)
    assert machine.closed is None
    events = machine.receive(frame(DATA, 0, 1, bytes(16_384)))
    assert closed_with(machine, events, ErrorCode.FLOW_CONTROL_ERROR)


def test_a_window_update_of_zero_is_a_protocol_error() -> None:
    machine = serving(1)
    events = machine.receive(frame(WINDOW_UPDATE, 0, 1, word(1 << 31)))  # the reserved bit does not count
    assert reset_with(machine, events, 1, ErrorCode.PROTOCOL_ERROR)
    assert closed_with(machine, machine.receive(frame(WINDOW_UPDATE, 0, 0, word(0))), ErrorCode.PROTOCOL_ERROR)


def test_a_window_above_31_bits_is_a_flow_control_error() -> None:
    machine = serving(1)
    assert machine.receive(frame(WINDOW_UPDATE, 0, 1, word(2**31 - 1 - 65_535))) == []
    events = machine.receive(frame(WINDOW_UPDATE, 0, 1, word(1)))
    assert reset_with(machine, events, 1, ErrorCode.FLOW_CONTROL_ERROR)
    assert machine.receive(frame(WINDOW_UPDATE, 0, 0, word(2**31 - 1 - 65_535))) == []
    events = machine.receive(frame(WINDOW_UPDATE, 0, 0, word(1)))
    assert closed_with(machine, events, ErrorCode.FLOW_CONTROL_ERROR)


def test_settings_that_lift_a_streams_window_above_31_bits_are_a_flow_control_error() -> None:
    machine = serving(1)
    machine.receive(frame(WINDOW_UPDATE, 0, 1, word(2**31 - 1 - 65_535)))
    events = machine.receive(frame(SETTINGS, 0, 0, setting(4, 65_536)))
    assert closed_with(machine, events, ErrorCode.FLOW_CONTROL_ERROR)


def test_settings_may_lift_windows_again_when_the_wide_stream_is_gone() -> None:
    machine = serving(1, 3)
    machine.receive(frame(WINDOW_UPDATE, 0, 1, word(2**31 - 1 - 65_535)) + frame(RST_STREAM, 0, 1, word(8)))
    assert machine.receive(frame(SETTINGS, 0, 0, setting(4, 2**31 - 1))) == [SettingsReceived({4: 2**31 - 1})]


def test_a_window_update_for_a_stream_that_has_ended_is_ignored() -> None:
    machine = serving(1)
    machine.send_headers(1, TRAILERS, True)
    machine.output()
    assert machine.receive(frame(WINDOW_UPDATE, 0, 1, word(0)) + frame(WINDOW_UPDATE, 0, 1, word(5))) == []
    assert machine.output() == b""


def test_data_after_the_window_of_a_refused_stream_is_paid_back() -> None:
    machine = server(Limits(max_concurrent_streams=1, connection_window=70_000))
    machine.receive(headers(1) + headers(3))
    assert refused_with(machine, 3, ErrorCode.REFUSED_STREAM)
    for _ in range(20):
        assert machine.receive(frame(DATA, 0, 3, bytes(10_000))) == []
    assert machine.closed is None


def test_a_large_body_passes_through_small_windows() -> None:
    limits = Limits(stream_window=3_000, connection_window=66_000)
    left, right = client(), server(limits)
    left.receive(frame(SETTINGS, 0, 0, setting(4, 3_000)))
    left.open_stream(REQUEST, False)
    body = bytes(range(256)) * 1000
    left.send_data(1, body, True)
    got = b""
    while left._streams[1].queue is not None or not got:
        _, events = talk(left, right)
        assert events, "stalled"
        for event in events:
            if isinstance(event, DataReceived):
                got += event.data
                right.acknowledge(1, len(event.data))
            else:
                assert isinstance(event, HeadersReceived)
    got += b"".join(event.data for event in talk(left, right)[1] if isinstance(event, DataReceived))
    assert got == body
