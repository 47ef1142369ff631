"""A disk in memory for tests: it forgets what was not synced, tears writes at sectors, fills up, and fails to sync.

Contents are durable after `sync` of the file, names after `sync_directory`. `crash` answers what a new start finds:
of every unsynced file any mixture of old and new sectors and either size, of every directory any prefix of the
changes since its last sync.
"""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass, field

from quorate.storage.files import File, FileLocked

SECTOR = 512


class Crash(BaseException):
    """The machine stops here."""


@dataclass(eq=False)
class Inode:
    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    locked: bool = False


@dataclass(eq=False)
class Directory:
    names: dict[str, Inode | Directory] = field(default_factory=dict)
    history: list[dict[str, Inode | Directory]] = field(default_factory=lambda: [{}])  # the first is durable

    def changed(self) -> None:
        self.history.append(dict(self.names))


class FaultyFiles:
    """`crash_at` stops at that call, counted from 0; `space` is what may still be written, in bytes."""

    def __init__(self, root: Directory | None = None) -> None:
        self.root = root or Directory()
        self.calls = 0
        self.crash_at: int | None = None
        self.space: int | None = None
        self.fail_sync = False
        self.rng = random.Random(0)

    def crash(self, rng: random.Random) -> FaultyFiles:
        return FaultyFiles(_survivors(self.root, rng))

    def kill(self, _rng: random.Random) -> FaultyFiles:
        """Only the process died: everything it wrote is there, and no more durable than before."""
        _unlock(self.root)
        return FaultyFiles(self.root)

    def call(self) -> None:
        if self.calls == self.crash_at:
            raise Crash
        self.calls += 1

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:
        self.call()
        parent, name = self._parent(path)
        node = parent.names.get(name)
        if node is None:
            if not create:
                raise FileNotFoundError(path)
            node = parent.names[name] = Inode()
            parent.changed()
        assert isinstance(node, Inode)
        return FaultyFile(self, path, node)

    def list(self, directory: str) -> list[str]:
        self.call()
        return sorted(self._directory(directory).names)

    def make_directory(self, path: str) -> None:
        self.call()
        parent, name = self._parent(path)
        if name not in parent.names:
            parent.names[name] = Directory()
            parent.changed()
            parent.history = [dict(parent.names)]

    def rename(self, old: str, new: str) -> None:
        self.call()
        parent, name = self._parent(old)
        target, new_name = self._parent(new)
        assert parent is target
        existing = target.names.get(new_name)
        if isinstance(existing, Directory) and existing.names:
            raise OSError(errno.ENOTEMPTY, "directory not empty", new)
        parent.names[new_name] = parent.names.pop(name)
        parent.changed()

    def unlink(self, path: str) -> None:
        self.call()
        parent, name = self._parent(path)
        if name not in parent.names:
            raise FileNotFoundError(path)
        del parent.names[name]
        parent.changed()

    def sync_directory(self, path: str) -> None:
        self.call()
        directory = self._directory(path)
        directory.history = [dict(directory.names)]

    def inode(self, path: str) -> Inode:
        parent, name = self._parent(path)
        node = parent.names[name]
        assert isinstance(node, Inode)
        return node

    def _directory(self, path: str) -> Directory:
        node: Inode | Directory | None = self.root
        for part in path.strip("/").split("/") if path.strip("/") else ():
            node = node.names.get(part) if isinstance(node, Directory) else None
        if not isinstance(node, Directory):
            raise FileNotFoundError(path)
        return node

    def _parent(self, path: str) -> tuple[Directory, str]:
        head, _, tail = path.rpartition("/")
        return self._directory(head), tail


class FaultyFile:
    def __init__(self, files: FaultyFiles, path: str, inode: Inode) -> None:
        self.files, self.path, self.inode = files, path, inode
        self.holds_lock = False

    def size(self) -> int:
        return len(self.inode.data)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.inode.data[offset : offset + size])

    def write(self, data: bytes, offset: int) -> None:
        if self.files.calls == self.files.crash_at:  # stopped in the middle: some of it is in memory
            stop = self.files.rng.randrange(offset, offset + len(data) + 1) // SECTOR * SECTOR
            self._put(data[: max(0, stop - offset)], offset)
        self.files.call()
        space = self.files.space
        if space is not None and len(data) > space:
            self._put(data[:space], offset)
            self.files.space = 0
            raise OSError(errno.ENOSPC, "no space left on device")
        if space is not None:
            self.files.space = space - len(data)
        self._put(data, offset)

    def sync(self) -> None:
        self.files.call()
        if self.files.fail_sync:
            raise OSError(errno.EIO, "input/output error")
        self.inode.durable = bytes(self.inode.data)

    def truncate(self, size: int) -> None:
        self.files.call()
        if size < len(self.inode.data):
            del self.inode.data[size:]
        else:
            self.inode.data.extend(bytes(size - len(self.inode.data)))

    def preallocate(self, size: int) -> None:
        self.files.call()
        grow = size - len(self.inode.data)
        if grow > 0:
            if self.files.space == 0:
                raise OSError(errno.ENOSPC, "no space left on device")
            self.inode.data.extend(bytes(grow))

    def lock(self) -> None:
        if self.inode.locked:
            raise FileLocked(self.path)
        self.inode.locked = self.holds_lock = True

    def close(self) -> None:
        if self.holds_lock:
            self.inode.locked = self.holds_lock = False

    def _put(self, data: bytes, offset: int) -> None:
        have = self.inode.data
        if len(have) < offset:
            have.extend(bytes(offset - len(have)))
        have[offset : offset + len(data)] = data


def _survivors(directory: Directory, rng: random.Random) -> Directory:
    survivor = Directory()
    for name, node in rng.choice(directory.history).items():
        if isinstance(node, Directory):
            survivor.names[name] = _survivors(node, rng)
        else:
            data = _torn(node, rng)
            survivor.names[name] = Inode(bytearray(data), data)
    survivor.history = [dict(survivor.names)]
    return survivor


def _unlock(directory: Directory) -> None:
    for node in directory.names.values():
        if isinstance(node, Directory):
            _unlock(node)
        else:
            node.locked = False


def _torn(inode: Inode, rng: random.Random) -> bytes:
    old, new = inode.durable, bytes(inode.data)
    if old == new or rng.random() < 0.2:
        return new
    size = rng.choice((len(old), len(new)))
    longest = max(len(old), len(new))
    old, new = old.ljust(longest, b"\0"), new.ljust(longest, b"\0")
    out = bytearray(old)
    for start in range(0, longest, SECTOR):
        if rng.random() < 0.5:
            out[start : start + SECTOR] = new[start : start + SECTOR]
    return bytes(out[:size])
