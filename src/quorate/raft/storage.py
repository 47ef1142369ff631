"""Where the machine reads what is already stable: the Protocol, and the one that keeps it in memory.

The machine only reads; the application writes, after it has made durable what a Ready asked for. With
`MemoryStorage` the application keeps durable copies elsewhere (a WAL) and mirrors them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from quorate.api.raftpb import ConfState, Entry, HardState, Snapshot
from quorate.raft.errors import EntriesCompacted, EntriesUnavailable, SnapshotOutOfDate

ENTRY_OVERHEAD = 16
"""Bytes that an entry takes beside its data when it is encoded: type, term, index and the lengths around them."""


class Storage(Protocol):
    """The stable part of the log. Indexes first_index() to last_index() are there, and the term of the one before."""

    def initial_state(self) -> tuple[HardState, ConfState]: ...

    def entries(self, low: int, high: int, max_size: int) -> list[Entry]:
        """Entries [low, high) up to `max_size` bytes but at least one; raises EntriesCompacted, EntriesUnavailable."""
        ...

    def term(self, index: int) -> int:
        """Term of first_index()-1 … last_index(); raises EntriesCompacted, EntriesUnavailable."""
        ...

    def first_index(self) -> int: ...

    def last_index(self) -> int: ...

    def snapshot(self) -> Snapshot:
        """The newest snapshot; raises SnapshotTemporarilyUnavailable."""
        ...


class MemoryStorage:
    """The stable log as a list. Single owner, like all of the room."""

    __slots__ = ("_entries", "_hard_state", "_offset", "_offset_term", "_snapshot")

    def __init__(self) -> None:
        self._hard_state = HardState()
        self._snapshot = Snapshot()
        self._offset = 0  # _entries[0] is the entry at _offset + 1; _offset itself is compacted, only its term is kept
        self._offset_term = 0
        self._entries: list[Entry] = []

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._hard_state, self._snapshot.conf_state

    def set_hard_state(self, state: HardState) -> None:
        self._hard_state = state

    def set_conf_state(self, state: ConfState) -> None:
        """The configuration that a machine begins with whose application kept more than the newest snapshot tells."""
        self._snapshot = self._snapshot._replace(conf_state=state)

    def first_index(self) -> int:
        return self._offset + 1

    def last_index(self) -> int:
        return self._offset + len(self._entries)

    def term(self, index: int) -> int:
        position = index - self._offset
        if position > 0:
            if position > len(self._entries):
                raise EntriesUnavailable
            return self._entries[position - 1].term
        if position < 0:
            raise EntriesCompacted
        return self._offset_term

    def entries(self, low: int, high: int, max_size: int) -> list[Entry]:
        if low <= self._offset:
            raise EntriesCompacted
        assert high <= self.last_index() + 1, f"entries' hi({high}) is out of bound lastindex({self.last_index()})"
        if not self._entries:
            raise EntriesUnavailable
        start = low - self._offset - 1
        return self._entries[start : fitting(self._entries, start, high - self._offset - 1, max_size)]

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def append(self, entries: Sequence[Entry]) -> None:
        """Add `entries` (consecutive); from their first index on they replace what was there."""
        if not entries:
            return
        first = entries[0].index
        if first <= self._offset:
            entries = entries[self._offset + 1 - first :]  # what is compacted was committed: it cannot have changed
            if not entries:
                return
            first = self._offset + 1
        position = first - self._offset - 1
        assert position <= len(self._entries), f"missing log entry [last: {self.last_index()}, append at: {first}]"
        if position < len(self._entries):
            del self._entries[position:]
        self._entries.extend(entries)

    def compact(self, index: int) -> None:
        """Forget entries up to and with `index`; raises EntriesCompacted when they are gone already."""
        if index <= self._offset:
            raise EntriesCompacted
        assert index <= self.last_index(), f"compact {index} is out of bound lastindex({self.last_index()})"
        self._offset_term = self.term(index)
        del self._entries[: index - self._offset]
        self._offset = index

    def create_snapshot(self, index: int, conf_state: ConfState | None, data: bytes) -> Snapshot:
        """Keep `data` as the state at `index` and return the snapshot; None keeps the last conf state.

        Raises SnapshotOutOfDate when there is one at `index` or later.
        """
        if index <= self._snapshot.index:
            raise SnapshotOutOfDate
        assert index <= self.last_index(), f"snapshot {index} is out of bound lastindex({self.last_index()})"
        state = self._snapshot.conf_state if conf_state is None else conf_state
        self._snapshot = Snapshot(index, self.term(index), state, data)
        return self._snapshot

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Start over from `snapshot`; raises SnapshotOutOfDate when it is not newer than the present one."""
        if self._snapshot.index >= snapshot.index:
            raise SnapshotOutOfDate
        self._snapshot = snapshot
        self._offset = snapshot.index
        self._offset_term = snapshot.term
        self._entries = []


def entry_size(entry: Entry) -> int:
    """Bytes of an encoded entry, near enough for limits."""
    return len(entry.data) + ENTRY_OVERHEAD


def entries_size(entries: Sequence[Entry]) -> int:
    return sum([len(entry[2]) for entry in entries]) + ENTRY_OVERHEAD * len(entries)


def fitting(entries: Sequence[Entry], start: int, stop: int, max_size: int) -> int:
    """Where to end a slice from `start`, at most at `stop`, to keep within `max_size` bytes; one entry always fits."""
    size = 0
    for position in range(start, stop):
        size += len(entries[position][2]) + ENTRY_OVERHEAD
        if size > max_size and position > start:
            return position
    return stop
