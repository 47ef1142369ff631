"""The wires between members: raft messages out and in, over HTTP/1.1.

It knows who the others are, which message takes which wire, how messages look there, and whether a link is up. It
refuses to know what a message means: what is lost is lost, raft is told where that is known, and sends again.

    message                 wire                                     frame (module)
    MsgApp                  GET /raft/stream/msgapp/<own id>         `msgapp`: what both ends know is left out
    others                  GET /raft/stream/message/<own id>        `messages`: size, message
    no stream, remotes      POST /raft                               a message
    MsgSnap + database      POST /raft/snapshot                      size, message, database (`snapshots`)
    is it there?            GET /raft/probing                        {"OK":true,"Now":"…"} (`probing`)

A stream is asked for by its receiver, which reads the body of the answer for as long as both live:

        this member                               the other
    Inlet ── GET ─────────────────────────────►  Handlers ─► Outlet        so four streams a pair: two kinds, two ways
    decoder ◄──── chunks, in the turn of raft ── encoder

Members compare cluster and versions first (`headers`), on every request. `Link` is what the wires to one member share:
URLs (one until it fails, then the next), up or down, counters. `Peer` puts its wires together, `Transport` all peers.
Limits and clocks are in `limits`. Nothing here waits for a peer while raft waits: what a socket does not take is held
up to a limit, then dropped.

Sources: etcd's peer protocol; RFC 9112 for what carries it.
"""

from quorate.rafthttp.errors import Refused, RemoteProtocolError, RemovedFromCluster
from quorate.rafthttp.host import Host, Identity
from quorate.rafthttp.link import Counters
from quorate.rafthttp.transport import Transport

__all__ = [
    "Counters",
    "Host",
    "Identity",
    "Refused",
    "RemoteProtocolError",
    "RemovedFromCluster",
    "Transport",
]
