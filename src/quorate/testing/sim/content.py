"""What a file holds, and what is left of it when some of its last changes did not reach the platter."""

from __future__ import annotations

from random import Random

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
