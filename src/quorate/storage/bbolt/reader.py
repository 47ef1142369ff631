"""Reader: the rows of a file that lies still."""

from __future__ import annotations

import fcntl
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from quorate.storage.bbolt.check import findings
from quorate.storage.bbolt.format import (
    BUCKET_HEADER,
    BUCKET_ROW,
    FIRST_TREE_PAGE,
    HEADER_BYTES,
    MAX_PAGE_SIZE,
    META_BYTES,
    MIN_PAGE_SIZE,
    PLAIN_ROW,
    BboltError,
    BboltInUse,
    Meta,
)
from quorate.storage.bbolt.pages import Pages, Row
from quorate.storage.files import OS_FILES, Files, OsFiles


class Reader:
    """A bbolt file, mapped and only read. Everything but `close` may raise BboltError."""

    def __init__(self, path: str, data: bytes | mmap.mmap, meta: Meta) -> None:
        self.page_size = meta.page_size
        self.txid = meta.txid
        self.size = meta.page_count * meta.page_size
        """Bytes of the database; the file may be longer."""
        self._path = path
        self._data = data
        self._pages = Pages(data, meta, path)
        self._buckets: dict[bytes, bytes] | None = None

    @classmethod
    def open(cls, path: str | Path, files: Files = OS_FILES) -> Reader:
        """Open the file at `path` at its newest root, and keep writers out until `close`.

        Files other than the machine's own cannot be mapped: such a file is read whole. Raises OSError,
        BboltError when it is no bbolt file or is cut short, BboltInUse when it is open in another process for writing:
        what is mapped must not change.
        """
        data = _mapped(path) if isinstance(files, OsFiles) else _read(files, str(path))
        try:
            return cls(str(path), data, _newest_meta(str(path), data))
        except BaseException:
            _close(data)
            raise

    def buckets(self) -> list[bytes]:
        """The names of the buckets, ascending."""
        return list(self._bucket_rows())

    def scan(self, bucket: bytes, start: bytes = b"", end: bytes | None = None) -> Iterator[Row]:
        """Rows with start <= key < end (None: to the last), ascending; none when there is no such bucket."""
        for rows in self._leaves(bucket, start, end):
            first = bisect_left(rows, (start,)) if rows[0][0] < start else 0
            stop = bisect_left(rows, (end,)) if end is not None and rows[-1][0] >= end else len(rows)
            yield from rows if stop - first == len(rows) else rows[first:stop]

    def get(self, bucket: bytes, key: bytes) -> bytes | None:
        """The value of a row, or None."""
        return next((value for _, value in self.scan(bucket, key, key + b"\0")), None)

    def check(self) -> Iterator[str | None]:
        """Go over every page, as bbolt's own check does: a text for each thing that is wrong, None between bites."""
        return findings(self._pages)

    def close(self) -> None:
        _close(self._data)

    def _leaves(self, bucket: bytes, start: bytes, end: bytes | None) -> Iterator[list[Row]]:
        value = self._bucket_rows().get(bucket)
        if value is None:
            return
        root, _ = BUCKET_HEADER.unpack_from(value)
        if root:
            yield from self._pages.leaves(root, PLAIN_ROW, start, end)
        elif rows := self._pages.inline(value[BUCKET_HEADER.size :], bucket):
            yield rows

    def _bucket_rows(self) -> dict[bytes, bytes]:
        """The value of each bucket's row in the root tree, by name."""
        if self._buckets is None:
            found: dict[bytes, bytes] = {}
            for rows in self._pages.leaves(self._pages.meta.root, BUCKET_ROW):
                for name, value in rows:
                    if len(value) < BUCKET_HEADER.size:
                        self._pages.fail(f"bucket {name!r}", "is cut short")
                    found[name] = value
            self._buckets = found
        return self._buckets


def _mapped(path: str | Path) -> mmap.mmap:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BboltInUse(f"{path} is in use by another process") from None
        size = os.fstat(file.fileno()).st_size
        _check_size(path, size)
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)  # holds the lock with its own descriptor


def _read(files: Files, path: str) -> bytes:
    with closing(files.open(path, read_only=True)) as file:
        size = file.size()
        _check_size(path, size)
        return file.read(0, size)


def _check_size(path: str | Path, size: int) -> None:
    if size < 2 * MIN_PAGE_SIZE:
        raise BboltError(f"{path} is not a bbolt file: {size} bytes")


def _close(data: bytes | mmap.mmap) -> None:
    if not isinstance(data, bytes):
        data.close()


def _newest_meta(path: str, data: bytes | mmap.mmap) -> Meta:
    """The valid meta of the latest transaction, where the second one lies being told by the first.

    When the first is damaged, the second is looked for at every place where it can be.
    """
    first = _meta_at(data, 0)
    sizes = [1 << power for power in range(MIN_PAGE_SIZE.bit_length() - 1, MAX_PAGE_SIZE.bit_length())]
    if first is not None:
        if first.page_size not in sizes:
            raise BboltError(f"{path}: page 0 tells a page size of {first.page_size}")
        sizes = [first.page_size]
    metas = [first] if first is not None else []
    for size in sizes:
        second = _meta_at(data, size)
        if second is not None and second.page_size == size:
            metas.append(second)
            break
    if not metas:
        raise BboltError(f"{path} is not a bbolt file, or both of its meta pages are damaged")
    newest = max(metas, key=lambda meta: meta.txid)
    if newest.page_count <= FIRST_TREE_PAGE or newest.page_count * newest.page_size > len(data):
        raise BboltError(
            f"{path} is cut short: {len(data)} bytes, {newest.page_count} pages of {newest.page_size} expected"
        )
    return newest


def _meta_at(data: bytes | mmap.mmap, offset: int) -> Meta | None:
    at = offset + HEADER_BYTES
    return Meta.decode(data[at : at + META_BYTES])
