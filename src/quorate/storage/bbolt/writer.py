"""A whole file in one pass over its rows: leaves as they fill, branches as those fill, the metas last."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from quorate.storage.bbolt.format import (
    BRANCH_ELEMENT,
    BRANCH_PAGE,
    BUCKET_HEADER,
    BUCKET_ROW,
    ELEMENT_BYTES,
    FIRST_TREE_PAGE,
    HEADER_BYTES,
    LEAF_ELEMENT,
    LEAF_PAGE,
    MAX_INLINE_BYTES,
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    META_PAGE,
    NO_FREELIST,
    PAGE_HEADER,
    PAGE_SIZE,
    PLAIN_ROW,
    BboltError,
    Meta,
)
from quorate.storage.bbolt.pages import Row
from quorate.storage.files import OS_FILES, Files

BITE_ROWS = 500
BITE_BYTES = 1 << 18
"""Rows, and bytes of them, written between two yields: about a millisecond of work."""

SYNC_BYTES = 1 << 23
"""Written between two syncs: whoever shares the disk, such as the log, waits for no more than that at a time."""

BUFFER_BYTES = 1 << 18
TXID = 2
"""Of page 0; page 1 tells one less. So the next transaction, 3, begins with page 1, as bbolt's parity has it."""

_FEWEST_CHILDREN = 2


def write(
    path: str | Path, buckets: Iterable[tuple[bytes, Iterable[Row]]], files: Files = OS_FILES
) -> Generator[None, None, int]:
    """Make a bbolt file at `path`, over one that is there: names ascending, and in each bucket keys ascending.

    Yields between bites; returns the size in bytes, with everything synced but the name in its directory. Memory held
    is a page for each level of a tree. What fails or is closed leaves no file.
    Raises OSError, and BboltError for a row that the format does not take.
    """
    file = _Output(files, str(path))
    try:
        root = _Tree(file, BUCKET_ROW)
        for name, rows in buckets:
            tree = _Tree(file, PLAIN_ROW)
            count = size = 0
            for key, value in rows:
                tree.add(key, value)
                count += 1
                size += len(value)
                if count >= BITE_ROWS or size >= BITE_BYTES:
                    yield
                    count = size = 0
                    if file.unsynced >= SYNC_BYTES:
                        yield from files.aside(file.sync)
            root.add(name, tree.bucket_value())
        top = root.finish()
        yield from files.aside(file.sync)
        file.write_metas(top)
        yield from files.aside(file.sync)
        return file.close()
    except BaseException:
        file.give_up()
        raise


