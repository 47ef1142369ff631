"""`check disk`: is a disk quick enough for a member's log?

A member answers a write when its log is on the disk, so each write takes one `fdatasync` at least. What is done here
is what the log does: short writes one after the other into a file that has its size already, an `fdatasync` after each.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from quorate.cmd.ctl.failures import BAD_ARGS, ERROR, IO, Exit, Fail
from quorate.cmd.ctl.flags import DURATION, INT, STRING, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.show import Flat
from quorate.pkg.goflag import format_duration

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run

BLOCK_BYTES = 2300
SIZE_BYTES = 22 * 1024 * 1024
LONGEST = 60.0
"""Seconds."""
GOOD_SECONDS = 0.010
"""99 of 100 `fdatasync` have to be done by then."""
SHARES = (50.0, 90.0, 99.0, 99.9, 100.0)


def measure(folder: str, size: int, block: int, longest: float) -> list[float]:
    """Seconds of each write with its `fdatasync`, shortest first, until `size` bytes are written or `longest` seconds
    have passed; one at least. Raises OSError."""
    took = []
    data = os.urandom(block)
    with tempfile.NamedTemporaryFile(prefix="etcdctl-check-disk-", dir=folder) as file:
        number = file.fileno()
        os.posix_fallocate(number, 0, max(size, block))
        os.fsync(number)
        until = time.monotonic() + longest
        for _ in range(max(1, size // block)):
            started = time.perf_counter()
            os.write(number, data)
            os.fdatasync(number)
            ended = time.perf_counter()
            took.append(ended - started)
            if time.monotonic() > until:
                break
    return sorted(took)


def percentile(took: list[float], share: float) -> float:
    """What `share` percent of the sorted times do not exceed."""
    return took[max(0, -(-len(took) * int(share * 10) // 1000) - 1)]


def _disk(run: Run) -> None:
    run.stranger()
    took = measured(run)
    found = {f"p{share:g}" if share < 100 else "max": percentile(took, share) for share in SHARES}
    good = found["p99"] < GOOD_SECONDS
    shown = {name: milliseconds(seconds) for name, seconds in found.items()}
    heads = {"dir": run.flags["dir"], "writes": len(took), "bytes": run.flags["block-size"]}
    verdict = "PASS" if good else "FAIL"
    run.show(
        None,
        simple=lambda: [
            f"{len(took)} writes of {run.flags['block-size']} bytes, each with its fdatasync, in {run.flags['dir']}",
            ", ".join(f"{name} {text}" for name, text in shown.items()),
            f"{verdict}: 99 of 100 took {shown['p99']} at most, {'less' if good else 'not less'} than 10ms",
            verdict,
        ],
        fields=lambda: [f'"{name.capitalize()}" : {value}' for name, value in {**heads, **shown}.items()],
        json=lambda: Flat(**heads, **shown, passed=good),
    )
    if not good:
        raise Exit(ERROR)


def measured(run: Run) -> list[float]:
    """Times of the disk that the flags name. Raises Fail."""
    size, block = run.flags["size"], run.flags["block-size"]
    if block <= 0 or size <= 0:
        raise Fail(BAD_ARGS, "--size and --block-size must be greater than 0")
    try:
        return measure(run.flags["dir"], size, block, run.flags["max-time"])
    except OSError as error:
        raise Fail(IO, f"cannot write in {run.flags['dir']} ({os.strerror(error.errno or 0).lower()})") from None


def milliseconds(seconds: float) -> str:
    """A time with as many digits as it is worth: microseconds."""
    return format_duration(round(seconds, 6))


FLAGS = (
    Flag("block-size", INT, BLOCK_BYTES, "bytes of each write"),
    Flag("dir", STRING, ".", "a directory on the disk: where the member's log is, or will be"),
    Flag("max-time", DURATION, LONGEST, "how long it may take at most"),
    Flag("size", INT, SIZE_BYTES, "bytes to write"),
)
ABOUT = """Writes as a member's log does, on the machine that it runs on, and looks at how long an fdatasync takes:
99 of 100 should be done within 10 ms. It is what this asks fio for:

$ fio --rw=write --ioengine=sync --fdatasync=1 --directory=<dir> --size=22m --bs=2300 --name=mytest

A member that runs tells the same in its metric etcd_disk_wal_fsync_duration_seconds."""

COMMANDS = {"check disk": Command("check disk [options]", _disk, FLAGS, ABOUT)}
