"""`check network`: how long do messages take between members?

Members measure it themselves and tell it in their metrics. From here it is the time that a connection to a member's
peer URL takes to be made, which is one round trip: on the machine of a member that is the way to the others.
"""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING

from quorate.cmd.ctl.disk import milliseconds
from quorate.cmd.ctl.endpoints import parse
from quorate.cmd.ctl.failures import BAD_ARGS, ERROR, Exit, Fail
from quorate.cmd.ctl.flags import INT, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.metrics import read_metrics
from quorate.cmd.ctl.show import Flat, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quorate.api.plain import Message
    from quorate.cmd.ctl.run import Run

HERE = "here"
HEADS = ("from", "to", "mean", "longest", "samples", "error")
PAUSE = 0.02
ROUND_TRIPS = re.compile(
    r'^etcd_network_peer_round_trip_time_seconds_(sum|count)\{To="([0-9a-f]+)"\} (\S+)$', re.MULTILINE
)


class Way:
    """From one member, or from here, to another: seconds of a round trip. `longest` is 0 where nobody knows it."""

    def __init__(
        self,
        source: str,
        target: str,
        mean: float = 0.0,
        longest: float = 0.0,
        samples: int = 0,
        error: str = "",
    ) -> None:
        self.source, self.target = source, target
        self.mean, self.longest, self.samples = mean, longest, samples
        self.error = error

    def row(self) -> list[str]:
        """The cells of a table."""
        longest = milliseconds(self.longest) if self.longest else ""
        mean = milliseconds(self.mean) if self.samples else ""
        return [self.source, self.target, mean, longest, str(self.samples), self.error]

    def line(self) -> str:
        if self.error:
            return f"FAIL: {self.source} -> {self.target}: {self.error}"
        longest = f", longest {milliseconds(self.longest)}" if self.longest else ""
        return f"{self.source} -> {self.target}: mean {milliseconds(self.mean)}{longest} ({self.samples} round trips)"


def ways(run: Run) -> list[Way]:
    """All that can be learned of the ways between members. Raises Fail."""
    if run.flags["count"] <= 0:
        raise Fail(BAD_ARGS, "--count must be greater than 0")
    members: Sequence[Message] = run.client().call("MemberList", linearizable=False).members
    names = {member.ID: member.name or f"{member.ID:x}" for member in members}
    found = []
    for member in members:
        found.append(_from_here(run, names[member.ID], member.peerURLs))
        for url in member.clientURLs:
            told = _told(names[member.ID], names, read_metrics(url, run.settings))
            found += told
            if told:
                break
    return found


def _from_here(run: Run, name: str, urls: Sequence[str]) -> Way:
    """Connect to a member's peer URL several times."""
    error = "it has no peer URL that can be connected to"
    for url in urls:
        host, port, _ = parse(url, False)
        if not port:
            continue
        try:
            took = [_connect(host, port, run.settings.dial_timeout) for _ in range(run.flags["count"])]
        except OSError as failure:
            error = f"{url}: {failure.strerror or 'timed out'}".lower()
            continue
        return Way(HERE, name, sum(took) / len(took), max(took), len(took))
    return Way(HERE, name, error=error)


def _connect(host: str, port: int, timeout: float) -> float:
    """Seconds until the other side has taken a connection. Raises OSError."""
    time.sleep(PAUSE)
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as made:
        made.settimeout(timeout)
        started = time.perf_counter()
        made.connect(address)
        return time.perf_counter() - started


def _told(source: str, names: dict[int, str], metrics: str) -> list[Way]:
    """What a member has measured itself."""
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    for what, to, value in ROUND_TRIPS.findall(metrics):
        if what == "sum":
            sums[int(to, 16)] = float(value)
        else:
            counts[int(to, 16)] = int(float(value))
    return [
        Way(source, names[target], sums.get(target, 0.0) / count, 0.0, count)
        for target, count in counts.items()
        if count and target in names
    ]


def longest_way(found: Sequence[Way]) -> Way | None:
    """The one with the largest mean: of those that members have measured, or if there are none from here."""
    good = [way for way in found if way.samples]
    told = [way for way in good if way.source != HERE]
    return max(told or good, key=lambda way: way.mean, default=None)


def _network(run: Run) -> None:
    found = ways(run)
    worst = longest_way(found)
    good = worst is not None and not any(way.error for way in found)
    verdict = "PASS" if good else "FAIL"
    last = [verdict]
    if worst is not None:
        text = f"the largest mean round trip is {milliseconds(worst.mean)}, {worst.source} -> {worst.target}"
        last.insert(0, f"{verdict}: {text}")
    run.show(
        None,
        simple=lambda: [*(way.line() for way in found), *last],
        fields=lambda: [
            line
            for way in found
            for line in [
                *(f'"{head.capitalize()}" : {cell}' for head, cell in zip(HEADS, way.row(), strict=True)),
                "",
            ]
        ],
        table=lambda: table(HEADS, [way.row() for way in found]),
        json=lambda: [Flat(zip(HEADS, way.row(), strict=True), samples=way.samples) for way in found],
    )
    if not good:
        raise Exit(ERROR)


FLAGS = (Flag("count", INT, 10, "how often to connect to each member"),)
ABOUT = """Members measure the round trips to each other, and tell them in etcd_network_peer_round_trip_time_seconds;
the means of these are shown. "here" is this machine: what a connection to the member's peer URL takes to be made."""

COMMANDS = {"check network": Command("check network [options]", _network, FLAGS, ABOUT)}
