"""The room's one thread: takes frozen batches, writes each as one LMDB transaction, says when it is durable."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import lmdb

from quorate.pkg.histogram import SYNC_SECONDS, Histogram
from quorate.storage.backend.file import BackendError, BackendFailed, File

if TYPE_CHECKING:
    from quorate.storage.backend.twin import Twin

Changes = dict[bytes, bytes | None]
"""What a batch does to one bucket: the new value of each key, None where the row goes away."""

Done = Callable[[BaseException | None], None]
"""Called on the writer's thread when a batch is durable (None) or lost (why)."""

OnError = Callable[[BackendFailed], None]
"""Called on the writer's thread when the first batch is lost."""

HANDOVER_SECONDS = 0.005
"""How long the logic thread stands aside for a large batch at most. 10,000 rows are placed in 2 ms when it sleeps
meanwhile, and in 400 ms when the two threads fight for the interpreter row by row; the logic thread loses more by the
fight than by the sleep. The fsync is never waited for."""

_log = logging.getLogger(__name__)


class Batch:
    """Changes that reach the file together. Nobody changes it once it is given to the writer."""

    __slots__ = ("changes", "done", "error", "finished", "ops", "placed", "twin", "waiters")

    def __init__(self, changes: dict[int, Changes], ops: int, twin: Twin | None = None) -> None:
        self.changes = changes
        self.ops = ops
        self.twin = twin
        """The file that is to take the place of the one in use, with this batch as the last that it lacks."""
        self.waiters: list[Done] = []
        self.placed = threading.Lock()
        """Held until the rows stand in the transaction, that is until only the disk is left to wait for."""
        self.placed.acquire()
        self.finished = threading.Lock()
        """Held until the batch is durable or lost."""
        self.finished.acquire()
        self.done = False
        self.error: BackendFailed | None = None


class Writer:
    """Writes batches in the order given. After the first that fails it writes nothing more.

    A simulator has one without a thread: it takes over `submit`, `hand_over`, `wait_for` and `stop`, and calls `finish`
    when the time has come.
    """

    def __init__(self, file: File, on_error: OnError | None) -> None:
        self.error: BackendFailed | None = None
        self.size = file.allocated()
        self.size_in_use = 0
        self.seconds = Histogram(SYNC_SECONDS)
        """How long each batch took, from its first row to the end of its sync."""
        self.sync_seconds = Histogram(SYNC_SECONDS)
        """How long of that its pages took to the disk."""
        self._file = file
        self._on_error = on_error
        self._page_size = file.page_size
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        with file.env.begin() as txn:
            self._measure(txn)
        self._thread = threading.Thread(target=self._run, name="backend", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Take `batch` over; returns at once."""
        self._queue.put(batch)

    def hand_over(self, batch: Batch) -> None:
        """Let the thread place the rows of `batch` undisturbed, for a short time."""
        batch.placed.acquire(timeout=HANDOVER_SECONDS)

    def wait_for(self, batch: Batch) -> None:
        """Return when `batch` is durable or lost."""
        with batch.finished:
            pass

    def stop(self) -> None:
        """End the thread after the batches it was given."""
        self._queue.put(None)
        self._thread.join()

    def finish(self, batch: Batch) -> None:
        """Write `batch`, unless an earlier one was lost, and tell how that went."""
        if self.error is None:
            self._try_write(batch)
        batch.error = self.error
        batch.done = True
        if batch.placed.locked():
            batch.placed.release()
        batch.finished.release()
        for done in batch.waiters:
            _call(done, batch.error)

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            self.finish(batch)

    def _try_write(self, batch: Batch) -> None:
        try:
            self._write(batch)
        except Exception as reason:
            self.error = BackendFailed(f"cannot write a batch of {batch.ops} operations to {self._file.path}: {reason}")
            self.error.__cause__ = reason
            if self._on_error is not None:
                _call(self._on_error, self.error)

    def _write(self, batch: Batch) -> None:
        began = time.perf_counter()
        if batch.twin is None or not self._write_twin(batch.twin, batch):
            with self._file.env.begin(write=True) as txn:
                place_all(txn, self._file.handles, batch.changes)
                batch.placed.release()
                self._measure(txn)
                placed = time.perf_counter()
            self.sync_seconds.observe(time.perf_counter() - placed)
        self.seconds.observe(time.perf_counter() - began)
        self.size = self._file.allocated()

    def _write_twin(self, twin: Twin, batch: Batch) -> bool:
        """Put `twin`, with this batch in it, in the place of the file in use; False when it is not fit for that."""
        try:
            twin.complete([*twin.rest, batch.changes])
            twin.rename()
        except (lmdb.Error, OSError, BackendError) as error:
            twin.error = error
            twin.give_up()
            return False
        try:
            self._file.current = twin.settle()
        except BaseException:
            twin.give_up()
            raise
        with self._file.env.begin() as txn:
            self._measure(txn)
        return True

    def _measure(self, txn: lmdb.Transaction[bytes]) -> None:
        """Count the pages that hold rows, their trees and the two roots; what is left of the file is free."""
        pages = 2
        for handle in (None, *self._file.handles):
            stat = txn.stat(handle) if handle is not None else txn.stat()
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        self.size_in_use = pages * self._page_size


def _call(told: Callable[[Any], None], what: BackendFailed | None) -> None:
    """Tell somebody. A listener that breaks (its loop closed already, say) must not end the thread under the rest."""
    try:
        told(what)
    except Exception:
        _log.exception("a listener of the backend failed")


def place_all(txn: lmdb.Transaction[bytes], handles: Sequence[lmdb._Database], changes: dict[int, Changes]) -> None:
    """Bring changes of several buckets into the transaction."""
    for bucket, some in changes.items():
        place(txn, handles[bucket], some)


def place(txn: lmdb.Transaction[bytes], handle: lmdb._Database, changes: Changes) -> None:
    """Bring `changes` into the transaction, in key order: that way each page is found and copied once.

    All rows go down in one call, because LMDB's binding lets the logic thread in between any two.
    """
    with txn.cursor(handle) as cursor:
        rows = sorted((key, value) for key, value in changes.items() if value is not None)
        if rows:
            behind_the_last = not cursor.last() or rows[0][0] > cursor.key()
            cursor.putmulti(rows, append=behind_the_last)
    for key in sorted(key for key, value in changes.items() if value is None):
        txn.delete(key, db=handle)
