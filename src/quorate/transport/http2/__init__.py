"""HTTP/2 as a machine: bytes in, events out; calls in, bytes out. Both sides of a connection (RFC 9113, RFC 7541).

Knows frames, header compression, flow control, stream states, and how a hostile peer looks. Refuses to know sockets,
clocks, TLS and what a request means: gRPC is the room next door.

```
            receive(bytes) -> [events]                      output() -> bytes
socket ──────────────► Connection ── HeadersReceived ──► edge ── send_headers … ──► Connection ───────► socket
                        Receiver  ── DataReceived                send_data           Sender
                        Decoder                                  send_unary_replies  Encoder
```

The edge's part, which needs a clock or a socket:

- call `receive` once per read and write `output()` once per turn; after each look at `closed`: when set, write, then
  close the socket. `drained` says the same of a graceful `go_away`.
- `acknowledge` DATA of streams that go on, or the peer's window stays shut. A request that ends with its DATA needs
  none.
- when the socket takes no more, stop reading from it: what is read is answered into a buffer the peer does not empty.
- give `pending()` a time: DATA behind windows that the peer never opens waits for ever (up to `Limits.max_pending`).
- judge `PingReceived` by the clock (gRPC's `too_many_pings`), and answer with `go_away`.

Most unary calls come in one piece. An edge that wants to hear of them so makes its machine `whole`: RequestsReceived
and RepliesReceived then stand for the two and three events of each such call, all in one where calls with the same
headers follow each other, and `send_unary_request` is the client's `send_unary_replies`.

Header tuples are identities: keep the tuples that you send often (`send_unary_replies` is at full speed from their
third use on), and expect the same tuple for a block that the peer repeats.

Faults of the peer are answered with the code the RFC names: a stream error with RST_STREAM (`StreamReset`, not
`remote`), a connection error with GOAWAY (`ConnectionClosed`). Floods end with ENHANCE_YOUR_CALM; every bound is in
`limits`. Without a clock, floods are told from use by what useful work stands against them: streams that end well
pay for streams that were reset, and content pays for frames without any.
"""

from quorate.transport.http2.connection import Connection
from quorate.transport.http2.errors import (
    ErrorCode,
    GoingAwayError,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    TooManyStreamsError,
)
from quorate.transport.http2.events import (
    ConnectionClosed,
    DataReceived,
    Event,
    GoAwayReceived,
    Headers,
    HeadersReceived,
    PingAcked,
    PingReceived,
    RepliesReceived,
    RequestsReceived,
    SettingsReceived,
    StreamReset,
    StreamWindow,
)
from quorate.transport.http2.frames import PREFACE
from quorate.transport.http2.limits import Limits

__all__ = [
    "PREFACE",
    "Connection",
    "ConnectionClosed",
    "DataReceived",
    "ErrorCode",
    "Event",
    "GoAwayReceived",
    "GoingAwayError",
    "Headers",
    "HeadersReceived",
    "Limits",
    "LocalProtocolError",
    "PingAcked",
    "PingReceived",
    "ProtocolError",
    "RemoteProtocolError",
    "RepliesReceived",
    "RequestsReceived",
    "SettingsReceived",
    "StreamReset",
    "StreamWindow",
    "TooManyStreamsError",
]
