"""The key index stays small. Run as a script, it prints bytes per key."""

from __future__ import annotations

import random
import tracemalloc

from quorate.storage.mvcc.key_index import KeyIndex

KEYS = 20_000
KEY_BYTES = 40
MOST_BYTES = 250
"""For a key, its place in the order and one revision, together."""


def bytes_per_key(revisions: int, compacted: bool = False) -> float:
    """Memory of an index of 40-byte keys with so many revisions each, the keys themselves included."""
    names = list(range(KEYS))
    random.Random(0).shuffle(names)
    tracemalloc.start()
    index = KeyIndex()
    main = 1
    for _ in range(revisions):
        for name in names:
            main += 1
            index.put(b"/registry/pods/%025d" % name, main, 0)
    if compacted:
        for key in index.live_keys(b"\0", b"\0"):
            index.compact(key, main)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(index) == KEYS
    return used / KEYS


def test_a_key_with_one_revision_takes_at_most_250_bytes() -> None:
    assert len(b"/registry/pods/%025d" % 0) == KEY_BYTES
    assert bytes_per_key(1) < MOST_BYTES


def test_a_key_overwritten_and_compacted_takes_at_most_250_bytes() -> None:
    assert bytes_per_key(3, compacted=True) < MOST_BYTES


if __name__ == "__main__":
    for revisions in (1, 2, 3, 10):
        print(f"{revisions:2} revisions of a key: {bytes_per_key(revisions):4.0f} bytes", end="")
        print(f", compacted: {bytes_per_key(revisions, compacted=True):4.0f}")
