"""A simulated cluster: machines with members, a machine with clients, and a network between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from quorate.raft import MAX_SIZE_PER_MESSAGE
from quorate.server import Server, ServerConfig
from quorate.storage.wal import SEGMENT_BYTES
from quorate.testing.sim.disk import Disk
from quorate.testing.sim.invariants import Invariants
from quorate.testing.sim.loop import MemberLoop
from quorate.testing.sim.member import CLIENT_PORT, PEER_PORT, Machine
from quorate.testing.sim.network import Network
from quorate.testing.sim.scheduler import Scheduler
from quorate.testing.sim.tokens import Login, TokenChannel
from quorate.testing.sim.trace import Trace
from quorate.transport.grpc import Channel

CLIENTS = "clients"
LEAST_COST = 4
"""Of bcrypt: passwords that guard nothing."""
HEALTHY_SECONDS = 60.0
"""Virtual seconds that a cluster without faults may take until all members serve and follow one leader."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the members are told, all of them alike; as in ServerConfig and World."""

    snapshot_count: int = 10_000
    catchup_entries: int = 5_000
    heartbeat_interval: float = 0.1
    election_timeout: float = 1.0
    pre_vote: bool = True
    batch_interval: float = 0.1
    batch_limit: int = 10_000
    segment_bytes: int = SEGMENT_BYTES
    message_bytes: int = MAX_SIZE_PER_MESSAGE
    quota_bytes: int = 0
    corrupt_check_time: float = 0.0
    compact_hash_check_time: float = 60.0
    watch_progress_interval: float = 600.0

    @classmethod
    def draw(cls, dice: Random) -> Settings:
        """Anything goes that an operator may set; small numbers, so that much happens in little time."""
        heartbeat = dice.choice((0.05, 0.1, 0.2))
        return cls(
            snapshot_count=dice.choice((5, 20, 100, 1000, 10_000)),
            catchup_entries=dice.choice((1, 10, 100, 5000)),
            heartbeat_interval=heartbeat,
            election_timeout=heartbeat * dice.choice((5, 10, 10, 15)),
            pre_vote=dice.random() < 0.8,
            batch_interval=dice.choice((0.01, 0.1, 0.1, 2.0)),
            batch_limit=dice.choice((1, 100, 10_000)),
            segment_bytes=dice.choice((4096, 16_384, 262_144, SEGMENT_BYTES)),
            message_bytes=dice.choice((200, 2000, MAX_SIZE_PER_MESSAGE, MAX_SIZE_PER_MESSAGE)),
            quota_bytes=dice.choice((0, 0, 0, 300_000, 60_000)),
            corrupt_check_time=dice.choice((0.0, 3.0, 15.0)),
            compact_hash_check_time=dice.choice((1.0, 10.0, 60.0)),
            watch_progress_interval=dice.choice((0.2, 3.0, 600.0)),
        )


