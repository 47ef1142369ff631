"""An operator who adds, removes and replaces members: one at a time, by asking again and again until it is done.

What was asked may have been done although the answer was lost, so each step begins with a look at the list of members.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.sim.clients import SimWorkload
from quorate.testing.sim.cluster import SimCluster
from quorate.testing.sim.member import Machine
from quorate.transport.grpc import Status

PATIENCE_SECONDS = 0.5
"""Between two tries."""
MOST_CHANGES = 4
"""Changes of the members in one run."""
MOST_MEMBERS = 7
LEARNER_SECONDS = 5.0
"""How long a learner is left one, at most, before each try to promote it."""


class Operator:
    """Calls of the clients' machine."""

    def __init__(self, cluster: SimCluster, workload: SimWorkload, dice: Random) -> None:
        self.busy = False
        self._cluster = cluster
        self._workload = workload
        self._dice = dice
        self._changes = 0

    def replace(self, old: Machine) -> None:
        """Begin to replace a member by one on a new machine, unless something of that kind is under way."""
        if self.may_begin(old):
            self._begin(old, self._cluster.new_machine())

    def shrink(self, old: Machine) -> None:
        """Begin to remove a member, as `replace`; not the last one."""
        if self.may_begin(old) and len(self._cluster.running()) > 1:
            self._begin(old, None)

    def grow(self) -> None:
        """Begin to add a member, as `replace`; not beyond MOST_MEMBERS."""
        if self.may_begin() and len(self._cluster.running()) < MOST_MEMBERS:
            self._begin(None, self._cluster.new_machine())

    def may_begin(self, old: Machine | None = None) -> bool:
        """Whether a change can be begun now, one that takes `old` out if it is given."""
        is_there = old is None or (old.member_id != 0 and not old.removed)
        return is_there and not self.busy and self._changes < MOST_CHANGES

    def _begin(self, old: Machine | None, new: Machine | None) -> None:
        self.busy = True
        self._changes += 1
        self._cluster.client_loop.create_task(self._change(old, new))

    async def _change(self, old: Machine | None, new: Machine | None) -> None:
        """Have `new` be a member that serves and votes, and `old` none."""
        note = self._cluster.scheduler.note
        add_first, as_learner = self._dice.random() < 0.5, self._dice.random() < 0.5
        what = f"{f'remove {old.name}' if old else ''}{f' add {new.name}' if new else ''}"
        if old is not None:
            old.leaving = True
            add_first = add_first and not old.rotten  # nobody is added while one is missing
        note("sim", f"members: {what}{' as a learner' if new and as_learner else ''}")
        while True:
            listed, who = await self._ask(pb.MemberListRequest(linearizable=True))
            if listed is not None:
                members = list(listed.members)
                # One that leaves may know before those who stay: it is not turned off on its own word.
                is_out = old is None or (who is not old and old.member_id not in [member.ID for member in members])
                if is_out and old is not None:
                    old.retire()
                if len(members) == 1:  # two voters need each other
                    add_first = as_learner = True
                if await self._join(new, members, as_learner, may_add=add_first or is_out) and is_out:
                    break
                if old is not None and not is_out and (new is None or not add_first or new.ready):
                    await self._ask(pb.MemberRemoveRequest(ID=old.member_id))
            await asyncio.sleep(PATIENCE_SECONDS)
        note("sim", f"members: done {what}")
        self.busy = False

    async def _join(self, new: Machine | None, members: Sequence[Any], as_learner: bool, *, may_add: bool) -> bool:
        """The next step towards `new` being one of `members`; True when there is none left."""
        if new is None:
            return True
        url = new.config.peer_urls[0]
        added = next((member for member in members if url in member.peerURLs), None)
        if added is None:
            if may_add:
                await self._ask(pb.MemberAddRequest(peerURLs=[url], isLearner=as_learner))
        elif not new.lives:
            new.config = self._cluster.joining(new.config, members)
            self._cluster.members.append(new)
            new.boot()
        elif not new.alive:
            new.boot()
        elif added.isLearner:
            await asyncio.sleep(self._dice.uniform(0.0, LEARNER_SECONDS))
            await self._ask(pb.MemberPromoteRequest(ID=added.ID))
        else:
            return new.ready
        return False

    async def _ask(self, request: Any) -> tuple[Any, Machine | None]:
        """The answer of some member, and whose it is; None when there is none."""
        numbers = self._cluster.running()
        if not numbers:
            return None, None
        number = self._dice.choice(numbers)
        try:
            return await self._workload.ask(number, request), self._cluster.members[number]
        except Status as status:
            self._cluster.scheduler.note("sim", f"{type(request).__name__}: {status}")
            return None, None
