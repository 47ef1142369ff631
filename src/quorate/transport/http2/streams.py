"""One stream: how far each side has come, its windows, its waiting output (RFC 9113 §5.1, §5.2)."""

from __future__ import annotations

from collections import deque
from typing import Final

from quorate.transport.http2.events import Headers

#: How far one side has come. Both ENDED is the closed state, and the stream is forgotten.
IDLE: Final = 0  # no headers yet
BODY: Final = 1  # headers passed: DATA and trailers may follow
ENDED: Final = 2  # END_STREAM passed


class Stream:
    """State of one open or half-closed stream.

    `credit` is what the peer has granted beyond its SETTINGS_INITIAL_WINDOW_SIZE, less what was sent: the send
    window is the sum of both, so that a change of the setting moves all windows at once (§6.9.2).
    """

    __slots__ = (
        "body_left",
        "credit",
        "ending",
        "local",
        "owed",
        "queue",
        "queued",
        "remote",
        "stream_id",
        "trailers",
        "unacked",
        "window",
    )

    def __init__(self, stream_id: int, local: int, remote: int, window: int) -> None:
        self.stream_id = stream_id
        self.local = local
        self.remote = remote
        self.window = window  # DATA the peer may still send
        self.unacked = 0  # DATA received that the consumer has not taken
        self.owed = 0  # DATA taken that no WINDOW_UPDATE has told yet
        self.body_left = -1  # of the announced content-length; -1: none announced
        self.credit = 0
        self.queue: deque[bytes | memoryview] | None = None  # output behind flow control
        self.queued = 0  # its bytes
        self.ending = False  # END_STREAM follows the queue
        self.trailers: Headers | None = None  # with these
