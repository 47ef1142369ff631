"""Fixtures of the cluster tests: clusters of Quorate, of real etcd, and of both.

`QUORATE_E2E_COMMAND` replaces what is under test, e.g. by the path of a real etcd, to prove the tests themselves fair.
`QUORATE_CLUSTER_SEED` replays the dice of a run; every run prints its seed.
"""

from __future__ import annotations

import os
import random
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE, Command, StartFailed, real_binary

FAST = ("--log-level=info", "--heartbeat-interval=100", "--election-timeout=500")

Start = Callable[..., Cluster]
Etcdctl = Callable[..., str]


@pytest.fixture(scope="session")
def subject() -> Command:
    """What starts the member under test."""
    given = os.environ.get("QUORATE_E2E_COMMAND")
    return tuple(shlex.split(given)) if given else QUORATE


@pytest.fixture(scope="session")
def real() -> Command:
    binary = real_binary("etcd")
    if binary is None:
        pytest.skip("no real etcd here")
    return (str(binary),)


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[Start]:
    """A function that makes and starts clusters; all are ended with the test, and say why if it failed."""
    made: list[Cluster] = []

    def start(commands: Sequence[Command], *, flags: Sequence[str] = FAST, run: bool = True, **more: bool) -> Cluster:
        place = tmp_path / f"cluster-{len(made)}"
        place.mkdir()
        cluster = Cluster(place, commands, flags=flags, **more)  # type: ignore[arg-type]
        made.append(cluster)
        if run:
            try:
                cluster.start()
            except StartFailed as error:
                if "not built yet" in str(error):
                    pytest.skip("members that cannot form a cluster")
                raise
        return cluster

    yield start
    for cluster in made:
        cluster.close()
        print(cluster.log())


@pytest.fixture
def etcdctl() -> Etcdctl:
    """Run stock etcdctl against members of a cluster; returns what it prints. Raises AssertionError when it fails."""
    binary = real_binary("etcdctl")
    if binary is None:
        pytest.skip("no real etcdctl here")

    def run(cluster: Cluster, *words: str, members: Sequence[int] = ()) -> str:
        endpoints = ",".join(cluster.members[number].endpoint for number in members or cluster.running())
        argv = [str(binary), f"--endpoints={endpoints}", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60.0)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("QUORATE_CLUSTER_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"replay: QUORATE_CLUSTER_SEED={seed}")
    return random.Random(seed)
