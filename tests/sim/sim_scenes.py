"""Scenes of faults that etcd once had: a simulated cluster, what its clients ask, where members are held or die.

    with Scene(3, snapshot_count=5) as scene:           three members, healthy
        scene.put(0, b"k")                              through the member 0
        scene.at(1, "raftBeforeSave", act)              once, when member 1 comes there
        scene.restart(1)

A scene that ends well is judged: everything is healed and runs again, and then no member has failed, revisions, hashes,
leases and members are equal, and each member's stored members are those of raft. That no member's state at an applied
entry is another one than before its crash, or than on another member, is looked at in every turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

from sim_watch import Watch

from quorate.api.pb import rpc_pb2 as pb
from quorate.api.raftpb import Message
from quorate.membership import Cluster
from quorate.server import Server
from quorate.server.raft_loop import RaftLoop
from quorate.storage import schema, wal
from quorate.testing.cluster import METHODS
from quorate.testing.sim import crash_points
from quorate.testing.sim.checks import compare_states, deaths
from quorate.testing.sim.cluster import Settings, SimCluster
from quorate.testing.sim.loop import MemberLoop
from quorate.testing.sim.member import CLIENT_PORT, Machine
from quorate.testing.sim.rows import RowsRoom, SimBackend
from quorate.testing.workload import KEEP_ALIVE
from quorate.transport.grpc import Channel, Status

CALL_SECONDS = 20.0
"""Longer than members take to say what went wrong."""
SETTLE_SECONDS = 60.0


class Scene(SimCluster):
    """`settings` are fields of `Settings`; with `boot` off, nothing runs yet."""

    def __init__(self, size: int = 3, seed: int = 1, *, boot: bool = True, **settings: Any) -> None:
        super().__init__(seed, size, Settings(**settings))
        self._acts: list[tuple[int, str, Callable[[], object]]] = []
        self._boots = boot
        self._channels: dict[str, Channel] = {}
        self._ears: dict[RaftLoop, Callable[[Message], None]] = {}
        self._points = crash_points.watched(self.reached)

    def __enter__(self) -> Scene:
        self._points.__enter__()
        if self._boots:
            self.boot()
            self.wait_healthy()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.judge()
        finally:
            self._points.__exit__(None, None, None)
            self.close()

    # What clients do.

    def ask(self, number: int, request: Any, seconds: float = CALL_SECONDS) -> Any:
        """The answer of a member. Raises Status."""
        return self.scheduler.run(self.client_loop, self._call(number, request, seconds))

    def begin(self, number: int, request: Any, seconds: float = CALL_SECONDS) -> asyncio.Task[Any]:
        """Ask, and do not wait for the answer."""
        return self._begin(self._call(number, request, seconds))

    def refusal(self, number: int, request: Any) -> str:
        """The text with which a member refuses, or why it is not reached; empty for an answer."""
        try:
            self.ask(number, request)
        except Status as status:
            return status.message
        return ""

    def put(self, number: int, key: bytes, value: bytes = b"v", lease: int = 0) -> int:
        """The revision."""
        return int(self.ask(number, pb.PutRequest(key=key, value=value, lease=lease)).header.revision)

    def fill(self, number: int, count: int, size: int = 1) -> int:
        """Put the keys fill/0, fill/1 and so on, one entry each; the last revision."""
        return [self.put(number, b"fill/%d" % serial, b"x" * size) for serial in range(count)][-1]

    def delete(self, number: int, key: bytes) -> int:
        """The revision."""
        return int(self.ask(number, pb.DeleteRangeRequest(key=key)).header.revision)

    def get(self, number: int, key: bytes, *, serializable: bool = False) -> bytes | None:
        kvs = self.ask(number, pb.RangeRequest(key=key, serializable=serializable)).kvs
        return kvs[0].value if kvs else None

    def compact(self, number: int, revision: int) -> None:
        """Returns when the rows are gone."""
        self.ask(number, pb.CompactionRequest(revision=revision, physical=True))

    def grant(self, number: int, ttl: int, lease: int = 0) -> int:
        return int(self.ask(number, pb.LeaseGrantRequest(TTL=ttl, ID=lease)).ID)

    def keep_alive(self, number: int, lease: int) -> int:
        """The TTL; 0 for a lease that is gone."""
        return self.scheduler.run(self.client_loop, self._renew(number, lease))

    def begin_keep_alive(self, number: int, lease: int) -> asyncio.Task[int]:
        """As `keep_alive`, and do not wait for the answer."""
        return self._begin(self._renew(number, lease))

    def leases(self, number: int) -> list[int]:
        return [lease.ID for lease in self.ask(number, pb.LeaseLeasesRequest()).leases]

    def watch(self, number: int, **fields: Any) -> Watch:
        """A stream with one watch, made by the time this returns."""
        watch = Watch(self.channel_to(number))
        watch.create(**fields)
        self.client_loop.create_task(watch.run())
        self.until(lambda: watch.answers)
        return watch

    def channel_to(self, number: int) -> Channel:
        name = self.members[number].name
        if name not in self._channels:
            self._channels[name] = Channel(self.network.host(name).address, CLIENT_PORT)
        return self._channels[name]

    # What happens to members.

    def reached(self, point: str) -> None:
        for place, (number, name, act) in enumerate(self._acts):
            if name == point and self.members[number].loop is self.scheduler.inside:
                del self._acts[place]
                act()
                break
        super().reached(point)

    def at(self, number: int, point: str, act: Callable[[], object]) -> None:
        """Call `act` as code of the member, when it comes to `point` next."""
        self._acts.append((number, point, act))

    def restart(self, number: int, *, power: bool = False) -> None:
        """Crash, and begin anew; with `power` what was not synced is gone."""
        self.members[number].crash(power=power)
        self.start(number)

    def boot(self) -> None:
        """Start every process that does not run."""
        for machine in self.members:
            if not machine.alive:
                self._channels.pop(machine.name, None)
        super().boot()

    def start(self, number: int) -> None:
        """Returns when the member serves."""
        self._channels.pop(self.members[number].name, None)
        self.members[number].boot()
        self.until(lambda: self.members[number].ready)

    def join(self, machine: Machine, *, learner: bool = False) -> int:
        """Add a member, start it, wait until it serves; its number."""
        added = self.ask(0, pb.MemberAddRequest(peerURLs=machine.config.peer_urls, isLearner=learner))
        machine.config = self.joining(machine.config, added.members)
        self.members.append(machine)
        machine.boot()
        self.until(lambda: machine.ready)
        return len(self.members) - 1

    def configure(self, **fields: Any) -> None:
        """Settings of all members, before they run."""
        for machine in self.members:
            machine.config = replace(machine.config, **fields)

    def hear(self, number: int, judge: Callable[[Message], Message | None]) -> Callable[[Message], None]:
        """Have `judge` decide what raft of a member hears: it returns the message, another, or None. What this returns
        has raft hear a message all the same."""
        loop = self.server(number).raft
        plain = self._ears.setdefault(loop, loop.receive)

        def receive(message: Message) -> None:
            heard = judge(message)
            if heard is not None:
                plain(heard)

        loop.receive = receive
        return plain

    def hear_all(self) -> None:
        """Let everybody hear again as members do."""
        for loop, plain in self._ears.items():
            loop.receive = plain
        self._ears.clear()

    def deaf_to_commits(self, number: int) -> None:
        """From here on a member is not told by others that anything more is committed."""
        known = self.server(number).node.raft.log.committed
        self.hear(number, lambda message: replace(message, commit=min(message.commit, known)))

    def hold_back(self, number: int) -> None:
        """Let only what somebody waits for get to a member's database; give `batch_interval` a large number, too."""
        backend = self.server(number).backend
        flush = backend.flush
        backend.flush = lambda done=None: None if done is None else flush(done)

    def lead(self, number: int) -> None:
        """Make a member the leader."""
        leader = self.leader()
        assert leader is not None
        if leader != number:
            self.ask(leader, pb.MoveLeaderRequest(targetID=self.server(number).member_id))
            self.until(lambda: self.leader() == number and self.healthy())

    def lead_elsewhere(self, number: int) -> int:
        """Take a member from the network, until another leads; that one's number."""
        self.network.isolate(self.members[number].name)
        self.until(lambda: self.leader() not in (number, None))
        leader = self.leader()
        assert leader is not None
        return leader

    def part(self, number: int) -> None:
        """Cut a member off from the other members, not from the clients."""
        name = self.members[number].name
        self.network.partition([name], [other for other in self.names if other != name])

    def leave_behind(self, number: int, entries: int = 20) -> None:
        """Part a member from the others, heal that, and let it need what they have forgotten meanwhile."""
        self.part(number)
        self.fill(next(other for other in range(self.size) if other != number), entries)
        for name in self.names:  # what is on its way does not arrive
            if name != self.members[number].name:
                self.network.reset(self.members[number].name, name)
        self.network.heal()

    # What is so.

    def server(self, number: int) -> Server:
        server = self.members[number].server
        assert server is not None, "it does not run"
        return server

    def until(self, condition: Callable[[], object], limit: float = SETTLE_SECONDS) -> None:
        """Raises TimeoutError."""
        try:
            self.scheduler.run_until(condition, limit)
        except TimeoutError:
            _is_empty(deaths(self))
            raise

    def settle(self) -> None:
        """Until everybody has applied the same, has removed what is compacted, and all is on the disks."""
        self.until(lambda: self.healthy() and self.level())
        self.until(lambda: not any(server.store.jobs.compactions for server in self.servers()))
        for machine in self.members:
            if machine.server is not None:
                self.scheduler.run(machine.process.loop, _committed(machine.server))

    def installed(self, number: int) -> int:
        """The index of the snapshot that the member's log begins with."""
        return self.server(number).raft.storage.snapshot().index

    @contextmanager
    def rows(self, number: int) -> Iterator[SimBackend]:
        """What is on the disk of a member that does not run."""
        machine = self.members[number]
        assert not machine.alive
        backend = _rows_room(machine).open(machine.config.snap_dir / "db", schema.BUCKETS)
        yield backend
        backend.commit()
        backend.close()

    def applied_on_disk(self, number: int) -> int:
        with self.rows(number) as backend:
            return schema.get_applied(backend).index

    def log_on_disk(self, number: int) -> wal.WalContents:
        """The log of a member that does not run, from the newest snapshot on that its database has reached."""
        machine = self.members[number]
        files, path = machine.disk.mount(), str(machine.config.wal_path)
        start = wal.newest_snapshot(files, path, self.applied_on_disk(number))
        assert start is not None
        return wal.read_only(files, path, start)

    def judge(self) -> None:
        """Heal everything, start what is down, and look whether all is well."""
        self._acts.clear()
        self.hear_all()
        self.heal()
        _is_empty(deaths(self))
        self.boot()
        self.until(self.healthy)
        self.settle()
        _is_empty(deaths(self) + compare_states(self) + self.scheduler.errors)
        for server in self.servers():
            members_agree_with_raft(server)

    def begin_inside(self, number: int, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin some work of a member."""
        return self._begin(work, self.members[number].process.loop)

    def _begin(self, work: Coroutine[Any, Any, Any], loop: MemberLoop | None = None) -> asyncio.Task[Any]:
        task = (loop or self.client_loop).create_task(work)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # whoever wants to know asks
        return task

    async def _call(self, number: int, request: Any, seconds: float) -> Any:
        path, decode = METHODS[type(request)]
        return decode(await self.channel_to(number).unary(path, request.SerializeToString(), timeout=seconds))

    async def _renew(self, number: int, lease: int) -> int:
        stream = self.channel_to(number).stream(KEEP_ALIVE, timeout=CALL_SECONDS)
        stream.send(pb.LeaseKeepAliveRequest(ID=lease).SerializeToString())
        answer = await stream.receive()
        stream.cancel()
        assert answer is not None
        return pb.LeaseKeepAliveResponse.FromString(answer).TTL


def members_agree_with_raft(server: Server) -> None:
    """The members that a member knows, those that it has stored, and those that raft counts, are the same."""
    stored = Cluster.restore(server.backend, server.cluster_id, server.member_id).members()
    assert stored == server.cluster.members()
    state, tracker = server.state.conf_state, server.node.raft.tracker.membership
    voters = sorted(member.id for member in stored if not member.is_learner)
    learners = sorted(member.id for member in stored if member.is_learner)
    assert (sorted(state.voters), sorted(state.learners)) == (voters, learners)
    assert (sorted(tracker.incoming), sorted(tracker.learners)) == (voters, learners)


def _is_empty(problems: Sequence[object]) -> None:
    assert not problems, problems


async def _committed(server: Server) -> None:
    await server.committed()


def _rows_room(machine: Machine) -> RowsRoom:
    return RowsRoom(machine.disk.mount(), lambda seconds, call: call(), lambda: 0.0)
