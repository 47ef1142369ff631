"""A machine's disk in memory, with all that may go wrong with one. The dice are handed in.

`Disk` is the machine: its platters and its page cache. A process reaches it through `Disk.mount`, which gives a
`quorate.storage.files.Files`. What a dead process still asks (in a `finally`, say) raises Crashed and changes nothing.

    write, truncate ──► page cache ──sync──► platter          make, rename, unlink ──► names ──sync_directory──► platter

    crash         the process dies: page cache and names stay, its locks are let go
    power_loss    every sector of 512 bytes that was not synced is as old or as new as any moment since then, each for
                  itself, and so is the size of each file; of the changes of names in a directory some have come through

Each operation first asks `Disk.hook(operation, path)`. It may raise Crashed, and the process dies there: for a crash at
a named point. Of a write it was in, a part is done.

Sources: what `quorate.storage.files` promises its callers and what it does not; Pillai et al., All File Systems Are Not
Created Equal (OSDI 2014) for what may be lost; Rebello et al. (ATC 2020) for what a failed fsync leaves.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from random import Random
from typing import NoReturn

from quorate.storage.files import FileLocked
from quorate.testing.sim.content import SECTOR, Directory, Inode

Hook = Callable[[str, str], None]


class Crashed(BaseException):
    """The process is dead. Not an Exception: no handler of errors may go on after it."""


ENDLESS_BYTES = 1 << 50
"""Free on a disk without a capacity."""


@dataclass(slots=True)
class Faults:
    """What goes wrong. Chances are from 0 to 1, drawn at each operation; times are virtual seconds."""

    write_error: float = 0.0
    """EIO; part of the write is in the file."""
    sync_error: float = 0.0
    """EIO; what was not synced is lost or not, sector by sector, and the next sync succeeds without it."""
    lying_sync: float = 0.0
    """A sync returns with nothing on the platter; it gets there with the next honest one."""
    capacity: int | None = None
    """Bytes; what does not fit fails with ENOSPC."""
    sync_seconds: float = 0.0002
    slow_sync: float = 0.0
    slow_seconds: float = 0.0
    """How long such a sync takes at most."""


class Disk:
    """See the module. `faults` and `hook` may be changed at any time."""

    def __init__(self, rng: Random, faults: Faults | None = None) -> None:
        self.rng = rng
        self.faults = faults or Faults()
        self.hook: Hook | None = None
        self.operations = 0
        self.busy = 0.0
        """Virtual seconds that all syncs so far have taken. Nothing here waits: who plays the thread that waits for the
        disk asks for the difference."""
        self.life = 0
        self._root = Directory()

    def mount(self) -> Mount:
        """The disk as one process sees it until the next `crash` or `power_loss`."""
        return Mount(self)

    def crash(self) -> None:
        """All processes die."""
        self.life += 1

    def power_loss(self) -> None:
        """All processes die, and what was not synced is lost, torn or there."""
        self.crash()
        self._root.lose(self.rng)

    def rot(self, path: str) -> int:
        """Turn one bit of the file, on the platter and behind everybody's back; the offset of its byte."""
        inode = self.inode(path)
        written = min(len(inode.stored.data), inode.stored.size)
        assert written and inode.locked_in != self.life, "bits rot in closed files that hold some"
        offset, bit = self.rng.randrange(written), 1 << self.rng.randrange(8)
        inode.stored.data[offset] ^= bit
        if not inode.pending:
            inode.seen.data[offset] ^= bit
        return offset

    def tell_the_truth(self) -> None:
        """No sync lies any more, and what they left out gets to the platter late."""
        if self.faults.lying_sync:
            self.faults.lying_sync = 0.0
            self._root.store_all()

    def used(self) -> int:
        """Bytes taken by all files."""
        return sum(inode.reserved if inode.payload is None else inode.payload.size for inode in _inodes(self._root))

    def room_for(self, size: int) -> bool:
        """Whether `size` more bytes fit."""
        return self.faults.capacity is None or size <= 0 or self.used() + size <= self.faults.capacity

    def sync_seconds(self) -> float:
        """How long the next sync takes; it is one of those that `busy` counts."""
        seconds = self.faults.sync_seconds
        if self.happens(self.faults.slow_sync):
            seconds = max(seconds, self.faults.slow_seconds * self.rng.random())
        self.busy += seconds
        return seconds

    def happens(self, chance: float) -> bool:
        """Roll the dice. A chance of 0 rolls none."""
        return chance > 0 and self.rng.random() < chance

    def inode(self, path: str) -> Inode:
        """The file at `path`, for those who look behind the scenes; raises FileNotFoundError."""
        parent, name = self.parent(path)
        node = parent.names.get(name)
        if not isinstance(node, Inode):
            fail(errno.ENOENT if node is None else errno.EISDIR, path)
        return node

    def directory(self, path: str) -> Directory:
        node: Inode | Directory | None = self._root
        for part in path.split("/"):
            if part not in ("", "."):
                node = node.names.get(part) if isinstance(node, Directory) else None
        if not isinstance(node, Directory):
            fail(errno.ENOENT if node is None else errno.ENOTDIR, path)
        return node

    def parent(self, path: str) -> tuple[Directory, str]:
        head, _, tail = path.rpartition("/")
        return self.directory(head), tail


