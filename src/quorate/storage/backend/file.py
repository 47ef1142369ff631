"""The LMDB file: made whole or not at all, looked at before it is believed, held by one process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lmdb

MAX_KEY_BYTES = 511
"""Longest key of a row: what LMDB is compiled for. bbolt takes 32,768."""

DEFAULT_MAP_SIZE = 64 << 30
"""Address space kept for the file, in bytes; it is the most the file may grow to. It costs nothing until used (the
file is as long as its pages, no more), and it is eight times the largest quota etcd recommends, so that a file can
hold a full quota and its freed pages twice over. Growing a live map would cut every open read short."""

SPARE_DATABASES = 8
"""Named databases beyond our own that the file may hold without being refused."""

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


class Bucket(NamedTuple):
    """A named, ordered set of rows. `id` is its place in a Backend's tables: they run from 0."""

    name: bytes
    id: int


class File:
    """An open environment and the handles of its buckets, by bucket id."""

    def __init__(self, path: Path, buckets: Sequence[Bucket], map_size: int, sync: bool) -> None:
        """Open or create the file at `path`. Raises BackendInUse, BackendForeign, BackendError."""
        ordered = sorted(buckets, key=lambda bucket: bucket.id)
        assert [bucket.id for bucket in ordered] == list(range(len(ordered))), "bucket ids must run from 0"
        self.path = path
        self.handles: list[lmdb._Database]
        self._lock = _take_lock(path)
        try:
            if not path.exists():
                _create(path, buckets, map_size)
            self.env = _open(path, len(buckets), map_size, sync)
            try:
                self._check_length()
                self.handles = [self.env.open_db(bucket.name) for bucket in ordered]
            except BaseException:
                self.env.close()
                raise
        except lmdb.Error as error:
            os.close(self._lock)
            raise _explain(path, error, map_size) from error
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close the environment and let the next process in."""
        self.env.close()
        os.close(self._lock)

    def allocated(self) -> int:
        """Bytes of the file that LMDB has handed out, free pages included."""
        last: int = self.env.info()["last_pgno"]
        return (last + 1) * self.page_size

    @property
    def page_size(self) -> int:
        size: int = self.env.stat()["psize"]
        return size

    def _check_length(self) -> None:
        """A file cut short must be refused here: reading a mapped page behind the end would kill the process."""
        there = self.path.stat().st_size
        if there < self.allocated():
            raise BackendForeign(f"{self.path} is cut short: {there} bytes, {self.allocated()} expected")


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
    temporary = Path(f"{path}.tmp")
    for leftover in (temporary, Path(f"{temporary}-lock")):
        leftover.unlink(missing_ok=True)
    env = _open(temporary, len(buckets), map_size, sync=True)
    try:
        for bucket in buckets:
            env.open_db(bucket.name)
    finally:
        env.close()
    Path(f"{temporary}-lock").unlink(missing_ok=True)
    os.rename(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _open(path: Path, buckets: int, map_size: int, sync: bool) -> lmdb.Environment:
    return lmdb.open(
        str(path),
        map_size=map_size,
        subdir=False,
        sync=sync,
        metasync=sync,
        mode=0o600,
        max_dbs=buckets + SPARE_DATABASES,
        max_spare_txns=1,
    )


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
