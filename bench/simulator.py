"""How much simulated time a second of one core is worth: runs of three members, with clients and faults as drawn.

python bench/simulator.py [--seeds 1..20] [--seconds 60]
"""

from __future__ import annotations

import argparse
import time

from quorate.testing.sim.run import SECONDS, run_seed

MEMBERS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1..20")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="virtual seconds of faults in a run")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("..")
    run_seed(int(first), seconds=1.0, size=MEMBERS)  # what is only done once is no part of it
    virtual, answered = 0.0, 0
    begun, cpu = time.perf_counter(), time.process_time()
    for seed in range(int(first), int(last or first) + 1):
        outcome = run_seed(seed, seconds=options.seconds, size=MEMBERS)
        virtual += outcome.seconds
        answered += outcome.acknowledged
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    print(f"{virtual:.0f} simulated seconds, {answered} requests answered, in {took:.1f} s ({used:.1f} s of CPU)")
    print(f"{virtual / took:.1f} simulated seconds a second, {answered / took:.0f} requests a second")


if __name__ == "__main__":
    main()
