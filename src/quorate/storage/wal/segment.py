"""Segments: their names, their order, and which of them a reader needs."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from quorate.storage.files import Files
from quorate.storage.wal.errors import FileMissing

SEGMENT_BYTES = 64_000_000  # a segment is preallocated to this and cut after the write that passes it
PREPARED = "0.tmp"  # the next segment, made ahead of time
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.wal")


class SegmentName(NamedTuple):
    """`first` is the index of the first entry expected in the segment."""

    sequence: int
    first: int

    def __str__(self) -> str:
        return f"{self.sequence:016x}-{self.first:016x}.wal"


def exists(files: Files, directory: str) -> bool:
    """Whether `directory` holds a log, readable or not."""
    try:
        return any(name.endswith(".wal") for name in files.list(directory))
    except FileNotFoundError:
        return False


def all_segments(files: Files, directory: str) -> list[SegmentName]:
    """The segments in `directory` in their order; raises FileMissing when there is none or one between two is gone."""
    try:
        names = files.list(directory)
    except FileNotFoundError:
        names = []
    found = [SegmentName(int(m[1], 16), int(m[2], 16)) for m in map(_NAME.fullmatch, names) if m]
    if not found:
        raise FileMissing(f"no segment of a write-ahead log in {directory}")
    return sorted(found)


def without_gaps(directory: str, names: list[SegmentName]) -> list[SegmentName]:
    """`names`, when each follows the one before; raises FileMissing."""
    for before, after in pairwise(names):
        if after.sequence != before.sequence + 1:
            raise FileMissing(
                f"a segment is missing in {directory}: {before} is followed by {after}; "
                f"put back the one that starts with {before.sequence + 1:016x}, or restore the member from the others"
            )
    return names


def segments_from(files: Files, directory: str, index: int) -> list[SegmentName]:
    """The last segment that starts at or before `index`, and all later ones; raises FileMissing."""
    names = all_segments(files, directory)
    for position in range(len(names) - 1, -1, -1):
        if names[position].first <= index:
            return without_gaps(directory, names[position:])
    raise FileMissing(f"the log in {directory} starts with {names[0]}, but is to be read from index {index}")
