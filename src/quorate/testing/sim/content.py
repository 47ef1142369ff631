"""Files and directories of a disk: what they hold, what of it is on the platter, and what a power loss leaves."""

from __future__ import annotations

from random import Random
from typing import Protocol

SECTOR = 512

Op = tuple[int, bytes] | int
"""A write (offset, data), or a new size. Offsets and sizes are in bytes."""


class Content:
    """Bytes; behind `data` and up to `size` there are zeros, so that reserved space costs nothing."""

    __slots__ = ("data", "size")

    def __init__(self, data: bytes | bytearray = b"", size: int | None = None) -> None:
        self.data = bytearray(data)
        self.size = len(data) if size is None else size

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`, fewer only where the file ends."""
        end = min(offset + size, self.size)
        return bytes(self.data[offset:end]).ljust(max(0, end - offset), b"\0")

    def copy(self) -> Content:
        return Content(self.data, self.size)


class Payload(Protocol):
    """Something in a file that is kept as objects, not as bytes."""

    @property
    def size(self) -> int:
        """Bytes it would take."""

    def power_loss(self) -> None: ...


class Inode:
    """A file. `pending` leads from `stored` to `seen`."""

    __slots__ = ("locked_in", "payload", "pending", "reserved", "seen", "stored")

    def __init__(self) -> None:
        self.seen = Content()
        self.stored = Content()
        self.pending: list[Op] = []
        self.reserved = 0
        """Bytes up to which space is taken: a size set by `truncate` takes none."""
        self.locked_in = -1
        """Life of the disk in which it was locked; a later one knows of no lock."""
        self.payload: Payload | None = None

    @property
    def size(self) -> int:
        return self.seen.size if self.payload is None else self.payload.size

    def put(self, op: Op) -> None:
        applied(self.seen, op)
        self.pending.append(op)
        self.reserved = max(self.reserved, op[0] + len(op[1])) if isinstance(op, tuple) else min(self.reserved, op)

    def store(self) -> None:
        for op in self.pending:
            applied(self.stored, op)
        self.pending.clear()

    def lose(self, rng: Random) -> None:
        """The power went."""
        if self.payload is not None:
            self.payload.power_loss()
        if self.pending:
            self.stored = torn(self.stored, self.pending, rng)
            self.seen = self.stored.copy()
            self.pending.clear()
            self.reserved = self.seen.size

    def fail_sync(self, rng: Random) -> None:
        """The kernel has let the dirty pages go; the size it still knows."""
        size = self.seen.size
        self.stored = torn(self.stored, self.pending, rng)
        self.seen = self.stored.copy()
        self.pending.clear()
        if size != self.seen.size:
            applied(self.seen, size)
            self.pending.append(size)


class Directory:
    """Names. Each change in `pending` is done as a whole or not at all."""

    __slots__ = ("names", "pending", "stored")

    def __init__(self) -> None:
        self.names: dict[str, Inode | Directory] = {}
        self.stored: dict[str, Inode | Directory] = {}
        self.pending: list[dict[str, Inode | Directory | None]] = []

    def change(self, change: dict[str, Inode | Directory | None]) -> None:
        _name(self.names, change)
        self.pending.append(change)

    def store(self) -> None:
        self.stored = dict(self.names)
        self.pending.clear()

    def store_all(self) -> None:
        """Everything below, too."""
        self.store()
        for node in self.names.values():
            if isinstance(node, Directory):
                node.store_all()
            else:
                node.store()

    def lose(self, rng: Random) -> None:
        """The power went: the first changes came through, or any."""
        cut = rng.randint(0, len(self.pending)) if self.pending and rng.random() < 0.5 else None
        for number, change in enumerate(self.pending):
            if rng.random() < 0.5 if cut is None else number < cut:
                _name(self.stored, change)
        self.names = dict(self.stored)
        self.pending.clear()
        for node in self.names.values():
            node.lose(rng)


def applied(content: Content, op: Op) -> None:
    """Change `content`."""
    if isinstance(op, tuple):
        offset, data = op
        _lay(content.data, offset, data)
        content.size = max(content.size, offset + len(data))
    else:
        del content.data[op:]
        content.size = op


def torn(stored: Content, pending: list[Op], rng: Random) -> Content:
    """What a power loss leaves of a file that was `stored` before `pending`.

    Each sector stands as it did after some of the changes, the size too, each for itself: the cache is written back in
    no order, and a sector can have been written back more than once.
    """
    found = stored.copy()
    fate = rng.random()
    if fate < 0.2:
        pending = []
    if fate < 0.4:
        for op in pending:
            applied(found, op)
        return found
    size_until = rng.randint(0, len(pending))
    until: dict[int, int] = {}
    size = found.size
    for number, op in enumerate(pending):
        if isinstance(op, tuple):
            offset, data = op
            if number < size_until:
                size = max(size, offset + len(data))
            _lay_sectors(found.data, offset, data, number, until, len(pending), rng)
        elif number < size_until:
            size = op
            del found.data[op:]
    del found.data[size:]
    found.size = size
    return found


def _name(names: dict[str, Inode | Directory], change: dict[str, Inode | Directory | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _lay_sectors(
    into: bytearray, offset: int, data: bytes, number: int, until: dict[int, int], changes: int, rng: Random
) -> None:
    """Lay those pieces of a write whose sectors were written back after it: change `number` of so many `changes`."""
    place, end = offset, offset + len(data)
    while place < end:
        sector = place // SECTOR
        stop = min(end, (sector + 1) * SECTOR)
        if sector not in until:
            until[sector] = rng.randint(0, changes)
        if number < until[sector]:
            _lay(into, place, data[place - offset : stop - offset])
        place = stop


def _lay(into: bytearray, offset: int, data: bytes) -> None:
    if len(into) < offset:
        into.extend(bytes(offset - len(into)))
    into[offset : offset + len(data)] = data
