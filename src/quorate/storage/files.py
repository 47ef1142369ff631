"""The operating system as the log and the snapshot files see it: two small Protocols and the real thing.

`Files` is a file system, `File` an open file. The write-ahead log and the snapshot files do everything through them,
so that a simulator can stand in: a disk that forgets what was not synced, tears a write, or fills up.

What the callers rely on:

- `write` has written everything when it returns; when it raises, any prefix may be in the file.
- Nothing is durable before `sync` returned. A `sync` that raised has lost data for good: the kernel marks the pages
  clean, so a second `sync` would return success without having written them. Nobody retries.
- A name (a file made, renamed or unlinked) is durable after `sync_directory` of its directory.
- `rename` replaces atomically.

Source: POSIX; fsync(2), "fsyncgate" (Rebello et al., Can Applications Recover from fsync Failures?, ATC 2020).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Generator
from functools import wraps
from typing import ParamSpec, Protocol, TypeVar, cast

from quorate.pkg.aside import aside

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

_P = ParamSpec("_P")
_T = TypeVar("_T")


class FileLocked(OSError):
    """Another process (or another opening in this one) holds the lock of the file."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is locked: another member or tool is using it")
        self.path = path


class File(Protocol):
    """An open file. Offsets and sizes are in bytes; every failure is an OSError."""

    def size(self) -> int: ...

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`, fewer only where the file ends."""

    def write(self, data: bytes, offset: int) -> None: ...

    def sync(self) -> None:
        """Make the contents durable, and the size with them (fdatasync)."""

    def truncate(self, size: int) -> None: ...

    def preallocate(self, size: int) -> None:
        """Reserve space up to `size` and make the file that long; what it holds stays, the new part reads as zeros."""

    def lock(self) -> None:
        """Take the exclusive lock, to be held until `close`; raises FileLocked at once when it is taken."""

    def close(self) -> None: ...


class Files(Protocol):
    """A file system. Paths are plain text; every failure is an OSError."""

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File: ...

    def list(self, directory: str) -> list[str]:
        """The names in `directory`, sorted; raises FileNotFoundError."""

    def make_directory(self, path: str) -> None:
        """Make `path` and its parents, durably; one that exists is fine."""

    def rename(self, old: str, new: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def sync_directory(self, path: str) -> None: ...

    def free(self, directory: str) -> int:
        """Bytes that may still be written on the disk of `directory`."""

    def aside(self, call: Callable[[], None]) -> Generator[None, None, None]:
        """Run `call`, which waits for the disk; yield until it has ended, and raise what it raised."""


class OsFiles:
    """The file system of the machine."""

    aside = staticmethod(aside)

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:
        flags = (os.O_RDONLY if read_only else os.O_RDWR) | (os.O_CREAT if create else 0) | os.O_CLOEXEC
        return OsFile(path, os.open(path, flags, FILE_MODE))

    def list(self, directory: str) -> list[str]:
        return sorted(os.listdir(directory))

    def make_directory(self, path: str) -> None:
        if os.path.isdir(path):
            return
        parent = os.path.dirname(os.path.abspath(path))
        self.make_directory(parent)
        os.mkdir(path, DIRECTORY_MODE)
        self.sync_directory(parent)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def free(self, directory: str) -> int:
        disk = os.statvfs(directory)
        return disk.f_bavail * disk.f_frsize

    def sync_directory(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _named(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Put the path into what the system raises: calls on descriptors leave it out, and an operator needs it."""

    @wraps(call)
    def named(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return call(*args, **kwargs)
        except OSError as error:
            error.filename = cast(OsFile, args[0]).path
            raise

    return named


class OsFile:
    """An open file of the machine. `path` is where it was opened; it only serves error texts."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    @_named
    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        if len(data) == size or not data:
            return data
        pieces = [data]  # a single read returns at most 2 GiB, and less after a signal
        while size := size - len(data):
            offset += len(data)
            data = os.pread(self._fd, size, offset)
            if not data:
                break
            pieces.append(data)
        return b"".join(pieces)

    @_named
    def write(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self._fd, data, offset)
        while written < len(data):  # a full disk first writes what fits and fails on the next call
            written += os.pwrite(self._fd, memoryview(data)[written:], offset + written)

    @_named
    def sync(self) -> None:
        try:
            _fdatasync(self._fd)
        except OSError:
            # The lost pages now count as clean and would still be read back, by the next start too, as if they were
            # on disk. Without them in memory the next reader sees what the disk has.
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            raise

    @_named
    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    @_named
    def preallocate(self, size: int) -> None:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._fd, 0, size)
                return
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
        if self.size() < size:  # a file system that cannot reserve: the length is all that can be had
            os.ftruncate(self._fd, size)

    def lock(self) -> None:
        try:
            if _OFD_SETLK is None:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                fcntl.fcntl(self._fd, _OFD_SETLK, _WHOLE_FILE_EXCLUSIVE)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise FileLocked(self.path) from None
            raise

    def close(self) -> None:
        os.close(self._fd)


OS_FILES = OsFiles()

_fdatasync = getattr(os, "fdatasync", os.fsync)

# etcd takes open-file-description locks where the system has them, and these do not see flock locks: only the same
# kind keeps an etcd away from files that are in use here.
_OFD_SETLK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_WHOLE_FILE_EXCLUSIVE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
