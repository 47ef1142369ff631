"""The file that is to take the place of the one in use: begun empty beside it, filled, brought up to date.

    begin ──► append, place, now and then sync ──► complete ──► rename ──► settle
    └ the logic thread                             └ the writer's thread, between two batches

Its name means nothing after a crash. Until it is renamed, whatever goes wrong with it is of no consequence for the file
in use.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import lmdb

from quorate.pkg.aside import aside
from quorate.storage.backend.file import (
    DefragmentError,
    File,
    Opened,
    reader_table,
    remove_temporary,
    sync_directory,
    temporary_path,
)
from quorate.storage.backend.writer import Changes, place_all

SPARE_BYTES = 128 << 20
"""What a further file must leave free on the disk. The log grows meanwhile, and a member that cannot write it stops."""


class Twin:
    """See the module. Errors are lmdb.Error, OSError and BackendError."""

    def __init__(self, file: File) -> None:
        self.error: Exception | None = None
        """Why it did not take the place, though the writer had it."""
        self.rest: list[dict[int, Changes]] = []
        """What the writer has to add to it, oldest first."""
        self._file = file
        self._path = temporary_path(file.path)
        self._opened: Opened | None = None
        self._sync: Generator[None, None, None] | None = None
        self._over = False

    def begin(self, size: int) -> None:
        """Make the file, for up to `size` bytes. Raises DefragmentError when there is too little space for them."""
        free = free_bytes(self._path.parent)
        if free < size + SPARE_BYTES:
            raise DefragmentError(f"a second file of {size} bytes would leave too little of {free} bytes of free space")
        remove_temporary(self._path)
        self._opened = self._file.open_twin(self._path)

    def append(self, bucket: int, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Add rows behind the last of the bucket; that fills whole pages."""
        assert self._opened is not None
        with self._opened.env.begin(write=True) as txn, txn.cursor(self._opened.handles[bucket]) as cursor:
            cursor.putmulti(rows, append=True)

    def place(self, changes: dict[int, Changes]) -> None:
        """Bring in rows that are anywhere."""
        assert self._opened is not None
        with self._opened.env.begin(write=True) as txn:
            place_all(txn, self._opened.handles, changes)

    def sync(self) -> Generator[None, None, None]:
        """Make durable what is here. Yields while a thread waits for the disk."""
        assert self._opened is not None
        env = self._opened.env
        self._sync = aside(lambda: env.sync(True), wait=0)
        return self._sync

    def complete(self, more: Iterable[dict[int, Changes]]) -> None:
        """Bring in what is missing, make everything durable, and open the file as one that is used is opened."""
        for changes in more:
            self.place(changes)
        assert self._opened is not None
        opened, self._opened = self._opened, None
        try:
            opened.env.sync(True)
        finally:
            opened.env.close()
        self._opened = self._file.open_twin(self._path, complete=True)

    def rename(self) -> None:
        """Take the name of the file in use. When this fails nothing has changed."""
        # Each file has a table of readers of its own (see `File.put_in_place`); this one's follows.
        reader_table(self._file.path).unlink(missing_ok=True)
        os.rename(self._path, self._file.path)

    def settle(self) -> Opened:
        """Make the name durable; what is to be used from now on. After an OSError it is unknown which of the two files
        a power loss leaves."""
        assert self._opened is not None
        os.rename(reader_table(self._path), reader_table(self._file.path))
        sync_directory(self._file.path)
        opened, self._opened = self._opened, None
        return opened

    def explain(self, error: Exception) -> str:
        """Why it failed. LMDB calls a write that a full disk cut short an input/output error."""
        if isinstance(error, lmdb.Error) and (free := free_bytes(self._path.parent)) < SPARE_BYTES:
            return f"{error}; its disk has {free} bytes free"
        return str(error)

    def give_up(self) -> None:
        """Leave nothing; waits for a sync that is under way. May be called again."""
        if self._over:
            return
        self._over = True
        if self._sync is not None:
            self._sync.close()
        if self._opened is not None:
            self._opened.env.close()
            self._opened = None
        remove_temporary(self._path)


def free_bytes(directory: Path) -> int:
    """What is free on the disk of `directory`. Raises OSError."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize
