"""`WalWriter`: who writes the log, so that nobody waits long for the disk.

A good disk syncs in a tenth of a millisecond, less than it takes a thread to wake up and get the interpreter lock from
a busy loop. So while the disk is quick, a batch is saved where it was made (`save_now`). Once it is slow, the thread
does it (`submit`), and the loop goes on meanwhile; until the disk has been quick again for a while.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from quorate.api.raftpb import Entry, HardState
from quorate.storage.wal.errors import WalClosed, WalError
from quorate.storage.wal.log import WAL
from quorate.storage.wal.record import Batch, WalSnapshot

Done = Callable[[BaseException | None], None]

QUICK_SECONDS = 0.005
"""Saves that take longer than this on average show a slow disk."""
AVERAGED_SAVES = 8
"""About so many saves make the average, so that a single late one does not count for much."""
QUICK_SAVES = 16
"""The quickest of this many saves of the thread tells whether the disk is quick again."""
PATIENCE_SECONDS = 0.0003  # a write and its sync take about a third of this on a good disk
_NOTHING = Batch(b"", False)


class WalWriter:
    """Takes what is to be saved, from one thread; writes it on its own.

    Everything that queued up while the disk was busy goes into one write and one sync. `done` is called on the
    writing thread, once for each `submit` and in their order, with None when it is saved or with the error, as a rule
    a WalError, after which nothing is saved any more; it must not raise. Without `start` nothing runs but what `step`
    is called for: a simulator writes in its own time.
    """

    def __init__(self, wal: WAL) -> None:
        self._wal = wal
        self._queue: SimpleQueue[tuple[Batch, Done] | None] = SimpleQueue()
        self._closed = False
        self._submitted = 0
        self._finished = 0  # written by the thread alone
        self._seen_finished = 0
        self._since = 0.0
        self._quick = True
        self._average = 0.0
        self._recent: deque[float] = deque(maxlen=QUICK_SAVES)
        self._thread = threading.Thread(target=self._run, name="quorate-wal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def save_now(self, hard_state: HardState | None, entries: Sequence[Entry], *, sync: bool = False) -> bool:
        """Save these before returning, if the disk is quick and the thread idle; False, and nothing done, if not.
        `sync` as in `WAL.encode`.

        Raises WriteFailed, and WalClosed ever after.
        """
        if not self._quick or self._submitted != self._finished:
            return False
        began = time.perf_counter()
        self._wal.append([self._wal.encode(hard_state, entries, sync=sync)])
        self._average += (time.perf_counter() - began - self._average) / AVERAGED_SAVES
        self._quick = self._average < QUICK_SECONDS
        if not self._wal.is_prepared:
            self._put(_NOTHING, _ignore)  # the thread makes the next segment
        return True

    def submit(
        self,
        hard_state: HardState | None,
        entries: Sequence[Entry],
        snapshot: WalSnapshot | None,
        done: Done,
        *,
        sync: bool = False,
    ) -> None:
        """Save these, in the order of the calls. `sync` as in `WAL.encode`."""
        if self._closed:
            raise WalClosed(f"the log in {self._wal.directory} is closed")
        self._put(self._wal.encode(hard_state, entries, snapshot, sync=sync), done)

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

        self._put(_NOTHING, release)

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
        error: BaseException | None = None
        began = time.perf_counter()
        try:
            self._wal.append([batch for batch, _ in jobs])
        except WalError as failure:
            error = failure
        except Exception as failure:
            # What was encoded may be missing in the file, and whatever comes behind it would make no sense.
            error = failure
            self._wal.failure = WalClosed(f"the log in {self._wal.directory} is closed since this failed: {failure!r}")
        self._judge(time.perf_counter() - began)
        for _, done in jobs:
            done(error)
        self._wal.prepare()
        self._finished += len(jobs)
        return len(jobs) == len(work)

    def _put(self, batch: Batch, done: Done) -> None:
        self._submitted += 1
        self._queue.put((batch, done))

    def _judge(self, seconds: float) -> None:
        """Trust a slow disk again when it has become quick. The quickest of some saves tells: the others may have
        waited for the interpreter lock rather than for the disk."""
        if not self._quick:
            self._recent.append(seconds)
            if len(self._recent) == QUICK_SAVES and min(self._recent) < QUICK_SECONDS / 2:
                self._recent.clear()
                self._average = 0.0
                self._quick = True

    def _run(self) -> None:
        while self.step():
            pass


def _ignore(error: BaseException | None) -> None:
    """A failure of the log shows at the next save."""
