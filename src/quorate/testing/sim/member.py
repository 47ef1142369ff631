"""A simulated machine with a member on it: production code from the listeners down to the log, on one disk.

    boot ──► process: loop, mount of the disk, Server, listeners ──► crash or power loss ──► boot, on what the disk has

Peers are served first, clients last, as `quorate.embed` does it. A member that cannot go on ends its process; whoever
plays the operator starts it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from quorate.api.raftpb import ConfState, Message, MessageType
from quorate.etcdhttp import ClientHandler, Metrics, PeerHandler
from quorate.raft import MAX_SIZE_PER_MESSAGE
from quorate.server import Server, ServerConfig
from quorate.server.join import BootstrapError
from quorate.server.peers import MemberRemoved
from quorate.server.world import World
from quorate.storage.wal import SEGMENT_BYTES, WAL, WalWriter
from quorate.testing.sim.disk import Crashed, Disk
from quorate.testing.sim.log_writer import SimWalWriter
from quorate.testing.sim.loop import MemberLoop
from quorate.testing.sim.network import Network
from quorate.testing.sim.rows import RowsRoom
from quorate.transport.grpc import GrpcServer, ServerLimits
from quorate.transport.mux import serve
from quorate.transport.web import HttpRequest, HttpResponse, text_response
from quorate.v3rpc import build_methods

PEER_PORT = 2380
CLIENT_PORT = 2379
STREAMED_PATHS = frozenset({"/raft/snapshot"})


@dataclass(slots=True)
class Process:
    """One life of a member."""

    loop: MemberLoop
    server: Server | None = None
    ready: bool = False
    failure: BaseException | None = None
    """Why it could not go on."""


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended by itself. It was `expected` when its disk had been told to fail or had rotten bits, when it
    was to join and did not find the others, and when somebody removed it."""

    time: float
    name: str
    failure: BaseException
    expected: bool


AT_CHANGE = "change of members"


@dataclass(slots=True)
class Doom:
    """Where the process is to die: when it has passed `point` so many times; any operation of the disk if "", the turn
    in which a change of the members is applied if AT_CHANGE. With `power` the machine goes off with it."""

    point: str
    passes: int
    power: bool


@dataclass(slots=True)
class Echo:
    """How often a message of another member is heard a second time, and how many seconds later at most: as when a
    connection broke behind it and it was sent again."""

    dice: Random
    chance: float = 0.0
    seconds: float = 0.0


NEVER_REPEATED = frozenset({MessageType.PROP, MessageType.SNAP})
"""What is asked for is not asked for twice, nor is a database sent twice, by any member."""


