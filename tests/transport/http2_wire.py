"""Raw frames for the tests of transport.http2: written and read without the code under test."""

from __future__ import annotations

import struct
from typing import NamedTuple

from hpack import Encoder

from quorate.transport.http2 import Connection, ConnectionClosed, ErrorCode, Event, Headers, Limits, StreamReset

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x1, 0x4, 0x8, 0x20

REQUEST: Headers = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/etcdserverpb.KV/Put"),
    (b":authority", b"127.0.0.1:2379"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)
RESPONSE: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS: Headers = ((b"grpc-status", b"0"), (b"grpc-message", b""))


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


def setting(key: int, value: int) -> bytes:
    return struct.pack(">HI", key, value)


def word(value: int) -> bytes:
    return struct.pack(">I", value)


def block(headers: Headers = REQUEST) -> bytes:
    """A block that needs no table: an encoder of its own, all literals the first time."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return b"".join(encoder.add(field, True) for field in headers)


def headers(stream_id: int, flags: int = END_HEADERS, fields: Headers = REQUEST) -> bytes:
    return frame(HEADERS, flags, stream_id, block(fields))


def parse(data: bytes) -> list[Frame]:
    if data.startswith(PREFACE):
        data = data[len(PREFACE) :]
    found = []
    while data:
        length = int.from_bytes(data[:3], "big")
        kind, flags, stream_id = struct.unpack(">BBI", data[3:9])
        assert len(data) >= 9 + length, "output ends inside a frame"
        found.append(Frame(kind, flags, stream_id, data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def server(limits: Limits | None = None, peer_settings: bytes = b"") -> Connection:
    """A server that has been greeted and whose first output is out of the way."""
    machine = Connection(client=False, limits=limits or Limits())
    machine.start()
    machine.receive(PREFACE + frame(SETTINGS, 0, 0, peer_settings) + frame(SETTINGS, ACK))
    machine.output()
    return machine


def client(limits: Limits | None = None, peer_settings: bytes = b"") -> Connection:
    machine = Connection(client=True, limits=limits or Limits())
    machine.start()
    machine.receive(frame(SETTINGS, 0, 0, peer_settings) + frame(SETTINGS, ACK))
    machine.output()
    return machine


def closed_with(machine: Connection, events: list[Event], code: ErrorCode) -> bool:
    """The connection has ended with one GOAWAY of this code, told by event and by property, and stays silent."""
    ends = [event for event in events if isinstance(event, ConnectionClosed)]
    assert ends == [machine.closed], (events, machine.closed)
    assert ends[0].code == code, ends
    last = parse(machine.output())[-1]
    assert last.kind == GOAWAY
    assert struct.unpack(">I", last.payload[4:8])[0] == code
    assert last.payload[8:].decode() == ends[0].reason
    assert machine.receive(frame(PING, 0, 0, bytes(8))) == []
    assert machine.output() == b""
    return True


def reset_with(machine: Connection, events: list[Event], stream_id: int, code: ErrorCode) -> bool:
    """The stream was told as reset by us, one RST_STREAM of this code went out, and the connection lives."""
    assert StreamReset(stream_id, code, False) in events, events
    return refused_with(machine, stream_id, code)


def refused_with(machine: Connection, stream_id: int, code: ErrorCode) -> bool:
    """One RST_STREAM of this code went out, and the connection lives."""
    resets = [found for found in parse(machine.output()) if found.kind == RST_STREAM]
    assert resets == [Frame(RST_STREAM, 0, stream_id, word(code))], resets
    assert machine.closed is None
    machine.receive(frame(PING, 0, 0, b"stillon!"))
    assert parse(machine.output()) == [Frame(PING, ACK, 0, b"stillon!")]
    return True


def talk(left: Connection, right: Connection) -> tuple[list[Event], list[Event]]:
    """Carry output both ways until both are silent: what each side was told."""
    left_events: list[Event] = []
    right_events: list[Event] = []
    while True:
        forth, back = left.output(), right.output()
        if not forth and not back:
            return left_events, right_events
        right_events += right.receive(forth)
        left_events += left.receive(back)
