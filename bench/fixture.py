"""What the fixture `etcd` costs a test session: start of its server, and the reset before each test, in milliseconds.

    python bench/fixture.py [--count 200]

Start is from nothing to serving clients, once with the imports of a new process and then without. A reset takes away
0, 10 or 1000 keys of 100 bytes that the test before has written, with their history; `fresh` is a new member instead.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from statistics import median, quantiles

from quorate.client import ops, sync
from quorate.testing.shared import MemberInside, SharedServer

KEYS = (0, 10, 1000)
BATCH = 100
VALUE = b"v" * 100
COLD = """
import time
began = time.perf_counter()
from quorate.testing.shared import MemberInside
server = MemberInside()
print((time.perf_counter() - began) * 1000)
server.close()
"""


def line(name: str, seconds: list[float]) -> None:
    figures = [each * 1000 for each in seconds]
    p99 = quantiles(figures, n=100, method="inclusive")[98]
    print(f"{name:28} median {median(figures):7.2f}   p99 {p99:7.2f}   n {len(figures)}", flush=True)


def cold_starts(count: int) -> list[float]:
    """Of processes that find all modules compiled."""
    with tempfile.TemporaryDirectory() as compiled:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-c", COLD]
        runs = [subprocess.run(command, capture_output=True, check=True, env=env) for _ in range(count + 1)]
    return [float(run.stdout) / 1000 for run in runs[1:]]


def start() -> float:
    began = time.perf_counter()
    server = MemberInside()
    took = time.perf_counter() - began
    server.close()
    return took


def reset(server: SharedServer, client: sync.Client, keys: int, *, fresh: bool = False) -> float:
    for first in range(0, keys, BATCH):
        puts = [ops.put(f"key/{number}", VALUE) for number in range(first, min(first + BATCH, keys))]
        client.txn().then(*puts).commit()
    began = time.perf_counter()
    server.reset(fresh=fresh)
    return time.perf_counter() - began


def main(count: int) -> None:
    few = max(2, count // 10)
    line("start, with imports", cold_starts(max(2, few // 4)))
    line("start", [start() for _ in range(few)])
    server = MemberInside()
    with sync.connect(server.endpoints) as client:
        for keys in KEYS:
            line(f"reset, {keys} keys", [reset(server, client, keys) for _ in range(count)])
    line("reset, fresh", [reset(server, client, 0, fresh=True) for _ in range(few)])
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    main(parser.parse_args().count)
