"""Backend: what the logic thread sees of the rows. Its page is the docstring of the package."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import lmdb

from quorate.storage.backend.defrag import Defragmentation
from quorate.storage.backend.file import (
    DEFAULT_MAP_SIZE,
    MAX_KEY_BYTES,
    BackendError,
    BackendFailed,
    Bucket,
    DefragmentError,
    File,
)
from quorate.storage.backend.scan import Overlay, Place, stored_bite
from quorate.storage.backend.twin import Twin
from quorate.storage.backend.view import View
from quorate.storage.backend.writer import Batch, Changes, Done, OnError, Writer

BATCH_INTERVAL = 0.1
BATCH_LIMIT = 10_000
"""etcd's numbers: seconds, and operations, after which a batch is written."""

BACKLOG_BATCHES = 10
"""Full batches that may gather behind a slow disk; then the logic thread waits for it, so that memory stays bounded."""

HANDOVER_FROM_OPS = 256
"""A batch of this many operations is worth standing aside for (`Writer.hand_over`)."""

BITE_BYTES = 1 << 20
BITE_ROWS = 1024
FIRST_BITE_ROWS = 32
"""How much a scan reads at a time. The first bite is small because most scans are."""


class Backend:
    """Rows in buckets: in memory first, in the file soon after. One thread calls all of it (see the package)."""

    def __init__(self, file: File, batch_interval: float, batch_limit: int, on_error: OnError | None) -> None:
        self.batch_interval = batch_interval
        self.batch_limit = batch_limit
        self._file = file
        self._on_error = on_error
        self._in_entry = False
        self._closed = False
        self._begin()
        self.commit_seconds, self.sync_seconds = self._writer.seconds, self._writer.sync_seconds
        """How long batches took to be written, and of that to the disk, since this was opened."""

    def _begin(self) -> None:
        """Start over the file as it is, with nothing in memory."""
        self._writer = self._start_writer()
        self._buffers: list[Changes] = [{} for _ in self._file.handles]
        self._layers: list[tuple[Changes, ...]] = [(buffer,) for buffer in self._buffers]
        """Per bucket what lies over the file, newest first: the buffer, then batches not yet seen as durable."""
        self._ops = 0
        self._due_at = 0.0
        self._frozen: list[Batch] = []
        self._defragmentation: Defragmentation | None = None
        self._opened = self._file.current
        """What is read from; another may be in use already, and is read from the next batch on."""
        self._txn: lmdb.Transaction[bytes] = self._opened.env.begin()
        self._read = self._txn.get

    @classmethod
    def open(
        cls,
        path: str | Path,
        buckets: Sequence[Bucket],
        *,
        batch_interval: float = BATCH_INTERVAL,
        batch_limit: int = BATCH_LIMIT,
        map_size: int = DEFAULT_MAP_SIZE,
        unsafe_no_fsync: bool = False,
        on_error: OnError | None = None,
    ) -> Backend:
        """Open the file at `path`, or create it (its directory must exist).

        `batch_interval` in seconds, `map_size` in bytes: the most the file may grow to. `on_error` is called once, on
        the room's thread, with the BackendFailed of the first batch that could not be written.
        Raises BackendInUse when another holds the file, BackendForeign when it is not one of ours, else BackendError.
        """
        file = File(Path(path), buckets, map_size, sync=not unsafe_no_fsync)
        return cls(file, batch_interval, batch_limit, on_error)

    # Rows.

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None:
        """Set a row. Keys are 1 to MAX_KEY_BYTES bytes long."""
        assert 0 < len(key) <= MAX_KEY_BYTES, "key length"
        self._buffers[bucket[1]][key] = value
        self._ops += 1

    def delete(self, bucket: Bucket, key: bytes) -> None:
        """Remove a row; a row that is not there may be removed."""
        self._buffers[bucket[1]][key] = None
        self._ops += 1

    def get(self, bucket: Bucket, key: bytes) -> bytes | None:
        """The value of a row, or None."""
        number = bucket[1]
        for layer in self._layers[number]:
            if key in layer:
                return layer[key]
        return self._read(key, None, self._opened.handles[number])

    def get_many(self, bucket: Bucket, keys: Sequence[bytes]) -> list[bytes]:
        """The values of rows that are known to exist, in the order of `keys`; a missing one is a broken store."""
        number = bucket[1]
        handle = self._opened.handles[number]
        read = self._read
        layers = [layer for layer in self._layers[number] if layer]
        values: list[bytes | None]
        if not layers:
            values = [read(key, None, handle) for key in keys]
        elif len(layers) == 1:
            layer = layers[0]
            values = [layer[key] if key in layer else read(key, None, handle) for key in keys]
        else:
            values = [self.get(bucket, key) for key in keys]
        assert None not in values, "a row that must exist is missing"
        return values  # type: ignore[return-value]

    def scan(
        self, bucket: Bucket, start: bytes = b"", end: bytes | None = None, limit: int = 0
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with start <= key < end (None: to the last), ascending; `limit` 0 is no limit.

        Rows may be written and batches frozen while the scan is held: it reads in bites of at most BITE_ROWS, each
        bite shows the rows as they stood when it was read, and the next goes on behind the last key.
        """
        number = bucket[1]
        place = Place(start, end)
        overlay = Overlay()
        rows = FIRST_BITE_ROWS
        more = True
        while more:
            stored, more = stored_bite(self._txn, self._opened.handles[number], place, min(rows, limit or rows))
            if stored and more:
                last = stored[-1][0]
            bite = overlay.merge(self._layers[number], stored, more, place)
            if limit:
                del bite[limit:]
                limit -= len(bite)
                more = more and limit > 0
            yield from bite
            if more:
                place.go_on_behind(last)
                rows = max(1, min(BITE_ROWS, BITE_BYTES * len(stored) // (1 + sum(len(row[1]) for row in stored))))

    # Batches.

    @property
    def pending_ops(self) -> int:
        """Operations not yet durable in the file."""
        return self._ops + sum(batch.ops for batch in self._frozen if not batch.done)

    def begin_entry(self) -> None:
        """From here to `end_entry` nothing is frozen: these rows reach the file together."""
        assert not self._in_entry, "entries do not nest"
        self._in_entry = True

    def end_entry(self) -> None:
        """The entry's rows, its index among them, are all put. Freezes the buffer when it is due.

        Raises BackendFailed once a batch was lost.
        """
        assert self._in_entry, "no entry was begun"
        self._in_entry = False
        if self._frozen and self._frozen[0].done:
            self._drop_done()
        if self._frozen:
            if self._ops >= BACKLOG_BATCHES * self.batch_limit:
                self._wait_for(self._frozen[-1])
                self._freeze()
        elif self._ops >= self.batch_limit or (self._ops and self._now() >= self._due_at):
            self._freeze()

    def flush(self, done: Done | None = None) -> None:
        """Hand what is there to the thread, without waiting; call it every `batch_interval` seconds or so.

        While a batch is still being written nothing new is frozen, unless `done` asks for it: `done` is called on
        that thread once everything put so far is durable, with None, or with the error that lost it.
        Raises BackendFailed once a batch was lost.
        """
        self._drop_done()
        if done is not None or (self._ops and not self._frozen):
            self._freeze(done)

    def commit(self) -> None:
        """Return when everything put so far is durable. Raises BackendFailed when it cannot be."""
        self._drop_done()
        if self._ops:
            self._freeze()
        if self._frozen:
            self._wait_for(self._frozen[-1])

    def close(self) -> None:
        """Commit what can be committed, and let the file go.

        Rows of an entry that was begun and not ended are dropped: an apply that broke off must leave nothing behind.
        Whole entries that wait in the same buffer go with them; the log has them all.
        """
        if self._closed:
            return
        self._closed = True
        if self._ops and not self._in_entry and self._writer.error is None:
            self._freeze()
        self._writer.stop()
        self._give_up_defragmentation("the database is closed")
        self._stop_reading()
        self._file.close()

    # The file.

    def size(self) -> int:
        """Bytes of the file, as of the last batch."""
        return self._writer.size

    def size_in_use(self) -> int:
        """Bytes of the file without its free pages, as of the last batch."""
        return self._writer.size_in_use

    @property
    def open_views(self) -> int:
        """How many are open."""
        return self._file.open_views

    def view(self) -> View:
        """The file's rows as they are now, held still until closed. Rows not yet committed are not in it.

        A view keeps every page freed after it from being used again, so the file grows while it is open.
        """
        return View(self._file, self._file.current)

    def replace(self, path: str | Path) -> None:
        """Put the file at `path` (made by `load`, on the same file system) in the place of this one, and go on with it.

        Rows that wait in memory are dropped; batches on their way to the old file are waited for, and a
        defragmentation is given up. Views must have been closed, and a scan begun before must not be used again. A
        crash leaves the old file or the new one, each whole.
        Raises BackendForeign or BackendError when the new file is not fit, and then nothing has changed. Raises
        BackendFailed when the exchange itself failed; nothing is accepted any more then.
        """
        assert not self._in_entry, "the file is replaced between entries"
        assert not self._file.open_views, "views must be closed before the file is replaced"
        self._raise_failure()
        self._file.examine(Path(path))
        self._writer.stop()
        self._raise_failure()
        self._give_up_defragmentation("a snapshot has taken the place of the database")
        self._stop_reading()
        try:
            self._file.put_in_place(Path(path))
        except (OSError, BackendError) as reason:
            self._writer.error = BackendFailed(f"cannot put {path} in the place of {self._file.path}: {reason}")
            raise self._writer.error from reason
        self._begin()
        self._writer.seconds, self._writer.sync_seconds = self.commit_seconds, self.sync_seconds

    def defragment(self) -> Generator[None, None, None]:
        """Put a file of the same rows, without anything between them, in the place of this one, while rows are read
        and written.

        Yields between bites, which are for the logic thread, between entries; one run at a time. The last that the new
        file lacks is a batch that the writer's thread puts into it, and then it takes the name: a crash leaves the old
        file or the new one, whole, with every batch that was durable. Views go on, on the file they were opened on.
        Raises DefragmentError when the new file cannot be made or is given up; then nothing has changed. Raises
        BackendFailed once a batch was lost.
        """
        assert self._defragmentation is None, "one defragmentation at a time"
        self._drop_done()
        while any(batch.twin is not None for batch in self._frozen):
            yield  # a run that was closed is with the writer still
            self._drop_done()
        run = self._defragmentation = Defragmentation(self._make_twin(), self._opened, self._txn, self._now)
        batch: Batch | None = None
        try:
            run.twin.begin(self.size_in_use())
            yield from run.run()
            batch = self._freeze_last(run)
            while not batch.done:
                yield
            self._drop_done()
            if run.twin.error is not None:
                raise run.twin.error
        except BackendFailed:
            raise
        except (lmdb.Error, OSError, BackendError) as error:
            raise DefragmentError(f"cannot defragment {self._file.path}: {run.twin.explain(error)}") from error
        finally:
            if self._defragmentation is run:
                self._defragmentation = None
            if batch is None:
                run.twin.give_up()

    def _freeze_last(self, run: Defragmentation) -> Batch:
        """Hand the new file to the thread, with all that it lacks; from here on it is the thread's."""
        self._drop_done()
        run.twin.rest = [run.rest(), *(batch.changes for batch in self._frozen)]
        self._freeze(twin=run.twin)
        self._defragmentation = None
        return self._frozen[-1]

    def _give_up_defragmentation(self, why: str) -> None:
        if self._defragmentation is not None:
            self._defragmentation.give_up(why)
            self._defragmentation = None

    # How a batch goes from the buffer to the file.

    def _freeze(self, done: Done | None = None, twin: Twin | None = None) -> None:
        assert not self._in_entry, "a batch must not end inside an entry"
        self._raise_failure()
        changes = {number: buffer for number, buffer in enumerate(self._buffers) if buffer}
        batch = Batch(changes, self._ops, twin)
        if done is not None:
            batch.waiters.append(done)
        idle = not self._frozen
        for number in changes:
            fresh: Changes = {}
            self._buffers[number] = fresh
            self._layers[number] = (fresh, *self._layers[number])
        self._ops = 0
        self._due_at = self._now() + self.batch_interval
        self._frozen.append(batch)
        self._writer.submit(batch)
        if idle and batch.ops >= HANDOVER_FROM_OPS:
            self._writer.hand_over(batch)

    def _wait_for(self, batch: Batch) -> None:
        self._writer.wait_for(batch)
        self._drop_done()

    def _drop_done(self) -> None:
        """Read from the file what is durable by now, and forget it here. Raises BackendFailed once a batch was lost."""
        self._raise_failure()
        finished = 0
        for batch in self._frozen:
            if not batch.done or batch.error is not None:
                break
            finished += 1
        if not finished:
            return
        self._renew()
        for batch in self._frozen[:finished]:
            if self._defragmentation is not None:
                self._defragmentation.note(batch.changes, self._txn)
            for number in batch.changes:
                self._layers[number] = self._layers[number][:-1]
        del self._frozen[:finished]

    def _start_writer(self) -> Writer:
        writer = Writer(self._file, self._on_error)
        writer.start()
        return writer

    def _now(self) -> float:
        return time.monotonic()

    def _raise_failure(self) -> None:
        if self._writer.error is not None:
            raise self._writer.error

    def _make_twin(self) -> Twin:
        return Twin(self._file)

    def _renew(self) -> None:
        self._stop_reading()
        self._txn = self._opened.env.begin()
        self._read = self._txn.get

    def _stop_reading(self) -> None:
        """Until the next time, which may be of another file."""
        self._txn.abort()
        current = self._file.current
        if current is not self._opened:
            self._file.leave(self._opened)
            self._opened = current
