"""Settings that are advised for links and disks under constant load."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.cmd.benchmark.main import run
from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE

HEARTBEAT, ELECTION = 300, 5000
VALUE_BYTES = 256 * 1024
PUTS = 600


def test_members_under_a_load_of_large_values_elect_nobody_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    times = [f"--heartbeat-interval={HEARTBEAT}", f"--election-timeout={ELECTION}"]
    with Cluster(tmp_path, [QUORATE] * 3, flags=times) as cluster:
        cluster.start()
        leader = cluster.leader()
        before = cluster.status(leader)
        words = [f"--endpoints={cluster.members[leader].endpoint}", "--clients=32", "--conns=8", "--processes=1"]
        load = ["put", f"--val-size={VALUE_BYTES}", "--key-space-size=100", f"--total={PUTS}"]
        assert run([*words, *load]) == 0
        print(capfd.readouterr().out)
        after = cluster.status(cluster.leader())
        assert (after.leader, after.raftTerm) == (before.leader, before.raftTerm)
        assert after.header.revision >= before.header.revision + PUTS
        cluster.wait_level()
