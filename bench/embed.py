"""How long a member in this process takes to start and to stop: medians of 20, in milliseconds.

    python bench/embed.py [--count 20]

From `Etcd(...)` to serving clients, imports not counted, and from `stop` to its end. Once without sockets, once at free
ports, once on disk with every sync, and three members at once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Protocol

import uvloop

from quorate import embed


class Startable(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def measure(name: str, make: Callable[[], Startable], count: int) -> None:
    starts: list[float] = []
    stops: list[float] = []
    for _ in range(count + 1):
        began = time.perf_counter()
        member = make()
        await member.start()
        serving = time.perf_counter()
        await member.stop()
        starts.append((serving - began) * 1000)
        stops.append((time.perf_counter() - serving) * 1000)
    print(
        f"{name:28} start {median(starts[1:]):6.1f} (first {starts[0]:.1f}, worst {max(starts[1:]):.1f})"
        f"   stop {median(stops[1:]):6.1f} (worst {max(stops[1:]):.1f})"
    )


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        places = iter(range(1_000_000))
        await measure("in memory, no sockets", lambda: embed.Etcd(in_memory=True, listen=False), count)
        await measure("in memory, free ports", lambda: embed.Etcd(in_memory=True), count)
        await measure("on disk, free ports", lambda: embed.Etcd(data_dir=f"{directory}/{next(places)}"), count)
        await measure("three members in memory", lambda: embed.Cluster(3, in_memory=True), count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    uvloop.run(main(parser.parse_args().count))
