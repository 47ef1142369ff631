"""Compaction at revision R: of each key only the newest change at or before R stays, and all later ones.

    schedule   scheduledCompactRev = R is written, reads below R fail from now on
    job        index: each key forgets what is superseded       in bites of
               rows: what the index forgot is deleted, and      a batch of keys or rows
                     everything up to R is hashed on the way
               finishedCompactRev = R is written, the hash is kept

A crash anywhere leaves scheduled != finished; `restore` then rebuilds the index from whatever rows are left and
runs the same job again, to the same end. A tombstone stays if it is exactly at R (a watch may begin there) and goes
with the next compaction. Jobs run one after another, and none moves while a hash is being computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING

from quorate.storage import schema
from quorate.storage.mvcc.hashes import RowHash
from quorate.storage.mvcc.revision import parse_revision, revision_bytes
from quorate.storage.mvcc.rows import key_of
from quorate.storage.schema import KEY

if TYPE_CHECKING:
    from quorate.storage.mvcc.store import Store

BATCH_LIMIT = 1000
"""Keys or rows a job handles between two yields, unless the store is told otherwise."""


class Jobs:
    """Jobs of one restored state: compactions not yet finished, in order, and how many hashes are being computed."""

    def __init__(self) -> None:
        self.compactions: deque[int] = deque()
        self.hashing = 0
        self.removing = False
        """The compaction under way is past the index: rows are removed."""


def schedule(store: Store, revision: int) -> Generator[None, None, None]:
    """Make `revision` the compacted one and return the job that removes what is before."""
    previous = store.compacted_revision
    # What an interrupted compaction has removed is missing in this one's hash, and is not on other members: no hash.
    scheduled = schema.get_scheduled_compact_revision(store.rows)
    hash_counts = scheduled == schema.get_finished_compact_revision(store.rows)
    store.compacted_revision = revision
    schema.put_scheduled_compact_revision(store.rows, revision)
    store.jobs.compactions.append(revision)
    return _run(store, revision, previous, hash_counts)


def restore(store: Store) -> None:
    """Find how far compaction has come; the store's rows are already indexed.

    The revision is never below a compacted one: rows of the newest revisions may all be gone.
    """
    finished = schema.get_finished_compact_revision(store.rows)
    scheduled = schema.get_scheduled_compact_revision(store.rows)
    store.compacted_revision = -1 if finished is None else finished
    store.revision = max(store.revision, store.compacted_revision, scheduled or 0)
    store.pending_compaction = None
    if scheduled is not None and scheduled > store.compacted_revision:
        store.pending_compaction = schedule(store, scheduled)


def _run(store: Store, revision: int, previous: int, hash_counts: bool) -> Generator[None, None, None]:
    jobs = store.jobs
    batch = store.compaction_batch_limit
    any_kept = False
    last_key = b""
    row_hash: RowHash | None = None
    last_row = b""
    while True:
        if jobs is not store.jobs:
            return
        if jobs.hashing or jobs.compactions[0] != revision:
            yield
            continue
        if row_hash is None:
            if not last_key and store.index.last_change(b"", revision):
                any_kept |= store.index.compact(b"", revision)
            keys = store.index.after(last_key, batch)
            for last_key in keys:
                any_kept |= store.index.compact(last_key, revision)
            if len(keys) < batch:
                row_hash = RowHash(previous, any_kept)
                jobs.removing = True
        else:
            rows = list(store.rows.scan(KEY, last_row, revision_bytes(revision + 1, 0), batch))
            _remove(store, rows, row_hash)
            if len(rows) < batch:
                break
            last_row = rows[-1][0] + b"\0"
        yield
    schema.put_finished_compact_revision(store.rows, revision)
    if hash_counts:
        store.hashes.add(row_hash.result(revision))
    jobs.compactions.popleft()
    jobs.removing = False


def _remove(store: Store, rows: list[tuple[bytes, bytes]], row_hash: RowHash) -> None:
    """Delete those rows that the index has forgotten, and hash all."""
    forgotten = set()
    knows = store.index.knows
    for place, row in rows:
        main, sub, _ = parse_revision(place)
        if not knows(key_of(row), main, sub):
            forgotten.add(place)
            store.rows.delete(KEY, place)
    store.counts.compacted_rows += len(forgotten)
    row_hash.add(rows, forgotten)
