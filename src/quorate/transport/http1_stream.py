"""A caller's stream over HTTP/1: a request whose answer lasts, and is taken as it comes.

h11 reads the head. From then on the connection is taken apart by hand: no task and no event object lie between the
socket and who waits for the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import h11

from quorate.transport.chunked import ChunkDecoder, PlainDecoder
from quorate.transport.http1_exchange import HEAD_LIMIT, fields
from quorate.transport.sockets import notice_dead_peer, peer_name
from quorate.transport.web import Fields, HttpError, find_header

REFUSAL_LIMIT = 65_536
"""Bytes kept of the body of an answer that is no stream; what is longer is cut."""


class ClientStream(asyncio.Protocol):
    """The caller's end of a stream. Its status and headers are known when `HttpClient.stream` returns it."""

    def __init__(
        self,
        head: h11.Request,
        received: Callable[[bytes], None],
        closed: Callable[[Exception | None], None],
        on_close: Callable[[ClientStream], None],
    ) -> None:
        self.status = 0
        self.headers: Fields = ()
        self.reply = b""
        """The body, when the status is not 200."""
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is known whether there is a stream."""
        self._request = head
        self._received = received
        self._closed = closed
        self._on_close = on_close
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        self._decoder: ChunkDecoder | PlainDecoder | None = None
        self._ended = self._abandoned = False
        self._outcome: Exception | None = None

    @property
    def peer(self) -> str:
        """`host:port` of the other end."""
        return peer_name(self.transport)

    def header(self, name: str) -> str | None:
        """First value of a header of the answer, whatever the case of its name, or None."""
        return find_header(self.headers, name)

    def close(self) -> None:
        """Hang up: nothing more is received, and `closed` is called with None."""
        self._end(None)

    def abandon(self) -> None:
        """Hang up and tell nobody: it was given up before it was known."""
        self._abandoned = True
        self._end(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        notice_dead_peer(transport)
        self.transport.write((self._h11.send(self._request) or b"") + (self._h11.send(h11.EndOfMessage()) or b""))

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        if self._decoder is None:
            self._h11.receive_data(data)
            self._read_head()
        else:
            self._feed(data)

    def eof_received(self) -> bool:
        if self._ended:
            return False
        if self._decoder is None:
            self._h11.receive_data(b"")
            self._read_head()
        elif self._decoder.at_end():
            self._end(None)
        else:
            self._end(HttpError("stream ended midway"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self._end(exc or HttpError("connection ended before the answer did"))
        self._on_close(self)
        if self._decoder is not None and not self._abandoned:
            self._closed(self._outcome)

    def _read_head(self) -> None:
        """Take events until a stream begins, or until another answer is whole."""
        while not self._ended:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._end(HttpError(f"malformed answer: {error}"))
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                self.status = event.status_code
                self.headers = fields(event)
                if self.status == 200:
                    self._open()
                    return
            elif isinstance(event, h11.Data):
                self.reply = (self.reply + event.data)[:REFUSAL_LIMIT]
                if len(self.reply) == REFUSAL_LIMIT:
                    self._end(None)
            elif isinstance(event, h11.EndOfMessage):
                self._end(None)
            elif isinstance(event, h11.ConnectionClosed):
                self._end(HttpError("connection ended before the answer did"))

    def _open(self) -> None:
        """The answer is a stream: h11 gives up what it has of it."""
        length = self.header("content-length")
        if self.header("transfer-encoding") is not None:
            self._decoder = ChunkDecoder()
        else:
            self._decoder = PlainDecoder(None if length is None else int(length))
        self._settle(None)
        self._feed(self._h11.trailing_data[0])

    def _feed(self, data: bytes) -> None:
        assert self._decoder is not None
        try:
            if body := self._decoder.feed(data):
                self._received(body)
        except Exception as error:
            self._end(error)
            return
        if self._decoder.done:
            self._end(None)

    def _end(self, outcome: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._outcome = outcome
        self._settle(outcome)
        self.transport.abort()

    def _settle(self, error: Exception | None) -> None:
        if self.opened.done():
            return
        if error is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(error)
            # Nobody may be waiting any more; that is no news for the loop's log.
            self.opened.exception()
