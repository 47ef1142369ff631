"""From a seed that fails to a shorter run that fails: less time, one client, and only the faults that it takes.

Each fault rolls dice of its own, so leaving one out changes no other. What is left out is found by halves and quarters
and so on (Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from quorate.testing.sim.run import SECONDS, Outcome, run_seed
from quorate.testing.sim.trace import Trace

SHORTER = (3.0, 6.0, 12.0, 24.0, 40.0)
"""Virtual seconds to try, the least first."""
MOST_TRIES = 150


@dataclass(frozen=True, slots=True)
class Plan:
    """How a seed is run."""

    seconds: float = SECONDS
    clients: int | None = None
    skip: frozenset[int] = frozenset()
    """Numbers of faults that are left out."""

    def run(self, seed: int, trace: Trace | None = None) -> Outcome:
        return run_seed(seed, seconds=self.seconds, clients=self.clients, skip=self.skip, trace=trace)

    def run_traced(self, seed: int) -> Outcome:
        """With a digest of everything that happened."""
        return self.run(seed, Trace())

    def options(self) -> str:
        """What to say to the command to have it run so."""
        words = [f"--seconds {self.seconds:g}"]
        if self.clients is not None:
            words.append(f"--clients {self.clients}")
        if self.skip:
            words.append(f"--skip {','.join(map(str, sorted(self.skip)))}")
        return " ".join(words)


def shrink(seed: int, plan: Plan, say: Callable[[str], object]) -> tuple[Plan, Outcome]:
    """The smallest plan found that fails, and its outcome. Raises ValueError when `plan` does not fail."""
    outcome = plan.run(seed)
    if not outcome.problems:
        raise ValueError(f"seed {seed} does not fail")
    left = MOST_TRIES

    def fails(smaller: Plan) -> bool:
        nonlocal left, plan, outcome
        if not left:
            return False
        left -= 1
        found = smaller.run(seed)
        if found.problems:
            plan, outcome = smaller, found
            say(f"{smaller.options()}: {found.problems[0]}")
        return bool(found.problems)

    any(fails(replace(plan, seconds=seconds)) for seconds in SHORTER if seconds < plan.seconds)
    fails(replace(plan, clients=1))
    needed = [number for number in range(1, outcome.strikes + 1) if number not in plan.skip]
    size = len(needed)
    while size:
        for piece in list(_pieces(needed, size)):
            if fails(replace(plan, skip=plan.skip | set(piece))):
                needed = [number for number in needed if number not in piece]
        size //= 2
    return plan, outcome


def _pieces(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]
