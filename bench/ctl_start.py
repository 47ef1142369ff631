"""How long `etcdctl get` takes from a cold start: ours and the stock one in turn, beside one member.

    python bench/ctl_start.py --rounds 30

The smallest and the middle of the times on the wall, and of the processor; an installed package has its bytecode, so
ours is run once before.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from quorate.testing.process import MemberProcess, real_binary

Times = list[tuple[float, float]]


def once(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Milliseconds on the wall and of the processor."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall * 1e3, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    stock = real_binary("etcdctl")
    with tempfile.TemporaryDirectory() as folder, MemberProcess(Path(folder) / "d") as member:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": f"{folder}/pyc", "PYTHONDONTWRITEBYTECODE": ""}
        words = ["--endpoints", member.endpoint, "get", "foo"]
        commands = {"ours": [sys.executable, "-m", "quorate.cmd.ctl", *words], "python": [sys.executable, "-c", "pass"]}
        if stock is not None:
            commands["stock"] = [str(stock), *words]
        found: dict[str, Times] = {name: [] for name in commands}
        once(commands["ours"], env)
        for _ in range(rounds):
            for name, command in commands.items():
                found[name].append(once(command, env))
    for name, times in found.items():
        walls, processor = zip(*times, strict=True)
        print(
            f"{name:8} wall min {min(walls):6.1f} median {statistics.median(walls):6.1f} ms   "
            f"processor min {min(processor):6.1f} median {statistics.median(processor):6.1f} ms"
        )


if __name__ == "__main__":
    main()
