"""What is measured of a large store: one member at a time, from an empty directory to a full one.

`million` loads keys, starts anew, compacts, defragments and saves a snapshot while puts go on; `growth` asks whether
puts get slower as the database grows. Each yields several records, which the table shows as rows of their own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results import Record, summary
from rows import DEFAULTS
from sides import TOPOLOGIES, Site, running

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import methods
from quorate.cmd.benchmark.fleet import Fleet, LoadFailed, Outcome
from quorate.cmd.benchmark.plan import Plan

MILLION = 1_000_000
KEY_BYTES, VALUE_BYTES = 40, 256
PROBE_RATE = 500
"""Puts a second while the store is busy with itself."""
PROBE_SECONDS = 5.0
GROWTH_VALUE_BYTES = 32_768
LONG = 1800.0


def _puts(**more: Any) -> dict[str, Any]:
    return {**DEFAULTS["put"], **more}


def million(side: str, place: Path, scale: float, processes: int) -> Iterator[tuple[str, Record]]:
    """Rows of a store with a million keys, scaled."""
    keys = max(1000, round(MILLION * scale))
    with running(side, TOPOLOGIES["one"], place) as site:
        member = site.cluster.members[0]
        settings = _puts(key_size=KEY_BYTES, val_size=VALUE_BYTES, key_space_size=keys, total=keys)
        loaded = site.measure(site.plan("put", settings, clients=1000, conns=100, seconds=LONG), processes=processes)
        yield "load", {**loaded, "keys": keys, "db_mb": _db_mb(site)}
        yield "memory", {"rss_mb": _settled(site), "anon_mb": site.anonymous(), "keys": keys}
        member.stop(60.0)
        seconds = member.start(300.0)
        yield "restart", {"seconds": seconds, "rss_mb": site.rss(), "anon_mb": site.anonymous()}
        again = {**settings, "total": keys // 2}
        site.measure(site.plan("put", again, clients=1000, conns=100, seconds=LONG), processes=processes)
        revision = site.cluster.revisions()[0]
        compaction = pb.CompactionRequest(revision=revision, physical=True)
        yield "compaction", _beside(site, keys, lambda: _ask(site, compaction))
        yield "defrag", {**_beside(site, keys, lambda: _ask(site, pb.DefragmentRequest())), "db_mb": _db_mb(site)}
        size = [0]

        def save() -> None:
            size[0] = site.cluster.background.run(_snapshot_bytes(site), LONG)

        found = _beside(site, keys, save)
        yield "snapshot", {**found, "mb_a_second": size[0] / 1e6 / max(found["seconds"], 1e-9)}


def growth(side: str, place: Path, gigabytes: float, processes: int) -> Iterator[tuple[str, Record]]:
    """Latency of puts at a tenth of the size and at the size."""
    with running(side, TOPOLOGIES["one"], place) as site:
        first = 0
        for share in (0.1, 1.0):
            until = round(gigabytes * 1e9 * share / GROWTH_VALUE_BYTES)
            settings = _puts(val_size=GROWTH_VALUE_BYTES, prefix=f"{first}/", key_space_size=until, total=until - first)
            plan = site.plan("put", settings, clients=32, conns=8, seconds=LONG)
            filled = site.measure(plan, processes=processes)
            first = until
            probed = site.measure(_probe(site, 10_000))
            name = "growth-tenth" if share < 1 else "growth-full"
            yield name, {**probed, "db_mb": _db_mb(site), "fill_mb_a_second": filled["ops"] * GROWTH_VALUE_BYTES / 1e6}


def _probe(site: Site, keys: int, seconds: float = PROBE_SECONDS) -> Plan:
    """Puts at an even, moderate rate."""
    settings = _puts(key_size=KEY_BYTES, key_space_size=keys, rate=PROBE_RATE, total=10_000_000)
    return site.plan("put", settings, clients=50, conns=10, seconds=seconds)


def _beside(site: Site, keys: int, work: Callable[[], None]) -> Record:
    """Do something large while puts go on: how long it took, and what the puts noticed."""
    with _going_on(_probe(site, keys, LONG)) as outcome:
        time.sleep(1.0)  # connections are warm, and the pace is even
        begun = time.perf_counter()
        work()
        seconds = time.perf_counter() - begun
    [made] = outcome
    return {**summary(made.sections[0], made), "seconds": seconds, "rss_mb": site.rss()}


@contextmanager
def _going_on(plan: Plan) -> Iterator[list[Outcome]]:
    """A load in the background; the list has its outcome after the block."""
    outcome: list[Outcome] = []
    with Fleet(plan) as fleet:
        thread = threading.Thread(target=lambda: outcome.append(fleet.run()))
        thread.start()
        try:
            yield outcome
        finally:
            fleet.stop()
            thread.join()
    if not outcome:
        raise LoadFailed("the load in the background has failed")


def _ask(site: Site, request: Any) -> None:
    site.cluster.ask(0, request, LONG)


async def _snapshot_bytes(site: Site) -> int:
    """Bytes of a whole snapshot."""
    stream = site.cluster.members[0].channel.stream(methods.SNAPSHOT)
    stream.send(pb.SnapshotRequest().SerializeToString())
    stream.half_close()
    return sum([len(pb.SnapshotResponse.FromString(message).blob) async for message in stream])


def _db_mb(site: Site) -> float:
    return float(site.cluster.ask(0, pb.StatusRequest(), 60.0).dbSize) / 1e6


def _settled(site: Site) -> float:
    """Memory when it no longer changes much: garbage collectors need a moment. Megabytes."""
    before = site.rss()
    for _ in range(20):
        time.sleep(0.5)
        now = site.rss()
        if abs(now - before) < before * 0.01:
            break
        before = now
    return site.rss()
