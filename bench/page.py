"""The page of results: made anew from the file of records, never edited by hand."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import NamedTuple

from chart import Bar, draw
from results import SATURATED, Record, median, of, ratios
from rows import ROWS, Row
from sides import TOPOLOGIES

STORE = "store"
GOAL_READS, GOAL_WRITES, GOAL_P99_MS = 40_000, 20_000, 100.0


class Hold(NamedTuple):
    """A number that design.md promises: Quorate / etcd of `what` in a row is to be at least so much."""

    topology: str
    row: str
    least: float


HOLDS = [
    Hold("three", "put-1000-leader", 1.5),
    Hold("three", "put-1000-all", 1.5),
    Hold("three", "range-1000-l", 2.0),
    Hold("three", "range-1000-s", 3.0),
    Hold("three", "put-1", 1.1),
    Hold("three", "range-1-l", 1.1),
    Hold("three", "range-1-s", 1.1),
    *(Hold("three", row, 1.0) for row in ("watch-fanout", "txn", "lease-keepalive", "stm", "mixed")),
]

STORE_ROWS: list[tuple[str, str, str, str, bool]] = [
    ("load", "load of all keys, 1000 clients", "ops", "{:.0f} puts/s", True),
    ("load", "file after the load", "db_mb", "{:.0f} MB", False),
    ("memory", "memory with all keys", "rss_mb", "{:.0f} MB", False),
    ("memory", "of it not pages of the file", "anon_mb", "{:.0f} MB", False),
    ("restart", "restart, to serving", "seconds", "{:.2f} s", False),
    ("restart", "memory after it", "rss_mb", "{:.0f} MB", False),
    ("compaction", "compaction of all that is old", "seconds", "{:.2f} s", False),
    ("compaction", "p99 of puts meanwhile", "p99_ms", "{:.1f} ms", False),
    ("compaction", "slowest put meanwhile", "slowest_ms", "{:.0f} ms", False),
    ("defrag", "defragmentation", "seconds", "{:.2f} s", False),
    ("defrag", "p99 of puts meanwhile", "p99_ms", "{:.1f} ms", False),
    ("defrag", "slowest put meanwhile", "slowest_ms", "{:.0f} ms", False),
    ("snapshot", "snapshot save", "mb_a_second", "{:.0f} MB/s", True),
    ("snapshot", "p99 of puts meanwhile", "p99_ms", "{:.1f} ms", False),
    ("growth-tenth", "put p99 at a tenth of the size", "p99_ms", "{:.2f} ms", False),
    ("growth-full", "put p99 at the size", "p99_ms", "{:.2f} ms", False),
    ("growth-full", "database then", "db_mb", "{:.0f} MB", False),
]
"""Record, title, number, form, whether more is better."""


def write_page(path: Path, page: Path) -> None:
    """Make `page` and its pictures beside `path` from the records in `path`."""
    content = json.loads(path.read_text())
    records = content["records"]
    lines = [*_head(content, path.name)]
    if not records:
        lines += ["", "Nothing has been measured yet."]
    for name, topology in TOPOLOGIES.items():
        if any(record["topology"] == name for record in records):
            lines += ["", f"## {str(topology)[:1].upper()}{str(topology)[1:]}", ""]
            lines += _picture(records, name, str(topology), path, page)
            lines += _requests(records, name)
    lines += [*_stores(records, content["settings"]), *_goals(records), *_promises(records), *_failures(records), *TAIL]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines) + "\n")


def _head(content: Record, name: str) -> list[str]:
    machine, settings, versions = content["machine"], content["settings"], content.get("versions", {})
    return [
        "# Performance",
        "",
        f"Made by `bench/compare.py` from `{name}`: `make bench-compare` measures, `bench/compare.py --report` makes",
        "the page anew. Nothing here is typed by hand.",
        "",
        f"Test bed: {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB of memory,",
        f"{machine['system']}, Python {machine['python']}; etcd {versions.get('etcd', '?')} and Quorate",
        f"{versions.get('quorate', '?')}, all members and the load on this one machine. The load is made by",
        f"`etcd-benchmark`, {_processes(settings['processes'])}; scale {settings['scale']:g}, at most",
        f"{settings['seconds']:g} s a measurement.",
        "8-byte keys and 256-byte values unless a row says otherwise; 1000 clients share 100 connections.",
        "",
        "Each number is the median of all pairs. Ratios are Quorate / etcd within a pair, so more than 1 is better for",
        "throughput; the brackets hold the least and the most of them. CPU is of all members together, memory of the",
        "largest. A star: the generator used most of a core, so the member could have done more.",
    ]


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"


def _picture(records: list[Record], name: str, title: str, path: Path, page: Path) -> list[str]:
    bars = []
    for row in ROWS:
        found = _ratios(records, name, row)
        if found:
            bars.append(Bar(row.title, statistics.median(found), min(found), max(found)))
    if not bars:
        return []
    image = path.with_name(f"{path.stem}-{name}.svg")
    image.write_text(draw(f"Throughput, Quorate / etcd: {title}", bars))
    shown = image.relative_to(page.parent) if image.is_relative_to(page.parent) else image.name
    return [f"![ratios of throughput]({shown})", ""]


def _ratios(records: list[Record], topology: str, row: Row) -> list[float]:
    """Of throughput; none where the rate was given."""
    real, ours = (of(records, topology, row.name, side) for side in ("etcd", "quorate"))
    return [] if row.paced else ratios(real, ours, "ops")


def _requests(records: list[Record], topology: str) -> list[str]:
    lines = [
        "| work | side | ops/s | ratio | mean ms | p50 ms | p99 ms | CPU µs/op | memory MB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in ROWS:
        real, ours = (of(records, topology, row.name, side) for side in ("etcd", "quorate"))
        for side, found, spread in (("etcd", real, []), ("Quorate", ours, _ratios(records, topology, row))):
            if found:
                title = row.title if side == "etcd" or not real else ""
                lines.append(f"| {title} | {side} | {_numbers(found, spread)} |")
    return lines


def _numbers(found: list[Record], spread: list[float]) -> str:
    star = "*" if median(found, "generator_busy") > SATURATED else ""
    failed = sum(record["errors"] for record in found)
    columns = [f"{median(found, 'ops'):,.0f}{star}" + (f", {failed} errors" if failed else "")]
    columns.append(_spread(spread))
    columns += [f"{median(found, what):.2f}" for what in ("average_ms", "p50_ms", "p99_ms")]
    columns += [f"{median(found, 'cpu_us'):.1f}", f"{median(found, 'rss_mb'):.0f}"]
    return " | ".join(columns)


def _spread(found: list[float]) -> str:
    if not found:
        return ""
    middle = statistics.median(found)
    return f"**{middle:.2f}**" + (f" ({min(found):.2f}–{max(found):.2f})" if len(found) > 1 else "")


def _stores(records: list[Record], settings: Record) -> list[str]:
    if not any(record["topology"] == STORE for record in records):
        return []
    loaded = of(records, STORE, "load", "quorate") or of(records, STORE, "load", "etcd")
    keys = f"{median(loaded, 'keys'):,.0f} keys of 40 + 256 bytes" if loaded else "A large store"
    lines = [
        "",
        "## A large store",
        "",
        f"{keys}, one member; what goes on beside is 500 puts a second. The last rows fill a database with",
        f"values of 32 KB up to {settings['growth_gb']:g} GB. Ratios are Quorate / etcd; of rates more is better,",
        "of all else less.",
        "",
        "| what | etcd | Quorate | ratio |",
        "|---|---:|---:|---:|",
    ]
    for name, title, what, form, _ in STORE_ROWS:
        real, ours = (of(records, STORE, name, side) for side in ("etcd", "quorate"))
        if real or ours:
            cells = [form.format(median(found, what)) if found else "" for found in (real, ours)]
            lines.append(f"| {title} | {cells[0]} | {cells[1]} | {_spread(ratios(real, ours, what))} |")
    return lines


def _goals(records: list[Record]) -> list[str]:
    """The service level that an operator once asked of etcd, beside what was measured here."""
    lines = []
    for row, word, goal in (("range-1000-l", "reads", GOAL_READS), ("put-1000-leader", "writes", GOAL_WRITES)):
        for topology in TOPOLOGIES:
            for side, name in (("etcd", "etcd"), ("quorate", "Quorate")):
                found = of(records, topology, row, side)
                if found:
                    ops, slow = median(found, "ops"), median(found, "p99_ms")
                    met = "yes" if ops >= goal and slow <= GOAL_P99_MS else "no"
                    where = TOPOLOGIES[topology]
                    lines.append(f"| {goal:,} {word}/s, {where} | {name} | {ops:,.0f} | {slow:.1f} | {met} |")
    if not lines:
        return []
    head = ["", "## A service level", "", "40,000 reads and 20,000 writes a second, 99 % of them within 100 ms."]
    head += ["", "| goal | side | reached | p99 ms | met |", "|---|---|---:|---:|---|"]
    return [*head, *lines]


def _promises(records: list[Record]) -> list[str]:
    """What the design holds itself to."""
    lines = []
    for hold in HOLDS:
        real, ours = (of(records, hold.topology, hold.row, side) for side in ("etcd", "quorate"))
        found = ratios(real, ours, "ops")
        if found:
            title = next(row.title for row in ROWS if row.name == hold.row)
            middle = statistics.median(found)
            lines.append(f"| {title} | ≥ {hold.least:g} × | {_spread(found)} | {_yes(middle >= hold.least)} |")
    checks = [("memory with all keys", "memory", "rss_mb", 1.0), ("restart with all keys", "restart", "seconds", 1.0)]
    for title, row, what, most in checks:
        found = ratios(of(records, STORE, row, "etcd"), of(records, STORE, row, "quorate"), what)
        if found:
            middle = statistics.median(found)
            lines.append(f"| {title} | ≤ {most:g} × | {_spread(found)} | {_yes(middle <= most)} |")
    small, large = (of(records, STORE, f"growth-{size}", "quorate") for size in ("tenth", "full"))
    if small and large and median(small, "p99_ms"):
        ratio = median(large, "p99_ms") / median(small, "p99_ms")
        lines.append(f"| p99 of a ten times larger database | ≤ 1.5 × | {ratio:.2f} | {_yes(ratio <= 1.5)} |")
    if not lines:
        return []
    return ["", "## What is held", "", "| work | to hold | measured | held |", "|---|---|---:|---|", *lines]


def _yes(held: bool) -> str:
    return "yes" if held else "**no**"


def _failures(records: list[Record]) -> list[str]:
    failed = [record for record in records if "failed" in record]
    lines = [f"- {r['topology']}, {r['row']}, {r['side']}, pair {r['pair']}: {r['failed']}" for r in failed]
    return ["", "## Not measured", "", *lines] if lines else []


TAIL = [
    "",
    "Where a row falls short, and why: [reasons](performance/reasons.md).",
    "",
    "## Reading these numbers",
    "",
    "- Latency rises with throughput: 1000 clients wait for each other, one client only for the disk and the wire.",
    "- A put waits for a write to the disk of a majority (fdatasync), a linearizable get for a round of heartbeats, a",
    "  serializable get for nothing but its member. A local call's share of gRPC shows most in serializable gets.",
    "- Puts through followers travel once more, to the leader; where the leader is the limit they relieve it of",
    "  clients.",
    "- Limits: a request is at most 1.5 MiB (`--max-request-bytes`); a database is 2 GiB unless",
    "  `--quota-backend-bytes` says otherwise, and 8 GiB is the most that etcd suggests.",
    "- A measurement of your own: `etcd-benchmark put --conns=100 --clients=1000 --total=100000 --val-size=256`, with",
    "  `--slo-throughput` and `--slo-latency` as the goal. `fio --rw=write --fdatasync=1 --bs=2300` tells what the",
    "  disk allows.",
]
