"""The end of the log that is not yet known to be on disk, and the snapshot that still has to get there.

storage: … offset-1 │ entries: offset … offset_in_progress-1 │ offset_in_progress … last_index
          stable    │ handed out to be written               │ not handed out yet
"""

from __future__ import annotations

from quorate.api.raftpb import Entry, Snapshot
from quorate.raft.config import Logger


class Unstable:
    """`entries[i]` has index `offset + i`. A pending snapshot always lies directly before `offset`."""

    __slots__ = ("entries", "logger", "offset", "offset_in_progress", "snapshot", "snapshot_in_progress")

    def __init__(self, offset: int, logger: Logger) -> None:
        self.entries: list[Entry] = []
        self.offset = offset
        self.offset_in_progress = offset
        self.snapshot: Snapshot | None = None
        self.snapshot_in_progress = False
        self.logger = logger

    def last_index(self) -> int:
        """Last index of the whole log: what is stable ends where this begins."""
        return self.offset + len(self.entries) - 1

    def term(self, index: int) -> int | None:
        """Term of `index` as far as it is known here."""
        position = index - self.offset
        if position < 0:
            snapshot = self.snapshot
            return snapshot.term if snapshot is not None and snapshot.index == index else None
        return self.entries[position].term if position < len(self.entries) else None

    def next_entries(self) -> list[Entry]:
        """Entries that nobody has been asked to write yet."""
        return self.entries[self.offset_in_progress - self.offset :]

    def has_next_entries(self) -> bool:
        return self.offset_in_progress < self.offset + len(self.entries)

    def next_snapshot(self) -> Snapshot | None:
        """The snapshot, when nobody has been asked to write it yet."""
        return None if self.snapshot_in_progress else self.snapshot

    def accept_in_progress(self) -> None:
        """Somebody writes everything that is here now."""
        self.offset_in_progress = self.offset + len(self.entries)
        self.snapshot_in_progress = self.snapshot is not None

    def stable_to(self, index: int, term: int) -> None:
        """The entry (index, term) and all before it are on disk. Ignored if it was replaced since it was handed out."""
        known = self.term(index)
        if known is None:
            self.logger.info(f"entry at index {index} missing from unstable log; ignoring")
        elif index < self.offset:
            self.logger.info(f"entry at index {index} matched unstable snapshot; ignoring")
        elif known != term:
            self.logger.info(
                f"entry at (index,term)=({index},{term}) mismatched with entry at ({index},{known}) in unstable log; "
                "ignoring"
            )
        else:
            del self.entries[: index + 1 - self.offset]
            self.offset = index + 1
            self.offset_in_progress = max(self.offset_in_progress, self.offset)

    def stable_snapshot_to(self, index: int) -> None:
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def restore(self, snapshot: Snapshot) -> None:
        """Everything before is history: the log starts behind `snapshot`."""
        self.offset = self.offset_in_progress = snapshot.index + 1
        self.entries = []
        self.snapshot = snapshot
        self.snapshot_in_progress = False

    def truncate_and_append(self, entries: list[Entry]) -> None:
        """Add `entries` (not empty, consecutive), dropping what they overwrite (Raft paper §5.3)."""
        first = entries[0].index
        if first == self.offset + len(self.entries):
            self.entries.extend(entries)
        elif first <= self.offset:
            self.logger.info(f"replace the unstable entries from index {first}")
            self.entries = list(entries)
            self.offset = self.offset_in_progress = first
        else:
            self.logger.info(f"truncate the unstable entries before index {first}")
            del self.entries[first - self.offset :]
            self.entries.extend(entries)
            # What a writer holds from `first` on is void; it has to be written anew.
            self.offset_in_progress = min(self.offset_in_progress, first)
