"""The keeper of rows: buckets of key → value in one LMDB file, written in batches behind the log's back.

What it knows: buckets, keys, values, batches, one file and its lock. What it refuses to know: what a row means, what
an entry or a revision is, asyncio, and time beyond its own batch interval.

Nobody waits for this disk: a write is durable because the raft log is. So rows gather in memory and reach the file
some moments later, many at once:

    put / delete ─► buffer ──freeze──► frozen batch ──thread: one LMDB transaction, one fsync──► file
                       ▲                    ▲                                                      ▲
    get / scan look:   1                    2                                                      3

**Who may call.** One thread, the logic thread, calls everything here; the room's own thread only writes frozen
batches. Nothing is locked, because nothing is shared but the frozen batch, which nobody changes any more.

**Where a batch ends.** A crash leaves the file at the end of some batch, so a batch must never end inside an entry:
half of the entry's rows with its index, or the rows without it, would be applied wrongly for ever (etcd 13766). Hence
the buffer is frozen only by the logic thread and only between entries. It brackets each entry (or run of entries)
with `begin_entry` and `end_entry`; the latter freezes when `batch_limit` operations or `batch_interval` seconds have
gathered. `flush` and `commit` freeze at once and may not be called between the two. Rows written outside a bracket
(compaction, say) may be cut apart anywhere. When nothing is applied nothing is frozen: whoever owns a clock calls
`flush` now and then, as etcd does every 100 ms.

**The file.** `<path>` is an LMDB data file with one named database per bucket, `<path>-lock` is LMDB's table of
readers, `<path>.lock` is ours and keeps a second process out: LMDB would let it in, and two members in one data
directory destroy each other. Pages are copied on write and the root is switched last, so kill -9 or a power cut at
any moment leaves exactly the last finished batch.

**Another file.** A member that lags too far behind gets a whole database from a peer. `load` makes a file of its rows
beside this one, and `Backend.replace` puts it in this one's place, under everybody who holds the Backend:

    load ─► X.tmp ─fsync─rename─► X      replace ─► examine X, finish batches, close db ─rename─fsync─► db is X, open

**A smaller file.** LMDB never gives pages back, and between the rows that deletes leave its pages are mostly empty.
`Backend.defragment` fills a second file beside this one with the same rows, in bites between entries. What is changed
behind its position is noted and brought in; the last of that goes with a batch that the thread writes into the second
file, which then takes the name. No reader or writer waits, and nothing held in memory grows with the file:

    bites ─► db.tmp ─► last batch, fsync ─rename─fsync─► db      readers go over with the next batch, views never

**When a batch fails** (no space, input/output error) the batch is gone, `on_error` is told once, and everything
after it is refused: the member stops, and at its next start the raft log supplies what the file lacks.

Sources: LMDB (lmdb.tech/doc, `mdb_env_open`, `mdb_txn_begin`), etcd's backend for the batch rule and its numbers.
"""

from quorate.storage.backend.backend import BATCH_INTERVAL, BATCH_LIMIT, Backend
from quorate.storage.backend.file import (
    MAX_KEY_BYTES,
    BackendError,
    BackendFailed,
    BackendForeign,
    BackendInUse,
    Bucket,
    DefragmentError,
)
from quorate.storage.backend.load import load
from quorate.storage.backend.twin import SPARE_BYTES, free_bytes
from quorate.storage.backend.view import View

__all__ = [
    "BATCH_INTERVAL",
    "BATCH_LIMIT",
    "MAX_KEY_BYTES",
    "SPARE_BYTES",
    "Backend",
    "BackendError",
    "BackendFailed",
    "BackendForeign",
    "BackendInUse",
    "Bucket",
    "DefragmentError",
    "View",
    "free_bytes",
    "load",
]
