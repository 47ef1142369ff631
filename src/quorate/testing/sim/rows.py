"""The backend of a simulated member: its code, over objects on a `Disk`, with virtual time in place of the thread.

    put / delete ─► buffer ──freeze──► frozen batch ──call_later: when the sync is over──► Table in a file of the Disk

`RowsRoom` has the doors of `quorate.storage.backend`: `open` and `load`. What it opens is a `Backend`; all that differs
is the file and who writes it. A batch is in the table as a whole at one moment of virtual time, in order, or it is not:
so a crash and a power loss leave exactly the last finished batch. A call that waits (`commit`, `close`, `replace`, a
full backlog) takes no virtual time.

A batch fails when the disk draws an error of a write or a sync, or has no room. Named points for `Disk.hook`:
`beforeCommit`, `afterCommit` (a batch; etcd's names), beside those of a defragmentation (`twin`) and the operations of
`load` and of making the file.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import lmdb

from quorate.storage.backend import (
    BATCH_INTERVAL,
    BATCH_LIMIT,
    Backend,
    BackendError,
    BackendForeign,
    BackendInUse,
    Bucket,
    View,
)
from quorate.storage.backend.file import DEFAULT_MAP_SIZE, File, Opened, in_order
from quorate.storage.backend.load import Row, fill
from quorate.storage.backend.twin import Twin
from quorate.storage.backend.writer import Batch, OnError, Writer
from quorate.storage.files import FileLocked
from quorate.testing.sim.disk import Mount, fail
from quorate.testing.sim.tables import PAGE_BYTES, ROW_BYTES, Table
from quorate.testing.sim.twin import SimTwin, make_table, remove

ROW_SECONDS = 1e-6
"""What placing a row adds to the time that a batch takes."""

CallLater = Callable[[float, Callable[[], None]], Any]


class RowsRoom:
    """The backends of one process. `call_later(seconds, call)` and `now()` are those of the virtual loop."""

    def __init__(self, mount: Mount, call_later: CallLater, now: Callable[[], float]) -> None:
        self.mount = mount
        self.call_later = call_later
        self.now = now

    def open(
        self,
        path: str | Path,
        buckets: Sequence[Bucket],
        *,
        batch_interval: float = BATCH_INTERVAL,
        batch_limit: int = BATCH_LIMIT,
        map_size: int = DEFAULT_MAP_SIZE,
        unsafe_no_fsync: bool = False,
        on_error: OnError | None = None,
    ) -> SimBackend:
        """As `Backend.open`. With `unsafe_no_fsync` a batch takes no time; it survives a power loss all the same."""
        file = TableFile(self.mount, str(path), buckets, map_size, sync=not unsafe_no_fsync)
        return SimBackend(self, file, batch_interval, batch_limit, on_error)

    def load(self, path: str | Path, buckets: Sequence[Bucket], rows: Iterable[Row]) -> Generator[None, None, None]:
        """As `quorate.storage.backend.load`."""
        path, mount = str(path), self.mount
        temporary = f"{path}.tmp"
        try:
            remove(mount, temporary)
            table = make_table(mount, temporary)
            handles = [table.make_bucket(bucket.name) for bucket in in_order(buckets)]
            yield from fill(cast(lmdb.Environment, table), cast("list[lmdb._Database]", handles), rows)
            yield
            if not mount.disk.room_for(0):
                fail(errno.ENOSPC, temporary)
            _name_whole(mount, table, temporary, path)
        except OSError as error:
            remove(mount, temporary)
            raise BackendError(f"cannot write {path}: {error}") from error
        except BaseException:
            if not mount.is_dead:
                remove(mount, temporary)
            raise


class SimBackend(Backend):
    """A Backend whose batches are finished in virtual time."""

    def __init__(
        self, room: RowsRoom, file: TableFile, batch_interval: float, batch_limit: int, on_error: OnError | None
    ) -> None:
        self._room = room
        self._table_file = file
        super().__init__(cast(File, file), batch_interval, batch_limit, on_error)

    def view(self) -> View:
        file = self._table_file
        still = Opened(cast(lmdb.Environment, file.env.picture()), file.current.handles)
        return View(cast(File, file), still)

    def close(self) -> None:
        """As `Backend.close`; nothing in a process that is dead."""
        if not self._room.mount.is_dead:
            super().close()

    def _start_writer(self) -> Writer:
        return SimWriter(self._room, self._table_file, self._on_error)

    def _now(self) -> float:
        return self._room.now()

    def _make_twin(self) -> Twin:
        return SimTwin(self._room.mount, self._table_file, self._room.call_later)


class SimWriter(Writer):
    """Finishes one batch after the other, each when its sync is over."""

    def __init__(self, room: RowsRoom, file: TableFile, on_error: OnError | None) -> None:
        super().__init__(cast(File, file), on_error)
        self._room = room
        self._table_file = file
        self._waiting: deque[Batch] = deque()
        self._timed: Batch | None = None
        """The batch for which there is an appointment."""

    def submit(self, batch: Batch) -> None:
        self._waiting.append(batch)
        self._make_appointment()

    def hand_over(self, batch: Batch) -> None: ...

    def wait_for(self, batch: Batch) -> None:
        while not batch.done:
            self._finish_first()
        self._make_appointment()

    def stop(self) -> None:
        while self._waiting:
            self._finish_first()

    def _make_appointment(self) -> None:
        if not self._waiting or self._timed is self._waiting[0]:
            return
        self._timed = batch = self._waiting[0]
        seconds = batch.ops * ROW_SECONDS
        if self._table_file.sync:
            seconds += self._room.mount.disk.sync_seconds()
        self._room.call_later(seconds, partial(self._due, batch))

    def _due(self, batch: Batch) -> None:
        if self._room.mount.is_dead or not self._waiting or self._waiting[0] is not batch:
            return  # with the process, or because somebody waited for it
        self._finish_first()
        self._make_appointment()

    def _finish_first(self) -> None:
        self.finish(self._waiting.popleft())  # first from the queue: who is told of it may ask for more

    def _write(self, batch: Batch) -> None:
        file, mount = self._table_file, self._room.mount
        mount.at("beforeCommit", file.path)
        faults = mount.disk.faults
        if mount.disk.happens(faults.write_error) or mount.disk.happens(faults.sync_error):
            fail(errno.EIO, file.path)
        more = sum(
            len(key) + len(value) + ROW_BYTES
            for changes in batch.changes.values()
            for key, value in changes.items()
            if value is not None
        )
        if file.env.size + more > file.map_size:
            raise lmdb.MapFullError("mdb_put: MDB_MAP_FULL: Environment mapsize limit reached")
        if not mount.disk.room_for(more):
            fail(errno.ENOSPC, file.path)
        super()._write(batch)
        mount.at("afterCommit", file.path)


class TableFile:
    """What a Backend asks of `quorate.storage.backend.file.File`, with a Table for the environment."""

    page_size = PAGE_BYTES

    def __init__(self, mount: Mount, path: str, buckets: Sequence[Bucket], map_size: int, sync: bool) -> None:
        self.path = path
        self.map_size = map_size
        self.sync = sync
        self.open_views = 0
        self._mount = mount
        self._buckets = in_order(buckets)
        try:
            self._lock = mount.open(f"{path}.lock", create=True)
        except OSError as error:
            raise BackendError(f"cannot open {path}.lock: {error.strerror}") from error
        try:
            self._lock.lock()
            if os.path.basename(path) not in mount.list(os.path.dirname(path) or "."):
                self._create()
            remove(mount, f"{path}.tmp")
            self.current = self._open(path)
        except FileLocked as error:
            self._lock.close()
            raise BackendInUse(f"{path} is in use by another process") from error
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        self._lock.close()

    @property
    def env(self) -> Table:
        return cast(Table, self.current.env)

    @property
    def handles(self) -> Any:
        return self.current.handles

    def allocated(self) -> int:
        return self.env.size

    def examine(self, path: Path) -> None:
        self._open(str(path))

    def put_in_place(self, path: Path) -> None:
        assert not self.open_views, "a view of the present file is open"
        self._mount.rename(str(path), self.path)
        self._mount.sync_directory(os.path.dirname(self.path) or ".")
        self.current = self._open(self.path)

    def open_copy(self, path: str) -> Opened:
        return self._open(path)

    def leave(self, opened: Opened) -> None: ...

    def close_unread(self) -> None: ...

    def _create(self) -> None:
        temporary = f"{self.path}.tmp"
        try:
            _name_whole(self._mount, make_table(self._mount, temporary), temporary, self.path)
        except OSError as error:
            raise BackendError(f"cannot open {self.path}: {error}") from error

    def _open(self, path: str) -> Opened:
        try:
            with closing(self._mount.open(path)) as file:
                table, size = file.inode.payload, file.size()
        except IsADirectoryError as error:
            raise BackendForeign(f"{path} is a directory, not a database file") from error
        except OSError as error:
            raise BackendError(f"cannot open {path}: {error.strerror}") from error
        if not isinstance(table, Table):
            what = "is not a database of this program, or it is damaged" if size else "is cut short: it is empty"
            raise BackendForeign(f"{path} {what}")
        if not table.whole:
            raise BackendForeign(f"{path} is cut short")
        self.map_size = max(self.map_size, 2 * table.size)
        handles = [table.make_bucket(bucket.name) for bucket in self._buckets]
        return Opened(cast(lmdb.Environment, table), cast("list[lmdb._Database]", handles))


def _name_whole(mount: Mount, table: Table, temporary: str, path: str) -> None:
    """Sync the file and rename it, durably."""
    mount.at("sync", temporary)
    mount.disk.sync_seconds()
    if mount.disk.happens(mount.disk.faults.sync_error):
        fail(errno.EIO, temporary)
    table.whole = True
    mount.rename(temporary, path)
    mount.sync_directory(os.path.dirname(path) or ".")
