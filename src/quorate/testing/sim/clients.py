"""Clients of a simulated cluster: the workload that real clusters get, on the simulated network and in virtual time."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any, cast

from quorate.testing.cluster import Cluster
from quorate.testing.sim.cluster import SimCluster
from quorate.testing.sim.pipe import RESEND_MOST
from quorate.testing.workload import CALL_SECONDS, Habits, Workload
from quorate.transport.grpc import Channel, Status

STOP_SECONDS = RESEND_MOST + 30.0
"""Virtual seconds; what a fault has held back may be sent again so late."""


class SimWorkload(Workload):
    """Its clients live on one machine, whose clock is right."""

    def __init__(self, cluster: SimCluster, dice: random.Random, habits: Habits) -> None:
        self._sim = cluster
        super().__init__(cast(Cluster, cluster), dice, habits)  # it asks for nothing of a Cluster but its members

    def start(self) -> None:
        self._sim.scheduler.run(self._sim.client_loop, self._start())

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        self._sim.scheduler.run(self._sim.client_loop, self._stop(timeout), 2 * timeout + CALL_SECONDS + 10.0)

    def watch(self, member: int) -> None:
        self._sim.scheduler.run(self._sim.client_loop, self._spawn_watch(member))

    async def ask(self, member: int, request: Any) -> Any:
        """The answer. Raises Status."""
        return await self._call(member, request)

    async def try_to(self, member: int, request: Any) -> bool:
        """Ask for something that may be refused; False when it was."""
        with suppress(Status):
            await self._call(member, request)
            return True
        return False

    def _channel(self, member: int) -> Channel:
        found = self._channels.get(member)
        if found is None:
            found = self._channels[member] = self._sim.channel(member)
        return found
