"""Raft snapshots and log compaction, so that neither the log in memory nor that on disk grows for ever.

    every snapshot_count entries:
      1. the backend makes durable everything up to index i
      2. the WAL records "a snapshot at i exists": from now on a restart reads from there
      3. the log in memory forgets what is more than catch-up entries before i; old segments may go

The backend is the snapshot. A crash between two steps leaves a longer log than needed, never a shorter one.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from quorate.api.raftpb import Entry
from quorate.pkg.histogram import SYNC_SECONDS, Histogram
from quorate.pkg.jsonlog import get_log
from quorate.raft import MemoryStorage
from quorate.storage import snap
from quorate.storage.files import Files
from quorate.storage.wal import WalSnapshot, WalWriter

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

PURGE_INTERVAL = 30.0
"""Seconds between two looks for segments to delete."""


class LogCompactor:
    """Takes one snapshot at a time."""

    def __init__(self, server: Server, storage: MemoryStorage, writer: WalWriter, last: int) -> None:
        self._server = server
        self._storage = storage
        self._writer = writer
        self._last = last
        """Index of the newest snapshot, or of the one being taken."""
        self._busy = False
        self._began = 0.0
        self.save_seconds = Histogram(SYNC_SECONDS)
        """How long snapshots took, from their trigger until the log might forget."""
        self.record_seconds = Histogram(SYNC_SECONDS)
        """How long of that the record in the log took to be durable."""
        self._purging: asyncio.Future[list[str]] | None = None

    def applied(self, entry: Entry) -> None:
        """Entries up to `entry` are applied; take a snapshot when enough have gathered."""
        if self._busy or entry.index - self._last <= self._server.config.snapshot_count:
            return
        self._busy, self._began = True, time.monotonic()
        self._last = entry.index
        snapshot = WalSnapshot(entry.index, entry.term, self._server.state.conf_state)
        log.info("triggering snapshot", applied_index=entry.index, snapshot_count=self._server.config.snapshot_count)
        self._server.committed().add_done_callback(partial(self._record, snapshot))

    def installed(self, index: int) -> None:
        """A leader's snapshot at `index` is in place: the log begins there."""
        self._last = max(self._last, index)
        self._writer.release_to(index)

    def _record(self, snapshot: WalSnapshot, committed: asyncio.Future[None]) -> None:
        if not committed.cancelled():
            self._server.raft.save_snapshot(snapshot, partial(self._saved, snapshot, time.monotonic()))

    async def purge_for_ever(self) -> None:
        """Delete segments that nobody needs any more, but for the newest few; to be cancelled."""
        config, files = self._server.config, self._server.world.files
        loop = asyncio.get_running_loop()
        while config.max_wals:
            try:
                self._purging = loop.run_in_executor(
                    self._server.threads, _purge, files, str(config.wal_path), config.max_wals
                )
                purged = await asyncio.shield(self._purging)
            except OSError as err:
                log.warn("failed to purge the log", error=str(err))
            else:
                for name in purged:
                    log.info("purged", file=name)
            await asyncio.sleep(PURGE_INTERVAL)

    async def purged(self) -> None:
        """Return once no purge is under way: it must not meet the log's next owner."""
        if self._purging is not None:
            await asyncio.wait([self._purging])

    def _saved(self, snapshot: WalSnapshot, submitted: float) -> None:
        self._busy = False
        now = time.monotonic()
        self.save_seconds.observe(now - self._began)
        self.record_seconds.observe(now - submitted)
        if snapshot.index <= self._storage.snapshot().index:
            return  # overtaken by one that a leader sent
        self._storage.create_snapshot(snapshot.index, snapshot.conf_state, b"")
        keep = self._server.config.snapshot_catchup_entries
        # Whoever receives the state now will need the log behind it.
        if self._server.snapshots.are_leaving:
            keep = snapshot.index
        if snapshot.index > keep and snapshot.index - keep >= self._storage.first_index():
            self._storage.compact(snapshot.index - keep)
        self._writer.release_to(snapshot.index)
        log.info("saved snapshot", snapshot_index=snapshot.index)


def _purge(files: Files, directory: str, keep: int) -> list[str]:
    """Delete the oldest segments that are not locked; their names."""
    return snap.purge(files, directory, ".wal", keep, locked=True)
