"""Every limit of the gRPC room, in one place. Sizes in bytes, times in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_INT32 = 2_147_483_647

MAX_SERVER_RECEIVE = 1_572_864 + 524_288
"""A request message may be etcd's default max-request-bytes plus its gRPC overhead."""

RECEIVE_AHEAD = 65_536
"""Bytes of whole messages a stream holds unread before it stops opening the peer's window."""

SOCKET_HIGH = 262_144
"""Unsent bytes in the socket's buffer that make the connection stop writing until it drains to SOCKET_LOW."""

SOCKET_LOW = 65_536

SOCKET_STALL_TIMEOUT = 20.0
"""A socket that takes no byte for so long, while bytes wait, is closed."""

STREAM_LOW = 65_536
"""A stream is drained when no more than this many of its bytes are unsent."""

MAX_PING_STRIKES = 2
"""Early pings tolerated before GOAWAY; grpc-go tolerates as many."""

IDLE_PING_INTERVAL = 7_200.0
"""Smallest distance of two pings of a client that has no call open."""

DRAIN_PING_TIMEOUT = 1.0
"""How long the final GOAWAY waits for the answer to the ping sent after the first one."""

LINGER = 1.0
"""How long a connection that has said GOAWAY may take to send its last bytes."""

HEAD_CACHE = 64
"""Decoded heads remembered on one connection, by the identity of their header block."""

BURST_CALLS = 32
"""Unary calls of one turn after which a connection writes: the server works on them while the next ones are made."""

SWEEP_PAUSE = 0.005
"""Between two looks for unary calls whose time is over: a deadline may be kept so much late."""

MAX_REFUSALS = 2
"""How often a call that the server refused unseen is tried again before its caller hears of it."""

MAX_CACHED_HEADERS = 256
"""Different request header sets a channel remembers."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server allows one connection."""

    max_receive_message: int = MAX_SERVER_RECEIVE
    min_ping_interval: float = 5.0
    """A client that pings more often is sent away with `too_many_pings`."""
    permit_idle_pings: bool = False
    """Whether a client may ping while it has no call open."""
    keepalive_time: float = 7_200.0
    """Silence after which the server pings; 0 = never."""
    keepalive_timeout: float = 20.0
    """How long it then waits for a sign of life."""
    preface_timeout: float = 20.0
    """Time from accept to the client's SETTINGS."""
    socket_stall_timeout: float = SOCKET_STALL_TIMEOUT
    window_stall_timeout: float = 300.0
    """A finished call whose reply the peer's window holds back for so long is reset."""
    max_unsent: int = 64 * 1_048_576
    """Reply bytes waiting for the peer's window above which new calls are refused (REFUSED_STREAM)."""
    max_unwritten: int = 16 * 1_048_576
    """Output waiting for the socket above which the connection is not read until it has drained."""
    slow_unary: float = math.inf
    """Seconds that a unary call may wait before the server is told of it."""


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """What a channel allows itself and its peer."""

    max_receive_message: int = MAX_INT32
    max_send_message: int = MAX_INT32
    connect_timeout: float = 20.0
    keepalive_time: float = 0.0
    """Silence after which the client pings while calls are open; 0 = never."""
    keepalive_timeout: float = 20.0
    idle_pings: bool = False
    """Whether to ping while no call is open."""
