"""What a chapter for several members is told with: a cluster of three and etcdctl; and clusters for many chapters."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e_ctl import Ctl
from e2e_guard import Guard, Keys, as_root, start_guarded
from e2e_rpc import Client, wait_until

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster
from quorate.testing.process import Command, MemberProcess

GUARDED = Guard(tls=True, auth=True)
PATIENCE = 30.0
FLAGS = ("--heartbeat-interval=100", "--election-timeout=1000", "--unsafe-no-fsync", "--bcrypt-cost=4")


@dataclass
class Play:
    """A cluster of three, and etcdctl pointed at member 0, which leads."""

    cluster: Cluster
    ctl: Ctl
    keys: Keys | None = None
    """Of a guarded cluster."""
    made: list[MemberProcess] = field(default_factory=list)

    def at(self, *numbers: int) -> str:
        """The flag that points at these members."""
        return "--endpoints=" + ",".join(self.cluster.members[number].endpoint for number in numbers)

    def promoter(self, number: int) -> str:
        """The flag that points at who is to promote: with auth on, a follower of 3.5.1 asks the leader for nobody."""
        return self.at(0 if self.keys else number)

    def member(self, name: str) -> MemberProcess:
        """One more, not started; its addresses have words from now on."""
        scheme = "https" if self.keys else "http"
        place = Path(tempfile.mkdtemp(dir=self.cluster.place)) / f"{name}.data"
        command = self.cluster.members[0].command
        made = MemberProcess(place, command=command, name=name, client_scheme=scheme, peer_scheme=scheme)
        self.made.append(made)
        self.ctl.name_addresses(made, f"-{name}")
        return made

    def start(self, new: MemberProcess) -> None:
        """Start one that was added to the cluster."""
        peers = ",".join(f"{member.name}={member.peer_url}" for member in (*self.cluster.members, new))
        new.flags = [f"--initial-cluster={peers}", "--initial-cluster-state=existing", *self.cluster.flags]
        new.start()

    def close(self) -> None:
        """End the members that were made."""
        for member in self.made:
            member.kill()


class Stage:
    """A guarded cluster of three on which many chapters play, one after the other."""

    def __init__(self, place: Path, keys: Keys, command: Command) -> None:
        self._place = place
        self.keys = keys
        self.cluster, self.connect = start_guarded(self._start, GUARDED, keys, command, 3, FLAGS)
        self.clients: list[Client] = []
        self.enter()

    def enter(self) -> None:
        """Log in anew: who turns auth off makes tokens worthless."""
        self._leave()
        self.connect = as_root(self.cluster.members[0].endpoint, self.keys.connect)
        self.clients = [Client(member.endpoint, self.connect) for member in self.cluster.members]

    def _leave(self) -> None:
        for client in self.clients:
            client.close()

    def _start(self, command: Command, *, size: int, **more: Any) -> Cluster:
        made = Cluster(self._place, [command] * size, **more)
        try:
            made.start()
        except BaseException:
            made.close()
            raise
        return made

    def clear(self) -> int:
        """Have member 0 lead, and no keys and leases. Returns the revision."""
        assert wait_until(self._lead, PATIENCE, 0.05), "member 0 does not become the leader"
        for lease in self._call("LeaseLeases", pb.LeaseLeasesRequest()).leases:
            self._call("LeaseRevoke", pb.LeaseRevokeRequest(ID=lease.ID))
        return int(self._call("DeleteRange", pb.DeleteRangeRequest(key=b"\0", range_end=b"\0")).header.revision)

    def reach(self, revision: int) -> None:
        """Have the store empty, with no history but a deletion, and at this revision, on every member."""
        while self._call("Put", pb.PutRequest(key=b"k")).header.revision < revision - 3:
            pass
        self._call("DeleteRange", pb.DeleteRangeRequest(key=b"k"))
        self._call("Put", pb.PutRequest(key=b"z"))  # so that the compacted revision is no deletion: see divergence.md
        self._call("Compact", pb.CompactionRequest(revision=revision - 1, physical=True))
        self._call("DeleteRange", pb.DeleteRangeRequest(key=b"z"))
        for client in self.clients:
            there = wait_until(lambda client=client: _revision(client) == revision)  # type: ignore[misc]
            assert there, f"{self._place.name}: {client.endpoint} is at {_revision(client)}, not at {revision}"

    def leader(self) -> int | None:
        """Number of the member that all who answer take for the leader, if there is one."""
        answers = [client.call("Status", pb.StatusRequest()).message for client in self.clients]
        own = [status.header.member_id if status else 0 for status in answers]
        found = {status.leader for status in answers if status}
        return own.index(*found) if len(found) == 1 and found <= set(own) - {0} else None

    def _lead(self) -> bool:
        """Whether member 0 leads; who leads now is told to let it."""
        leader = self.leader()
        if leader:
            target = self.clients[0].call("Status", pb.StatusRequest()).message.header.member_id
            self.clients[leader].call("MoveLeader", pb.MoveLeaderRequest(targetID=target))
        return leader == 0

    def play(self, binary: Path, first: int) -> Play:
        members = self.cluster.members
        ctl = Ctl(binary, members[0], members[1:], self.keys.ctl_flags(), self.connect, first)
        return Play(self.cluster, ctl, self.keys)

    def close(self) -> None:
        self._leave()
        self.cluster.close()

    def _call(self, name: str, request: Any) -> Any:
        answer = self.clients[0].call(name, request)
        assert answer.ok, answer
        return answer.message


def _revision(client: Client) -> int:
    """Of the store; 0 when the member does not answer."""
    answer = client.get(b"k")
    return answer.message.header.revision if answer.ok else 0


def set_stages(place: Path, commands: Sequence[Command]) -> list[Stage]:
    """Guarded clusters by these commands, with the same certificates."""
    keys = Keys(place / "keys")
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda n: Stage(place / f"stage-{n}", keys, commands[n]), range(len(commands))))


def level(stages: Sequence[Stage]) -> int:
    """Have all stages entered, empty and at one revision, and return it."""
    for stage in stages:
        stage.enter()
    revision = max(stage.clear() for stage in stages) + 4
    for stage in stages:
        stage.reach(revision)
    return revision
