"""What `Connection.receive` tells."""

from typing import NamedTuple, TypeAlias

#: A header list in order, names in lower case, pseudo-header fields first. A block that the peer repeats comes as
#: the very same tuple object, so that `is` and `id()` serve as a key.
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class HeadersReceived(NamedTuple):
    """A request, a response or trailers, checked (RFC 9113 §8). Interim (1xx) responses are not told."""

    stream_id: int
    headers: Headers
    end_stream: bool


class DataReceived(NamedTuple):
    """Bytes of the body, padding removed. `acknowledge` them when taken."""

    stream_id: int
    data: bytes
    end_stream: bool


class RequestsReceived(NamedTuple):
    """Server, if asked for: requests with the same headers, come one after the other and each in one piece, HEADERS
    and the one DATA frame that ends it."""

    headers: Headers
    stream_ids: list[int]
    bodies: list[bytes]


class RepliesReceived(NamedTuple):
    """Client, if asked for: the same of responses of one DATA frame each, with their trailers."""

    headers: Headers
    trailers: Headers
    stream_ids: list[int]
    bodies: list[bytes]


class StreamReset(NamedTuple):
    """The stream is gone: reset by the peer (`remote`), or by us for a fault of the peer.

    A call that a GOAWAY left out is told as reset by the peer with REFUSED_STREAM: it is safe to try again.
    """

    stream_id: int
    code: int
    remote: bool


class StreamWindow(NamedTuple):
    """Queued output of this stream has fallen to the low mark."""

    stream_id: int


class PingReceived(NamedTuple):
    """The acknowledgement is queued already."""

    data: bytes


class PingAcked(NamedTuple):
    data: bytes


class SettingsReceived(NamedTuple):
    """The peer's settings, by identifier; in force and acknowledged already."""

    settings: dict[int, int]


class GoAwayReceived(NamedTuple):
    """The peer takes no streams above `last_stream_id` (RFC 9113 §6.8)."""

    last_stream_id: int
    code: int
    debug: bytes


class ConnectionClosed(NamedTuple):
    """The machine has queued its GOAWAY and is done: write the output, close the socket."""

    code: int
    reason: str


Event: TypeAlias = (
    HeadersReceived
    | DataReceived
    | RequestsReceived
    | RepliesReceived
    | StreamReset
    | StreamWindow
    | PingReceived
    | PingAcked
    | SettingsReceived
    | GoAwayReceived
    | ConnectionClosed
)
