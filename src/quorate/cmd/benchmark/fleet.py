"""The processes of one run: started, let go together, their results put together.

with Fleet(plan, processes=2) as fleet:      connections stand; nothing is measured yet
    outcome = fleet.run()
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from quorate.cmd.benchmark.plan import Plan

Progress = Callable[[int, int], None]
"""Told how many requests are done, and of how many."""

CLOSE_SECONDS = 5.0


class LoadFailed(Exception):
    """A process could not do its part; the text says why."""


@dataclass
class Results:
    """What became of the requests of one kind, in all processes."""

    name: str
    elapsed: float = 0.0
    """Seconds of the slowest process."""
    seconds: array[float] = field(default_factory=lambda: array("d"))
    """Latencies of the requests that succeeded, in no order."""
    ends: array[float] = field(default_factory=lambda: array("d"))
    """When each of them ended, Unix time, if samples are wanted."""
    errors: dict[str, int] = field(default_factory=dict)


@dataclass
class Outcome:
    """Everything a run has found, and what finding it has cost."""

    sections: list[Results]
    cpu: float
    """Seconds of CPU of all generator processes."""
    busy: float
    """Largest share of a core that one of them used: near 1, the generator was the limit."""


class Fleet:
    """Generator processes for one plan. Raises LoadFailed."""

    def __init__(self, plan: Plan, processes: int = 1) -> None:
        count = max(1, min(processes, plan.conns, plan.clients))
        self._children = [_spawn(replace(plan, index=n, processes=count)) for n in range(count)]
        try:
            for child in self._children:
                _next(child, "ready")
        except BaseException:
            self.close()
            raise

    def run(self, progress: Progress | None = None) -> Outcome:
        """Let them go, wait for all."""
        self._say()
        told = [(0, 0) for _ in self._children]
        reports = []
        for number, child in enumerate(self._children):

            def hear(done: int, total: int, number: int = number) -> None:
                told[number] = (done, total)
                if progress is not None:
                    progress(sum(done for done, _ in told), sum(total for _, total in told))

            reports.append(_next(child, "sections", hear))
        return _together(reports)

    def stop(self) -> None:
        """Have them begin no more requests; `run` then returns what was done. From a signal handler or any thread."""
        self._say()

    def _say(self) -> None:
        for child in self._children:
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write("\n")
                child.stdin.flush()

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.wait(CLOSE_SECONDS)
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _spawn(plan: Plan) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "quorate.cmd.benchmark.process"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    child.stdin.write(plan.encode() + "\n")
    child.stdin.flush()
    return child


def _next(child: subprocess.Popen[str], wanted: str, hear: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """The next object with the key `wanted`; progress on the way is passed on."""
    assert child.stdout is not None
    for line in child.stdout:
        said: dict[str, Any] = json.loads(line)
        if wanted in said:
            return said
        if "error" in said:
            raise LoadFailed(said["error"])
        if hear is not None and "done" in said:
            hear(said["done"], said["total"])
    raise LoadFailed(f"a generator process has ended with status {child.wait(CLOSE_SECONDS)}")


def _together(reports: list[dict[str, Any]]) -> Outcome:
    found = [Results(section["name"]) for section in reports[0]["sections"]]
    for report in reports:
        for results, section in zip(found, report["sections"], strict=True):
            results.elapsed = max(results.elapsed, section["elapsed"])
            results.seconds.frombytes(base64.b64decode(section["seconds"]))
            results.ends.frombytes(base64.b64decode(section["ends"]))
            for text, count in section["errors"].items():
                results.errors[text] = results.errors.get(text, 0) + count
    return Outcome(
        sections=found,
        cpu=sum(report["cpu"] for report in reports),
        busy=max(report["cpu"] / max(report["wall"], 1e-9) for report in reports),
    )
