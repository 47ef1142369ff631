"""Members are killed, frozen and cut off under load; whatever was acknowledged holds, and all members agree.

`QUORATE_CLUSTER_FAULTS` and `QUORATE_CLUSTER_SIZES` (as `3,5`) make the run longer: `make soak-cluster`.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable

import pytest

from quorate.testing.cluster import Cluster
from quorate.testing.faults import KINDS, Faults, failover_seconds
from quorate.testing.process import Command
from quorate.testing.verdict import judge
from quorate.testing.workload import WATCH_CLIENTS, Habits, Workload

FAULTS = int(os.environ.get("QUORATE_CLUSTER_FAULTS", str(len(KINDS))))
SIZES = [int(size) for size in os.environ.get("QUORATE_CLUSTER_SIZES", "3").split(",")]
OFTEN = "--snapshot-count=300"
"""So that logs are cut and members that were away long get a snapshot."""
PROGRESS = "--experimental-watch-progress-notify-interval=100ms"
CLIENT_PAUSE = 0.005
ELECTION_SECONDS = 1.0
KILLS = 5
PATIENCE = 10.0


@pytest.mark.parametrize("size", SIZES)
def test_no_fault_makes_the_cluster_lie(
    size: int, subject: Command, start_cluster: Callable[..., Cluster], dice: random.Random
) -> None:
    real = subject[0].endswith("etcd")
    lean = () if real else ("--snapshot-catchup-entries=50",)
    cluster = start_cluster([(*subject, OFTEN, PROGRESS, *lean)] * size, proxied=True)
    watch_clients = 0 if real else WATCH_CLIENTS  # real etcd 3.5.1 tells of progress before a watch's start
    workload = Workload(cluster, dice, Habits(pause=CLIENT_PAUSE, compact=True, watch_clients=watch_clients))
    faults = Faults(cluster, dice)
    workload.start()
    try:
        for _ in range(FAULTS):
            before, begun = workload.acknowledged, time.monotonic()
            faults.one()
            while workload.acknowledged == before:
                assert time.monotonic() < begun + PATIENCE, f"nothing is acknowledged any more after {faults.done[-2:]}"
                time.sleep(0.01)
    finally:
        print(*faults.done, sep="\n")
    workload.stop()
    problems = judge(cluster, workload)
    print(f"{FAULTS} faults, {len(workload.operations)} requests, {workload.acknowledged} answered")
    watches = [watch for client in workload.watch_clients for watch in client.watches]
    print(f"{len(watches)} watches were told {sum(len(watch.told) for watch in watches)} times")
    assert not problems, "\n".join(problems)


def test_a_dead_leader_is_replaced_within_two_election_timeouts(
    subject: Command, start_cluster: Callable[..., Cluster]
) -> None:
    cluster = start_cluster([subject] * 3, flags=("--heartbeat-interval=100", "--election-timeout=1000"))
    seconds = [failover_seconds(cluster, number) for number in range(KILLS)]
    print("from the kill to the next put, seconds:", " ".join(f"{s:.2f}" for s in seconds))
    assert statistics.median(seconds) <= 2 * ELECTION_SECONDS, seconds
