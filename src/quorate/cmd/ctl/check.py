"""`check perf` and `check datascale`: is the cluster quick enough, and how much memory do keys take?"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from quorate.cmd.ctl.failures import BAD_FEATURE, ERROR, INVALID_INPUT, Exit, Fail
from quorate.cmd.ctl.flags import BOOL, STRING, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.run import as_bytes
from quorate.pkg.gotext import quote
from quorate.pkg.key_prefix import prefix_end

if TYPE_CHECKING:
    from quorate.cmd.ctl.load import Report
    from quorate.cmd.ctl.run import Run

KEY_BYTES, VALUE_BYTES = 256, 1024
SCALE_KEY_BYTES, SCALE_VALUE_BYTES = 512, 512
MIB = 1024 * 1024

LEAST_SHARE = 0.9
"""Of the puts that were to be done."""
SLOWEST, MOST_DEVIATION = 0.5, 0.1
"""Seconds."""
SIZES = {
    "s": "s",
    "small": "s",
    "m": "m",
    "medium": "m",
    "l": "l",
    "large": "l",
    "xl": "xl",
    "xLarge": "xl",
}


class Perf(NamedTuple):
    """Puts a second, workers, seconds."""

    rate: int
    workers: int
    seconds: int


class Scale(NamedTuple):
    """Keys, workers."""

    keys: int
    workers: int


PERF = {"s": Perf(150, 50, 60), "m": Perf(1000, 200, 60), "l": Perf(8000, 500, 60), "xl": Perf(15000, 1000, 60)}
SCALE = {"s": Scale(10_000, 50), "m": Scale(100_000, 200), "l": Scale(1_000_000, 500), "xl": Scale(3_000_000, 1000)}


class Bar:
    """How far it is, on stderr, where somebody can see it."""

    WIDTH = 50

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._shown = -1
        self._started = time.monotonic()

    def step(self) -> None:
        self._done = min(self._done + 1, self._total)
        percent = self._done * 100 // self._total
        if percent != self._shown:
            self._shown = percent
            self._draw("\r")

    def finish(self) -> None:
        self._done = self._total
        self._draw("\r")
        sys.stderr.write("\n")
        sys.stderr.flush()

    def _draw(self, start: str) -> None:
        full = self._done * self.WIDTH // self._total
        share = self._done * 100 / self._total
        seconds = int(time.monotonic() - self._started)
        bar = "=" * full + " " * (self.WIDTH - full)
        sys.stderr.write(f"{start} {self._done} / {self._total} [{bar}] {share:.2f}% {seconds}s")
        sys.stderr.flush()


def _size(run: Run) -> str:
    load = run.flags["load"]
    if load not in SIZES:
        raise Fail(BAD_FEATURE, f"unknown load option {load}")
    return SIZES[load]


def _perf(run: Run) -> None:
    from quorate.cmd.ctl.load import Load

    work = PERF[_size(run)]
    prefix = as_bytes(run.flags["prefix"])
    client = run.client()
    _check_empty(run, prefix, "'etcdctl del --prefix {}'")
    load = Load(
        client,
        run.settings,
        prefix=prefix,
        key_size=KEY_BYTES,
        value_size=VALUE_BYTES,
        workers=work.workers,
    )
    bar = Bar(work.seconds)
    load.run_at(work.rate, work.seconds, bar.step)
    bar.finish()
    _clean_up(run, prefix)
    lines, passed = judge(load.report, work.rate)
    run.print(*lines)
    if not passed:
        raise Exit(ERROR)


def judge(report: Report, rate: int) -> tuple[list[str], bool]:
    """What `check perf` says of the puts, and whether that is good enough."""
    marks = [
        (
            report.per_second / rate > LEAST_SHARE,
            f"Throughput is {int(report.per_second) + 1} writes/s",
            f"Throughput too low: {int(report.per_second) + 1} writes/s",
        ),
        (
            report.slowest <= SLOWEST,
            f"Slowest request took {report.slowest:f}s",
            f"Slowest request took too long: {report.slowest:f}s",
        ),
        (
            report.deviation <= MOST_DEVIATION,
            f"Stddev is {report.deviation:f}s",
            f"Stddev too high: {report.deviation:f}s",
        ),
    ]
    lines = _error_lines(report)
    passed = not lines and all(good for good, _, _ in marks)
    lines += [f"PASS: {better}" if good else f"FAIL: {worse}" for good, better, worse in marks]
    return [*lines, "PASS" if passed else "FAIL"], passed


def _error_lines(report: Report) -> list[str]:
    if not report.errors:
        return []
    found = [f"FAIL: ERROR({text}) -> {count}" for text, count in sorted(report.errors.items())]
    return ["FAIL: too many errors", *found]


def _data_scale(run: Run) -> None:
    from quorate.cmd.ctl.load import Load

    work = SCALE[_size(run)]
    prefix = as_bytes(run.flags["prefix"])
    client = run.client()
    _check_empty(run, prefix, "etcdctl del --prefix {}")
    before = _memory(run)
    if not before:
        run.print("FAIL: Could not read process_resident_memory_bytes before the put operations.")
        raise Exit(ERROR)
    pairs = f"{work.keys} key-value pairs, {SCALE_KEY_BYTES + SCALE_VALUE_BYTES} bytes per key-value"
    run.print(f"Start data scale check for work load [{pairs}, {work.workers} concurrent clients].")
    load = Load(
        client,
        run.settings,
        prefix=prefix,
        key_size=SCALE_KEY_BYTES,
        value_size=SCALE_VALUE_BYTES,
        workers=work.workers,
    )
    bar = Bar(work.keys)
    load.run_all(work.keys, bar.step)
    bar.finish()
    after = _memory(run)
    _clean_up(run, prefix)
    if not after:
        run.print("FAIL: Could not read process_resident_memory_bytes after the put operations.")
        raise Exit(ERROR)
    if load.report.errors:
        run.print(*_error_lines(load.report))
        raise Exit(ERROR)
    run.print(f"PASS: Approximate system memory used : {(after - before) / MIB:.2f} MB.")


def _check_empty(run: Run, prefix: bytes, advice: str) -> None:
    reply = run.client().call("Range", key=prefix, range_end=prefix_end(prefix), limit=1)
    if reply.kvs:
        how = advice.format(run.flags["prefix"])
        raise Fail(INVALID_INPUT, f"prefix {quote(prefix)} has keys. Delete with {how} first")


def _clean_up(run: Run, prefix: bytes) -> None:
    """Delete the keys, and if told so also from the history and from the disk."""
    client = run.client()
    reply = client.ask("DeleteRange", {"key": prefix, "range_end": prefix_end(prefix)}, timeout=60.0)
    if run.flags["auto-compact"]:
        revision = reply.header.revision
        run.print(f"Compacting with revision {revision}")
        client.ask("Compact", {"revision": revision, "physical": True}, timeout=60.0)
        run.print(f"Compacted with revision {revision}")
    if run.flags["auto-defrag"]:
        for endpoint in client.endpoints:
            run.print(f"Defragmenting {quote(endpoint.text)}")
            client.at(endpoint).ask("Defragment", {}, timeout=60.0)
            run.print(f"Defragmented {quote(endpoint.text)}")


def _memory(run: Run) -> float:
    """Bytes of memory that the first endpoint takes, as its metrics tell; 0 when they do not."""
    from quorate.cmd.ctl.metrics import read_metric

    return read_metric(run.client().endpoints[0].text, run.settings, "process_resident_memory_bytes")


def _flags(what: str, prefix: str) -> tuple[Flag, ...]:
    return (
        Flag("auto-compact", BOOL, False, "compact the store at its last revision afterwards"),
        Flag("auto-defrag", BOOL, False, "defragment the store of each endpoint afterwards"),
        Flag("load", STRING, "s", f"how much {what}: s(small), m(medium), l(large), xl(xLarge)"),
        Flag("prefix", STRING, prefix, "where the keys are put"),
    )


COMMANDS = {
    "check perf": Command("check perf [options]", _perf, _flags("work", "/etcdctl-check-perf/")),
    "check datascale": Command("check datascale [options]", _data_scale, _flags("data", "/etcdctl-check-datascale/")),
}
