"""Clusters of processes for one test: members that are killed, stopped in their tracks and cut off."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.client import EtcdError
from quorate.testing.cluster import wait_for
from quorate.testing.faulty import FaultyCluster
from quorate.testing.plugin import etcd_cluster  # noqa: F401

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parents[2]

Make = Callable[..., FaultyCluster]


def test_members_are_killed_paused_cut_off_and_come_back(etcd_cluster: Make) -> None:  # noqa: F811
    cluster = etcd_cluster(3)
    client = cluster.client(timeout=20)
    client.put("k", "0")
    assert len(cluster.endpoints) == len(cluster.client_urls) == 3

    leader = cluster.leader()
    pid = cluster.members[leader].pid
    cluster.kill(leader)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert client.get("k").value == b"0"
    cluster.restart(leader)
    cluster.wait_healthy()

    leader = cluster.leader()
    cluster.pause(leader)
    with pytest.raises(EtcdError):
        cluster.client(leader, timeout=0.5).get("k", serializable=True)
    assert cluster.leader() != leader
    assert client.get("k").value == b"0"
    cluster.resume(leader)
    cluster.wait_healthy()

    alone, *others = cluster.leader(), *cluster.followers()
    cluster.partition([alone], others)
    one = cluster.client(alone, timeout=1)
    with pytest.raises(EtcdError):
        one.get("k")
    assert one.get("k", serializable=True).value == b"0"
    wait_for(lambda: cluster.serves(others[0]), 20, "the majority does not serve")
    cluster.client(*others, timeout=20).put("k", "1")
    cluster.heal()
    cluster.wait_healthy()
    assert one.get("k").value == b"1"


def test_members_end_with_the_test_that_asked_for_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that failed shows what they logged."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    pytester.makepyfile("""
        import os, pathlib

        found = []

        def test_failing(etcd_cluster):
            cluster = etcd_cluster(1, flags=["--log-level=debug"])
            cluster.client().put("k", "v")
            found.extend([cluster.members[0].pid, cluster.place])
            cluster.pause(0)
            raise ValueError

        def test_after():
            pid, place = found
            assert not pathlib.Path(f"/proc/{pid}").exists() and not place.exists()
    """)
    result = pytester.runpytest_subprocess("-p", "quorate.testing.plugin", timeout=150)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Log of etcd_cluster*", "--- m0", "*ready to serve client requests*"])


def test_a_cluster_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        FaultyCluster(0)