@dataclass
class Machine:
    """`observe(server)` is called at the end of every turn of raft, and once at the begin of each life."""

    network: Network
    config: ServerConfig
    disk: Disk
    seed: str
    observe: Callable[[Server], None]
    begins: Callable[[Server], None]
    segment_bytes: int = SEGMENT_BYTES
    message_bytes: int = MAX_SIZE_PER_MESSAGE
    """Those of its world."""
    deaths: list[Death] = field(default_factory=list)
    lives: int = 0
    process: Process | None = None
    member_id: int = 0
    """Known once it has started."""
    doom: Doom | None = None
    echo: Echo = field(init=False)
    rotten: bool = False
    """Bits of its log have changed: it must not start on that."""
    leaving: bool = False
    """Somebody has asked for it to be removed from the cluster."""
    removed: bool = False
    """It was, and is off for good."""
    disk_failed: bool = False
    """The disk has been told to fail in this life of the process."""
    _members: ConfState | None = None
    """Those that it counted with at the end of its last turn."""

    def __post_init__(self) -> None:
        self.echo = Echo(Random(f"{self.seed}/{self.name}/echo"))

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def alive(self) -> bool:
        return self.process is not None and not self.process.loop.is_closed()

    @property
    def loop(self) -> MemberLoop | None:
        """That of the process that lives."""
        return self.process.loop if self.process is not None and self.alive else None

    @property
    def server(self) -> Server | None:
        """That of the process that lives, once it has read its disk."""
        return self.process.server if self.process is not None and self.alive else None

    @property
    def ready(self) -> bool:
        """It lives and serves clients."""
        return self.process is not None and self.alive and self.process.ready

    def boot(self) -> None:
        """Start a process, unless there is one."""
        if self.alive or self.removed:
            return
        self.lives += 1
        self._members = None
        loop = self.network.scheduler.member(self.name)
        self.network.host(self.name).attach(loop)
        self.process = process = Process(loop)
        self.disk_failed = self._disk_fails()
        self.disk.hook = self._at_disk
        loop.create_task(self._run(process))

    def crash(self, *, power: bool = False) -> None:
        """End the process at once; with `power`, what was not synced goes with it."""
        if self.process is None or not self.alive:
            return
        self.process.loop.crash(power=power)
        if power:
            self.disk.power_loss()
        else:
            self.disk.crash()
        self.doom = None

    def retire(self) -> None:
        """Its member is removed: end it."""
        self.removed = True
        self.crash()

    def reach(self, point: str) -> None:
        """The process is at a crash point. Raises Crashed if that is where it dies."""
        if self._dies_at(point):
            self.disk.crash()
            raise Crashed(point)

    # Inside.

    def _world(self, loop: MemberLoop) -> World:
        mount = self.disk.mount()
        rows = RowsRoom(mount, loop.call_later, loop.time)

        def make_writer(wal: WAL) -> WalWriter:
            return SimWalWriter(wal, mount, loop.call_later, loop.block)

        return World(
            files=mount,
            rng=Random(f"{self.seed}/{self.name}/{self.lives}"),
            secrets=Random(f"{self.seed}/{self.name}/{self.lives}/secrets"),
            open_backend=rows.open,
            load=rows.load,
            segment_bytes=self.segment_bytes,
            message_bytes=self.message_bytes,
            make_writer=make_writer,
        )

    async def _run(self, process: Process) -> None:
        try:
            await self._start(process)
        except Exception as error:
            self._fail(process, error)

    async def _start(self, process: Process) -> None:
        host = self.network.host(self.name)
        handler: PeerHandler | None = None

        async def peers(request: HttpRequest) -> HttpResponse:
            return text_response(503, "member is starting") if handler is None else await handler(request)

        await serve(host.bind(PEER_PORT), None, peers, streamed=STREAMED_PATHS)
        server = await Server.open(
            self.config, process.loop, lambda error: self._fail(process, error), self._world(process.loop)
        )
        process.server = server
        self.member_id = server.member_id
        self._let_echo(process.loop, server)
        self.begins(server)
        server.raft.turn_ended = lambda: self._turn_ended(server)
        handler = PeerHandler(server)
        server.start()
        await server.ready()
        grpc = GrpcServer(build_methods(server), ServerLimits(max_receive_message=self.config.max_message_bytes))

        def turn_ended() -> None:
            self._turn_ended(server)
            grpc.flush()

        server.raft.turn_ended = turn_ended
        await serve(host.bind(CLIENT_PORT), grpc, ClientHandler(server, Metrics(server, grpc.tallies)))
        process.ready = True
        process.loop.note("ready")

    def _turn_ended(self, server: Server) -> None:
        """Of raft. What it tells others of a change it has applied leaves, even if it dies of it."""
        self.observe(server)
        before, self._members = self._members, server.state.conf_state
        if before not in (None, self._members) and self.doom is not None and self.doom.point == AT_CHANGE:
            scheduler, power = self.network.scheduler, self.doom.power
            scheduler.at(scheduler.now, lambda: self.crash(power=power))

    def _fail(self, process: Process, error: BaseException) -> None:
        """The process ends, as its `main` would let it."""
        if process.failure is not None or process.loop.is_closed():
            return
        process.failure = error
        process.loop.note(f"fails: {error!r}")
        scheduler = self.network.scheduler
        is_out = isinstance(error, MemberRemoved) or "permanently removed" in str(error)
        # Who is asked for the members may be behind, or nobody may be there; whoever starts a member tries again.
        finds_nobody = isinstance(error, BootstrapError) and not self.member_id and self.config.joining
        expected = self.disk_failed or self.rotten or finds_nobody or (self.leaving and is_out)
        self.deaths.append(Death(scheduler.now, self.name, error, expected))
        scheduler.at(scheduler.now, self._end, process)

    def _end(self, process: Process) -> None:
        if self.process is process:
            self.crash()

    def _disk_fails(self) -> bool:
        faults = self.disk.faults
        return faults.write_error > 0 or faults.sync_error > 0 or faults.capacity is not None

    def _at_disk(self, operation: str, path: str) -> None:
        self.disk_failed = self.disk_failed or self._disk_fails()
        point = "walBeforeSync" if operation == "sync" and path.endswith(".wal") else operation
        if self._dies_at(point, f"{operation} {path.rpartition('/')[2]}"):
            raise Crashed(f"{operation} {path}")

    def _dies_at(self, point: str, where: str = "") -> bool:
        """End the process here, if so it is doomed. What its disk makes of it comes next."""
        doom, process = self.doom, self.process
        if doom is None or doom.point not in (point, "" if where else point) or process is None:
            return False
        doom.passes -= 1
        if doom.passes >= 0:
            return False
        self.doom = None
        process.loop.note(f"dies at {where or point}")
        process.loop.crash(power=doom.power)
        if doom.power:
            scheduler = self.network.scheduler
            scheduler.at(scheduler.now, self.disk.power_loss)
        return True

    def _let_echo(self, loop: MemberLoop, server: Server) -> None:
        hear, echo = server.raft.receive, self.echo

        def receive(message: Message) -> None:
            hear(message)
            if echo.chance and message.type not in NEVER_REPEATED and echo.dice.random() < echo.chance:
                loop.call_later(echo.dice.uniform(0.0, echo.seconds), hear, replace(message))

        server.raft.receive = receive  # type: ignore[method-assign]
