"""Propose, agree, persist, apply, answer: the only room that waits for others.

    v3rpc ──► Server.propose ──► RaftLoop ──► WAL thread ──► committed ──► Applier ──► waiter
          ──► Server.read_barrier ──► Reads ──► RaftLoop ──► confirmed index applied

- `config`      what a member must be told to run
- `bootstrap`   data directory ──► state, for a new member and for a restarted one
- `join`        the cluster that a new member belongs to; `force`  going on alone
- `member`      the server itself; `agreement`  the part of it that deals with the log; `clock`  its ticks
- `raft_loop`   turns what raft wants (`Ready`) into WAL writes, messages and applied entries, once per loop turn
- `node`        raft's settings; `leadership`  who leads, and who wants to know
- `proposals`   who waits for which entry; `timeouts`  why one was not answered in time
- `reads`       linearizable reads, one round per turn for all of them
- `state`       what is applied, and how entries change it
- `peers`       links to the other members; `peer_calls`  what members ask each other beside raft
- `snapshots`   the whole state on its way between members; `snapshot_files`  and as files; `backups`  for a client
- `members`     changes of the members; `versions`  what the cluster agrees to be; `transfer`  of leadership
- `leases`      renewal, expiry and checkpoints; `leader_watch`  calls that end without a leader
- `corruption`  comparing hashes with the others
- `offline`     work on the files of a member that does not run
- `world`       what of the machine a simulator stands in for
- `jobs`        long jobs in bites; `compactor`  compaction that nobody asked for
- `logs`        raft snapshots and log compaction
- `apply_times` `log_times` `compactions` `heartbeats`  what is measured on the way, for whoever watches the member
- `space`       the NOSPACE alarm; `watch_sync`  watchers that lag behind

Everything runs on one event loop; only the WAL and the backend have a thread each. Refuses to know gRPC methods, URLs
and flags. The first error that could make members differ, and any error of a disk, stops the member (`Server.failed`).
"""

from quorate.server.config import ServerConfig
from quorate.server.member import Server
from quorate.server.peers import MemberRemoved

__all__ = ["MemberRemoved", "Server", "ServerConfig"]