class _Output:
    """The file as it grows: pages are numbered and written one behind the other."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path
        self._next = FIRST_TREE_PAGE
        self._buffer = bytearray()
        self._offset = FIRST_TREE_PAGE * PAGE_SIZE
        """Where the buffer belongs."""
        self.unsynced = 0
        """Bytes written since the last sync."""
        self._file = files.open(path, create=True)
        self._file.truncate(0)

    def add_page(self, kind: int, count: int, body: bytes) -> int:
        """Write a page, over as many pages as its body needs; its number."""
        number = self._next
        span = -(-(HEADER_BYTES + len(body)) // PAGE_SIZE)
        self._buffer += PAGE_HEADER.pack(number, kind, count, span - 1)
        self._buffer += body
        self._buffer += bytes(span * PAGE_SIZE - HEADER_BYTES - len(body))
        self._next += span
        if len(self._buffer) >= BUFFER_BYTES:
            self._flush()
        return number

    def write_metas(self, root: int) -> None:
        """Make the file a database."""
        assert not self._buffer, "the tree is on the disk first"
        self._offset = 0
        for number in range(FIRST_TREE_PAGE):
            meta = Meta(PAGE_SIZE, root, NO_FREELIST, self._next, TXID - number)
            page = PAGE_HEADER.pack(number, META_PAGE, 0, 0) + meta.encode()
            self._buffer += page.ljust(PAGE_SIZE, b"\0")

    def sync(self) -> None:
        self._flush()
        self.unsynced = 0
        self._file.sync()

    def close(self) -> int:
        self._file.close()
        return self._next * PAGE_SIZE

    def give_up(self) -> None:
        self._file.close()
        with suppress(FileNotFoundError):
            self._files.unlink(self._path)

    def _flush(self) -> None:
        self._file.write(bytes(self._buffer), self._offset)
        self._offset += len(self._buffer)
        self.unsynced += len(self._buffer)
        self._buffer.clear()


class _Tree:
    """A tree of rows that come in order. What is not yet written is one leaf, and one branch for each level above."""

    def __init__(self, file: _Output, flags: int) -> None:
        self._file = file
        self._flags = flags
        self._rows: list[Row] = []
        self._size = HEADER_BYTES
        self._last = b""
        self._levels: list[_Level] = []

    def add(self, key: bytes, value: bytes) -> None:
        """Take the next row. A row that does not fit into a page gets one that runs on over further pages."""
        assert key > self._last, "rows come in ascending order, and no key is empty"
        if len(key) > MAX_KEY_BYTES or len(value) > MAX_VALUE_BYTES:
            raise BboltError(f"a row of {len(key)} and {len(value)} bytes is larger than bbolt takes")
        size = ELEMENT_BYTES + len(key) + len(value)
        if self._size + size > PAGE_SIZE and self._rows:
            self._write_leaf()
        self._rows.append((key, value))
        self._size += size
        self._last = key

    def bucket_value(self) -> bytes:
        """Write what is left, and give what a bucket's row tells of this tree."""
        if not self._levels and self._size <= MAX_INLINE_BYTES:
            header = PAGE_HEADER.pack(0, LEAF_PAGE, len(self._rows), 0)
            return BUCKET_HEADER.pack(0, 0) + header + _leaf_body(self._rows, self._flags)
        return BUCKET_HEADER.pack(self.finish(), 0)

    def finish(self) -> int:
        """Write what is left; the page of the root."""
        self._write_leaf()
        height = 0
        while True:
            keys, pages = self._levels[height].take()
            if height + 1 == len(self._levels) and len(pages) == 1:
                return pages[0]
            self._write_branch(height, keys, pages)
            height += 1

    def _write_leaf(self) -> None:
        page = self._file.add_page(LEAF_PAGE, len(self._rows), _leaf_body(self._rows, self._flags))
        self._add_child(0, self._rows[0][0] if self._rows else b"", page)
        self._rows = []
        self._size = HEADER_BYTES

    def _write_branch(self, height: int, keys: Sequence[bytes], pages: Sequence[int]) -> None:
        page = self._file.add_page(BRANCH_PAGE, len(pages), _branch_body(keys, pages))
        self._add_child(height + 1, keys[0], page)

    def _add_child(self, height: int, key: bytes, page: int) -> None:
        if height == len(self._levels):
            self._levels.append(_Level())
        level = self._levels[height]
        if level.is_full(key):
            self._write_branch(height, *level.take_all_but_one())
        level.add(key, page)


class _Level:
    """The children of a branch page that is not yet written."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._pages: list[int] = []
        self._size = HEADER_BYTES

    def is_full(self, key: bytes) -> bool:
        """True when one child more, at `key`, is too much, and there are enough for this page and the next."""
        return self._size + ELEMENT_BYTES + len(key) > PAGE_SIZE and len(self._pages) > _FEWEST_CHILDREN

    def add(self, key: bytes, page: int) -> None:
        self._keys.append(key)
        self._pages.append(page)
        self._size += ELEMENT_BYTES + len(key)

    def take_all_but_one(self) -> tuple[list[bytes], list[int]]:
        """All children but the last, which stays so that the next page has two at least."""
        (*keys, last_key), (*pages, last_page) = self.take()
        self.add(last_key, last_page)
        return keys, pages

    def take(self) -> tuple[list[bytes], list[int]]:
        """All children; none are left."""
        taken = self._keys, self._pages
        self._keys, self._pages, self._size = [], [], HEADER_BYTES
        return taken


def _leaf_body(rows: Sequence[Row], flags: int) -> bytes:
    """Elements and rows of a leaf page, behind its header."""
    elements: list[bytes] = []
    contents: list[bytes] = []
    position = len(rows) * ELEMENT_BYTES
    for key, value in rows:
        elements.append(LEAF_ELEMENT.pack(flags, position, len(key), len(value)))
        contents.append(key)
        contents.append(value)
        position += len(key) + len(value) - ELEMENT_BYTES
    return b"".join(elements + contents)


def _branch_body(keys: Sequence[bytes], pages: Sequence[int]) -> bytes:
    """Elements and keys of a branch page, behind its header."""
    elements: list[bytes] = []
    position = len(keys) * ELEMENT_BYTES
    for key, page in zip(keys, pages, strict=True):
        elements.append(BRANCH_ELEMENT.pack(position, len(key), page))
        position += len(key) - ELEMENT_BYTES
    return b"".join((*elements, *keys))
