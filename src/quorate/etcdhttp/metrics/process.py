"""The process and its interpreter: process_*, os_*, python_*. Linux tells them; elsewhere some are left out.

Sources: proc(5); the names are those of Prometheus' own client libraries.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from quorate.etcdhttp.metrics.text import COUNTER, GAUGE, Family, counter, gauge

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def process_families() -> Iterator[Family]:
    """What the process takes of its machine."""
    yield from _process()
    yield from _files()
    yield from _traffic()
    yield from _python()


def _process() -> Iterator[Family]:
    fields = _stat()
    if fields is None:
        return
    yield counter("process_cpu_seconds_total", "Processor time, seconds.", (int(fields[11]) + int(fields[12])) / _TICKS)
    yield gauge("process_virtual_memory_bytes", "Address space in use.", int(fields[20]))
    yield gauge("process_resident_memory_bytes", "Memory in use.", int(fields[21]) * _PAGE)
    yield gauge("process_virtual_memory_max_bytes", "Address space allowed.", _limit(resource.RLIMIT_AS))
    booted = _booted_at()
    if booted:
        yield gauge("process_start_time_seconds", "Start, in Unix seconds.", booted + int(fields[19]) / _TICKS)


def _files() -> Iterator[Family]:
    used, allowed = open_files(), _limit(resource.RLIMIT_NOFILE)
    if used:
        yield gauge("process_open_fds", "Open files and sockets.", used)
        yield gauge("os_fd_used", "Open files and sockets.", used)
    yield gauge("process_max_fds", "Open files and sockets allowed.", allowed)
    yield gauge("os_fd_limit", "Open files and sockets allowed.", allowed)


def _traffic() -> Iterator[Family]:
    """Bytes of the network namespace, as the client libraries count them."""
    octets = _octets()
    for name, key, text in (
        ("process_network_receive_bytes_total", "InOctets", "Bytes received by this network namespace."),
        ("process_network_transmit_bytes_total", "OutOctets", "Bytes sent by this network namespace."),
    ):
        if key in octets:
            yield counter(name, text, octets[key])


def _python() -> Iterator[Family]:
    version = platform.python_version()
    yield Family(
        "python_info",
        GAUGE,
        "The interpreter, always 1.",
        ("implementation", "version"),
        [((platform.python_implementation(), version), 1)],
    )
    yield gauge("python_threads", "Threads of the interpreter.", threading.active_count())
    collected = Family("python_gc_objects_collected_total", COUNTER, "Objects collected.", ("generation",))
    stuck = Family("python_gc_objects_uncollectable_total", COUNTER, "Objects that cannot be.", ("generation",))
    runs = Family("python_gc_collections_total", COUNTER, "Collections.", ("generation",))
    for generation, stats in enumerate(gc.get_stats()):
        collected.add(stats["collected"], str(generation))
        stuck.add(stats["uncollectable"], str(generation))
        runs.add(stats["collections"], str(generation))
    yield from (collected, stuck, runs)


def resident_bytes() -> int:
    """Memory in use; 0 where that cannot be told."""
    fields = _stat()
    return 0 if fields is None else int(fields[21]) * _PAGE


def open_files() -> int:
    """Files and sockets open now; 0 where that cannot be told."""
    try:
        return len(os.listdir(PROC / "self/fd")) - 1  # less the one that is read
    except OSError:
        return 0


def open_files_limit() -> int:
    """Files and sockets this process may have open."""
    return int(_limit(resource.RLIMIT_NOFILE))


def _limit(what: int) -> float:
    soft = resource.getrlimit(what)[0]
    return float(2**64) if soft == resource.RLIM_INFINITY else float(soft)


def _stat() -> list[str] | None:
    """The fields of proc(5)'s stat from the third on."""
    try:
        return (PROC / "self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


@cache
def _booted_at() -> float:
    """When the machine was started, in Unix seconds; 0 where that cannot be told."""
    try:
        lines = (PROC / "stat").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), 0.0)


def _octets() -> dict[str, int]:
    """The line IpExt of proc(5)'s net/netstat."""
    try:
        lines = (PROC / "self/net/netstat").read_text().splitlines()
    except OSError:
        return {}
    names, values = ([line.split()[1:] for line in lines if line.startswith("IpExt:")] + [[], []])[:2]
    return dict(zip(names, map(int, values), strict=False)) if sys.platform == "linux" else {}
