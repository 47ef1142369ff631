"""One change of one key, and the events made of it: each is encoded once, however many watchers get it."""

from __future__ import annotations

from collections.abc import Callable

from quorate.storage.mvcc.rows import encode_delete_event, encode_put_event, parse_key_value

RowBefore = Callable[[bytes, int], bytes | None]
"""Row of a key just before a revision."""


class Change:
    """A put (`row` is its KeyValue) or a delete (`row` has only the key) at revision `main`."""

    __slots__ = ("_event", "_event_with_prev", "key", "main", "row", "tombstone")

    def __init__(self, key: bytes, main: int, row: bytes, tombstone: bool) -> None:
        self.key = key
        self.main = main
        self.row = row
        self.tombstone = tombstone
        self._event: bytes | None = None
        self._event_with_prev: bytes | None = None

    def event(self) -> bytes:
        """Serialized Event without prev_kv."""
        if self._event is None:
            self._event = self._encode(None)
        return self._event

    def event_with_prev(self, row_before: RowBefore) -> bytes:
        """Serialized Event; prev_kv is left out where there was none, or none is known any more.

        A put that creates its key has none, even if the same transaction has just deleted the key's former life.
        """
        if self._event_with_prev is None:
            creates = not self.tombstone and parse_key_value(self.row).create_revision == self.main
            prev_row = None if creates else row_before(self.key, self.main)
            self._event_with_prev = self.event() if prev_row is None else self._encode(prev_row)
        return self._event_with_prev

    def _encode(self, prev_row: bytes | None) -> bytes:
        if self.tombstone:
            return encode_delete_event(self.key, self.main, prev_row)
        return encode_put_event(self.row, prev_row)
