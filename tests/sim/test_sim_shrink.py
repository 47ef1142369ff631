"""Shrinking: less time, fewer clients and only the faults that it takes."""

from __future__ import annotations

import pytest

from quorate.testing.sim import run, shrink
from quorate.testing.sim.nemesis import Nemesis
from quorate.testing.sim.run import Outcome
from quorate.testing.sim.shrink import Plan

SEED, SECONDS = 11, 10.0


def test_only_the_faults_that_it_takes_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(seed: int, *, seconds: float, clients: int | None, skip: frozenset[int], trace: object) -> Outcome:
        fails = seconds >= 12.0 and not skip & {5, 13}
        return Outcome(seed, ["it is broken"] if fails else [], strikes=20)

    monkeypatch.setattr(shrink, "run_seed", fake)
    plan, outcome = shrink.shrink(3, Plan(), lambda line: None)
    assert outcome.problems
    assert plan == Plan(12.0, 1, frozenset(range(1, 21)) - {5, 13})
    assert plan.options() == f"--seconds 12 --clients 1 --skip {','.join(map(str, sorted(plan.skip)))}"


def test_a_seed_that_passes_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink.shrink(1, Plan(1.0), lambda line: None)


def test_a_fault_that_is_left_out_changes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, str]] = []
    monkeypatch.setattr(Nemesis, "_do", lambda self, kind: done.append((self.strikes, kind)))
    run.run_seed(SEED, seconds=SECONDS)
    every = done[:]
    assert len(every) > 3
    done.clear()
    run.run_seed(SEED, seconds=SECONDS, skip=frozenset({2}))
    assert done == [fault for fault in every if fault[0] != 2]
