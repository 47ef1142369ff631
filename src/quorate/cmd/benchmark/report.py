"""What a run found, as etcd's `benchmark` prints it: summary, histogram, percentiles, errors, samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from quorate.cmd.benchmark.fleet import Results
from quorate.pkg.goflag import format_duration

BUCKETS = 10
BAR = "∎"
BAR_WIDTH = 40
PERCENTILES = (10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9)


def percentiles(ordered: Sequence[float]) -> dict[float, float]:
    """By percent: the first of the sorted latencies whose index is at so many percent of all; 0 when none is."""
    count = len(ordered)
    found = {}
    for percent in PERCENTILES:
        index = math.ceil(percent * count / 100 - 1e-9)
        found[percent] = ordered[index] if index < count else 0.0
    return found


def describe(results: Results, *, precise: bool = False, sample: bool = False) -> str:
    """The report of one kind of requests. Begins with an empty line."""

    def show(value: float) -> str:
        return f"{value:.10g}" if precise else f"{value:.4f}"

    lines: list[str] = []
    ordered = sorted(results.seconds)
    if ordered:
        lines += ["", *_summary(ordered, results.elapsed, show)]
        lines += ["", "Response time histogram:", *_histogram(ordered, show)]
        lines += ["", "Latency distribution:"]
        lines += [f"  {percent:g}% in {show(value)} secs." for percent, value in percentiles(ordered).items() if value]
    if sample and results.ends:
        lines += ["", *_samples(results)]
    if results.errors:
        lines += ["", "Error distribution:"]
        lines += [f"  [{count}]\t{text}" for text, count in results.errors.items()]
    return "".join(f"{line}\n" for line in lines)


def plain(results: Results) -> dict[str, Any]:
    """The same for programs. Times in seconds."""
    ordered = sorted(results.seconds)
    count = len(ordered)
    return {
        "name": results.name,
        "total_seconds": results.elapsed,
        "requests": count,
        "requests_per_second": count / results.elapsed if results.elapsed else 0.0,
        "slowest": ordered[-1] if ordered else 0.0,
        "fastest": ordered[0] if ordered else 0.0,
        "average": sum(ordered) / count if count else 0.0,
        "stddev": _deviation(ordered) if count else 0.0,
        "percentiles": {f"{percent:g}": value for percent, value in percentiles(ordered).items()},
        "errors": results.errors,
    }


def exact_percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest latency that so many percent do not exceed; 0 of none."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def _summary(ordered: Sequence[float], elapsed: float, show: Any) -> list[str]:
    return [
        "Summary:",
        f"  Total:\t{show(elapsed)} secs.",
        f"  Slowest:\t{show(ordered[-1])} secs.",
        f"  Fastest:\t{show(ordered[0])} secs.",
        f"  Average:\t{show(sum(ordered) / len(ordered))} secs.",
        f"  Stddev:\t{show(_deviation(ordered))} secs.",
        f"  Requests/sec:\t{show(len(ordered) / elapsed)}",
    ]


def _deviation(ordered: Sequence[float]) -> float:
    average = sum(ordered) / len(ordered)
    return math.sqrt(sum((value - average) ** 2 for value in ordered) / len(ordered))


def _histogram(ordered: Sequence[float], show: Any) -> list[str]:
    fastest, slowest = ordered[0], ordered[-1]
    edges = [fastest + n * (slowest - fastest) / BUCKETS for n in range(BUCKETS)] + [slowest]
    counts = [0] * len(edges)
    bucket = 0
    for value in ordered:
        while value > edges[bucket] and bucket < BUCKETS:
            bucket += 1
        counts[bucket] += 1
    most = max(counts)
    return [
        f"  {show(edge)} [{count}]\t|{BAR * (count * BAR_WIDTH // most)}"
        for edge, count in zip(edges, counts, strict=True)
    ]


def _samples(results: Results) -> list[str]:
    """A row for each second from the first to the last; seconds in which nothing ended have zeros."""
    by_second: dict[int, list[float]] = {}
    for end, latency in zip(results.ends, results.seconds, strict=True):
        by_second.setdefault(int(end), []).append(latency)
    lines = [
        "Sample in one second (unix latency throughput):",
        "UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT",
    ]
    for second in range(min(by_second), max(by_second) + 1):
        found = by_second.get(second, [])
        least, most = min(found, default=0.0), max(found, default=0.0)
        average = sum(found) / len(found) if found else 0.0
        columns = (format_duration(round(value, 9)) for value in (least, average, most))
        lines.append(f"{second},{','.join(columns)},{len(found)}")
    return lines
