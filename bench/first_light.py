"""Real etcd and Quorate in turn on this machine, one member each, the same load from the same generator: who does what.

8-byte keys, 256-byte values; one client on one connection, and 1000 clients on 100. Puts first, then linearizable and
serializable gets of the same keys. Runs come in pairs whose order alternates, so that a slow moment of the machine does
not always hit the same one; the table shows the median of each number and the ratio Quorate / etcd.

    python bench/first_light.py --total 20000 --pairs 3 --json result.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from quorate.testing.process import QUORATE, Command, MemberProcess, real_binary

LOAD = Path(__file__).with_name("load.py")
SATURATED = 0.9
"""A generator that used this share of a core is the limit, not the member."""


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    work: str
    clients: int
    conns: int

    def __str__(self) -> str:
        return f"{self.work}, {self.clients} client{'s' if self.clients > 1 else ''}"


CASES = [
    Case(work, clients, conns)
    for work in ("put", "get", "get-serializable")
    for clients, conns in ((1, 1), (1000, 100))
]
LONE_SHARE = 10
"""One client sends this many times fewer requests than a thousand do."""


@dataclass(frozen=True)
class Result:
    """One case on one member. Latencies in milliseconds, CPU in microseconds an operation."""

    ops: float
    p50: float
    p99: float
    rss_mb: float
    server_cpu: float
    generator_cpu: float
    generator_busy: float
    errors: int


def measure(member: MemberProcess, case: Case, options: argparse.Namespace) -> Result:
    """Load a running member with one case."""
    count = max(1, min(options.processes, case.clients))
    total = options.total if case.clients > 1 else max(1, options.total // LONE_SHARE)
    argv = [
        sys.executable,
        str(LOAD),
        f"--port={member.client_port}",
        f"--work={case.work}",
        f"--client={options.client}",
    ]
    argv += [
        f"--total={total // count}",
        f"--clients={case.clients // count}",
        f"--conns={max(1, case.conns // count)}",
    ]
    argv += [f"--keys={max(1, options.total)}", f"--step={count}", f"--value-bytes={options.value_bytes}"]
    generators = [
        subprocess.Popen([*argv, f"--first={n}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(count)
    ]
    for generator in generators:
        assert generator.stdout is not None
        line = generator.stdout.readline()
        assert line == "ready\n", f"the generator says {line!r}"
    cpu, begun = member.cpu_seconds(), time.perf_counter()
    for generator in generators:
        assert generator.stdin is not None
        generator.stdin.write("\n")
        generator.stdin.flush()
    reports = [json.loads(generator.communicate()[0]) for generator in generators]
    cpu = member.cpu_seconds() - cpu
    return _summed(reports, cpu, member.rss_bytes(), time.perf_counter() - begun)


def _summed(reports: list[dict], cpu: float, rss: int, wall: float) -> Result:
    micros = sorted(m for report in reports for m in report["micros"])
    elapsed = max(report["elapsed"] for report in reports)
    done = max(1, len(micros))
    return Result(
        ops=len(micros) / min(elapsed, wall),
        p50=micros[len(micros) // 2] / 1000 if micros else 0.0,
        p99=micros[min(len(micros) - 1, len(micros) * 99 // 100)] / 1000 if micros else 0.0,
        rss_mb=rss / 1e6,
        server_cpu=cpu / done * 1e6,
        generator_cpu=sum(report["cpu"] for report in reports) / done * 1e6,
        generator_busy=max(report["cpu"] / report["elapsed"] for report in reports),
        errors=sum(count for report in reports for count in report["errors"].values()),
    )


def one_run(command: Command, options: argparse.Namespace) -> dict[Case, Result]:
    """A fresh member through all cases."""
    with tempfile.TemporaryDirectory(dir=options.dir) as place:
        member = MemberProcess(Path(place) / "data", command=command, flags=["--log-level=warn"])
        member.start()
        try:
            return {case: measure(member, case, options) for case in CASES if case.clients <= options.clients}
        finally:
            member.kill()


def median(results: list[Result]) -> Result:
    return Result(**{name: statistics.median(asdict(r)[name] for r in results) for name in asdict(results[0])})


def table(real: dict[Case, Result], ours: dict[Case, Result]) -> str:
    columns = (("ops/s", 9), ("ratio", 6), ("p50 ms", 8), ("p99 ms", 8), ("RSS MB", 7), ("CPU µs/op", 10))
    lines = [" " * 40 + " ".join(f"{name:>{width}}" for name, width in (*columns, ("gen µs/op", 10)))]
    for case in ours:
        for name, results in (("etcd", real), ("Quorate", ours)):
            if case not in results:
                continue
            r = results[case]
            ratio = f"{r.ops / real[case].ops:.2f}" if name == "Quorate" and case in real else ""
            mark = "*" if r.generator_busy > SATURATED else " "
            mark += f" {r.errors} errors" if r.errors else ""
            lines.append(
                f"{f'{case}, {name}':39} {r.ops:>9.0f} {ratio:>6} {r.p50:>8.2f} {r.p99:>8.2f} {r.rss_mb:>7.0f}"
                f" {r.server_cpu:>10.1f} {r.generator_cpu:>10.1f}{mark}"
            )
    return "\n".join([*lines, "* the generator was the limit; try --processes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total", type=int, default=20_000, help="requests of a case with 1000 clients")
    parser.add_argument("--pairs", type=int, default=1, help="times each member is run")
    parser.add_argument("--processes", type=int, default=1, help="generator processes")
    parser.add_argument("--clients", type=int, default=1000, help="leave out cases with more clients than this")
    parser.add_argument(
        "--client", choices=["quorate", "grpcio"], default="quorate", help="client side of the generator"
    )
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--only", choices=["etcd", "quorate"], help="run only one of the two")
    parser.add_argument("--dir", help="where the data directories go")
    parser.add_argument("--json", type=Path, help="write all results there")
    options = parser.parse_args()
    binary = real_binary("etcd")
    members: dict[str, Command] = {}
    if binary is not None and options.only != "quorate":
        members["etcd"] = (str(binary),)
    if options.only != "etcd":
        members["quorate"] = QUORATE
    runs: dict[str, list[dict[Case, Result]]] = {name: [] for name in members}
    for pair in range(options.pairs):
        for name in sorted(members, reverse=pair % 2 == 1):
            runs[name].append(one_run(members[name], options))
    medians = {name: {case: median([run[case] for run in made]) for case in made[0]} for name, made in runs.items()}
    print(table(medians.get("etcd", {}), medians.get("quorate", medians.get("etcd", {}))))
    if options.json:
        plain = {
            name: [{str(case): asdict(r) for case, r in run.items()} for run in made] for name, made in runs.items()
        }
        options.json.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
