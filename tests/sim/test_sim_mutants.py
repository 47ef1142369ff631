"""The simulator sees bugs that are there: each mutant that is caught often is caught here, in short runs."""

from __future__ import annotations

import pytest

from quorate.testing.sim import mutants
from quorate.testing.sim.mutants import MUTANTS, SHORT_SECONDS, Catch, Mutant, hunt
from quorate.testing.sim.patch import Patch
from quorate.testing.sim.planted_state import fill_streams
from quorate.testing.sim.run import run_seed

TRIES = range(1, 31)
"""Seeds to try when the one that caught a mutant catches it no more: it does not, as soon as a run rolls other dice."""
OFTEN = [mutant for mutant in MUTANTS if mutant.seed]


def name_of(mutant: Mutant) -> str:
    return mutant.name


@pytest.mark.parametrize("mutant", OFTEN, ids=name_of)
def test_a_planted_bug_is_caught_by_what_names_the_broken_promise(mutant: Mutant) -> None:
    found = hunt(mutant, [mutant.seed, *TRIES], seconds=SHORT_SECONDS)
    assert found.seed, f"not seen in {found.seeds} runs: {mutant.breaks} {found.others} failed otherwise"


def test_without_a_bug_the_same_seeds_pass() -> None:
    seeds = sorted({mutant.seed for mutant in OFTEN})
    for seed in seeds[:2]:
        assert run_seed(seed, seconds=SHORT_SECONDS).problems == []


def test_streams_that_are_full_now_and_then_are_no_bug() -> None:
    patch = Patch()
    fill_streams(patch)
    try:
        assert run_seed(1, seconds=SHORT_SECONDS).problems == []
    finally:
        patch.undo()


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_bug_is_gone_when_the_hunt_is_over(mutant: Mutant) -> None:
    replaced: list[tuple[object, object, object]] = []

    class Watched(Patch):
        def attribute(self, owner: object, name: str, value: object) -> object:
            replaced.append((vars(owner), name, vars(owner)[name]))
            return super().attribute(owner, name, value)

        def item(self, owner: dict[object, object], key: object, value: object) -> object:
            replaced.append((owner, key, owner[key]))
            return super().item(owner, key, value)

    patch = Watched()
    mutant.plant(patch)
    assert replaced
    assert all(owner[name] is not before for owner, name, before in replaced)  # type: ignore[index]
    patch.undo()
    assert all(owner[name] is before for owner, name, before in replaced)  # type: ignore[index]


def test_a_mutant_that_nobody_sees_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen, unseen = MUTANTS[:2]
    found = {seen: Catch(3, 3, 20.0, "m1 failed\nat 3.1"), unseen: Catch(9, 0, 80.0, others=2)}
    monkeypatch.setattr(mutants, "hunt", lambda mutant, seeds, **_: found[mutant])
    assert mutants.main([seen.name, unseen.name, "--seeds", "1..9"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"| {seen.name} | 3 | 20 | seed 3: m1 failed at 3.1 |",
        f"| {unseen.name} | 9 (2 failed otherwise) | 80 | not caught |",
        "1 passed, 1 failed",
    ]
