"""Agreement: the raft consensus machine, without input, output, clock or dice of its own.

    inputs:  tick  step(message)  propose  read_index  …
                     │
                  RawNode ── Raft: term, role, log, tracker          the verbs: election proposals replication
                     │                                               snapshots reads transfer reconfigure
    outputs: ready() → entries and state to write, messages to send, committed entries to apply, reads to serve

It knows terms, votes, logs and configurations. It refuses to know what an entry says (but for conf changes), how
messages travel, where a log is written, and what time it is: a tick is a call.

One member is one RawNode, driven from one thread. Synchronously:

    node = RawNode(Config(id=1, storage=storage, rng=rng))
    node.bootstrap([Peer(1)])                        # a new cluster; after a restart the storage is filled instead
    while node.has_ready():
        ready = node.ready()
        …                                            # write hard_state, entries, snapshot; mirror them in the storage
        …                                            # send ready.messages; apply ready.committed_entries
        node.advance()

With `async_storage_writes` there is no advance: writing and applying are messages to LOCAL_APPEND_THREAD and
LOCAL_APPLY_THREAD, whose `responses` are delivered (those to the own id by `step`) when the work is done, in order.

`invariants` says what must hold at every moment; whoever drives members in a test may ask it after each step.

Sources: Raft paper (Ongaro, Ousterhout 2014) and Raft thesis (Ongaro 2014); sections are cited where they apply.
The contract and the printed texts are those of etcd's raft, so that its scripted tests hold here too.
"""

from quorate.raft.config import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MAX_INFLIGHT_MESSAGES,
    MAX_SIZE_PER_MESSAGE,
    NO_LIMIT,
    NONE,
    Config,
    Dice,
    Logger,
    ReadOnlyOption,
)
from quorate.raft.errors import (
    EntriesCompacted,
    EntriesUnavailable,
    InvalidConfChange,
    LocalMessage,
    PeerNotFound,
    ProposalDropped,
    RaftError,
    SnapshotOutOfDate,
    SnapshotTemporarilyUnavailable,
)
from quorate.raft.progress import Progress, ProgressState
from quorate.raft.rawnode import Peer, RawNode
from quorate.raft.reads import ReadState
from quorate.raft.ready import Ready, SoftState
from quorate.raft.role import Role
from quorate.raft.status import BasicStatus, Status
from quorate.raft.storage import MemoryStorage, Storage
from quorate.raft.tracker import Membership

__all__ = [
    "LOCAL_APPEND_THREAD",
    "LOCAL_APPLY_THREAD",
    "MAX_INFLIGHT_MESSAGES",
    "MAX_SIZE_PER_MESSAGE",
    "NONE",
    "NO_LIMIT",
    "BasicStatus",
    "Config",
    "Dice",
    "EntriesCompacted",
    "EntriesUnavailable",
    "InvalidConfChange",
    "LocalMessage",
    "Logger",
    "Membership",
    "MemoryStorage",
    "Peer",
    "PeerNotFound",
    "Progress",
    "ProgressState",
    "ProposalDropped",
    "RaftError",
    "RawNode",
    "ReadOnlyOption",
    "ReadState",
    "Ready",
    "Role",
    "SnapshotOutOfDate",
    "SnapshotTemporarilyUnavailable",
    "SoftState",
    "Status",
    "Storage",
]
