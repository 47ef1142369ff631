"""The hot path does not become dearer unnoticed: what it executes, held against what it executed before.

Times depend on the machine's mood, counts hardly. A count that has grown on purpose is recorded anew, in the commit
that says why:

    QUORATE_GUARDS=record python -m pytest tests/guards
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quorate.storage.mvcc.key_index import KeyIndex

from guards_count import calls, instructions  # isort: skip
from guards_work import UNITS, WORKS, Work  # isort: skip

BASELINE = Path(__file__).with_name("baseline.json")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
TOLERANCE = 0.05
WHOLE_TOLERANCE = 0.08
"""Of a whole member: how many requests share a turn of the loop depends on the disk, and slow ones are logged."""
WHOLE_TRIES = 3
"""So the least of some runs is taken."""
MAX_KEY_BYTES = 250.0
KEYS = 20_000
COUNTERS: dict[str, Callable[[Iterator[None]], int]] = {"calls": calls, "instructions": instructions}


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("counter", COUNTERS)
def test_the_hot_path_costs_no_more_than_it_did(counter: str, name: str, tmp_path: Path) -> None:
    work: Work = WORKS[name]
    tries = WHOLE_TRIES if name.startswith("whole") else 1
    count = min(round(COUNTERS[counter](work(tmp_path)) / UNITS, 2) for _ in range(tries))
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if os.environ.get("QUORATE_GUARDS") == "record":
        known.setdefault(VERSION, {}).setdefault(name, {})[counter] = count
        BASELINE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        return
    if VERSION not in known:
        pytest.skip(f"no counts are recorded for Python {VERSION}")
    before = known[VERSION][name][counter]
    tolerance = WHOLE_TOLERANCE if name.startswith("whole") else TOLERANCE
    assert count <= before * (1 + tolerance) + 0.5, f"{name}: {count} {counter} a unit, {before} before"


def test_a_key_takes_no_more_memory_in_the_index_than_was_promised() -> None:
    gc.collect()
    tracemalloc.start()
    index = KeyIndex()
    before = tracemalloc.get_traced_memory()[0]
    for n in range(KEYS):
        index.put(b"key/%036d" % n, n + 2, 0)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken / KEYS <= MAX_KEY_BYTES


def test_a_dearer_path_is_noticed(tmp_path: Path) -> None:
    """The guard itself: ten more calls a unit are more than it lets pass."""

    def dearer(place: Path) -> Iterator[None]:
        work = WORKS["wal_encode"](place)
        next(work)
        yield
        for _ in range(UNITS * 10):
            len(b"")
        next(work, None)

    plain = calls(WORKS["wal_encode"](tmp_path))
    assert calls(dearer(tmp_path)) > plain * (1 + TOLERANCE) + UNITS / 2
