"""Faults that etcd once had in leases, each played again (docs/testing/past-bugs.md)."""

from __future__ import annotations

from typing import Any

import pytest
from sim_scenes import Scene

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as pb
from quorate.api.raftpb import MessageType


def time_left(scene: Scene, number: int, lease: int) -> int:
    return int(scene.ask(number, pb.LeaseTimeToLiveRequest(ID=lease)).TTL)


def known(scene: Scene, number: int) -> list[int]:
    return [lease.id for lease in scene.server(number).lessor.leases()]


def test_15247_a_leader_that_was_stalled_ends_no_lease_that_others_renewed() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        lease = scene.grant(1, 20)
        stalled = scene.members[0].process.loop
        scene.at(0, "raftBeforeSave", lambda: stalled.block(30.0))
        scene.begin(0, pb.PutRequest(key=b"k"))
        scene.until(lambda: scene.leader() in (1, 2))
        scene.put(1, b"k")
        for _ in range(8):
            assert scene.keep_alive(1, lease) == 20
            scene.scheduler.run_for(5.0)
        assert scene.leases(1) == scene.leases(0) == [lease]


def test_15247_a_leader_that_was_cut_off_renews_no_lease_that_others_let_end() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        lease = scene.grant(0, 3)
        scene.settle()
        scene.members[0].process.loop.set_clock_rate(0.3)  # it takes long to notice that nobody follows
        scene.part(0)
        renewed = scene.scheduler.now
        while lease in known(scene, 1):
            asked, call = scene.scheduler.now, scene.begin_keep_alive(0, lease)
            scene.scheduler.run_for(0.1)
            if call.done() and call.result() > 0:
                renewed = asked
        assert scene.scheduler.now > renewed + 3.0


def test_20615_a_lease_that_is_revoked_while_its_renewal_waits_is_not_renewed() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        lease, server = scene.grant(0, 60), scene.server(0)
        noted = pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=lease, remaining_TTL=50)])
        scene.scheduler.run(scene.members[0].process.loop, server.propose("lease_checkpoint", noted))
        for other in scene.members[1:]:
            other.disk.faults.sync_seconds = 0.2
        revocation = scene.begin(0, pb.LeaseRevokeRequest(ID=lease))
        scene.scheduler.run_for(0.01)
        renewal = scene.begin_keep_alive(0, lease)
        scene.until(lambda: revocation.done() and renewal.done())
        assert revocation.exception() is None and renewal.result() == 0


@pytest.mark.parametrize("by_leader", [False, True])
def test_13675_a_lease_that_was_granted_is_found_by_a_leader_that_has_not_applied_that_yet(by_leader: bool) -> None:
    with Scene(3) as scene:
        scene.lead(0)
        scene.settle()
        scene.deaf_to_commits(1)
        scene.deaf_to_commits(2)
        lease = scene.grant(0, 60)
        scene.members[0].crash()
        scene.until(lambda: scene.leader() in (1, 2))
        leader = scene.leader()
        assert leader is not None
        scene.hear(leader, lambda message: None if message.type == MessageType.APP_RESP else message)
        scene.until(lambda: all(scene.server(number).leader_id for number in (1, 2)))
        assert lease not in known(scene, leader)
        renewal = scene.begin_keep_alive(leader if by_leader else 3 - leader, lease)
        scene.scheduler.run_for(0.3)
        assert not renewal.done()
        scene.hear_all()
        scene.until(renewal.done)
        assert renewal.result() == 60


def test_10686_a_revocation_that_failed_is_tried_again() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        server = scene.server(0)
        plain = server.propose_leading
        failed: list[str] = []

        async def fails_once(kind: str, *more: Any) -> object:
            if not failed:
                failed.append(kind)
                raise errors.Timeout()
            return await plain(kind, *more)

        server.propose_leading = fails_once
        lease = scene.grant(0, 2)
        scene.put(0, b"k", lease=lease)
        scene.until(lambda: failed == ["lease_revoke"])
        scene.until(lambda: lease not in known(scene, 0), server.config.request_timeout + 1.0)
        assert scene.get(0, b"k") is None


