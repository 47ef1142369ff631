"""Clients of a simulated cluster: the workload that real clusters get, on the simulated network and in virtual time."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import Any, cast

from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster
from quorate.testing.sim.cluster import SimCluster
from quorate.testing.sim.guests import Guests
from quorate.testing.sim.pipe import RESEND_MOST
from quorate.testing.sim.tokens import ROOT, TURN_ON, ask
from quorate.testing.workload import CALL_SECONDS, RETRY_SECONDS, Habits, Workload
from quorate.transport.grpc import Channel, Status

OPEN_SECONDS = 20.0
"""Until a healthy cluster must have turned auth off: it may have changed its leader a moment ago."""
GUEST = 1000
"""Number of the guest among the clients."""
STOP_SECONDS = RESEND_MOST + 30.0
"""Virtual seconds; what a fault has held back may be sent again so late."""


class SimWorkload(Workload):
    """Its clients live on one machine, whose clock is right. With `guarded` they are root, and there are guests."""

    def __init__(self, cluster: SimCluster, dice: random.Random, habits: Habits, *, guarded: bool = False) -> None:
        self._sim = cluster
        self.guests: Guests | None = None
        self._visits: list[asyncio.Task[None]] = []
        super().__init__(cast(Cluster, cluster), dice, habits)  # it asks for nothing of a Cluster but its members
        if guarded:
            guest_dice = random.Random(f"{cluster.seed}/guests")
            self.guests = Guests(cluster, self, GUEST, guest_dice, self._ask_any)

    def start(self) -> None:
        self._sim.scheduler.run(self._sim.client_loop, self._begin())

    async def _begin(self) -> None:
        if self.guests is not None:
            channel = self._sim.channel(0)
            for request in TURN_ON:
                await ask(channel, request)
            await channel.close()
            self._visits += [asyncio.create_task(self.guests.rule()), asyncio.create_task(self.guests.visit())]
        await self._start()

    def open_to_all(self) -> None:
        """Turn auth off. Every member must be healthy. Raises Status."""
        if self.guests is not None:
            self._sim.scheduler.run(self._sim.client_loop, self._end_visits(self.guests))

    async def _end_visits(self, guests: Guests) -> None:
        for visit in self._visits:
            visit.cancel()
        for result in await asyncio.gather(*self._visits, return_exceptions=True):
            if isinstance(result, Exception):
                self.unexpected.append(repr(result))
        self.unexpected += guests.problems
        deadline = time.monotonic() + OPEN_SECONDS
        while True:
            try:
                await self.ask(self._sim.running()[0], pb.AuthDisableRequest())
                return
            except Status:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        self._sim.scheduler.run(self._sim.client_loop, self._stop(timeout), 2 * timeout + CALL_SECONDS + 10.0)

    def watch(self, member: int) -> None:
        self._sim.scheduler.run(self._sim.client_loop, self._spawn_watch(member))

    async def ask(self, member: int, request: Any) -> Any:
        """The answer, on a connection of its own: on one that has lost packets the next ones wait behind those, for
        minutes perhaps. Raises Status."""
        channel = self._new_channel(member)
        try:
            return await ask(channel, request, self._habits.call_seconds)
        finally:
            await channel.close()

    async def try_to(self, member: int, request: Any) -> bool:
        """Ask for something that may be refused; False when it was."""
        with suppress(Status):
            await self.ask(member, request)
            return True
        return False

    async def _ask_any(self, request: Any) -> Any:
        numbers = self._sim.running()
        if not numbers:
            raise Status(Code.UNAVAILABLE, "nobody is there")
        return await self._call(self._dice.choice(numbers), request)

    async def _call(self, member: int, request: Any) -> Any:
        try:
            return await ask(self._channel(member), request, self._habits.call_seconds)
        except Status as status:
            if status.code == Code.PERMISSION_DENIED:
                self.unexpected.append(f"root may not {type(request).__name__} at member {member}: {status.message}")
            raise

    def _channel(self, member: int) -> Channel:
        found = self._channels.get(member)
        if found is None:
            found = self._channels[member] = self._new_channel(member)
        return found

    def _new_channel(self, member: int) -> Channel:
        return self._sim.channel(member, ROOT if self.guests is not None else None)
