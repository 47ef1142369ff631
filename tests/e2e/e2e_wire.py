"""A gRPC call by hand: HTTP/2 frames that no client library would send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PATIENCE = 10.0

Headers = Sequence[tuple[str, str]]

USUAL: Headers = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/etcdserverpb.KV/Range"),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


def with_header(name: str, value: str | None) -> Headers:
    """The usual ones with one changed, added, or None for left out."""
    changed = [(n, value if n == name else v) for n, v in USUAL]
    if value is not None and name not in dict(USUAL):
        changed.append((name, value))
    return [(n, v) for n, v in changed if v is not None]


def message(body: bytes, *, flag: int = 0, size: int | None = None) -> bytes:
    """A gRPC message, with a length that may be a lie."""
    return bytes([flag]) + (len(body) if size is None else size).to_bytes(4, "big") + body


@dataclass
class Reply:
    """What came back on the one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: int | None = None
    """Error code of RST_STREAM, before the stream was at its end."""
    hung_up: bool = False
    """The connection was ended or said to end."""

    @property
    def status(self) -> tuple[str, str, int | None, bool]:
        """HTTP status, gRPC status, reset, hung up."""
        return self.headers.get(":status", ""), self.headers.get("grpc-status", ""), self.reset, self.hung_up


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Wire:
    """A connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._encoder, self._decoder = Encoder(), Decoder()
        self._pending = b""
        self._next_stream = 1
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))

    def close(self) -> None:
        self._socket.close()

    def exchange(self, headers: Headers, body: bytes) -> Reply:
        """One request on a stream of its own."""
        stream = self._next_stream
        self._next_stream += 2
        reply = Reply()
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(frame(HEADERS, END_HEADERS, stream, self._encoder.encode(headers)))
            self._socket.sendall(frame(DATA, END_STREAM, stream, body))
            while not self._take(stream, reply):
                chunk = self._socket.recv(65536)
                if not chunk:
                    break
                self._pending += chunk
            else:
                return reply
        reply.hung_up = True
        return reply

    def _take(self, stream: int, reply: Reply) -> bool:
        """Sort whole frames that have arrived; True when the stream is at its end."""
        while len(self._pending) >= 9 and len(self._pending) >= 9 + (size := int.from_bytes(self._pending[:3], "big")):
            kind, flags = self._pending[3:5]
            on = int.from_bytes(self._pending[5:9], "big")
            payload, self._pending = self._pending[9 : 9 + size], self._pending[9 + size :]
            if kind in (SETTINGS, PING) and not flags & ACK:
                self._socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind == HEADERS:
                reply.headers.update(self._decoder.decode(payload))
            elif kind == DATA:
                reply.body += payload
            elif kind == RST_STREAM and on == stream:
                reply.reset = int.from_bytes(payload, "big")
                return True
            elif kind == GOAWAY:
                reply.hung_up = True
            if on == stream and kind in (DATA, HEADERS) and flags & END_STREAM:
                return True
        return False


def exchange(port: int, headers: Headers, body: bytes, *, repeat: int = 1) -> Reply:
    """Send one request on a connection of its own, `repeat` times one after the other; the last one's reply."""
    with contextlib.closing(Wire(port)) as wire:
        for _ in range(repeat):
            reply = wire.exchange(headers, body)
        return reply
