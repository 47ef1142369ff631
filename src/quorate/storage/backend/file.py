"""The LMDB file: made whole or not at all, looked at before it is believed, held by one process."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import lmdb

MAX_KEY_BYTES = 511
"""Longest key of a row: what LMDB is compiled for. bbolt takes 32,768."""

DEFAULT_MAP_SIZE = 64 << 30
"""Address space kept for the file, in bytes; it is the most the file may grow to. It costs nothing until used (the
file is as long as its pages, no more), and it is eight times the largest quota etcd recommends, so that a file can
hold a full quota and its freed pages twice over. A live map is never grown, because that
would cut every open read short; a file that has outgrown half of it gets twice its size at the next open."""

MAX_DATABASES = 32
SPARE_DATABASES = 8
"""Named databases in a file, and how many of them may be others than our own: a file is not refused for these."""

_BBOLT_MAGIC = 0xED0CDAED
_BBOLT_MAGIC_AT = 16


class BackendError(Exception):
    """Root of what goes wrong with the file. The text names the file and the reason."""


class BackendInUse(BackendError):
    """Another process, or another Backend of this one, holds the file."""


class BackendForeign(BackendError):
    """What lies at the path is not a file this room wrote, or is only part of one."""


class BackendFailed(BackendError):
    """A batch could not be written; nothing is accepted any more."""


class DefragmentError(BackendError):
    """The file could not be defragmented; everything goes on with it as it was."""


class Bucket(NamedTuple):
    """A named, ordered set of rows. `id` is its place in a Backend's tables: they run from 0."""

    name: bytes
    id: int


class Opened:
    """An open environment and the handles of its buckets, by bucket id."""

    __slots__ = ("env", "handles", "views")

    def __init__(self, env: lmdb.Environment, handles: list[lmdb._Database]) -> None:
        self.env = env
        self.handles = handles
        self.views = 0
        """How many are open on it."""


class File:
    """The file in use. Files that it has taken the place of stay open as long as somebody reads them."""

    def __init__(self, path: Path, buckets: Sequence[Bucket], map_size: int, sync: bool) -> None:
        """Open or create the file at `path`. Raises BackendInUse, BackendForeign, BackendError."""
        self.path = path
        self.open_views = 0
        """On this file and on those before it."""
        self._past: list[Opened] = []
        self._closing: list[threading.Thread] = []
        self._buckets = in_order(buckets)
        self._map_size = map_size
        self._sync = sync
        self._lock = _take_lock(path)
        try:
            remove_temporary(temporary_path(path))
            if not path.exists():
                _create(path, self._buckets, map_size)
            self.current = self._open(path)
        except OSError as error:
            os.close(self._lock)
            raise BackendError(f"cannot open {path}: {error.strerror}") from error
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close everything and let the next process in."""
        self._close_all()
        os.close(self._lock)

    @property
    def env(self) -> lmdb.Environment:
        return self.current.env

    @property
    def handles(self) -> list[lmdb._Database]:
        return self.current.handles

    def allocated(self) -> int:
        """Bytes of the file that LMDB has handed out, free pages included."""
        return _allocated(self.env)

    @property
    def page_size(self) -> int:
        size: int = self.env.stat()["psize"]
        return size

    def examine(self, path: Path) -> None:
        """Raises BackendForeign or BackendError when `put_in_place` could not go on with the file at `path`."""
        self._open(path).env.close()
        reader_table(path).unlink(missing_ok=True)

    def put_in_place(self, path: Path) -> None:
        """Close the present file, rename the one at `path` over it, durably, and open that one.

        Raises OSError or BackendError; nothing is open then. Killed at any moment, this leaves one of the two files
        whole under the name, and until the rename both. The lock of `<path>.lock` is held throughout.
        """
        assert not self.open_views, "a view of the present file is open"
        self._close_all()
        # The table holds the number of the newest transaction. A process that still reads the old file would keep it
        # alive, and the new file would be read by the old one's number; so each file gets its own table.
        reader_table(self.path).unlink(missing_ok=True)
        # The disk takes its time for who closes the old file last, a third of a second a gigabyte.
        old = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            move_into_place(path, self.path)
        finally:
            self._close_aside(lambda: os.close(old))
        self.current = self._open(self.path)

    def open_twin(self, path: Path, *, complete: bool = False) -> Opened:
        """Make another file of the same buckets, whose rows are durable after a sync only; or open one that is
        `complete` as this one was opened. Raises lmdb.Error, BackendError."""
        if complete:
            return self._open(path)
        env = open_environment(path, self._map_size, sync=False)
        return Opened(env, [env.open_db(bucket.name) for bucket in self._buckets])

    def leave(self, opened: Opened) -> None:
        """Nobody reads `opened` any more, except by views: another is in use."""
        self._past.append(opened)
        self.close_unread()

    def close_unread(self) -> None:
        """Close those left files that have no views. The system frees their pages then, which takes a while."""
        unread = [opened for opened in self._past if not opened.views]
        if unread:
            self._past = [opened for opened in self._past if opened.views]
            for opened in unread:
                self._close_aside(opened.env.close)

    def _close_aside(self, close: Callable[[], object]) -> None:
        self._closing = [thread for thread in self._closing if thread.is_alive()]
        thread = threading.Thread(target=close, name="backend close", daemon=True)
        thread.start()
        self._closing.append(thread)

    def _close_all(self) -> None:
        for thread in self._closing:
            thread.join()
        for opened in (*self._past, self.current):
            opened.env.close()
        self._past, self._closing = [], []

    def _open(self, path: Path) -> Opened:
        """Open the file at `path`, which must exist and be whole. Raises BackendForeign, BackendError."""
        try:
            # LMDB would take a file of no bytes for a new database.
            if not path.stat().st_size:
                raise BackendForeign(f"{path} is cut short: it is empty")
        except OSError as error:
            raise BackendError(f"cannot open {path}: {error.strerror}") from error
        try:
            env = open_environment(path, self._map_size, self._sync)
            try:
                _check_length(path, env)
                return Opened(env, [env.open_db(bucket.name) for bucket in self._buckets])
            except BaseException:
                env.close()
                raise
        except lmdb.Error as error:
            raise _explain(path, error, self._map_size) from error


def in_order(buckets: Sequence[Bucket]) -> list[Bucket]:
    """The buckets by id."""
    ordered = sorted(buckets, key=lambda bucket: bucket.id)
    assert [bucket.id for bucket in ordered] == list(range(len(ordered))), "bucket ids must run from 0"
    assert len(ordered) <= MAX_DATABASES - SPARE_DATABASES, "too many buckets"
    return ordered


def open_environment(path: Path, map_size: int, sync: bool) -> lmdb.Environment:
    """Open or create the LMDB file at `path`, with room to grow to `map_size`, or to twice its size when that is more.
    Raises lmdb.Error."""
    size = path.stat().st_size if path.exists() else 0
    return lmdb.open(
        str(path),
        map_size=max(map_size, 2 * size),
        subdir=False,
        sync=sync,
        metasync=sync,
        mode=0o600,
        max_dbs=MAX_DATABASES,
        max_spare_txns=1,
    )


def reader_table(path: Path) -> Path:
    """LMDB's table of those who read the file at `path`; it is made anew when it is not there."""
    return Path(f"{path}-lock")


