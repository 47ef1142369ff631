"""Real etcd and Quorate in turn on this machine, three members each, the same load from the same generator.

8-byte keys, 256-byte values, 1000 clients on 100 connections and one client on one. The connections go to the leader
only, or to each member in turn. Runs come in pairs whose order alternates; the table shows the median of each number
and the ratio Quorate / etcd. CPU is that of all members together; memory too.

    python bench/cluster.py --total 20000 --pairs 3 --json result.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE, Command, real_binary

LOAD = Path(__file__).with_name("load.py")
MEMBERS = 3
LONE_SHARE = 20
"""One client sends this many times fewer requests than a thousand do."""
SATURATED = 0.9
"""A generator that used this share of a core is the limit, not the members."""


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    work: str
    where: str
    clients: int
    conns: int

    def __str__(self) -> str:
        return f"{self.work}, {self.where}, {self.clients} client{'s' if self.clients > 1 else ''}"


CASES = [
    Case(work, where, clients, conns)
    for work, places in (("put", ("leader", "all")), ("get", ("leader", "all")), ("get-serializable", ("all",)))
    for where in places
    for clients, conns in ((1000, 100), (1, 1))
    if (where, clients) != ("all", 1)
]


@dataclass(frozen=True)
class Result:
    """One case on one cluster. Latencies in milliseconds, CPU in microseconds an operation, of all members together."""

    ops: float
    p50: float
    p99: float
    rss_mb: float
    server_cpu: float
    generator_cpu: float
    generator_busy: float
    errors: int


def measure(cluster: Cluster, case: Case, options: argparse.Namespace) -> Result:
    """Load a running cluster with one case."""
    leader = cluster.leader()
    targets = [leader] if case.where == "leader" else cluster.running()
    total = options.total if case.clients > 1 else max(1, options.total // LONE_SHARE)
    argv = [sys.executable, str(LOAD), f"--work={case.work}", f"--total={total}", f"--keys={options.total}"]
    argv += [f"--clients={case.clients}", f"--conns={case.conns}", f"--value-bytes={options.value_bytes}"]
    argv += [f"--port={cluster.members[number].client_port}" for number in targets]
    generator = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert generator.stdout is not None
    line = generator.stdout.readline()
    assert line == "ready\n", f"the generator says {line!r}"
    cpu = sum(member.cpu_seconds() for member in cluster.members)
    report = json.loads(generator.communicate("\n")[0])
    cpu = sum(member.cpu_seconds() for member in cluster.members) - cpu
    micros = sorted(report["micros"])
    done = max(1, len(micros))
    return Result(
        ops=len(micros) / report["elapsed"],
        p50=micros[len(micros) // 2] / 1000 if micros else 0.0,
        p99=micros[min(len(micros) - 1, len(micros) * 99 // 100)] / 1000 if micros else 0.0,
        rss_mb=sum(member.rss_bytes() for member in cluster.members) / 1e6,
        server_cpu=cpu / done * 1e6,
        generator_cpu=report["cpu"] / done * 1e6,
        generator_busy=report["cpu"] / report["elapsed"],
        errors=sum(report["errors"].values()),
    )


def one_run(command: Command, options: argparse.Namespace) -> dict[Case, Result]:
    """A fresh cluster through all cases."""
    with (
        tempfile.TemporaryDirectory(dir=options.dir) as place,
        Cluster(Path(place), [command] * MEMBERS, flags=["--log-level=warn"]) as cluster,
    ):
        cluster.start()
        return {case: measure(cluster, case, options) for case in CASES if case.clients <= options.clients}


def median(results: list[Result]) -> Result:
    return Result(**{name: statistics.median(asdict(r)[name] for r in results) for name in asdict(results[0])})


def table(medians: dict[str, dict[Case, Result]]) -> str:
    columns = ("ops/s", "ratio", "p50 ms", "p99 ms", "RSS MB", "CPU µs/op", "gen µs/op")
    lines = [" " * 46 + " ".join(f"{name:>9}" for name in columns)]
    for case in next(iter(medians.values())):
        for name, results in medians.items():
            r, real = results[case], medians.get("etcd", {}).get(case)
            ratio = f"{r.ops / real.ops:.2f}" if name != "etcd" and real is not None else ""
            mark = "*" if r.generator_busy > SATURATED else " "
            mark += f" {r.errors} errors" if r.errors else ""
            lines.append(
                f"{f'{case}, {name}':46}{r.ops:>9.0f} {ratio:>9} {r.p50:>9.2f} {r.p99:>9.2f} {r.rss_mb:>9.0f}"
                f" {r.server_cpu:>9.1f} {r.generator_cpu:>9.1f}{mark}"
            )
    return "\n".join([*lines, "* the generator was the limit"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total", type=int, default=20_000, help="requests of a case with 1000 clients")
    parser.add_argument("--pairs", type=int, default=1, help="times each cluster is run")
    parser.add_argument("--clients", type=int, default=1000, help="leave out cases with more clients than this")
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--only", choices=["etcd", "quorate"], help="run only one of the two")
    parser.add_argument("--dir", help="where the data directories go")
    parser.add_argument("--json", type=Path, help="write all results there")
    options = parser.parse_args()
    binary = real_binary("etcd")
    commands: dict[str, Command] = {}
    if binary is not None and options.only != "quorate":
        commands["etcd"] = (str(binary),)
    if options.only != "etcd":
        commands["quorate"] = QUORATE
    runs: dict[str, list[dict[Case, Result]]] = {name: [] for name in commands}
    for pair in range(options.pairs):
        for name in sorted(commands, reverse=pair % 2 == 1):
            runs[name].append(one_run(commands[name], options))
    print(table({name: {case: median([run[case] for run in made]) for case in made[0]} for name, made in runs.items()}))
    if options.json:
        plain = {
            name: [{str(case): asdict(r) for case, r in run.items()} for run in made] for name, made in runs.items()
        }
        options.json.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
