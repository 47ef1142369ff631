"""The last but one member is removed: whoever crashes then, the other one goes on alone."""

from __future__ import annotations

from random import Random

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.server.peers import CONNECTED_SECONDS
from quorate.testing.sim.clients import SimWorkload
from quorate.testing.sim.cluster import Settings, SimCluster
from quorate.testing.workload import Habits


class Pair:
    """Two members, and what an operator asks of them."""

    def __init__(self, seed: int, slow: bool) -> None:
        self.cluster = SimCluster(seed, 2, Settings(batch_interval=2.0))
        self.cluster.boot()
        self.cluster.wait_healthy()
        if slow:  # the log is written aside
            for machine in self.cluster.members:
                machine.disk.faults.slow_sync, machine.disk.faults.slow_seconds = 1.0, 0.2
        self.cluster.scheduler.run_for(CONNECTED_SECONDS + 1.0)  # or the change would be refused
        self.clients = SimWorkload(self.cluster, Random(seed), Habits(pause=1.0))

    def remove(self, number: int, *, ask: int) -> None:
        request = pb.MemberRemoveRequest(ID=self.cluster.members[number].member_id)
        self.cluster.members[number].leaving = True
        self.cluster.client_loop.create_task(self.clients.try_to(ask, request))

    def knows(self, number: int, voters: int) -> bool:
        server = self.cluster.members[number].server
        return server is not None and len(server.state.conf_state.voters) == voters


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("leader_goes", [False, True])
@pytest.mark.parametrize("seed", range(1, 6))
def test_the_last_member_leads_although_it_lost_its_power_when_the_other_had_heard(
    seed: int, leader_goes: bool, slow: bool
) -> None:
    pair = Pair(seed, slow)
    cluster = pair.cluster
    leader = cluster.leader()
    assert leader is not None
    gone, last = (leader, 1 - leader) if leader_goes else (1 - leader, leader)
    pair.remove(gone, ask=last)
    cluster.scheduler.run_until(lambda: pair.knows(gone, 1) or not cluster.members[gone].alive, 30.0)
    cluster.members[last].crash(power=True)
    cluster.scheduler.run_for(5.0)
    cluster.members[last].boot()
    cluster.scheduler.run_until(lambda: pair.knows(last, 1), 60.0)
    cluster.scheduler.run_until(lambda: cluster.members[gone].deaths, 60.0)
    cluster.members[gone].retire()
    cluster.wait_healthy()
    cluster.close()
