"""Watchers, and which of them watch a key.

A group answers "who watches this key?" without asking all: watchers of one key by dictionary, of everything from a key
on by start in order, of a range [start, end) by a table of spans.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from sortedcontainers import SortedDict

from quorate.api import errors
from quorate.storage.mvcc.key_index import FROM_KEY

if TYPE_CHECKING:
    from quorate.storage.mvcc.watch_stream import WatchStream

K = TypeVar("K")

Span = tuple[bytes, bytes]
"""[start, end)"""

BLOCK = 64
"""Spans in a block of the table before it is split in two."""


class WatchRefused(Exception):
    """A watcher that cannot be made; `reason` is what the client is told."""

    reason = ""

    def __init__(self) -> None:
        super().__init__(self.reason)


class WatcherRangeEmpty(WatchRefused):
    """The end of the range is not behind its start."""

    reason = errors.WATCHER_RANGE_EMPTY


class WatcherDuplicateId(WatchRefused):
    """The id is taken on this stream."""

    reason = errors.WATCHER_DUPLICATE_ID


class WatchBatch(NamedTuple):
    """What one watcher is told at once.

    `events` are serialized mvccpb.Events in order, with prev_kv where asked for; the list and the bytes are shared with
    other watchers and must not be changed. `revision` is the store's, as far as this watcher is told; 0 with a
    `compact_revision`, which says that the watcher is gone because what it needs next is compacted.
    """

    watch_id: int
    revision: int
    events: list[bytes]
    compact_revision: int = 0


class WatchSink(Protocol):
    """Where a stream's batches go."""

    def deliver(self, batch: WatchBatch) -> bool:
        """Take the batch, or return False when full: it will come again. It must not raise, write or wait.

        It may create and cancel watchers.
        """
        ...


DeliverAlike = Callable[[list[int], int, list[bytes]], int]
"""What a sink may have beside `deliver`, as `deliver_alike(watch_ids, revision, events)`: the same batch for several
watchers of its stream. It takes the first so many and tells how many; for the others it is full."""


class State(Enum):
    """Where a watcher stands; each state but GONE has its own place in the store."""

    SYNCED = 0
    """Has been told of everything; gets what is written, as it is written."""
    UNSYNCED = 1
    """Is behind, or after a restore may be; catches up from the rows."""
    VICTIM = 2
    """Its sink was full; a batch is parked for it."""
    GONE = 3


class Watcher:
    """One watch of a key or range; `next` is the first revision it has not been told of."""

    __slots__ = ("end", "id", "key", "next", "no_delete", "no_put", "prev_kv", "start", "state", "stream")

    def __init__(
        self,
        stream: WatchStream,
        watch_id: int,
        key: bytes,
        end: bytes,
        start: int,
        *,
        no_put: bool,
        no_delete: bool,
        prev_kv: bool,
    ) -> None:
        self.stream = stream
        self.id = watch_id
        self.key = key
        self.end = end
        self.start = start
        self.no_put = no_put
        self.no_delete = no_delete
        self.prev_kv = prev_kv
        self.next = start
        self.state = State.UNSYNCED


Watchers = dict[Watcher, None]
"""A set that keeps its order."""


class WatcherGroup:
    """Watchers by what they watch."""

    def __init__(self, watchers: Iterable[Watcher] = ()) -> None:
        self._size = 0
        self._by_key: dict[bytes, Watchers] = {}
        self._from_key: SortedDict = SortedDict()
        self._by_span: dict[Span, Watchers] = {}
        self._spans = SpanTable()
        for watcher in watchers:
            self.add(watcher)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Watcher]:
        for places in (self._by_key, self._from_key, self._by_span):
            for watchers in places.values():
                yield from watchers

    def add(self, watcher: Watcher) -> None:
        key, end = watcher.key, watcher.end
        if not end:
            self._by_key.setdefault(key, {})[watcher] = None
        elif end == FROM_KEY:
            self._from_key.setdefault(key, {})[watcher] = None
        else:
            if (key, end) not in self._by_span:
                self._spans.add((key, end))
            self._by_span.setdefault((key, end), {})[watcher] = None
        self._size += 1

    def remove(self, watcher: Watcher) -> None:
        key, end = watcher.key, watcher.end
        if not end:
            _take(self._by_key, key, watcher)
        elif end == FROM_KEY:
            _take(self._from_key, key, watcher)
        elif _take(self._by_span, (key, end), watcher):
            self._spans.remove((key, end))
        self._size -= 1

    def match(self, key: bytes) -> list[Watcher]:
        """All watchers of `key`, in a list of their own."""
        found: list[Watcher] = []
        if self._by_key:
            found += self._by_key.get(key, ())
        if self._from_key:
            for start in self._from_key.irange(maximum=key):
                found += self._from_key[start]
        if self._by_span:
            for span in self._spans.covering(key):
                found += self._by_span[span]
        return found


class SpanTable:
    """A set of spans, asked which of them cover a key.

    Spans lie sorted by start in blocks, and each block knows its furthest end: a question skips every block that starts
    behind the key or ends before it, so it looks at few spans unless many cover the key.
    """

    def __init__(self) -> None:
        self._blocks: list[list[Span]] = []
        self._firsts: list[Span] = []
        self._furthest: list[bytes] = []

    def add(self, span: Span) -> None:
        if not self._blocks:
            self._blocks.append([])
            self._firsts.append(span)
            self._furthest.append(b"")
        place = max(bisect_right(self._firsts, span) - 1, 0)
        block = self._blocks[place]
        insort(block, span)
        if len(block) >= 2 * BLOCK:
            self._blocks[place : place + 1] = [block[:BLOCK], block[BLOCK:]]
            self._firsts.insert(place + 1, block[BLOCK])
            self._furthest.insert(place + 1, b"")
            self._measure(place + 1)
        self._measure(place)

    def remove(self, span: Span) -> None:
        place = bisect_right(self._firsts, span) - 1
        block = self._blocks[place]
        del block[bisect_left(block, span)]
        if block:
            self._measure(place)
        else:
            del self._blocks[place], self._firsts[place], self._furthest[place]

    def covering(self, key: bytes) -> Iterator[Span]:
        started = bisect_right(self._firsts, key, key=lambda span: span[0])
        for place in range(started):
            if self._furthest[place] > key:
                for span in self._blocks[place]:
                    if span[0] > key:
                        break
                    if span[1] > key:
                        yield span

    def _measure(self, place: int) -> None:
        block = self._blocks[place]
        self._firsts[place] = block[0]
        self._furthest[place] = max(end for _, end in block)


def _take(places: dict[K, Watchers], place: K, watcher: Watcher) -> bool:
    """Remove a watcher from its place; True when the place is empty and gone."""
    watchers = places[place]
    del watchers[watcher]
    if watchers:
        return False
    del places[place]
    return True
