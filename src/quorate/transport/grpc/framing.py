"""Messages in the byte stream of a call.

    +------------+------------------+---------------+
    | flag: 1    | length: 4, big   | message       |
    +------------+------------------+---------------+
      0 as it is, 1 compressed with the call's grpc-encoding

Source: gRPC over HTTP/2 protocol ("Length-Prefixed-Message").
"""

from __future__ import annotations

import zlib
from struct import Struct

from quorate.api.errors import Code
from quorate.transport.grpc.status import Status

_PREFIX = Struct(">BI")
PREFIX_SIZE = _PREFIX.size

pack_prefix = _PREFIX.pack


def frame(message: bytes) -> bytes:
    """A message as it is, framed."""
    return _PREFIX.pack(0, len(message)) + message


def frame_gzip(message: bytes) -> bytes:
    """A message compressed, framed. An empty one is not compressed: there is nothing to gain."""
    if not message:
        return _PREFIX.pack(0, 0)
    packer = zlib.compressobj(6, wbits=31)
    packed = packer.compress(message) + packer.flush()
    return _PREFIX.pack(1, len(packed)) + packed


class MessageReader:
    """Cuts the bytes of one call into messages. `encoding` is the call's grpc-encoding ("" when none)."""

    __slots__ = ("_buffer", "_max_size", "encoding")

    def __init__(self, max_size: int, encoding: str = "") -> None:
        self._buffer = bytearray()
        self._max_size = max_size
        self.encoding = encoding

    def feed(self, data: bytes) -> list[bytes]:
        """The messages completed by `data`. Raises Status for what breaks the framing or the size limit."""
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        start = 0
        while len(buffer) - start >= PREFIX_SIZE:
            flag, size = _PREFIX.unpack_from(buffer, start)
            self._check(flag, size)
            end = start + PREFIX_SIZE + size
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[start + PREFIX_SIZE : end])
            messages.append(gunzip(body, self._max_size) if flag else body)
            start = end
        if start:
            del buffer[:start]
        return messages

    def finish(self) -> None:
        """The bytes are over. Raises Status when they end inside a message."""
        if self._buffer:
            raise Status(Code.INTERNAL, "unexpected EOF")

    def _check(self, flag: int, size: int) -> None:
        """Judge a prefix before any of its message is kept."""
        if flag > 1:
            raise Status(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if size > self._max_size:
            raise too_large(size, self._max_size)
        if flag and self.encoding in ("", "identity"):
            raise Status(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")


def is_whole(body: bytes, limit: int) -> bool:
    """Whether the bytes are exactly one plain message with its prefix, at most `limit` bytes of both."""
    size = len(body)
    return PREFIX_SIZE <= size <= limit and body[:PREFIX_SIZE] == pack_prefix(0, size - PREFIX_SIZE)


def too_large(size: int, limit: int) -> Status:
    """The status of a message above the receiver's limit."""
    return Status(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {limit})")


def gunzip(packed: bytes, limit: int) -> bytes:
    """Bytes of a gzip file, at most `limit`. Raises Status: a small message may unpack to a huge one."""
    parts: list[bytes] = []
    room = limit
    while packed:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(packed, room + 1)
        except zlib.error as error:
            raise Status(Code.INTERNAL, f"grpc: failed to decompress the received message: {error}") from None
        room -= len(part)
        if room < 0:
            text = f"grpc: received message after decompression larger than max {limit}"
            raise Status(Code.RESOURCE_EXHAUSTED, text)
        if not unpacker.eof:
            raise Status(Code.INTERNAL, "grpc: failed to decompress the received message: unexpected EOF")
        parts.append(part)
        packed = unpacker.unused_data
    return b"".join(parts)
