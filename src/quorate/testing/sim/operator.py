"""An operator who replaces members: one at a time, by asking again and again until it is done.

What was asked may have been done although the answer was lost, so each step begins with a look at the list of members.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.sim.clients import SimWorkload
from quorate.testing.sim.cluster import SimCluster
from quorate.testing.sim.member import Machine
from quorate.transport.grpc import Status

PATIENCE_SECONDS = 0.5
"""Between two tries."""
MOST_REPLACED = 3
"""Members that are replaced in one run."""


class Operator:
    """Calls of the clients' machine."""

    def __init__(self, cluster: SimCluster, workload: SimWorkload, dice: Random) -> None:
        self.busy = False
        self._cluster = cluster
        self._workload = workload
        self._dice = dice
        self._replaced = 0

    def replace(self, old: Machine) -> None:
        """Begin to replace a member by one on a new machine, unless something of that kind is under way."""
        if self.busy or old.removed or old.server is None or self._replaced == MOST_REPLACED:
            return
        self.busy = True
        self._replaced += 1
        self._cluster.client_loop.create_task(self._replace(old, old.server.member_id))

    async def _replace(self, old: Machine, old_id: int) -> None:
        new = self._cluster.new_machine()
        url = new.config.peer_urls[0]
        add_first = self._cluster.size == 1 or self._dice.random() < 0.5
        as_learner = self._cluster.size == 1 or self._dice.random() < 0.5  # two voters need each other
        old.leaving = True
        self._cluster.scheduler.note("sim", f"replace {old.name} by {new.name}{' as a learner' if as_learner else ''}")
        while True:
            listed = await self._ask(pb.MemberListRequest(linearizable=True))
            members = [] if listed is None else list(listed.members)
            added = next((member for member in members if url in member.peerURLs), None)
            is_out = old_id not in [member.ID for member in members]
            if listed is not None and is_out:
                old.retire()
            if listed is None:
                pass
            elif added is not None and is_out and not added.isLearner and new.ready:
                break
            elif added is not None and not new.lives:
                new.config = self._cluster.joining(new.config, members)
                self._cluster.members.append(new)
                new.boot()
            elif added is None and (add_first or is_out):
                await self._ask(pb.MemberAddRequest(peerURLs=[url], isLearner=as_learner))
            elif added is not None and added.isLearner:
                await self._ask(pb.MemberPromoteRequest(ID=added.ID))
            elif not is_out and (not add_first or new.ready):
                await self._ask(pb.MemberRemoveRequest(ID=old_id))
            await asyncio.sleep(PATIENCE_SECONDS)
        self._cluster.scheduler.note("sim", f"replaced {old.name}")
        self.busy = False

    async def _ask(self, request: Any) -> Any:
        """The answer of some member; None when there is none."""
        numbers = self._cluster.running()
        if not numbers:
            return None
        try:
            return await self._workload.ask(self._dice.choice(numbers), request)
        except Status as status:
            self._cluster.scheduler.note("sim", f"{type(request).__name__}: {status}")
            return None
