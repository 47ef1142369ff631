"""Members that are far from each other, with times that are set for it (docs/operations/tuning.md)."""

from __future__ import annotations

import pytest
from sim_scenes import Scene

LIMIT = 1000.0
SLACK = 0.02
"""Seconds of all the rest: the way of the client, disks, turns of loops."""


def spread(scene: Scene, round_trip: float) -> None:
    """Put members this many seconds apart; clients stay near all of them."""
    for name in scene.names:
        for other in scene.names:
            if name != other:
                scene.network.link(name, other).latency = (round_trip / 2, round_trip / 2)


@pytest.mark.parametrize(("round_trip", "heartbeat", "election"), [(0.13, 0.1, 1.3), (0.4, 0.4, 4.0), (5.0, 5.0, 50.0)])
def test_a_cluster_agrees_over_a_continent_an_ocean_and_the_worst_of_ways(
    round_trip: float, heartbeat: float, election: float
) -> None:
    scene = Scene(3, boot=False, heartbeat_interval=heartbeat, election_timeout=election)
    with scene:
        spread(scene, round_trip)
        scene.boot()
        scene.wait_healthy(LIMIT)
        assert scene.put(0, b"k", b"1") > 1
        scene.scheduler.run_for(10 * election)
        leader = scene.leader()
        assert leader is not None
        term = scene.server(leader).term
        scene.scheduler.run_for(10 * election)
        assert (scene.leader(), scene.server(leader).term) == (leader, term), "somebody was elected without need"
        scene.members[leader].crash()
        began = scene.scheduler.now
        scene.until(lambda: scene.leader() not in (None, leader), LIMIT)
        assert scene.scheduler.now - began < 2 * election + 4 * round_trip
        new = scene.leader()
        assert new is not None
        follower = next(number for number in range(3) if number not in (leader, new))
        scene.until(lambda: scene.server(follower).leader_id == scene.server(new).member_id)
        assert scene.get(follower, b"k") == b"1"


def test_a_write_takes_one_round_trip_at_the_leader_and_one_more_at_another_member() -> None:
    with Scene(3, heartbeat_interval=0.4, election_timeout=4.0) as scene:
        scene.lead(0)
        spread(scene, 0.4)
        scene.scheduler.run_for(2.0)

        def seconds(number: int, act: str) -> float:
            began = scene.scheduler.now
            scene.put(number, b"k") if act == "put" else scene.get(number, b"k", serializable=act == "serializable")
            return scene.scheduler.now - began

        assert seconds(0, "put") == pytest.approx(0.4, abs=SLACK)
        assert seconds(0, "get") == pytest.approx(0.4, abs=SLACK)
        assert seconds(1, "put") == pytest.approx(0.8, abs=SLACK)
        assert seconds(1, "get") == pytest.approx(0.8, abs=SLACK)
        assert seconds(1, "serializable") < SLACK


def test_members_with_unequal_times_agree_all_the_same() -> None:
    with Scene(3, boot=False, heartbeat_interval=0.4, election_timeout=4.0) as scene:
        object.__setattr__(scene.members[2].config, "election_timeout", 2.0)
        spread(scene, 0.4)
        scene.boot()
        scene.wait_healthy(LIMIT)
        assert scene.server(2).config.election_timeout == 2.0
        revision = scene.put(0, b"k", b"1")
        assert scene.put(2, b"k", b"2") == revision + 1
        assert scene.get(1, b"k") == b"2"


def test_the_round_trip_that_members_tell_of_is_that_of_the_way() -> None:
    with Scene(3, heartbeat_interval=0.4, election_timeout=4.0) as scene:
        spread(scene, 0.13)
        scene.scheduler.run_for(15.0)
        for number in range(3):
            server = scene.server(number)
            for other in range(3):
                if other != number:
                    counters = server.transport.counters(scene.server(other).member_id)
                    assert counters is not None and counters.round_trip == pytest.approx(0.13, abs=0.005)
                    assert counters.round_trips.count > 0
