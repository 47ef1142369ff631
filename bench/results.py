"""Results of a comparison: one measurement a record, kept in a JSON file that is whole after each of them."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from quorate.cmd.benchmark.fleet import Outcome, Results
from quorate.cmd.benchmark.report import exact_percentile

SATURATED = 0.9
"""A generator that used this share of a core was the limit, not the members."""
Record = dict[str, Any]


def summary(found: Results, outcome: Outcome) -> Record:
    """What is kept of a run. Latencies in milliseconds."""
    ordered = sorted(found.seconds)
    count = len(ordered)
    return {
        "ops": count / found.elapsed if found.elapsed else 0.0,
        "count": count,
        "average_ms": sum(ordered) / count * 1000 if count else 0.0,
        "p50_ms": exact_percentile(ordered, 50) * 1000,
        "p99_ms": exact_percentile(ordered, 99) * 1000,
        "slowest_ms": ordered[-1] * 1000 if count else 0.0,
        "errors": sum(found.errors.values()),
        "generator_us": outcome.cpu * 1e6 / max(1, count),
        "generator_busy": outcome.busy,
    }


class Book:
    """The file. A record is known by topology, row, pair and side; a failed one may be made again."""

    def __init__(self, path: Path, settings: Record, fresh: bool) -> None:
        self.path = path
        self.content: Record = {"machine": machine(), "settings": settings, "records": []}
        if path.exists() and not fresh:
            self.content = json.loads(path.read_text())
            if self.content["settings"] != settings:
                held = self.content["settings"]
                raise SystemExit(f"{path} holds a run with other settings, {held}: use --fresh or another --json")

    @property
    def records(self) -> list[Record]:
        found: list[Record] = self.content["records"]
        return found

    def has(self, topology: str, row: str, pair: int, side: str) -> bool:
        """Whether this has been measured."""
        key = (topology, row, pair, side)
        return any(_key(record) == key and "failed" not in record for record in self.records)

    def add(self, topology: str, row: str, pair: int, side: str, found: Record) -> None:
        """Write one more down."""
        record = {"topology": topology, "row": row, "pair": pair, "side": side, **found}
        self.content["records"] = [old for old in self.records if _key(old) != _key(record)] + [record]
        self.save()

    def save(self) -> None:
        """Replace the file as a whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(self.path.name + ".new")
        new.write_text(json.dumps(self.content, indent=1) + "\n")
        new.replace(self.path)


def _key(record: Record) -> tuple[str, str, int, str]:
    return record["topology"], record["row"], record["pair"], record["side"]


def machine() -> Record:
    """What the numbers were measured on."""
    model = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "").partition(": ")[2]
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "memory_gb": round(int(memory) / 1e6),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def of(records: Iterable[Record], topology: str, row: str, side: str) -> list[Record]:
    """All good measurements of one row of one side, by pair."""
    wanted = (topology, row, side)
    found = [r for r in records if (r["topology"], r["row"], r["side"]) == wanted and "failed" not in r]
    return sorted(found, key=lambda record: record["pair"])


def median(records: list[Record], what: str) -> float:
    """The median of one number; 0 of none."""
    return statistics.median(record.get(what, 0.0) for record in records) if records else 0.0


def ratios(real: list[Record], ours: list[Record], what: str) -> list[float]:
    """Quorate / etcd of each pair that has both."""
    by_pair = {record["pair"]: record.get(what, 0.0) for record in real}
    pairs = ((record.get(what, 0.0), by_pair.get(record["pair"], 0.0)) for record in ours)
    return [mine / other for mine, other in pairs if other]
