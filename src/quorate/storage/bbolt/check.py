"""The consistency check: every page is reached exactly once, or free."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.storage.bbolt.format import (
    BUCKET_HEADER,
    BUCKET_ROW,
    FIRST_TREE_PAGE,
    NO_FREELIST,
    PLAIN_ROW,
    BboltError,
)
from quorate.storage.bbolt.pages import Pages, Row

BITE_LEAVES = 32
"""Leaf pages looked at between two yields."""

_REACHED = 1
_FREE = 2


def findings(pages: Pages) -> Iterator[str | None]:
    """A text for each thing that is wrong with the file, None between bites.

    Where a tree is damaged it is not followed further, and so pages that nothing reaches are then not reported.
    """
    audit = _Audit(pages)
    yield from audit.freelist()
    buckets: list[Row] = []
    for rows in audit.tree(pages.meta.root, BUCKET_ROW):
        buckets += rows or ()
        yield None
    for name, value in buckets:
        for _ in audit.bucket(name, value):
            yield None
        yield from audit.take_texts()
    yield from audit.unreached()


class _Audit:
    """What each page was found to be so far."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._state = bytearray(pages.meta.page_count)
        self._texts: list[str] = []
        self._damaged = False
        for number in range(FIRST_TREE_PAGE):
            self._state[number] = _REACHED

    def freelist(self) -> Iterator[str]:
        """Mark the pages that are free by the freelist, if there is one."""
        if self._pages.meta.freelist == NO_FREELIST:
            return
        try:
            free, span = self._pages.freelist()
        except BboltError as error:
            self._damaged = True
            yield str(error)
            return
        self._reach(self._pages.meta.freelist, span)
        for number in free:
            if not FIRST_TREE_PAGE <= number < len(self._state):
                self._texts.append(f"page {number}: freed, but out of bounds")
            elif self._state[number]:
                self._texts.append(
                    f"page {number}: already freed"
                    if self._state[number] == _FREE
                    else f"page {number}: reachable freed"
                )
            else:
                self._state[number] = _FREE
        yield from self.take_texts()

    def tree(self, root: int, flags: int) -> Iterator[list[Row] | None]:
        """Mark the pages of a tree; gives its leaves."""
        if 0 < root < len(self._state) and self._state[root] == _REACHED:
            self._texts.append(f"page {root}: multiple references")
            return
        try:
            yield from self._pages.leaves(root, flags, visit=self._reach)
        except BboltError as error:
            self._damaged = True
            self._texts.append(str(error))

    def bucket(self, name: bytes, value: bytes) -> Iterator[None]:
        """Mark the pages of a bucket; gives a None for each bite."""
        try:
            if len(value) < BUCKET_HEADER.size:
                self._pages.fail(f"bucket {name!r}", "is cut short")
            root, _ = BUCKET_HEADER.unpack_from(value)
            if not root:
                self._pages.inline(value[BUCKET_HEADER.size :], name)
        except BboltError as error:
            self._damaged = True
            self._texts.append(str(error))
            return
        if root:
            for number, _ in enumerate(self.tree(root, PLAIN_ROW)):
                if number % BITE_LEAVES == 0:
                    yield

    def unreached(self) -> Iterator[str]:
        """Pages that are neither part of a tree nor free. Without a freelist they are the free ones."""
        yield from self.take_texts()
        if self._damaged or self._pages.meta.freelist == NO_FREELIST:
            return
        at = self._state.find(0)
        while at >= 0:
            yield f"page {at}: unreachable unfreed"
            at = self._state.find(0, at + 1)

    def take_texts(self) -> Iterator[str]:
        texts, self._texts = self._texts, []
        yield from texts

    def _reach(self, number: int, span: int) -> None:
        for page in range(number, number + span):
            if self._state[page] == _REACHED:
                self._texts.append(f"page {page}: multiple references")
            elif self._state[page] == _FREE:
                self._texts.append(f"page {page}: reachable freed")
            self._state[page] = _REACHED
