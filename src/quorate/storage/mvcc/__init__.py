"""Keys at revisions: every change is kept, every past state can be read until it is compacted away.

What it knows: revisions, keys and their generations, compaction, hashes, watchers. What it refuses to know: who asks,
what a quorum is, when a lease expires, where rows rest, and what time it is.

    txn, apply ──► Store / WriteTxn ──► KeyIndex   key -> its revisions      in memory, ordered by key
    watches    ──► WatchableStore         │
                                          ▼
                                        rows       revision -> KeyValue      bucket `key` of a backend

A write transaction takes one main revision; its changes are numbered by sub from 0. A row is keyed by
`main (8 bytes) _ sub (8 bytes)`, with a further `t` for a tombstone, and holds the serialized mvccpb.KeyValue that
range replies and events are joined from as it is. The index is rebuilt from the rows at start.

- `revision`    row keys and packed stamps      - `compaction`  removing history, in bites
- `rows`        KeyValue and Event by hand      - `hashes`      comparing members
- `key_index`   the index                       - `watchers`    who watches what
- `store`       reading and writing             - `watchable`   telling them, at their own pace
- `events`      a change, encoded once

Long jobs are generators that yield between bites; whoever runs them may do anything else in between. Everything is
called by one thread, and nothing may interleave with an open write transaction.

Sources: etcd's data model and watch guarantees (etcd.io, "KV API guarantees"), its rows and `meta` keys, its hash rule.
"""

from quorate.storage.mvcc.hashes import HashResult
from quorate.storage.mvcc.revision import revision_bytes
from quorate.storage.mvcc.store import LeaseAttachments, Mode, RangeResult, Rows, Store, WriteTxn
from quorate.storage.mvcc.watch_stream import STREAM_ID, WatchStream
from quorate.storage.mvcc.watchable import WatchableStore
from quorate.storage.mvcc.watchers import (
    WatchBatch,
    WatcherDuplicateId,
    WatcherRangeEmpty,
    WatchRefused,
    WatchSink,
)

__all__ = [
    "STREAM_ID",
    "HashResult",
    "LeaseAttachments",
    "Mode",
    "RangeResult",
    "Rows",
    "Store",
    "WatchBatch",
    "WatchRefused",
    "WatchSink",
    "WatchStream",
    "WatchableStore",
    "WatcherDuplicateId",
    "WatcherRangeEmpty",
    "WriteTxn",
    "revision_bytes",
]
