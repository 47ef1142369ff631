"""A service level objective: so many requests a second, and 99 of a hundred within so long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quorate.cmd.benchmark.fleet import Results
from quorate.cmd.benchmark.report import exact_percentile

PERCENT = 99.0


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked for: requests a second (0: no such goal), and seconds for the 99th percentile (0: no such goal)."""

    throughput: float
    latency: float

    def judge(self, results: Results) -> tuple[str, dict[str, Any]]:
        """What was reached beside what was asked for, as text and for programs; failed requests miss every goal."""
        rate = len(results.seconds) / results.elapsed if results.elapsed else 0.0
        slow = exact_percentile(sorted(results.seconds), PERCENT)
        failed = sum(results.errors.values())
        met = not failed and rate >= self.throughput and (not self.latency or 0 < slow <= self.latency)
        lines = ["", "Service level:"]
        if self.throughput:
            lines.append(
                _line(f"Throughput:\t{rate:.1f} of {self.throughput:.0f} requests/sec", rate >= self.throughput)
            )
        if self.latency:
            text = f"Latency:\t{PERCENT:g}% in {slow:.4f} of {self.latency:.4f} secs."
            lines.append(_line(text, 0 < slow <= self.latency))
        if failed:
            lines.append(_line(f"Errors:\t{failed}", False))
        found = {"requests_per_second": rate, "p99": slow, "errors": failed, "met": met}
        goal = {"goal_requests_per_second": self.throughput, "goal_p99": self.latency}
        return "".join(f"{line}\n" for line in lines), found | goal


def _line(text: str, met: bool) -> str:
    return f"  {text}: {'met' if met else 'MISSED'}"
