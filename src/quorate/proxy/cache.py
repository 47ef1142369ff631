"""Answers to serializable reads, kept until a write that passes this proxy touches their keys.

    read ──► kept? ──► answered here
               │ no: begin ──► member ──► end: kept, unless something was written meanwhile that the answer has not seen
    write, event of a watch ──► whatever overlaps and is older goes

Writes that do not pass this proxy are not seen: an answer is kept for KEEP_SECONDS at most.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.ops import FROM_KEY
from quorate.proxy.upstream import Pairs

KEEP_SECONDS = 10.0
MAX_ANSWERS = 2048
MAX_RANGES = 256
"""Answers with more than one key: a write is compared with each of them."""
MAX_ANSWER_BYTES = 1 << 20
MAX_BYTES = 64 << 20

Name = tuple[Pairs, bytes]
"""Who asks, and what: nobody sees what was read with another's permissions."""


class Kept(NamedTuple):
    key: bytes
    end: bytes
    at: int
    """The revision that was asked for; 0 for the newest."""
    answer: bytes
    revision: int
    until: float


class Read:
    """A read under way."""

    __slots__ = ("end", "key", "spoiled")

    def __init__(self, key: bytes, end: bytes) -> None:
        self.key = key
        self.end = end
        self.spoiled = False
        """Its answer is not to be kept: nobody knows what was written meanwhile."""


class ReadCache:
    """See the module. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.hits = 0
        self.misses = 0
        self._clock = clock
        self._kept: OrderedDict[Name, Kept] = OrderedDict()
        self._of_key: dict[bytes, dict[Name, None]] = {}
        self._ranges: dict[Name, None] = {}
        self._bytes = 0
        self._reads: dict[Read, None] = {}
        self._newest = 0
        """The revision of the last write that was seen: a member that has not heard of it gives nothing to keep."""

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: Name, least: int = 0) -> bytes | None:
        """The answer that is kept, if it is of revision `least` or later."""
        kept = self._kept.get(name)
        if kept is not None and kept.until <= self._clock():
            self._drop(name)
            kept = None
        if kept is None or kept.revision < least:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(name)
        return kept.answer

    def begin(self, request: pb.RangeRequest) -> Read:
        """A read goes to a member; `end` must follow."""
        read = Read(request.key, request.range_end)
        self._reads[read] = None
        return read

    def end(self, read: Read, name: Name, at: int, answer: bytes | None, revision: int) -> None:
        """It was answered, as of `revision`, or not."""
        del self._reads[read]
        stale = read.spoiled or revision < self._newest
        if answer is None or len(answer) > MAX_ANSWER_BYTES or (stale and not at):
            return
        self._drop(name)
        self._kept[name] = Kept(read.key, read.end, at, answer, revision, self._clock() + KEEP_SECONDS)
        self._bytes += len(answer)
        if read.end:
            self._ranges[name] = None
            if len(self._ranges) > MAX_RANGES:
                self._drop(next(iter(self._ranges)))
        else:
            self._of_key.setdefault(read.key, {})[name] = None
        while len(self._kept) > MAX_ANSWERS or self._bytes > MAX_BYTES:
            self._drop(next(iter(self._kept)))

    def written(self, key: bytes, end: bytes, revision: float) -> None:
        """These were written at `revision`; infinite if nobody knows whether and when."""
        if revision < math.inf:
            self._newest = max(self._newest, int(revision))
        else:
            for read in self._reads:
                read.spoiled = read.spoiled or overlap(read.key, read.end, key, end)
        if end:
            names = [name for name, kept in self._kept.items() if overlap(kept.key, kept.end, key, end)]
        else:
            names = list(self._of_key.get(key, ()))
            names += [name for name in self._ranges if within(key, self._kept[name].key, self._kept[name].end)]
        for name in names:
            kept = self._kept[name]
            if not kept.at and kept.revision < revision:
                self._drop(name)

    def compacted(self, revision: int) -> None:
        """What was before `revision` cannot be read any more."""
        for name in [name for name, kept in self._kept.items() if 0 < kept.at < revision]:
            self._drop(name)

    def clear(self) -> None:
        """Anything may have been written, or who may read what."""
        for read in self._reads:
            read.spoiled = True
        self._kept.clear()
        self._of_key.clear()
        self._ranges.clear()
        self._bytes = 0

    def _drop(self, name: Name) -> None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        self._bytes -= len(kept.answer)
        if kept.end:
            del self._ranges[name]
            return
        names = self._of_key[kept.key]
        del names[name]
        if not names:
            del self._of_key[kept.key]


def within(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether a range, of one key if `end` is empty, has `key`."""
    if not end:
        return key == start
    return key >= start and (end == FROM_KEY or key < end)


def overlap(start: bytes, end: bytes, other: bytes, other_end: bytes) -> bool:
    """Whether two ranges have a key in common."""
    if not end:
        return within(start, other, other_end)
    if not other_end:
        return within(other, start, end)
    return (other_end == FROM_KEY or start < other_end) and (end == FROM_KEY or other < end)
