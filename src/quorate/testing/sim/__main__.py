"""`python -m quorate.testing.sim --seeds A..B [--jobs N]` runs seeds; `--seed S --trace` shows what happens in one, and
`--seed S --shrink` looks for a shorter run that fails. With `--digests` each seed's line has a hash of its trace."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from multiprocessing import get_context

from quorate.testing.sim.run import SECONDS, Outcome
from quorate.testing.sim.shrink import Plan, shrink
from quorate.testing.sim.trace import Trace

LEGEND = """time member what; the simulator itself is `sim`, the network `net`.
#N is a connection, `got 46 de8e220a` that so many bytes arrived there, with their CRC-32.
`info:`, `warning:` and `error:` are lines of the member's own log.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 when a seed failed."""
    options = _options(arguments)
    plan = Plan(options.seconds, options.clients, options.skip)
    if options.seed is not None and options.shrink:
        return _shrink(options.seed, plan)
    if options.seed is not None:
        return _run_one(options.seed, plan, options.trace)
    first, last = options.seeds
    begun = time.perf_counter()
    run = plan.run_traced if options.digests else plan.run
    seeds = range(first, last + 1)
    if options.jobs == 1:
        passed, failed, virtual = _tell(map(run, seeds), options.digests)
    else:
        with get_context("spawn").Pool(options.jobs) as pool:
            passed, failed, virtual = _tell(pool.imap_unordered(run, seeds), options.digests)
    took = time.perf_counter() - begun
    _say(f"{virtual:.0f} simulated seconds in {took:.0f} s: {virtual / took:.0f} a second")
    _say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _shrink(seed: int, plan: Plan) -> int:
    try:
        plan, outcome = shrink(seed, plan, _say)
    except ValueError as error:
        _say(str(error))
        return 0
    _say(f"--seed {seed} {plan.options()}")
    for problem in outcome.problems:
        _say(f"  {problem}")
    return 1


def _run_one(seed: int, plan: Plan, show: bool) -> int:
    trace = Trace(keep=show)
    outcome = plan.run(seed, trace)
    if show:
        _say(LEGEND)
        _say("\n".join(trace.lines))
    _say(f"seed {seed}: {outcome.drawn}; {outcome.acknowledged} requests answered")
    for problem in outcome.problems:
        _say(f"  {problem}")
    _say("failed" if outcome.problems else "passed")
    return 1 if outcome.problems else 0


def _tell(outcomes: Iterable[Outcome], digests: bool) -> tuple[int, int, float]:
    """A line for each seed that fails; how many passed and failed, and virtual seconds."""
    passed = failed = 0
    virtual = 0.0
    for outcome in outcomes:
        virtual += outcome.seconds
        if digests:
            _say(f"seed {outcome.seed}: {outcome.digest}")
        if outcome.problems:
            failed += 1
            _say(f"seed {outcome.seed}: {outcome.problems[0]}")
        else:
            passed += 1
    return passed, failed, virtual


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _seeds(text: str) -> tuple[int, int]:
    first, _, last = text.partition("..")
    return int(first), int(last or first)


def _numbers(text: str) -> frozenset[int]:
    return frozenset(map(int, text.split(",")))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m quorate.testing.sim", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=_seeds, metavar="A..B", help="run these, both included")
    what.add_argument("--seed", type=int, metavar="S", help="run this one and tell more of it")
    parser.add_argument("--trace", action="store_true", help="with --seed: a line for every event")
    parser.add_argument("--shrink", action="store_true", help="with --seed: look for less that fails")
    parser.add_argument("--clients", type=int, metavar="N", help="so many clients")
    parser.add_argument("--skip", type=_numbers, default=frozenset(), metavar="N,M", help="leave these faults out")
    parser.add_argument("--digests", action="store_true", help="with --seeds: tell the hash of each trace")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="virtual seconds of faults for each seed")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
