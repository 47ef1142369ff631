"""Propose, agree, persist, apply, answer: the only room that waits for others.

    v3rpc ──► Server.propose ──► RaftLoop ──► WAL thread ──► committed ──► Applier ──► waiter
          ──► Server.read_barrier ──► Reads ──► RaftLoop ──► confirmed index applied

- `config`     what a member must be told to run
- `bootstrap`  data directory ──► state, for a new member and for a restarted one
- `raft_loop`  turns what raft wants (`Ready`) into WAL writes, messages and applied entries, once per loop turn
- `proposals`  who waits for which entry
- `reads`      linearizable reads, one round per turn for all of them
- `member`     the server itself
- `state`      what is applied, and how entries change it
- `leases`     expiry and checkpoints while this member leads
- `jobs`       long jobs in bites; `compactor`  compaction that nobody asked for
- `logs`       raft snapshots and log compaction
- `space`      the NOSPACE alarm; `watch_sync`  watchers that lag behind

Everything runs on one event loop; only the WAL and the backend have a thread each. Refuses to know gRPC methods, URLs
and flags. The first error that could make members differ, and any error of a disk, stops the member (`Server.failed`).
"""

from quorate.server.config import ServerConfig
from quorate.server.member import Server

__all__ = ["Server", "ServerConfig"]
