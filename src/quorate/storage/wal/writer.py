"""`WalWriter`: the thread that writes the log, so that nobody else waits for the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from quorate.api.raftpb import Entry, HardState
from quorate.storage.wal.errors import WalClosed, WalError
from quorate.storage.wal.log import WAL
from quorate.storage.wal.record import Batch, WalSnapshot

Done = Callable[[BaseException | None], None]

PATIENCE_SECONDS = 0.0003  # a write and its sync take about a third of this on a good disk
_RELEASE = Batch(b"", False)


class WalWriter:
    """Takes what is to be saved, from one thread; writes it on its own.

    Everything that queued up while the disk was busy goes into one write and one sync. `done` is called on the
    writing thread, once for each `submit` and in their order, with None when it is saved or with the WalError after
    which nothing is saved any more; it must not raise. Without `start` nothing runs but what `step` is called for: a
    simulator writes in its own time.
    """

    def __init__(self, wal: WAL) -> None:
        self._wal = wal
        self._queue: SimpleQueue[tuple[Batch, Done] | None] = SimpleQueue()
        self._closed = False
        self._submitted = 0
        self._finished = 0  # written by the thread alone
        self._seen_finished = 0
        self._since = 0.0
        self._thread = threading.Thread(target=self._run, name="quorate-wal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(
        self,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        snapshot: WalSnapshot | None,
        done: Done,
    ) -> None:
        """Save these, in the order of the calls."""
        if self._closed:
            raise WalClosed(f"the log in {self._wal.directory} is closed")
        self._submitted += 1
        self._queue.put((self._wal.encode(hard_state, entries, snapshot), done))

    def give_way(self) -> None:
        """Let the writing thread go on; for the owner's loop, once per turn.

        A busy loop makes many short system calls. Each lets go of the interpreter lock and has it back before a
        thread that waits for it wakes up, so that a sync done in 0.2 ms was answered after 5 to 400 ms. The shortest
        of sleeps, only when an answer is overdue, hands the lock over.
        """
        now = time.perf_counter()
        finished = self._finished
        if finished != self._seen_finished or finished == self._submitted:
            self._seen_finished, self._since = finished, now
        elif now - self._since > PATIENCE_SECONDS:
            time.sleep(1e-6)

    def release_to(self, index: int) -> None:
        """`WAL.release_to` behind everything submitted so far."""

        def release(error: BaseException | None) -> None:
            if error is None:
                self._wal.release_to(index)

        self._submitted += 1
        self._queue.put((_RELEASE, release))

    def close(self) -> None:
        """Save what was submitted, then close the log and end the thread; raises WriteFailed if the last sync fails."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            if self._thread.is_alive():
                self._thread.join()
            self._wal.close()

    def step(self) -> bool:
        """Wait for work and do all that is queued; False when the end was asked for."""
        queue = self._queue
        work = [queue.get()]
        for _ in range(queue.qsize()):
            work.append(queue.get())
        jobs = [job for job in work if job is not None]
        error: WalError | None = None
        try:
            self._wal.append([batch for batch, _ in jobs])
        except WalError as failure:
            error = failure
        for _, done in jobs:
            done(error)
        self._finished += len(jobs)
        self._wal.prepare()
        return len(jobs) == len(work)

    def _run(self) -> None:
        while self.step():
            pass
