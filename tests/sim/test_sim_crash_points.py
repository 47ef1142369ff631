"""Crash points: all are there, and a process that is told to die at one does."""

from __future__ import annotations

import pytest

from quorate.testing.sim import crash_points
from quorate.testing.sim.cluster import Settings, SimCluster
from quorate.testing.sim.member import Doom

EVERY_WRITE = ("raftBeforeSave", "walBeforeSync", "walAfterSync", "raftAfterSave", "beforeApplyOneEntryNormal")


def test_every_name_stands_for_one_place() -> None:
    assert len(set(crash_points.NAMES)) == len(crash_points.NAMES)


def test_all_is_as_it_was_behind_a_run() -> None:
    before = [getattr(place.owner, place.attribute) for place in crash_points.PLACES]
    with crash_points.watched(lambda point: None):
        assert [getattr(place.owner, place.attribute) for place in crash_points.PLACES] != before
    assert [getattr(place.owner, place.attribute) for place in crash_points.PLACES] == before


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("point", [*EVERY_WRITE, "beforeCommit", "afterCommit", "raftBeforeLeaderSend"])
def test_a_member_dies_at_a_point_and_comes_back(point: str, power: bool) -> None:
    cluster = SimCluster(1, 3, Settings())
    with crash_points.watched(cluster.reached):
        cluster.boot()
        cluster.wait_healthy()
        leader = cluster.leader()
        assert leader is not None
        machine = cluster.members[leader]
        machine.doom = Doom(point, 0, power)
        server = machine.server
        assert server is not None and machine.loop is not None
        machine.loop.create_task(server.versions.publish())
        cluster.scheduler.run_until(lambda: not machine.alive)
        assert not machine.deaths
        machine.boot()
        cluster.wait_healthy()
    cluster.close()
