"""How long the log's disk takes: every promise of a member waits for it."""

from __future__ import annotations

from quorate.pkg.histogram import SYNC_SECONDS, Histogram
from quorate.pkg.jsonlog import get_log
from quorate.storage.wal import WAL

log = get_log(__name__)

SLOW_SYNC = 1.0
"""Seconds; a sync that takes longer is told to the log of the operator."""


class LogTimes:
    """Listens to a WAL, on whatever thread writes it."""

    def __init__(self, wal: WAL) -> None:
        self.writes = Histogram(SYNC_SECONDS)
        """Seconds of handing batches to the system."""
        self.syncs = Histogram(SYNC_SECONDS)
        """Seconds until they were durable."""
        self._wal = wal
        wal.on_write = self.writes.observe
        wal.on_sync = self._synced

    @property
    def bytes_written(self) -> int:
        """Since this member was started."""
        return self._wal.bytes_written

    def _synced(self, seconds: float) -> None:
        self.syncs.observe(seconds)
        if seconds > SLOW_SYNC:
            log.warn("slow fdatasync", took=f"{seconds:.6f}s", expected_duration=f"{SLOW_SYNC:g}s")
