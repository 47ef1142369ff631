"""A simulated machine with a member on it: production code from the listeners down to the log, on one disk.

    boot ──► process: loop, mount of the disk, Server, listeners ──► crash or power loss ──► boot, on what the disk has

Peers are served first, clients last, as `quorate.embed` does it. A member that cannot go on ends its process; whoever
plays the operator starts it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from quorate.etcdhttp import ClientHandler, PeerHandler
from quorate.server import Server, ServerConfig
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
    """A process that ended by itself. It was `expected` when its disk had been told to fail, or somebody removed it."""

    time: float
    name: str
    failure: BaseException
    expected: bool


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
    """Size of a segment of the log."""
    deaths: list[Death] = field(default_factory=list)
    lives: int = 0
    process: Process | None = None
    crash_after: int | None = None
    """Operations of the disk until the process dies in the middle of one."""
    crash_with_power: bool = False
    leaving: bool = False
    """Somebody has asked for it to be removed from the cluster."""
    removed: bool = False
    """It was, and is off for good."""
    disk_failed: bool = False
    """The disk has been told to fail in this life of the process."""

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def alive(self) -> bool:
        return self.process is not None and not self.process.loop.is_closed()

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
        self.crash_after = None

    def retire(self) -> None:
        """Its member is removed: end it."""
        self.removed = True
        self.crash()

    # Inside.

    def _world(self, loop: MemberLoop) -> World:
        mount = self.disk.mount()
        rows = RowsRoom(mount, loop.call_later, loop.time)

        def make_writer(wal: WAL) -> WalWriter:
            return SimWalWriter(wal, mount, loop.call_later, loop.block)

        return World(
            files=mount,
            rng=Random(f"{self.seed}/{self.name}/{self.lives}"),
            open_backend=rows.open,
            load=rows.load,
            segment_bytes=self.segment_bytes,
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
        self.begins(server)
        server.raft.turn_ended = lambda: self.observe(server)
        handler = PeerHandler(server)
        server.start()
        await server.ready()
        grpc = GrpcServer(build_methods(server), ServerLimits(max_receive_message=self.config.max_message_bytes))

        def turn_ended() -> None:
            self.observe(server)
            grpc.flush()

        server.raft.turn_ended = turn_ended
        await serve(host.bind(CLIENT_PORT), grpc, ClientHandler(server))
        process.ready = True
        process.loop.note("ready")

    def _fail(self, process: Process, error: BaseException) -> None:
        """The process ends, as its `main` would let it."""
        if process.failure is not None or process.loop.is_closed():
            return
        process.failure = error
        process.loop.note(f"fails: {error!r}")
        scheduler = self.network.scheduler
        is_out = isinstance(error, MemberRemoved) or "permanently removed" in str(error)
        expected = self.disk_failed or (self.leaving and is_out)
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
        if self.crash_after is None:
            return
        self.crash_after -= 1
        if self.crash_after < 0:
            process, power = self.process, self.crash_with_power
            self.crash_after = None
            assert process is not None
            process.loop.note(f"dies in {operation} {path.rpartition('/')[2]}")
            process.loop.crash(power=power)
            if power:
                scheduler = self.network.scheduler
                scheduler.at(scheduler.now, self.disk.power_loss)
            raise Crashed(f"{operation} {path}")
