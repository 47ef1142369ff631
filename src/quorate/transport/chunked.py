"""Bodies of answers taken apart by hand, for streams on which every message counts.

The grammar is RFC 9112 §7.1, strictly: sizes are hexadecimal digits and nothing else, lines end with CR LF. Extensions
and trailers are skipped. A decoder gets the bytes as they come and gives the body's bytes in them.
"""

from __future__ import annotations

import re

from quorate.transport.web import HttpError

SIZE_LINE_LIMIT = 512
"""Bytes of a line that says how long a chunk is, extensions and all."""

TRAILER_LIMIT = 16_384
"""Bytes of fields after the last chunk."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
_CRLF = b"\r\n"


class ChunkDecoder:
    """A chunked body. `done` after its last byte; what follows is ignored."""

    def __init__(self) -> None:
        self.done = False
        self._left = 0
        self._held = b""
        self._crlf_due = False
        self._in_trailer = False
        self._trailer = 0

    def feed(self, data: bytes) -> bytes:
        """The part of the body in `data`, maybe empty. Raises HttpError for what is no chunk."""
        if self._held:
            data = self._held + data
            self._held = b""
        pieces = []
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._crlf_due = not self._left
            elif self._crlf_due:
                at = self._after_chunk(data, at)
            elif self._in_trailer:
                at = self._skip_trailer(data, at)
            else:
                at = self._size_line(data, at)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def at_end(self) -> bool:
        """Whether the connection may end here."""
        return self.done

    def _after_chunk(self, data: bytes, at: int) -> int:
        if data.startswith(_CRLF, at):
            self._crlf_due = False
            return at + 2
        if data[at:] != b"\r":
            raise HttpError("malformed chunk: its data is longer than its size")
        return self._hold(data, at)

    def _size_line(self, data: bytes, at: int) -> int:
        line = _SIZE.match(data, at, at + SIZE_LINE_LIMIT)
        if line is not None:
            self._left = int(line[1], 16)
            self._in_trailer = not self._left
            return line.end()
        if len(data) - at >= SIZE_LINE_LIMIT or b"\n" in data[at:]:
            raise HttpError("malformed chunk size")
        return self._hold(data, at)

    def _skip_trailer(self, data: bytes, at: int) -> int:
        stop = data.find(_CRLF, at)
        self._trailer += (len(data) if stop < 0 else stop + 2) - at
        if self._trailer > TRAILER_LIMIT:
            raise HttpError("trailer too long")
        if stop < 0:
            # Held bytes are counted again when the rest of their line comes.
            self._trailer -= len(data) - at
            return self._hold(data, at)
        self.done = stop == at
        return stop + 2

    def _hold(self, data: bytes, at: int) -> int:
        self._held = data[at:]
        return len(data)


class PlainDecoder:
    """A body of `length` bytes, or (None) one that lasts as long as its connection (RFC 9112 §6.3)."""

    def __init__(self, length: int | None) -> None:
        self.done = length == 0
        self._left = length

    def feed(self, data: bytes) -> bytes:
        """The part of the body in `data`."""
        if self._left is None:
            return data
        data = data[: self._left]
        self._left -= len(data)
        self.done = not self._left
        return data

    def at_end(self) -> bool:
        """Whether the connection may end here."""
        return not self._left
