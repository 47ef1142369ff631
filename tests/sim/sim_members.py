"""Members of a raft group on the simulated network: RawNode, memory for a log, and the real wires between them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

from quorate.api.raftpb import ConfState, Entry, Message
from quorate.raft import Config, LocalMessage, MemoryStorage, PeerNotFound, ProposalDropped, RawNode
from quorate.rafthttp import Identity, Transport
from quorate.testing.sim.loop import MemberLoop
from quorate.testing.sim.network import Network
from quorate.testing.sim.scheduler import Scheduler
from quorate.testing.sim.trace import Trace
from quorate.transport import mux
from quorate.transport.http1_client import HttpClient

PORT = 2380
TICK = 0.1
ELECTION_TICKS = 10


class RaftMember:
    """One process; `storage` is what the process before it left on its disk."""

    def __init__(self, world: World, number: int, loop: MemberLoop, storage: MemoryStorage) -> None:
        self.world = world
        self.id = number
        self.loop = loop
        self.storage = storage
        self.applied: list[bytes] = []
        self.node = RawNode(
            Config(
                id=number,
                storage=storage,
                rng=random.Random(world.rng.getrandbits(32)),
                election_tick=ELECTION_TICKS,
                heartbeat_tick=1,
                check_quorum=True,
                pre_vote=True,
            )
        )
        self._poked = False

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        assert loop is self.loop
        self.client = HttpClient(connect_timeout=1.0)
        self.wires = Transport(
            loop,
            Identity(self.id, 7, (url(self.id),), "3.7.0"),
            self,
            self.client,
            election_timeout=TICK * ELECTION_TICKS,
            rng=random.Random(self.world.rng.getrandbits(32)),
        )
        self.listener = await mux.serve(
            (f"10.0.0.{self.id}", PORT), None, self.wires.handle, streamed=frozenset({"/raft/snapshot"})
        )
        for other in self.world.numbers:
            if other != self.id:
                self.wires.add_peer(other, [url(other)])
        self._tick()

    def propose(self, data: bytes) -> None:
        try:
            self.node.propose(data)
        except ProposalDropped:
            return
        self.poke()

    def poke(self) -> None:
        if not self._poked:
            self._poked = True
            self.loop.call_soon(self._turn)

    async def stop(self) -> None:
        await self.wires.stop()
        self.listener.close()
        await self.client.close()

    def _tick(self) -> None:
        self.node.tick()
        self.poke()
        self.loop.call_later(TICK, self._tick)

    def _turn(self) -> None:
        self._poked = False
        while self.node.has_ready():
            ready = self.node.ready()
            if ready.hard_state is not None:
                self.storage.set_hard_state(ready.hard_state)
            self.storage.append(ready.entries)
            self.wires.send(ready.messages)
            for entry in ready.committed_entries:
                self._apply(entry)
            self.node.advance()

    def _apply(self, entry: Entry) -> None:
        if entry.data:
            self.applied.append(entry.data)
            self.loop.note(f"applied {entry.index} {entry.data.decode()}")

    # The host of the wires.

    def receive(self, message: Message) -> None:
        try:
            self.node.step(message)
        except (LocalMessage, PeerNotFound, ProposalDropped):
            return
        self.poke()

    def is_removed(self, member_id: int) -> bool:
        return False

    def report_unreachable(self, member_id: int) -> None:
        self.node.report_unreachable(member_id)
        self.poke()

    def report_snapshot(self, member_id: int, ok: bool) -> None:
        raise AssertionError("nothing is compacted")

    def was_removed(self) -> None:
        raise AssertionError("nobody is removed")

    async def receive_snapshot(self, message: Message, chunks: AsyncIterator[bytes]) -> None:
        raise AssertionError("nothing is compacted")


class World:
    """A group of members and their network."""

    def __init__(self, seed: int, members: int = 3, *, trace: bool = True) -> None:
        self.rng = random.Random(seed)
        self.scheduler = Scheduler(Trace(keep=trace))
        self.network = Network(self.scheduler, self.rng)
        self.numbers = range(1, members + 1)
        self.names = [f"m{number}" for number in self.numbers]
        self.members: dict[int, RaftMember] = {}
        self.proposed = 0
        for number in self.numbers:
            self.network.host(f"m{number}", f"10.0.0.{number}")
            storage = MemoryStorage()
            storage.set_conf_state(ConfState(voters=tuple(self.numbers)))
            self.boot(number, storage)

    def boot(self, number: int, storage: MemoryStorage | None = None) -> None:
        """Start a process on a machine, with what the last one left on the disk."""
        loop = self.scheduler.member(f"m{number}")
        self.network.host(f"m{number}").attach(loop)
        member = RaftMember(self, number, loop, storage or self.members[number].storage)
        self.members[number] = member
        loop.create_task(member.start())

    def leader(self) -> RaftMember | None:
        """Who leads with the highest term, as far as it knows itself."""
        leading = [m for m in self.members.values() if m.node.raft.lead == m.id and not m.loop.is_closed()]
        return max(leading, key=lambda m: m.node.raft.term, default=None)

    def propose(self) -> None:
        """Let every member that lives propose something."""
        self.proposed += 1
        for member in self.members.values():
            if not member.loop.is_closed():
                member.loop.call_soon(member.propose, b"%d-%d" % (member.id, self.proposed))

    def settled(self) -> bool:
        """All have applied the same, and there is a leader."""
        return self.leader() is not None and len({tuple(m.applied) for m in self.members.values()}) == 1

    def check(self) -> None:
        """No member has applied what another has not applied at the same place; nothing went wrong unseen."""
        logs = sorted((m.applied for m in self.members.values()), key=len)
        assert all(log == logs[-1][: len(log)] for log in logs)
        assert not self.scheduler.errors

    def close(self) -> None:
        self.scheduler.close()


def url(number: int) -> str:
    return f"http://10.0.0.{number}:{PORT}"


def rough_run(seed: int, seconds: float, *, trace: bool = True) -> World:
    """A run with faults drawn by the seed, healed in the end."""
    world = World(seed, trace=trace)
    rng, network = world.rng, world.network
    while world.scheduler.now < seconds:
        world.propose()
        name, other = rng.sample(world.names, 2)
        member = world.members[int(name[1:])]
        fault = rng.randrange(10)
        if fault == 0:
            network.isolate(name)
        elif fault == 1:
            network.cut(name, other)
        elif fault == 2:
            network.heal()
        elif fault == 3:
            network.reset(name, other)
        elif fault == 4:
            network.link(name, other).latency = rng.choice([(0.0002, 0.001), (0.05, 0.3), (0.5, 2.0)])
        elif fault == 5:
            network.link(name, other).loss = rng.choice([0.0, 0.0, 0.1])
        elif fault == 6:
            member.loop.crash(power=rng.random() < 0.5)
        elif fault == 7:
            member.loop.pause()
        elif fault == 8:
            member.loop.set_clock_rate(rng.uniform(0.8, 1.25))
        elif fault == 9:
            member.loop.leap(rng.uniform(0, 2))
        world.scheduler.run_for(rng.expovariate(1 / 3))
        for awake in world.members.values():
            awake.loop.resume()
            if awake.loop.is_closed():
                world.boot(awake.id)
    network.heal()
    for name in world.names:
        for other in world.names:
            network.link(name, other).latency, network.link(name, other).loss = (0.0002, 0.001), 0.0
    return world
