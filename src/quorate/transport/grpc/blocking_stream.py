"""One call of a `BlockingChannel`: messages to send, messages to wait for, and how it ended."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from quorate.api.errors import Code
from quorate.transport.grpc.framing import MessageReader, frame
from quorate.transport.grpc.status import Status, deadline_exceeded, status_of_http, status_of_trailers

if TYPE_CHECKING:
    from quorate.transport.grpc.blocking import BlockingChannel
    from quorate.transport.http2.events import Headers

MAX_MESSAGE = 2_147_483_647


class BlockingStream:
    """A call under way: messages to send, messages to wait for."""

    def __init__(self, channel: BlockingChannel, stream_id: int, deadline: float | None) -> None:
        self.stream_id = stream_id
        self.half_closed = False
        self.ended = False
        self.headed = False
        """Whether the answer's first headers have come."""
        self.reader = MessageReader(MAX_MESSAGE)
        self._channel = channel
        self._deadline = deadline
        self._messages: deque[bytes] = deque()
        self._held = 0
        self._error: Status | None = None

    def send(self, message: bytes) -> None:
        """On a call that is over it goes nowhere."""
        self._channel.put(self, frame(message), False)

    def half_close(self) -> None:
        """No more will be sent."""
        if not self.half_closed:
            self._channel.put(self, b"", True)
            self.half_closed = True

    def receive(self, timeout: float | None = None) -> bytes | None:
        """The next message; None after the last of a call that ended well. Raises Status, and TimeoutError when
        nothing has come after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._messages:
            if self.ended:
                if self._error is not None:
                    raise self._error
                return None
            if self._held:
                held, self._held = self._held, 0
                self._channel.acknowledge(self, held)
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                self._channel.give_up(self, deadline_exceeded())
                continue
            if until is not None and now >= until:
                raise TimeoutError
            waits = [moment for moment in (self._deadline, until) if moment is not None]
            self._channel.wait(min(waits) if waits else None)
        return self._messages.popleft()

    def cancel(self) -> None:
        """Give up: the server is told to stop."""
        self._channel.give_up(self, Status(Code.CANCELLED, "context canceled"))

    def feed(self, data: bytes) -> None:
        """Bytes of the answer. Raises Status for what breaks the framing."""
        self._messages.extend(self.reader.feed(data))
        self._held += len(data)

    def end(self, error: Status | None) -> None:
        """The call is over."""
        if error is None:
            try:
                self.reader.finish()
            except Status as cut:
                error = cut
        self._error = error
        self.ended = True


def fault_of(headers: Headers, call: BlockingStream, last: bool) -> Status | None:
    """What is wrong with a block of headers, or what the trailers say; None when all is well."""
    fields = dict(headers)
    found = status_of_trailers(headers) if last else None
    if found is not None:
        return Status(*found) if found[0] != Code.OK else None
    if call.headed:
        return Status(Code.INTERNAL, "server closed the stream without sending grpc-status") if last else None
    call.headed = True
    status = fields.get(b":status", b"")
    if status != b"200":
        return status_of_http(int(status))
    if not fields.get(b"content-type", b"").startswith(b"application/grpc"):
        kind = fields.get(b"content-type", b"").decode("latin-1")
        return Status(Code.UNKNOWN, f"unexpected content-type {kind!r} from server")
    call.reader.encoding = fields.get(b"grpc-encoding", b"identity").decode("latin-1")
    return Status(Code.INTERNAL, "server closed the stream without sending grpc-status") if last else None