@dataclass
class SimCluster:
    """Members are numbered from 0; their machines are called m1, m2 and so on. Everything is off at first."""

    seed: int
    size: int = 3
    settings: Settings = field(default_factory=Settings)
    trace: Trace = field(default_factory=lambda: Trace(keep=False))

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.trace)
        self.network = Network(self.scheduler, Random(f"{self.seed}/network"))
        self.invariants = Invariants()
        self.members: list[Machine] = []
        self._machines = 0
        peers = {f"m{number}": [_peer_url(number)] for number in range(1, self.size + 1)}
        self.members = [self._machine(peers) for _ in range(self.size)]
        self.network.host(CLIENTS, "10.0.1.1")
        self.client_loop: MemberLoop = self.scheduler.member(CLIENTS)
        self.network.host(CLIENTS).attach(self.client_loop)

    def new_machine(self) -> Machine:
        """One for a member that is to join: `joining` tells it of the others, then it takes its place in `members`."""
        return self._machine({f"m{self._machines + 1}": [_peer_url(self._machines + 1)]})

    def joining(self, config: ServerConfig, members: Sequence[Any]) -> ServerConfig:
        """The settings of a member that joins those of an answer to MemberList, itself among them."""
        peers = {member.name or config.name: list(member.peerURLs) for member in members}
        return replace(config, initial_cluster=peers, joining=True)

    def _machine(self, peers: dict[str, list[str]]) -> Machine:
        self._machines += 1
        name, address = f"m{self._machines}", _address(self._machines)
        self.network.host(name, address)
        return Machine(
            self.network,
            _config(self.settings, name, address, peers),
            Disk(Random(f"{self.seed}/{name}/disk")),
            str(self.seed),
            self.invariants.observe,
            self.invariants.begins,
            self.settings.segment_bytes,
            self.settings.message_bytes,
        )

    @property
    def names(self) -> list[str]:
        return [machine.name for machine in self.members]

    def boot(self) -> None:
        """Start every process that does not run."""
        for machine in self.members:
            machine.boot()

    def running(self) -> list[int]:
        """Members that live."""
        return [number for number, machine in enumerate(self.members) if machine.alive]

    def servers(self) -> list[Server]:
        return [machine.server for machine in self.members if machine.server is not None]

    def leader(self) -> int | None:
        """Who leads with the highest term, as far as it knows itself."""
        leading = [
            (server.term, number)
            for number, machine in enumerate(self.members)
            if (server := machine.server) is not None and server.is_leader
        ]
        return max(leading)[1] if leading else None

    def healthy(self) -> bool:
        """All members serve and follow one leader."""
        leaders = {machine.server.leader_id if machine.server else 0 for machine in self.members if not machine.removed}
        ready = all(machine.ready or machine.removed for machine in self.members)
        return ready and len(leaders) == 1 and 0 not in leaders

    def level(self) -> bool:
        """All members have applied the same entries."""
        return len({server.applied_index for server in self.servers()}) == 1 and all(
            server.applied_index == server.committed_index for server in self.servers()
        )

    def wait_healthy(self, limit: float = HEALTHY_SECONDS) -> None:
        """Raises TimeoutError."""
        self.scheduler.run_until(self.healthy, limit)

    def heal(self) -> None:
        """Undo all that is wrong with network, disks and processes; what is dead stays dead."""
        self.network.heal()
        every = [*self.names, CLIENTS]
        for name in every:
            for other in every:
                link = self.network.link(name, other)
                link.latency = (0.00005, 0.0001) if name == other else (0.0002, 0.001)
                link.loss, link.bandwidth = 0.0, None
        for machine in self.members:
            faults = machine.disk.faults
            faults.write_error = faults.sync_error = faults.slow_sync = 0.0
            faults.capacity = None
            machine.disk.tell_the_truth()
            machine.doom = None
            machine.echo.chance = 0.0
            if machine.process is not None:
                machine.process.loop.resume()
                if machine.alive:
                    machine.process.loop.set_clock_rate(1.0)

    def reached(self, point: str) -> None:
        """Some code is at a crash point. Raises Crashed if its process dies there."""
        for machine in self.members:
            if machine.doom is not None and machine.loop is self.scheduler.inside:
                machine.reach(point)

    def channel(self, number: int, login: Login | None = None) -> Channel:
        """From the clients' machine to a member, as a user if `login` is given."""
        address = _address(number + 1)
        return Channel(address, CLIENT_PORT) if login is None else TokenChannel(address, CLIENT_PORT, login)

    def close(self) -> None:
        self.scheduler.close()


def _address(number: int) -> str:
    return f"10.0.0.{number}"


def _peer_url(number: int) -> str:
    return f"http://{_address(number)}:{PEER_PORT}"


def _config(settings: Settings, name: str, address: str, peers: dict[str, list[str]]) -> ServerConfig:
    return ServerConfig(
        name=name,
        data_dir=Path("data"),
        initial_cluster=peers,
        advertise_client_urls=[f"http://{address}:{CLIENT_PORT}"],
        peer_urls=peers[name],
        snapshot_count=settings.snapshot_count,
        snapshot_catchup_entries=settings.catchup_entries,
        heartbeat_interval=settings.heartbeat_interval,
        election_timeout=settings.election_timeout,
        pre_vote=settings.pre_vote,
        backend_batch_interval=settings.batch_interval,
        backend_batch_limit=settings.batch_limit,
        quota_backend_bytes=settings.quota_bytes,
        corrupt_check_time=settings.corrupt_check_time,
        compact_hash_check_time=settings.compact_hash_check_time,
        watch_progress_interval=settings.watch_progress_interval,
        bcrypt_cost=LEAST_COST,
    )