class Mount:
    """`Files` of one process."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self._life = disk.life

    @property
    def is_dead(self) -> bool:
        return self._life != self.disk.life

    def at(self, operation: str, path: str) -> None:
        """A point where the process may die. Raises Crashed."""
        if self.is_dead:
            raise Crashed(f"{operation} {path}")
        disk = self.disk
        disk.operations += 1
        if disk.hook is not None:
            try:
                disk.hook(operation, path)
            except Crashed:
                disk.crash()
                raise

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> DiskFile:
        self.at("open", path)
        parent, name = self.disk.parent(path)
        if create and name not in parent.names:
            parent.change({name: Inode()})
        return DiskFile(self, path, self.disk.inode(path), read_only)

    def list(self, directory: str) -> list[str]:
        self.at("list", directory)
        return sorted(self.disk.directory(directory).names)

    def make_directory(self, path: str) -> None:
        done = "/" if path.startswith("/") else ""
        for part in path.strip("/").split("/"):
            parent = self.disk.directory(done)
            if part not in parent.names:
                self.at("make_directory", done + part)
                parent.change({part: Directory()})
                self.sync_directory(done)
            done += part + "/"

    def rename(self, old: str, new: str) -> None:
        self.at("rename", old)
        parent, name = self.disk.parent(old)
        target, new_name = self.disk.parent(new)
        assert parent is target, "a rename from one directory to another is not atomic on every disk"
        node, replaced = parent.names.get(name), parent.names.get(new_name)
        if node is None:
            fail(errno.ENOENT, old)
        if node is replaced:
            return
        if isinstance(replaced, Directory) and not isinstance(node, Directory):
            fail(errno.EISDIR, new)
        if isinstance(replaced, Inode) and isinstance(node, Directory):
            fail(errno.ENOTDIR, new)
        if isinstance(replaced, Directory) and replaced.names:
            fail(errno.ENOTEMPTY, new)
        parent.change({name: None, new_name: node})

    def unlink(self, path: str) -> None:
        self.at("unlink", path)
        self.disk.inode(path)
        parent, name = self.disk.parent(path)
        parent.change({name: None})

    def sync_directory(self, path: str) -> None:
        self.at("sync_directory", path)
        self.disk.sync_seconds()
        directory = self.disk.directory(path)
        if self.disk.happens(self.disk.faults.sync_error):
            fail(errno.EIO, path)
        if not self.disk.happens(self.disk.faults.lying_sync):
            directory.store()

    def free(self, directory: str) -> int:
        self.disk.directory(directory)
        capacity = self.disk.faults.capacity
        return ENDLESS_BYTES if capacity is None else max(0, capacity - self.disk.used())

    def aside(self, call: Callable[[], None]) -> Generator[None, None, None]:
        yield
        call()


class DiskFile:
    """An open file of one process."""

    def __init__(self, mount: Mount, path: str, inode: Inode, read_only: bool) -> None:
        self.path = path
        self.inode = inode
        self._mount = mount
        self._disk = mount.disk
        self._read_only = read_only
        self._open = True
        self._holds_lock = False

    def size(self) -> int:
        return self.inode.size

    def read(self, offset: int, size: int) -> bytes:
        self._at("read")
        return self.inode.seen.read(offset, size)

    def write(self, data: bytes, offset: int) -> None:
        was_dead = self._mount.is_dead
        try:
            self._at("write", writes=True)
        except Crashed:
            if not was_dead:
                self._write_part(data, offset)
            raise
        if self._disk.happens(self._disk.faults.write_error):
            self._write_part(data, offset)
            fail(errno.EIO, self.path)
        more = offset + len(data) - self.inode.reserved
        if not self._disk.room_for(more):
            assert self._disk.faults.capacity is not None
            fitting = max(0, self.inode.reserved + self._disk.faults.capacity - self._disk.used() - offset)
            self._put_until(data, offset, offset + fitting)
            fail(errno.ENOSPC, self.path)
        self._put(data, offset)

    def sync(self) -> None:
        self._at("sync")
        self._disk.sync_seconds()
        if self._disk.happens(self._disk.faults.sync_error):
            if not self._disk.faults.lying_sync:  # what earlier syncs have promised is not lost with it
                self.inode.fail_sync(self._disk.rng)
            fail(errno.EIO, self.path)
        if not self._disk.happens(self._disk.faults.lying_sync):
            self.inode.store()

    def truncate(self, size: int) -> None:
        self._at("truncate", writes=True)
        if size != self.inode.seen.size:
            self.inode.put(size)

    def preallocate(self, size: int) -> None:
        self._at("preallocate", writes=True)
        if not self._disk.room_for(size - self.inode.reserved):
            fail(errno.ENOSPC, self.path)
        if size > self.inode.seen.size:
            self.inode.put(size)
        self.inode.reserved = max(self.inode.reserved, size)

    def lock(self) -> None:
        self._at("lock", writes=True)
        if self.inode.locked_in == self._disk.life and not self._holds_lock:
            raise FileLocked(self.path)
        self.inode.locked_in = self._disk.life
        self._holds_lock = True

    def close(self) -> None:
        if self._open and self._holds_lock and not self._mount.is_dead:
            self.inode.locked_in = -1
        self._open = False

    def _at(self, operation: str, writes: bool = False) -> None:
        self._mount.at(operation, self.path)
        if not self._open or (writes and self._read_only):
            fail(errno.EBADF, self.path)

    def _write_part(self, data: bytes, offset: int) -> None:
        self._put_until(data, offset, self._disk.rng.randint(offset, offset + len(data)))

    def _put_until(self, data: bytes, offset: int, end: int) -> None:
        """The system copies whole pages: a write that breaks off ends at the border of a sector at least."""
        if end < offset + len(data):
            end -= end % SECTOR
        self._put(data[: max(0, end - offset)], offset)

    def _put(self, data: bytes, offset: int) -> None:
        assert self.inode.payload is None, "bytes are written over rows"
        if data:
            self.inode.put((offset, bytes(data)))


def fail(code: int, path: str) -> NoReturn:
    """Raise the OSError of `code`, as the system words it."""
    raise OSError(code, os.strerror(code), path)


def _inodes(directory: Directory) -> Iterator[Inode]:
    for node in directory.names.values():
        if isinstance(node, Directory):
            yield from _inodes(node)
        else:
            yield node
