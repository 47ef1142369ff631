"""A cluster of members as child processes: Quorate, real etcd, or both together.

    with Cluster(place, [QUORATE, QUORATE, (etcd,)], proxied=True) as cluster:
        cluster.start()
        cluster.kill(cluster.leader())

Members are called by their number, 0 and up, in the order in which they were made; a removed one keeps its number.
Everything that waits has a bound and raises TimeoutError. With `proxied`, peers reach each other through
`quorate.testing.proxy`, and `cut` and `heal` work; each member then advertises the port of its proxy.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from ssl import SSLContext
from types import TracebackType
from typing import Any, TypeVar

from google.protobuf.message import Message

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import methods
from quorate.testing.background import Background
from quorate.testing.process import QUORATE, Command, MemberProcess, free_port
from quorate.testing.proxy import Network
from quorate.transport.grpc import Channel, Status

T = TypeVar("T")

PATIENCE = 30.0
POLL_SECONDS = 0.05
CALL_SECONDS = 5.0
ASK_SECONDS = 1.0
TOKEN = "test-cluster"

METHODS = {request: (method.path, method.decode) for request, method in methods.METHODS.items()}
"""Path and decoder by the class of the request."""


class ClusterMember(MemberProcess):
    """A member that can be stopped in its tracks, and that its peers reach at `advertised_url`."""

    def __init__(self, data_dir: Path, *, advertised_port: int | None, ssl: SSLContext | None, **more: Any) -> None:
        super().__init__(data_dir, client_scheme="http" if ssl is None else "https", **more)
        self.advertised_port = advertised_port or self.peer_port
        self.ssl = ssl
        self.paused = False
        self.removed = False
        self.channel = Channel("127.0.0.1", self.client_port, ssl=ssl)

    @property
    def advertised_url(self) -> str:
        return f"{self.peer_scheme}://127.0.0.1:{self.advertised_port}"

    @property
    def awake(self) -> bool:
        return not self.paused and self.alive()

    def pause(self) -> None:
        """SIGSTOP: it does nothing from now on, its sockets stay."""
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        if self.paused and self.alive():
            os.kill(self.pid, signal.SIGCONT)
        self.paused = False

    def stop(self, timeout: float = 15.0) -> int:
        self.resume()
        return super().stop(timeout)

    def kill(self) -> int:
        self.paused = False
        return super().kill()


class Cluster:
    """Members with one data directory each under `place`, and what is asked of all of them together.

    With `ssl` they are asked over TLS, with `peer_scheme` https they talk over it; certificates are in `flags`."""

    def __init__(
        self,
        place: Path,
        commands: Sequence[Command] = (QUORATE, QUORATE, QUORATE),
        *,
        flags: Sequence[str] = (),
        proxied: bool = False,
        token: str = TOKEN,
        ssl: SSLContext | None = None,
        peer_scheme: str = "http",
    ) -> None:
        self.place = place
        self._ssl = ssl
        self._peer_scheme = peer_scheme
        self.flags = list(flags)
        self.background = Background("cluster")
        self.network: Network | None = None
        self.members: list[ClusterMember] = []
        self._token = token
        if proxied:
            self.network = self.background.run(_network(self._pids))
        for command in commands:
            self._make(command)
        everyone = ",".join(f"{member.name}={member.advertised_url}" for member in self.members)
        for member in self.members:
            member.flags += self._join_flags(member, everyone, "new")

    # Life of members.

    def start(self, timeout: float = PATIENCE) -> None:
        """Start all at the same time and wait until they serve and agree on a leader. Raises StartFailed."""
        for member in self.members:
            member.spawn()
        for member in self.members:
            member.wait_ready(timeout)
        self.wait_healthy(timeout)

    def kill(self, number: int) -> None:
        """SIGKILL."""
        self.members[number].kill()

    def stop(self, number: int) -> None:
        """SIGTERM and wait."""
        self.members[number].stop()

    def restart(self, number: int, timeout: float = PATIENCE, command: Command | None = None) -> None:
        """Start a member that is down, by another command if one is given; returns when it serves."""
        self.spawn(number, command)
        self.members[number].wait_ready(timeout)

    def spawn(self, number: int, command: Command | None = None) -> None:
        """Start a member that is down, without waiting for anything."""
        member = self.members[number]
        member.command = command or member.command
        member.spawn()

    def add(self, command: Command = QUORATE, *, learner: bool = False, start: bool = True) -> int:
        """Add a member to the running cluster and start it. Returns its number. Raises Status of the refusal."""
        self._make(command)
        new = self.members[-1]
        request = pb.MemberAddRequest(peerURLs=[new.advertised_url], isLearner=learner)
        try:
            found = self.ask_any(request).members
        except BaseException:
            self.members.pop()
            raise
        everyone = ",".join(
            f"{member.name or new.name}={url}" for member in found for url in member.peerURLs if member.peerURLs
        )
        new.flags += self._join_flags(new, everyone, "existing")
        if start:
            self.restart(len(self.members) - 1)
        return len(self.members) - 1

    def remove(self, number: int) -> None:
        """Take a member out of the cluster; its process ends by itself or is killed."""
        member_id = self.member_id(number)
        self.members[number].removed = True
        self.ask_any(pb.MemberRemoveRequest(ID=member_id))

    def close(self) -> None:
        for member in self.members:
            member.kill()
        self.background.run(self._close(), 10.0)
        self.background.close()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    # The network.

    def cut(self, ways: Iterable[tuple[int, int]]) -> None:
        """Nothing passes from the first to the second member of each pair until `heal`."""
        assert self.network is not None, "made without proxies"
        names = [(self.members[source].name, self.members[target].name) for source, target in ways]
        self.background.run(self.network.cut(names))

    def isolate(self, numbers: Iterable[int]) -> None:
        """These members see each other, and nobody else sees them or is seen by them."""
        inside = set(numbers)
        outside = set(self.running()) - inside
        self.cut(pair for a, b in itertools.product(inside, outside) for pair in ((a, b), (b, a)))

    def heal(self) -> None:
        """Undo all cuts."""
        assert self.network is not None, "made without proxies"
        self.background.run(self.network.heal())

    # Questions.

    def running(self) -> list[int]:
        """Members that are neither down, nor paused, nor removed."""
        return [n for n, member in enumerate(self.members) if member.awake and not member.removed]

    def ask(self, number: int, request: Message, timeout: float = CALL_SECONDS) -> Any:
        """One call to one member. Raises Status."""
        path, decode = METHODS[type(request)]
        work = self.members[number].channel.unary(path, request.SerializeToString(), timeout=timeout)
        return decode(self.background.run(work, timeout + 5.0))

    def ask_any(self, request: Message, timeout: float = PATIENCE) -> Any:
        """Ask one running member after the other until one answers; a refusal that says nothing of time is final."""

        def attempt() -> Any:
            for number in self.running():
                try:
                    return self.ask(number, request)
                except Status as status:
                    if status.code not in PASSING:
                        raise
            return None

        return wait_for(attempt, timeout, f"nobody answers {type(request).__name__}")

    def status(self, number: int) -> Any:
        """StatusResponse, or None when the member does not answer."""
        try:
            return self.ask(number, pb.StatusRequest(), ASK_SECONDS)
        except Status:
            return None

    def member_id(self, number: int) -> int:
        """The ID of a member that is in the cluster and has started at least once."""
        name = self.members[number].name
        for member in self.ask_any(pb.MemberListRequest()).members:
            if member.name == name:
                return int(member.ID)
        raise KeyError(f"no member is called {name}")

    def find_leader(self) -> int | None:
        """The leader that a majority of the running members agrees on, if there is one now."""
        running = self.running()
        found = {number: status for number in running if (status := self.status(number)) is not None}
        for number, status in found.items():
            own = status.header.member_id
            if status.leader == own:
                followers = sum(s.leader == own and s.raftTerm == status.raftTerm for s in found.values())
                if 2 * followers > len(running):
                    return number
        return None

    def leader(self, timeout: float = PATIENCE) -> int:
        """Wait until there is one."""
        return int(wait_for(lambda: _boxed(self.find_leader()), timeout, "no leader")[0])

    def followers(self) -> list[int]:
        leader = self.leader()
        return [number for number in self.running() if number != leader]

    def move_leader(self, number: int, timeout: float = PATIENCE) -> None:
        """Make this member the leader."""
        target = self.member_id(number)

        def moved() -> bool:
            leader = self.leader(timeout)
            if leader == number:
                return True
            try:
                self.ask(leader, pb.MoveLeaderRequest(targetID=target))
            except Status:
                time.sleep(POLL_SECONDS)
            return False

        wait_for(moved, timeout, f"member {number} does not become leader")

    def wait_healthy(self, timeout: float = PATIENCE) -> None:
        """Every running member answers a linearizable get; so there is a leader and all of them hear it."""
        deadline = time.monotonic() + timeout
        for number in self.running():
            while not self.serves(number, max(0.1, min(ASK_SECONDS, deadline - time.monotonic()))):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"member {number} does not serve\n{self.members[number].log()[-3000:]}")
                if not self.members[number].alive():
                    raise AssertionError(f"member {number} has ended\n{self.members[number].log()[-3000:]}")

    def serves(self, number: int, timeout: float = ASK_SECONDS) -> bool:
        """Whether the member answers a linearizable get in time."""
        try:
            self.ask(number, pb.RangeRequest(key=b"\0", limit=1), timeout)
        except Status:
            time.sleep(POLL_SECONDS)
            return False
        return True

    def revisions(self) -> list[int]:
        """The revision that each running member has applied."""
        request = pb.RangeRequest(key=b"\0", limit=1, serializable=True)
        return [self.ask(number, request).header.revision for number in self.running()]

    def wait_level(self, timeout: float = PATIENCE) -> int:
        """Wait until all running members stand at the same revision, and return it. Nobody may write meanwhile."""

        def level() -> int:
            found = set(self.revisions())
            return found.pop() if len(found) == 1 else 0

        return wait_for(level, timeout, "the members do not reach one revision")

    def hashes(self, revision: int = 0) -> dict[int, tuple[int, int]]:
        """HashKV of every running member: hash and compacted revision."""
        found = {}
        for number in self.running():
            answer = self.ask(number, pb.HashKVRequest(revision=revision), PATIENCE)
            found[number] = (answer.hash, answer.compact_revision)
        return found

    def log(self) -> str:
        """The tail of every member's log."""
        return "\n".join(f"--- {member.name}\n{member.log()[-2000:]}" for member in self.members)

    def _make(self, command: Command) -> None:
        number = len(self.members)
        port = free_port() if self.network is not None else None
        member = ClusterMember(
            self.place / f"m{number}.data",
            command=command,
            name=f"m{number}",
            flags=self.flags,
            advertised_port=port,
            ssl=self._ssl,
            peer_scheme=self._peer_scheme,
        )
        self.members.append(member)
        if self.network is not None and port is not None:
            self.background.run(self.network.listen(member.name, port, member.peer_port))

    def _join_flags(self, member: ClusterMember, everyone: str, state: str) -> list[str]:
        return [
            f"--initial-advertise-peer-urls={member.advertised_url}",
            f"--initial-cluster={everyone}",
            f"--initial-cluster-state={state}",
            f"--initial-cluster-token={self._token}",
        ]

    def _pids(self) -> dict[str, int]:
        return {member.name: member.pid for member in self.members if member.alive()}

    async def _close(self) -> None:
        for member in self.members:
            await member.channel.close()
        if self.network is not None:
            await self.network.close()


PASSING = (1, 2, 4, 14)
"""Codes of refusals that may pass with time: Cancelled, Unknown (a dropped proposal), DeadlineExceeded, Unavailable."""


def wait_for(condition: Callable[[], T | None], timeout: float, what: str) -> T:
    """Poll until the result is true, and return it. Raises TimeoutError."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} after {timeout} s")
        time.sleep(POLL_SECONDS)
    return found


def _boxed(number: int | None) -> tuple[int] | None:
    return None if number is None else (number,)


async def _network(pids: Callable[[], dict[str, int]]) -> Network:
    return Network(pids)
