"""A data directory that lives in memory and ends with its member.

A process that is killed cannot clean up, and what it leaves takes memory until the machine restarts. So a living
directory is locked, and whoever makes a new one first removes those of the same user that nobody holds any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
PREFIX = "quorate-memory-"
"""Names of directories that are locked, or left by the dead; then comes the process that made it."""
_NEW = "quorate-new-"
_LOCK = "alive"


def memory_root() -> Path:
    """The memory file system of this machine, or its directory for temporary files if there is none to write to."""
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return SHARED_MEMORY
    return Path(tempfile.gettempdir())


class MemoryDirectory:
    """A private, empty directory; removed by `remove`, or at the end of the program. Raises OSError."""

    def __init__(self) -> None:
        root = memory_root()
        _remove_orphans(root)
        made = Path(tempfile.mkdtemp(prefix=_NEW, dir=root))
        self._lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = made.rename(made.with_name(f"{PREFIX}{os.getpid()}-{made.name.removeprefix(_NEW)}"))
        self._end = weakref.finalize(self, _remove, self.path, self._lock)

    def remove(self) -> None:
        """Remove it with all that is in it; a second time does nothing."""
        self._end()


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _remove_orphans(root: Path) -> None:
    for path in root.glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
