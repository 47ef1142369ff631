"""The whole state of this member for a client that keeps it: what `etcdctl snapshot save` asks for.

    rows held still ──► member/snap/tmp.*.bbolt ──► read at the client's pace ──► removed

The rows are held only until the file is written: a client that reads slowly costs space on the disk, and neither memory
nor pages of the database. It is no concern of the cluster: a member gives what it has, with or without a leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from quorate.pkg.histogram import Histogram, doubling
from quorate.pkg.jsonlog import get_log
from quorate.server.snapshots import check_room, close_aside
from quorate.storage import schema
from quorate.storage.bbolt import BboltError
from quorate.storage.files import File

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)


class BackupError(Exception):
    """There is no room for the file, or it cannot be written or read; the member is none the worse for it."""


class Backup(NamedTuple):
    """A bbolt file of `size` bytes; `version` is that of the database's rules, empty when it cannot be told."""

    file: File
    size: int
    version: str

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`, fewer at the end. Raises OSError, and BackupError when they are not there."""
        data = self.file.read(offset, size)
        if len(data) < min(size, self.size - offset):
            raise BackupError(f"the file made for it ends at byte {offset + len(data)} of {self.size}")
        return data


class Backups:
    """Any number may be read at a time; they are made one after the other, so that others get the turns between."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._directory = server.config.snap_dir
        self._files = server.world.files
        self._making = asyncio.Lock()
        self.seconds = Histogram(doubling(0.01, 17))
        """How long they took that were read to the end."""

    @asynccontextmanager
    async def make(self) -> AsyncIterator[Backup]:
        """Everything applied up to now, as a file that is there until the block ends.

        Raises BackupError, OSError, and SnapshotReplaced when a leader's snapshot took the place of the rows meanwhile.
        """
        path = self._directory / f"tmp.client.{self._server.next_id():016x}.bbolt"
        began = asyncio.get_running_loop().time()
        # Open to the end: as long as it is, its name goes at once. The disk takes its time only for the last one to
        # close a file without a name, a third of a second a gigabyte.
        file = self._files.open(str(path), create=True)
        try:
            size, version = await self._write(path)
            log.info("sending database snapshot to client", bytes=size, storage_version=version)
            yield Backup(file, size, version)
            took = asyncio.get_running_loop().time() - began
            self.seconds.observe(took)
            log.info("sent database snapshot to client", bytes=size, took=f"{took:.6f}s")
        finally:
            with suppress(FileNotFoundError):
                self._files.unlink(str(path))
            await close_aside(file, self._files)

    async def _write(self, path: Path) -> tuple[int, str]:
        """Size and version of what is at `path` now."""
        async with self._making:
            self._check_room(self._server.backend.size_in_use())
            try:
                version, size = await self._server.snapshots.write(path, _version_of, self._check_room)
            except BboltError as err:
                raise BackupError(str(err)) from err
            return size, version

    def _check_room(self, size: int = 1) -> None:
        """Raises NoRoom when `size` bytes more would leave too little room for the log."""
        check_room(self._directory, size, self._files)


def _version_of(rows: schema.Store) -> str:
    return schema.get_storage_version(rows) or ""
