"""How much simulated time a second of one core is worth: three members, clients as drawn, without faults and with them.

python bench/simulator.py [--seeds 1..12] [--seconds 60]
"""

from __future__ import annotations

import argparse
import time

from quorate.testing.sim.run import SECONDS, run_seed

MEMBERS = 3
EVERY = frozenset(range(1, 100_000))
"""Numbers of faults: more than any run has."""


def measure(what: str, seeds: range, seconds: float, skip: frozenset[int]) -> None:
    virtual, answered = 0.0, 0
    begun, cpu = time.perf_counter(), time.process_time()
    for seed in seeds:
        outcome = run_seed(seed, seconds=seconds, size=MEMBERS, skip=skip)
        virtual += outcome.seconds
        answered += outcome.acknowledged
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    print(
        f"{what:<16} {virtual:6.0f} simulated s in {took:5.1f} s ({used:.1f} s of CPU): {virtual / took:5.1f} a second,"
    )
    print(f"{'':<16} {answered:6d} requests of clients answered: {answered / virtual:.1f} a simulated second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1..12")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="virtual seconds of a run")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    run_seed(seeds[0], seconds=1.0, size=MEMBERS)  # what is only done once is no part of it
    measure("without faults", seeds, options.seconds, EVERY)
    measure("with faults", seeds, options.seconds, frozenset())


if __name__ == "__main__":
    main()
