"""The raft log as the machine sees it: stable part, unstable part, and how far it is committed and applied.

    first_index … applied … applying … committed … last_index        applied <= applying <= committed <= last_index

Sources: Raft paper §5.3, §5.4; Raft thesis §10.2.1 (writing in parallel).
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate.api.raftpb import Entry, Snapshot
from quorate.raft.config import NO_LIMIT, Logger
from quorate.raft.errors import EntriesCompacted, EntriesUnavailable
from quorate.raft.storage import Storage, entries_size, entry_size, fitting
from quorate.raft.unstable import Unstable


class Log:
    __slots__ = (
        "applied",
        "applying",
        "applying_paused",
        "applying_size",
        "committed",
        "logger",
        "max_applying_size",
        "storage",
        "unstable",
    )

    def __init__(self, storage: Storage, logger: Logger, max_applying_size: int = NO_LIMIT) -> None:
        self.storage = storage
        self.logger = logger
        self.unstable = Unstable(storage.last_index() + 1, logger)
        self.committed = self.applying = self.applied = storage.first_index() - 1
        self.max_applying_size = max_applying_size
        self.applying_size = 0
        self.applying_paused = False

    def __str__(self) -> str:
        unstable = self.unstable
        return (
            f"committed={self.committed}, applied={self.applied}, applying={self.applying}, "
            f"unstable.offset={unstable.offset}, unstable.offsetInProgress={unstable.offset_in_progress}, "
            f"len(unstable.Entries)={len(unstable.entries)}"
        )

    # Reading

    def first_index(self) -> int:
        snapshot = self.unstable.snapshot
        return self.storage.first_index() if snapshot is None else snapshot.index + 1

    def last_index(self) -> int:
        unstable = self.unstable
        return unstable.offset + len(unstable.entries) - 1

    def last_term(self) -> int:
        term = self.term(self.last_index())
        assert term is not None, "the term of the last entry is always known"
        return term

    def term(self, index: int) -> int | None:
        """Term of the entry at `index`; None if it is compacted or not there."""
        term = self.unstable.term(index)
        if term is not None:
            return term
        if index + 1 < self.first_index() or index > self.last_index():
            return None
        try:
            return self.storage.term(index)
        except (EntriesCompacted, EntriesUnavailable):
            return None

    def match_term(self, index: int, term: int) -> bool:
        return self.term(index) == term

    def is_up_to_date(self, index: int, term: int) -> bool:
        """Is a log that ends in (index, term) at least as complete as this one? (Raft paper §5.4.1)"""
        last_term = self.last_term()
        return term > last_term or (term == last_term and index >= self.last_index())

    def entries(self, low: int, max_size: int) -> list[Entry]:
        """Entries from `low` on, up to `max_size` bytes; raises EntriesCompacted."""
        last = self.last_index()
        return [] if low > last else self.slice(low, last + 1, max_size)

    def slice(self, low: int, high: int, max_size: int) -> list[Entry]:
        """Entries [low, high), at least one and else as many as fit; raises EntriesCompacted."""
        assert low <= high <= self.last_index() + 1, f"slice[{low},{high}) out of bound [.., {self.last_index()}]"
        if low < self.first_index():
            raise EntriesCompacted
        if low == high:
            return []
        offset = self.unstable.offset
        if low >= offset:
            held = self.unstable.entries
            start = low - offset
            return held[start : fitting(held, start, high - offset, max_size)]
        cut = min(high, offset)
        stable = self.storage.entries(low, cut, max_size)
        if high <= offset or len(stable) < cut - low:
            return stable
        room = max_size - entries_size(stable)
        held = self.unstable.entries
        if room < entry_size(held[0]):
            return stable
        return stable + held[: fitting(held, 0, high - offset, room)]

    def scan(self, low: int, high: int, page_size: int) -> Iterator[list[Entry]]:
        """Entries [low, high) in pages, so that a long stretch never has to be in memory at once."""
        while low < high:
            page = self.slice(low, high, page_size)
            assert page, "a storage has at least one entry of a range it owns"
            yield page
            low += len(page)

    def snapshot(self) -> Snapshot:
        """The newest snapshot; raises SnapshotTemporarilyUnavailable."""
        return self.unstable.snapshot or self.storage.snapshot()

    # Writing

    def append(self, entries: list[Entry]) -> int:
        """Put `entries` at their indexes, dropping what they overwrite; returns the last index."""
        if entries:
            before = entries[0].index - 1
            assert before >= self.committed, f"after({before}) is out of range [committed({self.committed})]"
            self.unstable.truncate_and_append(entries)
        return self.last_index()

    def maybe_append(self, index: int, term: int, entries: list[Entry], committed: int) -> int | None:
        """The consistency check of Append: entries follow (index, term). Last new index, or None if they do not fit."""
        if not self.match_term(index, term):
            return None
        last_new = index + len(entries)
        conflict = self.find_conflict(entries)
        if conflict:
            assert conflict > self.committed, (
                f"entry {conflict} conflict with committed entry [committed({self.committed})]"
            )
            self.append(entries[conflict - index - 1 :])
        self.commit_to(min(committed, last_new))
        return last_new

    def find_conflict(self, entries: list[Entry]) -> int:
        """First index of `entries` that is not in the log with the same term; 0 if all are."""
        last = self.last_index()
        for entry in entries:
            index = entry.index
            if index > last:
                return index
            existing = self.term(index)
            if existing != entry.term:
                self.logger.info(
                    f"found conflict at index {index} [existing term: {existing or 0}, conflicting term: {entry.term}]"
                )
                return index
        return 0

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """Largest index <= `index` whose term is <= `term`, and that term: where two logs may still agree.

        Term 0 says that the index is outside of this log, so its term is unknown. Skips over a whole term of
        conflicting entries at a time (Raft paper §5.3).
        """
        while index > 0:
            found = self.term(index)
            if found is None:
                return index, 0
            if found <= term:
                return index, found
            index -= 1
        return 0, 0

    def restore(self, snapshot: Snapshot) -> None:
        self.logger.info(f"log [{self}] starts to restore snapshot [index: {snapshot.index}, term: {snapshot.term}]")
        self.committed = snapshot.index
        self.unstable.restore(snapshot)

    # Commit and apply

    def maybe_commit(self, index: int, term: int) -> bool:
        """Commit up to `index` if it is news and of `term`: a leader counts only its own (Raft paper §5.4.2)."""
        if index > self.committed and self.match_term(index, term):
            self.commit_to(index)
            return True
        return False

    def commit_to(self, index: int) -> None:
        if index > self.committed:
            last = self.last_index()
            assert index <= last, (
                f"tocommit({index}) is out of range [lastIndex({last})]. "
                "Was the raft log corrupted, truncated, or lost?"
            )
            self.committed = index

    def has_next_committed(self, allow_unstable: bool) -> bool:
        """Are there committed entries to hand out? Not while a snapshot is on its way to the application."""
        return (
            self.applying < self._appliable(allow_unstable)
            and not self.applying_paused
            and self.unstable.snapshot is None
        )

    def next_committed(self, allow_unstable: bool) -> list[Entry]:
        """Committed entries that nobody has been asked to apply, within the room left by those being applied."""
        if not self.has_next_committed(allow_unstable):
            return []
        room = self.max_applying_size - self.applying_size
        assert room > 0, f"applying entry size ({self.max_applying_size}-{self.applying_size})={room} not positive"
        return self.slice(self.applying + 1, self._appliable(allow_unstable) + 1, room)

    def accept_applying(self, index: int, size: int, allow_unstable: bool) -> None:
        """Somebody applies entries of `size` bytes up to `index` now."""
        assert index <= self.committed, (
            f"applying({index}) is out of range [prevApplying({self.applying}), committed({self.committed})]"
        )
        self.applying = index
        self.applying_size += size
        # Less was taken than there is: the size limit was met, so wait until some are applied.
        self.applying_paused = self.applying_size >= self.max_applying_size or index < self._appliable(allow_unstable)

    def applied_to(self, index: int, size: int) -> None:
        """Entries up to `index` are applied; `size` bytes of those being applied are done."""
        assert self.applied <= index <= self.committed, (
            f"applied({index}) is out of range [prevApplied({self.applied}), committed({self.committed})]"
        )
        self.applied = index
        self.applying = max(self.applying, index)
        self.applying_size = max(0, self.applying_size - size)
        self.applying_paused = self.applying_size >= self.max_applying_size

    def _appliable(self, allow_unstable: bool) -> int:
        # Writing in the background, an entry may be committed by the others before it is on the own disk; applying
        # it then would let the state run ahead of the log.
        return self.committed if allow_unstable else min(self.committed, self.unstable.offset - 1)