@pytest.mark.parametrize("jump", [+3600.0, -3600.0])
def test_12291_a_wall_clock_that_is_set_makes_no_lease_longer_or_shorter(jump: float) -> None:
    with Scene(3) as scene:
        lease = scene.grant(0, 5)
        for machine in scene.members:
            machine.process.loop.clock.wall_offset += jump
        scene.scheduler.run_for(4.9)
        assert lease in known(scene, 0)
        scene.until(lambda: not any(known(scene, number) for number in range(3)), 1.5)


def test_14239_a_lease_of_any_id_is_loaded_at_a_start() -> None:
    with Scene(3) as scene:
        for lease in (-1, -(2**63), 2**63 - 1):
            assert scene.grant(0, 600, lease) == lease
            scene.put(0, b"k%d" % lease, lease=lease)
        scene.settle()
        scene.restart(1, power=True)
        for lease in (-1, -(2**63), 2**63 - 1):
            scene.ask(0, pb.LeaseRevokeRequest(ID=lease))
        scene.settle()
        for number in range(3):
            found = scene.ask(number, pb.RangeRequest(key=b"k", range_end=b"l", serializable=True))
            assert not found.kvs


def test_12381_who_does_not_lead_asks_the_leader_for_the_time_left() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        lease = scene.grant(0, 60)
        scene.lead(1)
        scene.restart(2)
        scene.scheduler.run_for(5.0)
        assert all(50 <= time_left(scene, number, lease) <= 57 for number in range(3))


@pytest.mark.parametrize("interval", [0.01, 3600.0])
def test_11935_a_restart_grants_nothing_twice(interval: float) -> None:
    with Scene(1, batch_interval=interval) as scene:
        leases = sorted(scene.grant(0, 600, number) for number in (7, 8, 9))
        last = [scene.put(0, b"k", lease=lease) for lease in leases][-1]
        for _ in range(2):
            scene.restart(0, power=True)
            assert sorted(scene.leases(0)) == leases
            assert scene.server(0).store.revision == last
            assert scene.server(0).lessor.lease_of(b"k") == 9


def test_9374_a_ttl_that_nobody_could_count_is_refused() -> None:
    with Scene(1) as scene:
        assert scene.refusal(0, pb.LeaseGrantRequest(TTL=9_000_000_001)) == "etcdserver: too large lease TTL"
        assert 9_000_000_000 - 2 <= time_left(scene, 0, scene.grant(0, 9_000_000_000)) <= 9_000_000_000


def test_9360_many_leases_that_end_at_once_are_gone_soon_and_hold_up_nobody() -> None:
    with Scene(3) as scene:
        grants = [scene.begin(number % 3, pb.LeaseGrantRequest(TTL=3)) for number in range(300)]
        scene.until(lambda: all(grant.done() for grant in grants))
        for grant in grants:
            scene.begin(0, pb.PutRequest(key=b"k%d" % grant.result().ID, lease=grant.result().ID))
        end, slowest = scene.scheduler.now + 5.0, 0.0
        while scene.scheduler.now < end:
            begun = scene.scheduler.now
            scene.put(1, b"other")
            slowest = max(slowest, scene.scheduler.now - begun)
            scene.scheduler.run_for(0.05)
        assert not known(scene, 0) and slowest < 0.1
        assert scene.ask(0, pb.RangeRequest(key=b"k", range_end=b"l", count_only=True)).count == 0


def test_9888_changes_of_the_leader_and_a_restart_of_all_do_not_begin_a_long_lease_anew() -> None:
    with Scene(3, heartbeat_interval=1.0, election_timeout=10.0) as scene:
        lease = scene.grant(0, 600)
        scene.scheduler.run_for(310.0)
        for leader in (1, 2, 0, 1):
            scene.lead(leader)
            assert 250 <= time_left(scene, 0, lease) <= 310
        scene.settle()
        for machine in scene.members:
            machine.crash(power=True)
        scene.boot()
        scene.wait_healthy()
        assert 250 <= time_left(scene, 0, lease) <= 310
        scene.keep_alive(0, lease)
        scene.lead((scene.leader() + 1) % 3)
        assert 590 <= time_left(scene, 0, lease) <= 610
