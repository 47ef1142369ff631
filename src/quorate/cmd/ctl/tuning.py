"""`check tuning`: settings for the disk and the network that there are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from quorate.cmd.ctl import disk, network
from quorate.cmd.ctl.advice import SLOW_DISK, Facts, advise
from quorate.cmd.ctl.disk import milliseconds, percentile
from quorate.cmd.ctl.each import ask
from quorate.cmd.ctl.failures import ERROR, CallFail, Fail
from quorate.cmd.ctl.flags import DURATION, INT, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.network import longest_way, ways
from quorate.cmd.ctl.show import Flat, table

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run

HEADS = ("flag", "value", "reason")


def _tuning(run: Run) -> None:
    run.client()
    rtt, where = _round_trip(run)
    fsync, what = _fsync(run)
    facts = _facts(run, rtt, fsync)
    advice = advise(facts)
    found = [
        f"Round trip between members: {milliseconds(rtt)} ({where})",
        f"fdatasync, 99 of 100: {milliseconds(fsync)} ({what})",
    ]
    if facts.fsync >= SLOW_DISK:
        found.append("This disk is slow: give the log an SSD of its own, and its process the highest I/O priority.")
    run.show(
        None,
        simple=lambda: [
            *found,
            *(line for one in advice for line in ("", f"--{one.flag}={one.value}", f"    {one.reason}")),
        ],
        fields=lambda: [f'"{one.flag}" : {one.value}' for one in advice],
        table=lambda: table(HEADS, [[one.flag, one.value, one.reason] for one in advice]),
        json=lambda: Flat(
            rtt=milliseconds(rtt),
            fsync=milliseconds(fsync),
            settings=[Flat(flag=one.flag, value=one.value, reason=one.reason) for one in advice],
        ),
    )


def _round_trip(run: Run) -> tuple[float, str]:
    """Seconds, and where from. Raises Fail."""
    if run.flags["rtt"] > 0:
        return run.flags["rtt"], "as told by --rtt"
    worst = longest_way(ways(run))
    if worst is None:
        raise Fail(ERROR, "no member can be reached; --rtt tells the round trip instead")
    return worst.mean, f"{worst.source} -> {worst.target}, mean of {worst.samples}"


def _fsync(run: Run) -> tuple[float, str]:
    """Seconds, and where from. Raises Fail."""
    if run.flags["fsync"] > 0:
        return run.flags["fsync"], "as told by --fsync"
    took = disk.measured(run)
    return percentile(took, 99.0), f"{len(took)} writes in {run.flags['dir']}"


def _facts(run: Run, rtt: float, fsync: float) -> Facts:
    """With what the members tell of their databases; those that do not answer are named and left out."""
    in_use = quota = 0
    for endpoint in run.client().endpoints:
        try:
            status = ask(run, endpoint.text, "Status")
        except CallFail as fail:
            run.warn(f"Failed to get the status of endpoint {endpoint.text} ({fail.text})")
            continue
        in_use, quota = max(in_use, status.dbSizeInUse), max(quota, status.dbSizeQuota)
    free = 0
    if not run.flags["fsync"]:
        room = os.statvfs(run.flags["dir"])
        free = room.f_bavail * room.f_frsize
    throughput = run.flags["throughput"]
    return Facts(rtt * 1000, fsync * 1000, throughput=throughput, in_use=in_use, quota=quota, free=free)


FLAGS = (
    *disk.FLAGS,
    *network.FLAGS,
    Flag("fsync", DURATION, 0.0, "what 99 of 100 fdatasync take at most (0: measure it in --dir)"),
    Flag("rtt", DURATION, 0.0, "the largest mean round trip between members (0: measure it)"),
    Flag("throughput", INT, 0, "megabytes of writes in a second that are expected"),
)
ABOUT = """Measures as `check disk` and `check network` do, and recommends settings, with the reason for each:

heartbeat-interval   0.5 to 1.5 round trips between the members that are farthest apart
election-timeout     at least 10 round trips, at most 50 s
snapshot-count       seldom where the network or the disk is slow
quota-backend-bytes  for what is in use, and for the room that the disk has"""

COMMANDS = {"check tuning": Command("check tuning [options]", _tuning, FLAGS, ABOUT)}
