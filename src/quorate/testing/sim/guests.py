"""A guest, who may do something or may not: root grants and takes away, the guest tries all the while.

    root    │ grant asked ──► answered │          │ revoke asked ──► answered │
    guest                                allowed                               denied

What the guest asks while root changes nothing must be done or denied, whichever member is asked and whatever it has
missed. A change whose answer was lost may be made at any time later, so it leaves doubts; each season has a user, a
role and a key of its own, and the doubts end with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from quorate.api import errors
from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.history import Operation
from quorate.testing.sim.cluster import SimCluster
from quorate.testing.sim.tokens import Login, ask
from quorate.testing.workload import RETRY_SECONDS, Workload
from quorate.transport.grpc import Channel, Status

CHANGES = (1, 4)
"""In one season, from and to."""
REST_SECONDS = (0.5, 4.0)
"""Between two changes."""
TRY_SECONDS = (0.1, 1.0)
"""Between two tries of the guest."""
DONE_BEFORE = frozenset(
    error.text
    for error in (
        errors.UserExists,
        errors.RoleExists,
        errors.RoleNotGranted,
        errors.PermissionNotGranted,
        errors.UserNotFound,
    )
)
"""Refusals of what an earlier request, whose answer was lost, has done."""


@dataclass
class Season:
    """One user of root's making. `allowed` is None while nobody knows; it changes with `step`."""

    login: Login
    key: bytes
    allowed: bool | None = None
    step: int = 0
    doubts: set[bool] = field(default_factory=set)
    """What a request that was not answered may make of `allowed` at any time."""

    def begin(self) -> None:
        """A change is asked for."""
        self.step += 1
        self.allowed = None

    def end(self, allowed: bool) -> None:
        """It is made."""
        self.step += 1
        self.allowed = allowed if (not allowed) not in self.doubts else None


class Guests:
    """`ask_as_root(request)` asks any member. Raises Status. What the guest does is written down as of `client`."""

    def __init__(
        self,
        cluster: SimCluster,
        workload: Workload,
        client: int,
        dice: Random,
        ask_as_root: Callable[[Any], Awaitable[Any]],
    ) -> None:
        self.problems: list[str] = []
        self.tries = {True: 0, False: 0}
        """Judged, by whether they were allowed."""
        self._cluster = cluster
        self._workload = workload
        self._client = client
        self._dice = dice
        self._ask_as_root = ask_as_root
        self._season: Season | None = None

    # Root.

    async def rule(self) -> None:
        """One season after the other, until cancelled."""
        for number in count(1):
            name, key = f"guest{number}", b"guest/%d" % number
            season = Season(Login(name, f"secret{number}"), key)
            await self._settle(season, pb.AuthUserAddRequest(name=name, password=season.login.password))
            await self._settle(season, pb.AuthRoleAddRequest(name=name))
            grant, revoke = await self._prepare(season, by_role=self._dice.random() < 0.5)
            self._season = season
            for _ in range(self._dice.randint(*CHANGES)):
                await self._change(season, grant, allowed=True)
                await self._change(season, revoke, allowed=False)
            await self._change(season, grant, allowed=True)
            await self._change(season, pb.AuthUserDeleteRequest(name=name), allowed=False)

    async def _prepare(self, season: Season, *, by_role: bool) -> tuple[Any, Any]:
        """The requests that allow and deny, with all done that they take."""
        name, key = season.login.name, season.key
        permission = pb.AuthRoleGrantPermissionRequest(
            name=name, perm={"permType": "READWRITE", "key": key, "range_end": key + b"0"}
        )
        grant_role = pb.AuthUserGrantRoleRequest(user=name, role=name)
        if by_role:
            await self._settle(season, permission)
            return grant_role, pb.AuthUserRevokeRoleRequest(name=name, role=name)
        await self._settle(season, grant_role)
        return permission, pb.AuthRoleRevokePermissionRequest(role=name, key=key, range_end=key + b"0")

    async def _change(self, season: Season, request: Any, *, allowed: bool) -> None:
        season.begin()
        await self._settle(season, request, allowed)
        season.end(allowed)
        await asyncio.sleep(self._dice.uniform(*REST_SECONDS))

    async def _settle(self, season: Season, request: Any, allowed: bool | None = None) -> None:
        """Ask until it is done."""
        while True:
            try:
                await self._ask_as_root(request)
            except Status as status:
                if status.message in DONE_BEFORE:
                    return
                if allowed is not None:
                    season.doubts.add(allowed)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    # The guest.

    async def visit(self) -> None:
        """Try, at one member after the other, until cancelled."""
        season: Season | None = None
        channels: dict[int, Channel] = {}
        while True:
            await asyncio.sleep(self._dice.uniform(*TRY_SECONDS))
            if season is not self._season:
                season = self._season
                await _close(channels)
            members = self._cluster.running()
            if season is None or not members:
                continue
            member = self._dice.choice(members)
            if member not in channels:
                channels[member] = self._cluster.channel(member, season.login)
            if await self._try(season, member, channels[member]) == Code.UNAUTHENTICATED:
                await channels.pop(member).close()

    async def _try(self, season: Season, member: int, channel: Channel) -> int:
        """The code of the refusal, 0 for none."""
        request: Any = pb.RangeRequest(key=season.key)
        if self._dice.random() < 0.6:
            request = pb.PutRequest(key=season.key, value=self._workload.value(self._client))
        operation = Operation(self._client, member, time.monotonic(), request)
        allowed, step = season.allowed, season.step
        await self._workload.record(operation, ask(channel, request))
        if step == season.step and allowed is not None:
            if allowed and operation.code == Code.PERMISSION_DENIED:
                self.problems.append(f"denied to {season.login.name}, who was granted it: {operation}")
            if not allowed and operation.acknowledged:
                self.problems.append(f"allowed to {season.login.name}, from whom it was taken: {operation}")
            self.tries[allowed] += operation.acknowledged or operation.code == Code.PERMISSION_DENIED
        return operation.code


async def _close(channels: dict[int, Channel]) -> None:
    for channel in channels.values():
        await channel.close()
    channels.clear()
