"""The one story of all changes, and the store as it was at any moment of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

FROM_KEY = b"\0"
"""As the end of a range: every key from its start on."""

Event = tuple[int, bytes, bytes | None]
"""Revision, key, and the value put, or None for a delete."""


class Row(NamedTuple):
    """A key as it stands after a put."""

    value: bytes
    created: int
    changed: int
    """Revision of the last put."""
    version: int


def covers(key: bytes, end: bytes, asked: bytes) -> bool:
    """Whether [key, end) has the key `asked`; an empty end means `key` alone."""
    return asked == key if not end else key <= asked and (end == FROM_KEY or asked < end)


class Story:
    """Made from all events from revision 2 on, in order; those of one revision stand in the order of their making."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self._at = [event[0] for event in events]
        self._revisions: dict[bytes, list[int]] = {}
        self._rows: dict[bytes, list[Row | None]] = {}
        for revision, key, value in events:
            rows = self._rows.setdefault(key, [])
            self._revisions.setdefault(key, []).append(revision)
            former = rows[-1] if rows else None
            if value is None:
                rows.append(None)
            elif former is None:
                rows.append(Row(value, revision, revision, 1))
            else:
                rows.append(Row(value, former.created, revision, former.version + 1))
        self._keys = sorted(self._rows)

    @property
    def last(self) -> int:
        """The revision of the last event; 1 if there is none."""
        return self._at[-1] if self._at else 1

    def get(self, key: bytes, revision: int) -> Row | None:
        """A key at a revision; None where it is not there."""
        place = bisect_right(self._revisions.get(key, ()), revision) - 1
        return self._rows[key][place] if place >= 0 else None

    def range(self, key: bytes, end: bytes, revision: int) -> dict[bytes, Row]:
        """What there is in [key, end) at a revision, in order of keys."""
        keys = [key] if not end else self._keys[bisect_left(self._keys, key) : self._place_of(end)]
        found = ((each, self.get(each, revision)) for each in keys)
        return {each: row for each, row in found if row is not None}

    def between(self, first: int, last: int) -> Iterator[Event]:
        """Events of these revisions, both included."""
        for place in range(bisect_left(self._at, first), bisect_right(self._at, last)):
            yield self.events[place]

    def changes(self, revision: int) -> dict[bytes, bytes | None]:
        """What a revision changed."""
        return {key: value for _, key, value in self.between(revision, revision)}

    def _place_of(self, end: bytes) -> int:
        return len(self._keys) if end == FROM_KEY else bisect_left(self._keys, end)
