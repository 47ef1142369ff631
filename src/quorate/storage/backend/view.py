"""View: rows held still while the Backend goes on."""

from __future__ import annotations

from collections.abc import Iterator

import lmdb

from quorate.storage.backend.file import Bucket, File, Opened


class View:
    """A still picture of the file (`Backend.view`). Close it soon; closing is required before the Backend closes or
    replaces its file."""

    def __init__(self, file: File, opened: Opened) -> None:
        self._file = file
        self._opened = opened
        self._txn: lmdb.Transaction[bytes] = opened.env.begin()
        self._open = True
        file.open_views += 1
        opened.views += 1

    def get(self, bucket: Bucket, key: bytes) -> bytes | None:
        return self._txn.get(key, None, self._opened.handles[bucket.id])

    def scan(self, bucket: Bucket, start: bytes = b"", end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Rows with start <= key < end (None: to the last), ascending."""
        cursor = self._txn.cursor(self._opened.handles[bucket.id])
        if cursor.set_range(start):
            for row in cursor:
                if end is not None and row[0] >= end:
                    return
                yield row

    def close(self) -> None:
        if self._open:
            self._open = False
            self._txn.abort()
            self._opened.views -= 1
            self._file.open_views -= 1
            self._file.close_unread()
