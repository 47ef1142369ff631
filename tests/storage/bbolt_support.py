"""Files to read: written here, and damaged on purpose."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from quorate.storage import bbolt
from quorate.storage.bbolt.format import FREELIST_PAGE, HEADER_BYTES, LEAF_PAGE, PAGE_HEADER, PAGE_SIZE, Meta

Rows = Mapping[bytes, Iterable[tuple[bytes, bytes]]]


def write(path: Path, buckets: Rows) -> int:
    """Write a file in one go; its size."""
    job = bbolt.write(path, ((name, buckets[name]) for name in sorted(buckets)))
    while True:
        try:
            next(job)
        except StopIteration as end:
            return int(end.value)


def read(path: Path) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """All rows of a file."""
    reader = bbolt.Reader.open(path)
    try:
        return {name: list(reader.scan(name)) for name in reader.buckets()}
    finally:
        reader.close()


def findings(path: Path) -> list[str]:
    reader = bbolt.Reader.open(path)
    try:
        return [text for text in reader.check() if text is not None]
    finally:
        reader.close()


def numbered(count: int, value: bytes = b"v" * 100) -> list[tuple[bytes, bytes]]:
    return [(b"%08d" % number, value) for number in range(count)]


class Forge:
    """A file, page by page, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(path.read_bytes())

    @property
    def meta(self) -> Meta:
        meta = Meta.decode(bytes(self.data[HEADER_BYTES : HEADER_BYTES + 64]))
        assert meta is not None
        return meta

    def page(self, number: int) -> tuple[int, int, int]:
        """Kind, count and overflow."""
        own, kind, count, overflow = PAGE_HEADER.unpack_from(self.data, number * PAGE_SIZE)
        assert own == number
        return kind, count, overflow

    def leaf_pages(self) -> list[int]:
        found, number = [], 2
        while number < self.meta.page_count:
            kind, _, overflow = self.page(number)
            if kind == LEAF_PAGE:
                found.append(number)
            number += 1 + overflow
        return found

    def put(self, number: int, kind: int, count: int, body: bytes, overflow: int = 0) -> None:
        at = number * PAGE_SIZE
        page = PAGE_HEADER.pack(number, kind, count, overflow) + body
        self.data[at : at + PAGE_SIZE] = page.ljust(PAGE_SIZE, b"\0")

    def put_metas(self, **changes: int) -> None:
        for number in range(2):
            meta = self.meta._replace(**changes)
            at = number * PAGE_SIZE + HEADER_BYTES
            self.data[at : at + 64] = meta._replace(txid=meta.txid - number).encode()

    def add_freelist(self, free: list[int], unused: int = 0, large: bool = False) -> None:
        """Append `unused` pages and one that names the pages `free`; `large` counts them in the other way."""
        number = self.meta.page_count + unused
        self.data += bytes((number + 1) * PAGE_SIZE - len(self.data))
        body = b"".join(struct.pack("<Q", page) for page in free)
        if large:
            self.put(number, FREELIST_PAGE, 0xFFFF, struct.pack("<Q", len(free)) + body)
        else:
            self.put(number, FREELIST_PAGE, len(free), body)
        self.put_metas(freelist=number, page_count=number + 1)

    def save(self) -> Path:
        self.path.write_bytes(self.data)
        return self.path
