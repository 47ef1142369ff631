"""Thousands of random operations on real etcd and on the cluster under test, of one and of three members: every answer
and every watch is the same.

`QUORATE_E2E_OPS` sets how many, `--seed` or `QUORATE_E2E_SEED` replays, `QUORATE_E2E_SHRINK=1` cuts a failing run down
to the operations that matter.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_generator import Generator, Op
from e2e_pair import Pair, replay
from e2e_side import Different

from quorate.testing.cluster import Cluster
from quorate.testing.process import Command

pytestmark = pytest.mark.real

OPERATIONS = {1: 4000, 3: 1500}
"""How many by default, by the number of members."""
SHRINK_RUNS = 60

Group = Callable[..., Cluster]


@pytest.mark.parametrize("size", OPERATIONS)
def test_random_operations_are_answered_as_real_etcd_answers_them(
    size: int, seed: int, start_group: Group, real_command: Command, subject_is_real: bool, tmp_path: Path
) -> None:
    done: list[Op] = []
    pair = _fresh_pair(size, start_group, real_command, subject_is_real)
    try:
        found = _run(pair, seed, done)
        events = len(pair.sides[0].masters[0].events)
        print(f"{len(done)} operations, revision {pair.revision}, {events} events, allowed: {pair.allowed}")
    finally:
        pair.close()
    if found is None:
        return
    journal = tmp_path / "operations.txt"
    journal.write_text("".join(f"{op}\n" for op in done))
    if os.environ.get("QUORATE_E2E_SHRINK"):
        same = str(found).splitlines()[0]

        def fails(ops: list[Op]) -> bool:
            again = _fresh_replay(ops, size, start_group, real_command, subject_is_real)
            return again is not None and str(again).splitlines()[0] == same

        done = _shrink(done, fails)
        found = _fresh_replay(done, size, start_group, real_command, subject_is_real) or found
    last = "\n".join(f"  {op}" for op in done[-12:])
    pytest.fail(
        f"seed {seed}, operation {len(done)}:\n{found}\nlast operations of {len(done)}:\n{last}\nall of them: {journal}"
    )


def _fresh_pair(size: int, start_group: Group, real_command: Command, strict: bool) -> Pair:
    """Two clusters that nobody has written to."""
    groups = start_group(real_command, size=size, flags=("--unsafe-no-fsync",)), start_group(size=size)
    return Pair(*([member.endpoint for member in group.members] for group in groups), strict=strict)


def _run(pair: Pair, seed: int, done: list[Op]) -> Different | None:
    generator = Generator(seed, pair.size)
    wanted = int(os.environ.get("QUORATE_E2E_OPS", OPERATIONS[pair.size]))
    try:
        while len(done) < wanted:
            op = generator.draw()
            done.append(op)
            generator.learn(op, pair.run(op))
            generator.watchers = pair.open_watchers()
        pair.barrier()
    except Different as found:
        return found
    return None


def _fresh_replay(
    ops: list[Op], size: int, start_group: Group, real_command: Command, strict: bool
) -> Different | None:
    pair = _fresh_pair(size, start_group, real_command, strict)
    try:
        return replay(ops, pair)
    finally:
        pair.close()


def _shrink(ops: list[Op], fails: Callable[[list[Op]], object]) -> list[Op]:
    """Delta debugging: drop ever smaller slices while the run still fails."""
    runs, size = 0, max(1, len(ops) // 2)
    while runs < SHRINK_RUNS:
        at = 0
        while at < len(ops) and runs < SHRINK_RUNS:
            shorter = ops[:at] + ops[at + size :]
            runs += 1
            if shorter and fails(shorter):
                ops = shorter
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return ops
