"""The thread that writes the log of a simulated member: `WalWriter` with virtual time in place of the thread.

    submit ─► queue ──at once──► WAL.append on the Disk ──the time that its syncs took──► done

What is queued meanwhile goes into the next append together. A process that dies while it waits has its batch on the
disk and tells nobody; that it dies between write and sync is the disk's to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quorate.api.raftpb import Entry, HardState
from quorate.storage.wal import WAL, Batch, WalWriter
from quorate.storage.wal.writer import AVERAGED_SAVES, QUICK_SECONDS, Done
from quorate.testing.sim.disk import Mount

WAKE_SECONDS = 1e-5
"""From a submit to the first write."""

CallLater = Callable[[float, Callable[[], None]], Any]


class SimWalWriter(WalWriter):
    """`call_later` is that of the process's loop; `blocked(seconds)` is told when a `save_now` held up the loop."""

    def __init__(self, wal: WAL, mount: Mount, call_later: CallLater, blocked: Callable[[float], None]) -> None:
        super().__init__(wal)
        self._mount = mount
        self._call_later = call_later
        self._blocked = blocked
        self._working = False
        self._told: list[tuple[Done, BaseException | None]] = []
        self._began = 0.0

    def start(self) -> None: ...

    def give_way(self) -> None: ...

    def save_now(self, hard_state: HardState | None, entries: Sequence[Entry], *, sync: bool = False) -> bool:
        if self._working:
            return False
        average = self._average
        before = self._mount.disk.busy
        saved = super().save_now(hard_state, entries, sync=sync)
        if saved:  # what it has measured is the time of the machine that simulates
            seconds = self._mount.disk.busy - before
            self._average = average + (seconds - average) / AVERAGED_SAVES
            self._quick = self._average < QUICK_SECONDS
            self._blocked(seconds)
        return saved

    def close(self) -> None:
        """As `WalWriter.close`, in no time; nothing in a process that is dead."""
        if self._mount.is_dead:
            return
        if not self._closed and self._queue.qsize():
            self.step()
        self._tell()
        super().close()

    def _put(self, batch: Batch, done: Done) -> None:
        super()._put(batch, lambda error: self._told.append((done, error)))
        if not self._working:
            self._working = True
            self._call_later(WAKE_SECONDS, self._work)

    def _work(self) -> None:
        if self._mount.is_dead or self._closed:
            return
        self._began = self._mount.disk.busy
        self.step()
        self._call_later(self._mount.disk.busy - self._began, self._finish)

    def _finish(self) -> None:
        if self._mount.is_dead or self._closed:
            return
        self._tell()
        self._working = bool(self._queue.qsize())
        if self._working:
            self._call_later(WAKE_SECONDS, self._work)

    def _tell(self) -> None:
        told, self._told = self._told, []
        for done, error in told:
            done(error)

    def _judge(self, seconds: float) -> None:
        super()._judge(self._mount.disk.busy - self._began)
