"""Clients that keep a cluster busy and write down what they were told.

Each client stays with one member until that fails it, then goes to the next. What it asks for, over a few keys that all
clients share, is drawn by `requests`. Beside them: a watch of everything on each member, taken up again where it broke,
clients of `watching` with watches of all kinds, and leases that are kept alive or given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import METHODS, Cluster
from quorate.testing.history import Compaction, Operation
from quorate.testing.requests import Known, Requests, make_keys
from quorate.testing.story import Event
from quorate.testing.watching import WATCH, WatchClient
from quorate.transport.grpc import Channel, Status

CLIENTS = 8
KEYS = 12
WATCH_CLIENTS = 2
CALL_SECONDS = 2.0
RETRY_SECONDS = 0.1
SWITCH = 0.01
"""Share of requests before which a client goes to another member for no reason."""
LEASE_SECONDS = 8
SHORT_LEASE_SECONDS = 2
COMPACT_SECONDS = (0.2, 2.0)
RENEW_SECONDS = (0.1, 0.6)
GIVE_UP_SECONDS = (0.2, 1.0)
"""From one compaction, renewal, lease given up to the next, at a pace of 1: from, to."""
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"


@dataclass(frozen=True, slots=True)
class Habits:
    """How clients behave. Times are in seconds."""

    clients: int = CLIENTS
    readers: int = 0
    """So many of them only read: they wait for nothing when writes do."""
    keys: int = KEYS
    longest_value: int = 0
    """Bytes; values are as long as they need to be, or longer up to this."""
    pause: float = 0.0
    """Between two requests of a client."""
    call_seconds: float = CALL_SECONDS
    """Until a client gives up on a request."""
    compact: bool = False
    """Old revisions are compacted now and then."""
    pace: float = 1.0
    """So many times the usual time between compactions, renewals of a lease, leases given up."""
    watch_clients: int = WATCH_CLIENTS


@dataclass
class Watcher:
    """A watch of all keys on one member, over all its interruptions."""

    member: int
    events: list[Event] = field(default_factory=list)
    breaks: int = 0


@dataclass
class LeaseKeeper:
    """A lease that holds one key. `longest` is the longest time between two answers, from request to request."""

    key: bytes
    lease: int = 0
    renewed: float = 0.0
    longest: float = 0.0
    lost: str = ""


class Workload:
    """Start it, let things go wrong, stop it; then look at what it has written down.

    Every watch must have run since the beginning when old revisions are compacted.
    """

    def __init__(self, cluster: Cluster, dice: random.Random, habits: Habits) -> None:
        self.operations: list[Operation] = []
        self.compactions: list[Compaction] = []
        self.watchers: list[Watcher] = []
        self.keepers: list[LeaseKeeper] = []
        self.unexpected: list[str] = []
        self._cluster = cluster
        self._dice = dice
        self._habits = habits
        self._keys = make_keys(habits.keys)
        self._known = Known()
        self._counter = 0
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._channels: dict[int, Channel] = {}
        self.watch_clients = [
            WatchClient(cluster, self._channel, random.Random(dice.random()), self._keys, self._known)
            for _ in range(habits.watch_clients)
        ]

    def start(self) -> None:
        self._cluster.background.run(self._start(), 10.0)

    def stop(self, timeout: float = 30.0) -> None:
        """Let every client finish its request, and every watch be told of the last revision that was acknowledged.

        For both kinds of watches there are `timeout` seconds."""
        self._cluster.background.run(self._stop(timeout), 2 * timeout + CALL_SECONDS + 10.0)

    @property
    def acknowledged(self) -> int:
        """Requests that were answered so far."""
        return sum(operation.acknowledged for operation in self.operations)

    def watch(self, member: int) -> None:
        """Watch a member that came later."""
        self._cluster.background.run(self._spawn_watch(member))

    async def _start(self) -> None:
        habits = self._habits
        for number in range(habits.clients):
            self._spawn(self._client(number, random.Random(self._dice.random()), number < habits.readers))
        for number in range(len(self._cluster.members)):
            await self._spawn_watch(number)
        for number in range(2):
            self.keepers.append(LeaseKeeper(b"lease/kept/%d" % number))
            self._spawn(self._keep(self.keepers[-1], habits.clients + number, random.Random(self._dice.random())))
        self._spawn(self._give_up(random.Random(self._dice.random())))
        for client in self.watch_clients:
            self._spawn(client.run(lambda: self._stopping))
        if habits.compact:
            self._spawn(self._compact_often(random.Random(self._dice.random())))

    async def _spawn_watch(self, member: int) -> None:
        self.watchers.append(Watcher(member))
        self._spawn(self._watch(self.watchers[-1]))

    def _spawn(self, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _stop(self, timeout: float) -> None:
        self._stopping = True
        clients = [task for task in self._tasks if not task.done()]
        deadline = time.monotonic() + timeout
        newest = max((o.revision for o in self.operations), default=0)
        while time.monotonic() < deadline and any(
            watcher.member in self._cluster.running() and (not watcher.events or watcher.events[-1][0] < newest)
            for watcher in self.watchers
        ):
            await asyncio.sleep(0.05)
            newest = max((o.revision for o in self.operations if o.effect), default=0)
        await asyncio.wait(clients, timeout=CALL_SECONDS + 1.0)
        newest = max((o.revision for o in self.operations if o.effect), default=0)
        await asyncio.gather(*(client.finish(newest, timeout) for client in self.watch_clients))
        for task in self._tasks:
            task.cancel()
        for task, result in zip(self._tasks, await asyncio.gather(*self._tasks, return_exceptions=True), strict=True):
            if isinstance(result, Exception):
                self.unexpected.append(f"{task.get_name()}: {result!r}")
        for channel in self._channels.values():
            await channel.close()

    # Clients of keys.

    async def _client(self, number: int, dice: random.Random, only_reads: bool) -> None:
        member = number % len(self._cluster.members)
        requests = Requests(dice, self._keys, lambda: self.value(number), self._known)
        while not self._stopping:
            ok = await self._perform(number, member, requests.draw_read() if only_reads else requests.draw())
            if not ok or dice.random() < SWITCH:
                member = (member + 1) % len(self._cluster.members)
                await asyncio.sleep(RETRY_SECONDS)
            elif self._habits.pause:
                await asyncio.sleep(self._habits.pause)

    async def _rest(self, dice: random.Random, seconds: tuple[float, float]) -> None:
        await asyncio.sleep(self._habits.pace * dice.uniform(*seconds))

    def value(self, client: int) -> bytes:
        """One that nobody has written before."""
        self._counter += 1
        value = b"%d-%d" % (client, self._counter)
        return value.ljust(self._dice.randint(0, self._habits.longest_value), b".")

    async def _perform(self, client: int, member: int, request: Any) -> bool:
        """Send it and write down the answer. False when it was refused, unless for what it asked."""
        operation = Operation(client, member, time.monotonic(), request)
        await self.record(operation, self._call(member, request))
        return operation.acknowledged or operation.code == Code.OUT_OF_RANGE

    async def record(self, operation: Operation, answer: Awaitable[Any]) -> None:
        """Write down an operation and what comes of it."""
        self.operations.append(operation)
        try:
            operation.answer = await answer
        except Status as status:
            operation.refuse(status.code, status.message, time.monotonic())
            return
        operation.returned = time.monotonic()
        operation.revision = operation.answer.header.revision

    async def _call(self, member: int, request: Any) -> Any:
        path, decode = METHODS[type(request)]
        return decode(
            await self._channel(member).unary(path, request.SerializeToString(), timeout=self._habits.call_seconds)
        )

    def _channel(self, member: int) -> Channel:
        found = self._channels.get(member)
        if found is None:
            asked = self._cluster.members[member]
            found = self._channels[member] = Channel("127.0.0.1", asked.client_port, ssl=asked.ssl)
        return found

    async def _compact_often(self, dice: random.Random) -> None:
        """Compact what every watch has been told of, so that the whole story stays known."""
        while not self._stopping:
            await self._rest(dice, COMPACT_SECONDS)
            watchers = [w for w in self.watchers if not self._cluster.members[w.member].removed]
            revision = min((w.events[-1][0] if w.events else 0 for w in watchers), default=0)
            compaction = Compaction(revision, time.monotonic())
            self.compactions.append(compaction)
            with contextlib.suppress(Status):
                request = pb.CompactionRequest(revision=revision, physical=dice.random() < 0.5)
                await self._call(dice.randrange(len(self._cluster.members)), request)
                compaction.returned = time.monotonic()

    # Watches.

    async def _watch(self, watcher: Watcher) -> None:
        """Watch everything for ever. A stream that says nothing for long is as good as broken."""
        while True:
            start = watcher.events[-1][0] + 1 if watcher.events else 1
            stream = self._channel(watcher.member).stream(WATCH)
            create = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=start)
            stream.send(pb.WatchRequest(create_request=create).SerializeToString())
            try:
                while (message := await stream.receive()) is not None:
                    answer = pb.WatchResponse.FromString(message)
                    for told in answer.events:
                        value = None if told.type == told.DELETE else told.kv.value
                        watcher.events.append((told.kv.mod_revision, told.kv.key, value))
                        self._known.learn(watcher.events[-1])
                    if answer.canceled:
                        why = f"{answer.cancel_reason!r}, compacted {answer.compact_revision}"
                        self.unexpected.append(f"watch of member {watcher.member} from {start} canceled: {why}")
                        break
            except Status:
                pass
            finally:
                stream.cancel()
            watcher.breaks += 1
            await asyncio.sleep(RETRY_SECONDS)

    # Leases.

    async def _keep(self, keeper: LeaseKeeper, number: int, dice: random.Random) -> None:
        """Hold a key by a lease; a lease that went too long without an answer may be lost, and is made anew."""
        member = number % len(self._cluster.members)
        while not self._stopping:
            if not keeper.lease:
                await self._grant(keeper, member, number)
            elif await self._renew(keeper, member):
                await self._rest(dice, RENEW_SECONDS)
                continue
            member = (member + 1) % len(self._cluster.members)
            await asyncio.sleep(RETRY_SECONDS)

    async def _grant(self, keeper: LeaseKeeper, member: int, client: int) -> None:
        try:
            answer = await self._call(member, pb.LeaseGrantRequest(TTL=LEASE_SECONDS))
        except Status:
            return
        request = pb.PutRequest(key=keeper.key, value=self.value(client), lease=answer.ID)
        keeper.renewed = time.monotonic()
        if await self._perform(client, member, request):
            keeper.lease, keeper.longest = answer.ID, 0.0

    async def _renew(self, keeper: LeaseKeeper, member: int) -> bool:
        stream = self._channel(member).stream(KEEP_ALIVE, timeout=self._habits.call_seconds)
        asked = time.monotonic()
        try:
            stream.send(pb.LeaseKeepAliveRequest(ID=keeper.lease).SerializeToString())
            message = await stream.receive()
        except Status:
            return False
        finally:
            stream.cancel()
        if message is None:
            return False
        gap = time.monotonic() - keeper.renewed
        keeper.longest = max(keeper.longest, gap)
        if pb.LeaseKeepAliveResponse.FromString(message).TTL > 0:
            keeper.renewed = asked
        elif gap < LEASE_SECONDS:
            keeper.lost = f"member {member} says lease {keeper.lease:x} is gone, {gap:.1f} s after it was renewed"
        else:
            keeper.lease = 0
        return True

    async def _give_up(self, dice: random.Random) -> None:
        """Short leases with a key each, which nobody renews."""
        number = 0
        while not self._stopping:
            number += 1
            member = dice.randrange(len(self._cluster.members))
            keeper = LeaseKeeper(b"lease/left/%d" % number)
            try:
                answer = await self._call(member, pb.LeaseGrantRequest(TTL=SHORT_LEASE_SECONDS))
            except Status:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            request = pb.PutRequest(key=keeper.key, value=self.value(0), lease=answer.ID)
            await self._perform(self._habits.clients + 2, member, request)
            await self._rest(dice, GIVE_UP_SECONDS)
