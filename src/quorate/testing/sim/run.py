"""One seed, one run: a cluster, clients and faults drawn from it, then the verdict.

start ──► healthy ──► clients and faults, SECONDS ──► all healed ──► healthy again, in time ──► verdict
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random

from quorate.pkg.jsonlog import ROOT
from quorate.testing.sim import crash_points
from quorate.testing.sim.checks import deaths, judge, stalled
from quorate.testing.sim.clients import SimWorkload
from quorate.testing.sim.cluster import HEALTHY_SECONDS, Settings, SimCluster
from quorate.testing.sim.nemesis import Nemesis
from quorate.testing.sim.trace import Trace
from quorate.testing.workload import CALL_SECONDS, Habits

SECONDS = 60.0
"""Virtual seconds with clients and faults."""
LOOK_SECONDS = 1.0
"""Between two looks whether a member has failed."""
SIZES = (1, 3, 3, 3, 5)
GUARDED = 0.3
"""Share of runs with auth."""


@dataclass
class Outcome:
    """What came of a seed."""

    seed: int
    problems: list[str] = field(default_factory=list)
    drawn: str = ""
    """The cluster and the kinds of faults, in words."""
    seconds: float = 0.0
    """Virtual seconds that the run took."""
    acknowledged: int = 0
    """Requests answered."""
    strikes: int = 0
    """Faults, those that were left out among them."""
    digest: str = ""
    """Of the trace, if there is one."""


def run_seed(
    seed: int,
    *,
    seconds: float = SECONDS,
    trace: Trace | None = None,
    size: int | None = None,
    clients: int | None = None,
    skip: frozenset[int] = frozenset(),
) -> Outcome:
    """Never raises for what members do; a trace that is handed in gets the lines of everything. A `size` of the
    cluster and a number of `clients` take the place of those drawn; faults whose numbers are in `skip` are left out."""
    dice = Random(f"{seed}/run")
    trace = trace or Trace(keep=False)
    settings = Settings.draw(dice)
    drawn = dice.choice(SIZES)
    cluster = SimCluster(seed, size or drawn, settings, trace)
    habits, guarded = _draw_habits(dice, clients), Random(f"{seed}/auth").random() < GUARDED
    workload = SimWorkload(cluster, Random(f"{seed}/clients"), habits, guarded=guarded)
    nemesis = Nemesis(cluster, workload, dice, skip)
    auth = ", auth is on" if guarded else ""
    outcome = Outcome(seed, drawn=f"{cluster.size} members{auth}, {settings}, faults: {', '.join(nemesis.kinds)}")
    cluster.scheduler.note("sim", outcome.drawn)
    points = crash_points.watched(cluster.reached) if nemesis.needs_points else nullcontext()
    with logs_to(cluster), _collected_by_the_scheduler(), points:
        try:
            outcome.problems = _play(cluster, workload, nemesis, seconds)
        except Exception as error:
            outcome.problems = [*deaths(cluster), f"{type(error).__name__}: {error}", *_whereabouts(cluster)]
        outcome.seconds, outcome.acknowledged = cluster.scheduler.now, workload.acknowledged
        outcome.strikes = nemesis.strikes
        outcome.digest = trace.digest()
        cluster.close()
    return outcome


def _draw_habits(dice: Random, clients: int | None) -> Habits:
    """Calm mostly: simulated time costs what clients do in it."""
    several = dice.choice((1, 2, 4))
    return Habits(
        clients=several if clients is None else clients,
        readers=several // 2,
        keys=dice.choice((2, 4, 12)),
        longest_value=dice.choice((0, 0, 3000)),
        pause=dice.choice((0.2, 1.0, 2.0)),
        call_seconds=dice.choice((0.2, CALL_SECONDS)),
        compact=dice.random() < 0.7,
        pace=dice.choice((4.0, 8.0)),
    )


def _play(cluster: SimCluster, workload: SimWorkload, nemesis: Nemesis, seconds: float) -> list[str]:
    cluster.boot()
    cluster.wait_healthy()
    workload.start()
    nemesis.start()
    end = cluster.scheduler.now + seconds
    while cluster.scheduler.now < end and not deaths(cluster):
        cluster.scheduler.run_for(min(LOOK_SECONDS, end - cluster.scheduler.now))
    if found := deaths(cluster):
        return found
    nemesis.stop()
    cluster.scheduler.run_until(lambda: not nemesis.operator.busy, HEALTHY_SECONDS)
    cluster.wait_healthy()
    workload.open_to_all()
    if found := stalled(cluster):
        return found
    workload.stop()
    cluster.wait_healthy()
    return judge(cluster, workload, leases_may_end_early=nemesis.clocks_lie)


def _whereabouts(cluster: SimCluster) -> list[str]:
    """Where members are that did not get as far as they should have."""
    found = []
    for machine in cluster.members:
        server = machine.server
        state = "lives" if machine.alive else "is dead"
        if server is not None:
            raft = server.node.raft
            state += f", {raft.role.name} in term {raft.term}, leader {raft.lead:x}, applied {server.applied_index}"
        found.append(f"{machine.name} {state}{', serves' if machine.ready else ''}")
    return found


@contextmanager
def _collected_by_the_scheduler() -> Iterator[None]:
    """Garbage; what was there before the run is none."""
    collecting = gc.isenabled()
    gc.disable()
    gc.collect()  # what the run before has left must not be frozen
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()


@contextmanager
def logs_to(cluster: SimCluster) -> Iterator[None]:
    """What members log goes to the trace; nowhere without one."""
    root = logging.getLogger(ROOT)
    kept = root.level, root.propagate, root.handlers[:]
    root.handlers[:] = [_TraceHandler(cluster)]
    root.propagate = False
    root.setLevel(logging.INFO if cluster.trace.keep else logging.CRITICAL + 1)
    try:
        yield
    finally:
        root.handlers[:] = kept[2]
        root.setLevel(kept[0])
        root.propagate = kept[1]


class _TraceHandler(logging.Handler):
    def __init__(self, cluster: SimCluster) -> None:
        super().__init__()
        self._scheduler = cluster.scheduler
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:  # a real member in this process: its lines come when they like
            return
        fields: dict[str, object] = getattr(record, "fields", {})
        inside = self._scheduler.inside
        said = " ".join([record.getMessage(), *(f"{name}={value}" for name, value in fields.items())])
        self._scheduler.note(inside.name if inside else "sim", f"{record.levelname.lower()}: {said}")
