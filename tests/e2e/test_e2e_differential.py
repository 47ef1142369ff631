"""Thousands of random operations on real etcd and on the cluster under test, of one and of three members, open and
behind TLS and auth: every answer and every watch is the same.

`QUORATE_E2E_OPS` sets how many, `--seed` or `QUORATE_E2E_SEED` replays, `QUORATE_E2E_SHRINK=1` cuts a failing run down
to the operations that matter.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_generator import Generator, Op
from e2e_guard import Guard, Keys, start_guarded
from e2e_pair import Pair, replay
from e2e_side import Different

from quorate.testing.cluster import Cluster
from quorate.testing.process import Command

pytestmark = pytest.mark.real

OPEN, GUARDED = Guard(tls=False, auth=False), Guard(tls=True, auth=True)
OPERATIONS = {(1, OPEN): 4000, (3, OPEN): 1500, (1, GUARDED): 800, (3, GUARDED): 400}
"""How many by default, by the number of members and what guards them; the other kinds run when they are asked to."""
SHRINK_RUNS = 60

Make = Callable[[], Pair]


@pytest.fixture
def wanted(size: int, tls: bool, auth: bool) -> int:
    """How many operations."""
    found = int(os.environ.get("QUORATE_E2E_OPS", OPERATIONS.get((size, Guard(tls, auth)), 0)))
    if not found:
        pytest.skip("runs when QUORATE_E2E_OPS says how long")
    return found


@pytest.fixture
def make_pair(
    size: int,
    tls: bool,
    auth: bool,
    start_group: Callable[..., Cluster],
    real_command: Command,
    subject_is_real: bool,
    tmp_path: Path,
) -> Make:
    """What makes two clusters that nobody has written to."""
    guard, keys = Guard(tls, auth), Keys(tmp_path / "keys")

    def make() -> Pair:
        real = start_guarded(start_group, guard, keys, real_command, size, ("--unsafe-no-fsync",))
        subject = start_guarded(start_group, guard, keys, None, size)
        endpoints = [[member.endpoint for member in cluster.members] for cluster, _ in (real, subject)]
        # With auth on, a follower of 3.5.1 forwards a promotion without saying for whom, and it times out.
        return Pair(*endpoints, strict=subject_is_real, connects=(real[1], subject[1]), promote_on_leader=auth)

    return make


@pytest.mark.parametrize("auth", [False, True], ids=["free", "auth"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("size", [1, 3])
def test_random_operations_are_answered_as_real_etcd_answers_them(
    make_pair: Make, seed: int, wanted: int, tmp_path: Path
) -> None:
    done: list[Op] = []
    pair = make_pair()
    try:
        found = _run(pair, seed, done, wanted)
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
            again = _fresh_replay(ops, make_pair)
            return again is not None and str(again).splitlines()[0] == same

        done = _shrink(done, fails)
        found = _fresh_replay(done, make_pair) or found
    last = "\n".join(f"  {op}" for op in done[-12:])
    pytest.fail(
        f"seed {seed}, operation {len(done)}:\n{found}\nlast operations of {len(done)}:\n{last}\nall of them: {journal}"
    )


def _run(pair: Pair, seed: int, done: list[Op], wanted: int) -> Different | None:
    generator = Generator(seed, pair.size)
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


def _fresh_replay(ops: list[Op], make_pair: Make) -> Different | None:
    pair = make_pair()
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
