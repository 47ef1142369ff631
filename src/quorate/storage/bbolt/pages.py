"""Pages of a mapped file, each held against the format before anything of it is used; and the walk over a tree."""

from __future__ import annotations

import mmap
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

from quorate.storage.bbolt.format import (
    BRANCH_ELEMENT,
    BRANCH_PAGE,
    BUCKET_ROW,
    ELEMENT_BYTES,
    FIRST_TREE_PAGE,
    FREELIST_PAGE,
    HEADER_BYTES,
    LARGE_COUNT,
    LEAF_ELEMENT,
    LEAF_PAGE,
    MAX_DEPTH,
    PAGE_HEADER,
    PLAIN_ROW,
    BboltError,
    Meta,
)

Row = tuple[bytes, bytes]


class Leaf(NamedTuple):
    """Rows in ascending order, and how many pages hold them."""

    rows: list[Row]
    span: int


class Branch(NamedTuple):
    """For each child a key, in ascending order, and its page; and how many pages hold this."""

    keys: list[bytes]
    children: list[int]
    span: int


Visit = Callable[[int, int], None]
"""Told of each page of a tree before it is used: its id, and how many pages it spans."""


class Pages:
    """The pages of a file whose length covers `meta.page_count` pages. Everything here raises BboltError."""

    def __init__(self, data: bytes | mmap.mmap, meta: Meta, path: str) -> None:
        self.meta = meta
        self._data = data
        self._path = path

    def leaves(
        self,
        root: int,
        flags: int,
        start: bytes = b"",
        end: bytes | None = None,
        visit: Visit | None = None,
    ) -> Iterator[list[Row]]:
        """The leaves of the tree at `root` that can hold keys from `start` to before `end`, in order.

        Rows carry `flags` and no others. Every page is held against the keys that the branches above it promise; two
        children of a branch have no key in common, so no page with rows can come up twice, and the walk ends.
        """
        ahead: list[tuple[int, bytes, bytes | None, int]] = [(root, b"", None, 0)]
        while ahead:
            number, lower, upper, depth = ahead.pop()
            if depth > MAX_DEPTH:
                self.fail(number, f"lies deeper than {MAX_DEPTH} pages")
            page = self._tree_page(number, flags)
            if visit is not None:
                visit(number, page.span)
            if isinstance(page, Leaf):
                if page.rows:
                    self._check_range(number, page.rows[0][0], page.rows[-1][0], lower, upper)
                    yield page.rows
                continue
            keys, children, _ = page
            self._check_range(number, keys[0], keys[-1], lower, upper)
            first = max(0, bisect_right(keys, start) - 1)
            stop = len(keys) if end is None else bisect_left(keys, end)
            bounds: list[bytes | None] = [*keys[1:], upper]
            for place in reversed(range(first, stop)):
                ahead.append((children[place], keys[place], bounds[place], depth + 1))

    def inline(self, image: bytes, name: bytes) -> list[Row]:
        """The rows of an inline bucket: `image` is its one page."""
        where = f"inline bucket {name!r}"
        if len(image) < HEADER_BYTES:
            self.fail(where, "is cut short")
        number, kind, count, overflow = PAGE_HEADER.unpack_from(image)
        if number or kind != LEAF_PAGE or overflow:
            self.fail(where, "does not hold a leaf page")
        return self._rows(where, image, 0, len(image), len(image), count, PLAIN_ROW)

    def freelist(self) -> tuple[list[int], int]:
        """The pages that the freelist names, and how many pages hold it. Only for a meta that has one."""
        number = self.meta.freelist
        kind, count, span = self._header(number)
        if kind != FREELIST_PAGE:
            self.fail(number, f"is no freelist page but of kind {kind:#x}")
        at = number * self.meta.page_size + HEADER_BYTES
        end = (number + span) * self.meta.page_size
        if count == LARGE_COUNT:
            count = int.from_bytes(self._data[at : at + 8], "little")
            at += 8
        if count > (end - at) // 8:
            self.fail(number, f"names {count} free pages, more than fit into it")
        listed = self._data[at : at + 8 * count]
        return [int.from_bytes(listed[place : place + 8], "little") for place in range(0, len(listed), 8)], span

    def fail(self, where: int | str, what: str) -> NoReturn:
        place = f"page {where}" if isinstance(where, int) else where
        raise BboltError(f"{self._path}: {place} {what}")

    def _tree_page(self, number: int, flags: int) -> Leaf | Branch:
        kind, count, span = self._header(number)
        at = number * self.meta.page_size
        end = at + span * self.meta.page_size
        if kind == LEAF_PAGE:
            least = end - self.meta.page_size  # what is shorter would have got a page less
            return Leaf(self._rows(number, self._data, at, least, end, count, flags), span)
        if kind != BRANCH_PAGE:
            self.fail(number, f"is of kind {kind:#x}, not part of a tree")
        if not count:
            self.fail(number, "is a branch without children")
        keys, children = self._children(number, at, end, count)
        return Branch(keys, children, span)

    def _header(self, number: int) -> tuple[int, int, int]:
        """Kind, count and span of a page."""
        if not FIRST_TREE_PAGE <= number < self.meta.page_count:
            self.fail(number, f"is out of bounds: the file has {self.meta.page_count}")
        own, kind, count, overflow = PAGE_HEADER.unpack_from(self._data, number * self.meta.page_size)
        if own != number:
            self.fail(number, f"says that it is page {own}")
        if number + overflow >= self.meta.page_count:
            self.fail(number, f"runs over {overflow} further pages, out of the file")
        return kind, count, 1 + overflow

    def _rows(
        self, where: int | str, data: bytes | mmap.mmap, at: int, least: int, end: int, count: int, flags: int
    ) -> list[Row]:
        """The rows of a leaf page that lies at data[at:end], the last of which ends at `least` or behind it."""
        element = at + HEADER_BYTES
        begin = element + count * ELEMENT_BYTES  # of the next row: they follow the elements without a gap
        if begin > end:
            self.fail(where, f"has no room for {count} elements")
        rows: list[Row] = []
        last = b""
        for kind, position, key_size, value_size in LEAF_ELEMENT.iter_unpack(data[element:begin]):
            middle = begin + key_size
            after = middle + value_size
            if element + position != begin or after > end:
                self.fail(where, f"element {len(rows)} does not fit")
            key = data[begin:middle]
            if key <= last:
                self.fail(where, f"element {len(rows)} is out of order")
            if kind != flags:
                self.fail(where, f"element {len(rows)} is {'a' if kind == BUCKET_ROW else 'not a'} bucket")
            rows.append((key, data[middle:after]))
            element += ELEMENT_BYTES
            begin = after
            last = key
        if begin < least:
            self.fail(where, "is longer than its rows")
        return rows

    def _children(self, number: int, at: int, end: int, count: int) -> tuple[list[bytes], list[int]]:
        """Keys and pages of the branch page that lies at at:end."""
        element = at + HEADER_BYTES
        begin = element + count * ELEMENT_BYTES
        if begin > end:
            self.fail(number, f"has no room for {count} elements")
        keys: list[bytes] = []
        children: list[int] = []
        for position, key_size, child in BRANCH_ELEMENT.iter_unpack(self._data[element:begin]):
            after = begin + key_size
            if element + position != begin or after > end:
                self.fail(number, f"element {len(keys)} does not fit")
            key = self._data[begin:after]
            if keys and key <= keys[-1]:
                self.fail(number, f"element {len(keys)} is out of order")
            keys.append(key)
            children.append(child)
            element += ELEMENT_BYTES
            begin = after
        return keys, children

    def _check_range(self, number: int, first: bytes, last: bytes, lower: bytes, upper: bytes | None) -> None:
        if first < lower or (upper is not None and last >= upper):
            self.fail(number, "holds keys that the branch above it does not promise")
