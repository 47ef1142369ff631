"""A defragmentation on a simulated disk: a second table that takes the place of the one in use.

Rows go into it as they do on a real machine, in bites; a sync takes virtual time. Named points for `Disk.hook`:
`defragBeforeCopy` and `defragBeforeRename`, which are etcd's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, cast

from quorate.storage.backend.file import File, Opened
from quorate.storage.backend.twin import Twin
from quorate.storage.backend.writer import Changes, place_all
from quorate.testing.sim.disk import Mount, fail
from quorate.testing.sim.tables import Table

if TYPE_CHECKING:
    from quorate.testing.sim.rows import TableFile


class SimTwin(Twin):
    """See the module."""

    def __init__(self, mount: Mount, file: TableFile, call_later: Callable[[float, Callable[[], None]], Any]) -> None:
        super().__init__(cast(File, file))
        self._mount = mount
        self._source = file
        self._call_later = call_later
        self._table: Table | None = None
        self._name = f"{file.path}.tmp"

    def begin(self, size: int) -> None:
        remove(self._mount, self._name)
        if not self._mount.disk.room_for(size):
            fail(errno.ENOSPC, self._name)
        self._mount.at("defragBeforeCopy", self._name)
        self._table = make_table(self._mount, self._name)
        for name in self._source.handles:
            self._table.make_bucket(name)

    def append(self, bucket: int, rows: Sequence[tuple[bytes, bytes]]) -> None:
        assert self._table is not None
        self._check_write()
        self._table.put(self._source.handles[bucket], rows, append=True)

    def place(self, changes: dict[int, Changes]) -> None:
        assert self._table is not None
        self._check_write()
        place_all(cast(Any, self._table.begin(write=True)), self._source.handles, changes)

    def sync(self) -> Generator[None, None, None]:
        self._mount.at("sync", self._name)
        over: list[bool] = []
        self._call_later(self._mount.disk.sync_seconds(), lambda: over.append(True))
        while not over:
            yield
        self._draw(self._mount.disk.faults.sync_error)

    def complete(self, more: Iterable[dict[int, Changes]]) -> None:
        assert self._table is not None
        for changes in more:
            self.place(changes)
        self._mount.at("sync", self._name)
        self._draw(self._mount.disk.faults.sync_error)
        self._table.whole = True

    def rename(self) -> None:
        self._mount.at("defragBeforeRename", self._name)
        self._mount.rename(self._name, self._source.path)

    def settle(self) -> Opened:
        self._mount.sync_directory(os.path.dirname(self._source.path) or ".")
        return self._source.open_copy(self._source.path)

    def explain(self, error: Exception) -> str:
        return str(error)

    def give_up(self) -> None:
        if self._over:
            return
        self._over = True
        if not self._mount.is_dead:
            remove(self._mount, self._name)

    def _check_write(self) -> None:
        self._draw(self._mount.disk.faults.write_error)
        if not self._mount.disk.room_for(0):
            fail(errno.ENOSPC, self._name)

    def _draw(self, chance: float) -> None:
        if self._mount.disk.happens(chance):
            fail(errno.EIO, self._name)


def make_table(mount: Mount, path: str) -> Table:
    """A new file that holds one; not whole yet."""
    table = Table()
    with closing(mount.open(path, create=True)) as file:
        file.inode.payload = table
    return table


def remove(mount: Mount, path: str) -> None:
    """Of a file that may not be there."""
    with suppress(FileNotFoundError):
        mount.unlink(path)