def temporary_path(path: Path) -> Path:
    """Where a file is made that is to get the name `path` when it is whole; means nothing after a crash."""
    return Path(f"{path}.tmp")


def remove_temporary(path: Path) -> None:
    for leftover in (path, reader_table(path)):
        leftover.unlink(missing_ok=True)


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename a file that is whole and synced, durably. Raises OSError."""
    reader_table(temporary).unlink(missing_ok=True)
    os.rename(temporary, path)
    sync_directory(path)


def sync_directory(path: Path) -> None:
    """Make the name `path` durable. Raises OSError."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _take_lock(path: Path) -> int:
    """A file descriptor that holds `<path>.lock` until it is closed or the process ends."""
    name = f"{path}.lock"
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BackendError(f"cannot open {name}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise BackendInUse(f"{path} is in use by another process") from error
    return descriptor


def _create(path: Path, buckets: Sequence[Bucket], map_size: int) -> None:
    """Make the file under another name and rename it when it is whole and synced.

    A start that is killed halfway leaves only the temporary file, and the next start begins it anew (etcd 11613).
    """
    temporary = temporary_path(path)
    try:
        env = open_environment(temporary, map_size, sync=True)
        try:
            for bucket in buckets:
                env.open_db(bucket.name)
        finally:
            env.close()
        move_into_place(temporary, path)
    except lmdb.Error as error:
        raise _explain(path, error, map_size) from error


def _allocated(env: lmdb.Environment) -> int:
    last: int = env.info()["last_pgno"]
    page_size: int = env.stat()["psize"]
    return (last + 1) * page_size


def _check_length(path: Path, env: lmdb.Environment) -> None:
    """A file cut short must be refused here: reading a mapped page behind the end would kill the process."""
    there = path.stat().st_size
    if there < _allocated(env):
        raise BackendForeign(f"{path} is cut short: {there} bytes, {_allocated(env)} expected")


def _explain(path: Path, error: lmdb.Error, map_size: int) -> BackendError:
    """The error for what LMDB said about the file at `path`."""
    if path.is_dir():
        return BackendForeign(f"{path} is a directory, not a database file")
    if isinstance(error, (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError)):
        if _is_bbolt(path):
            return BackendForeign(f"{path} is a bbolt file as etcd writes it, not a database of this program")
        return BackendForeign(f"{path} is not a database of this program, or it is damaged: {error}")
    if isinstance(error, lmdb.MemoryError):
        return BackendError(f"cannot open {path}: a process here may not map {map_size} bytes of address space")
    return BackendError(f"cannot open {path}: {error}")


def _is_bbolt(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_BBOLT_MAGIC_AT + 4)
    return int.from_bytes(head[_BBOLT_MAGIC_AT:], "little") == _BBOLT_MAGIC
