"""The two that are compared, and a running cluster of either: where it is, what it costs."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import summary

from quorate.cmd.benchmark.fleet import Fleet
from quorate.cmd.benchmark.plan import Plan
from quorate.testing.certificates import Authority, Issued
from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE, Command, real_binary

SIDES = ("etcd", "quorate")
QUOTA = "--quota-backend-bytes=34359738368"
FLAGS = ("--log-level=warn", QUOTA)
TLS_FLAGS = ("--log-level=info", QUOTA)
"""A member with TLS is known to serve by its log."""


@dataclass(frozen=True)
class Topology:
    """How many members, and whether everything is encrypted, with certificates on both sides."""

    name: str
    members: int
    tls: bool

    def __str__(self) -> str:
        text = "one member" if self.members == 1 else f"{self.members} members"
        return f"{text}, TLS" if self.tls else text


TOPOLOGIES = {
    topology.name: topology
    for topology in (
        Topology("one", 1, False),
        Topology("three", 3, False),
        Topology("one-tls", 1, True),
        Topology("three-tls", 3, True),
    )
}


def command_of(side: str) -> Command:
    """What starts a member of this side. Raises SystemExit where real etcd is not installed."""
    if side == "quorate":
        return QUORATE
    binary = real_binary("etcd")
    if binary is None:
        raise SystemExit("real etcd is not here: install the development requirements")
    return (str(binary),)


def version_of(side: str) -> str:
    """The first line of --version, or what Quorate calls itself."""
    if side == "quorate":
        from quorate.version import QUORATE_VERSION

        return QUORATE_VERSION
    printed = subprocess.run([*command_of(side), "--version"], capture_output=True, text=True, check=True).stdout
    return printed.splitlines()[0].rpartition(" ")[2]


@dataclass
class Site:
    """A running cluster of one side."""

    side: str
    cluster: Cluster
    authority: Authority | None = None
    issued: Issued | None = None

    def plan(self, command: str, settings: dict[str, Any], where: str = "all", **more: Any) -> Plan:
        """A plan against the leader only, or against all members in turn."""
        numbers = [self.cluster.leader()] if where == "leader" else self.cluster.running()
        endpoints = [self.cluster.members[number].client_url for number in numbers]
        if self.issued is not None and self.authority is not None:
            more |= {"ca": self.authority.ca, "cert": self.issued.cert, "key": self.issued.key}
        return Plan(command, endpoints, settings, **more)

    def cpu(self) -> float:
        """Seconds of CPU of all members so far."""
        return sum(member.cpu_seconds() for member in self.cluster.members)

    def rss(self) -> float:
        """Megabytes of memory of the largest member."""
        return max(member.rss_bytes() for member in self.cluster.members) / 1e6

    def anonymous(self) -> float:
        """The part of it that is not pages of the database file, which the kernel may drop."""
        status = (Path(f"/proc/{member.pid}/status").read_text() for member in self.cluster.members)
        return max(int(text.partition("RssAnon:")[2].split()[0]) for text in status) / 1e3

    def measure(self, plan: Plan, section: str = "", processes: int = 1) -> dict[str, Any]:
        """Carry a plan out. Raises LoadFailed."""
        with Fleet(plan, processes) as fleet:
            cpu = self.cpu()
            outcome = fleet.run()
            cpu = self.cpu() - cpu
        found = next(results for results in outcome.sections if results.name == section)
        return summary(found, outcome) | {"cpu_us": cpu * 1e6 / max(1, len(found.seconds)), "rss_mb": self.rss()}


@contextmanager
def running(side: str, topology: Topology, place: Path, flags: Sequence[str] = ()) -> Iterator[Site]:
    """A fresh cluster under `place`, which serves."""
    authority = issued = context = None
    shared: Sequence[str] = FLAGS
    if topology.tls:
        authority = Authority(place / "authority")
        issued = authority.issue("member", hosts=["127.0.0.1"])
        context = ssl.create_default_context(cafile=authority.ca)
        context.load_cert_chain(issued.cert, issued.key)
        shared = (
            *TLS_FLAGS,
            *(f"--{who}cert-file={issued.cert}" for who in ("", "peer-")),
            *(f"--{who}key-file={issued.key}" for who in ("", "peer-")),
            *(f"--{who}trusted-ca-file={authority.ca}" for who in ("", "peer-")),
            "--client-cert-auth",
            "--peer-client-cert-auth",
        )
    scheme = "https" if topology.tls else "http"
    commands = [command_of(side)] * topology.members
    with Cluster(place, commands, flags=[*shared, *flags], ssl=context, peer_scheme=scheme) as cluster:
        cluster.start()
        yield Site(side, cluster, authority, issued)
