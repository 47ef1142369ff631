"""Run a command with an etcd in its environment: `python -m quorate.testing [--members N] -- COMMAND ARGUMENT...`

The command finds ETCDCTL_ENDPOINTS, QUORATE_TEST_ENDPOINTS (host:port,...), ETCD_ENDPOINTS (http://host:port,...) and
ETCDCTL_API=3. The members live in this process, in memory, and end with it; the exit status is the command's, 128+N if
signal N ended it, 127 if there is no such command, 126 if it cannot be run.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from quorate import embed
from quorate.testing.environment import environment

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    options = _options(arguments)
    command = Command()
    for kind in PASSED_ON:
        signal.signal(kind, command.pass_on)
    try:
        members = _start(options.members, options.data_dir)
    except (OSError, embed.ConfigError) as error:
        print(f"cannot start etcd: {error}", file=sys.stderr)  # noqa: T201
        return 1
    with members:
        return command.run(options.command, {**os.environ, **environment(members.endpoints, members.client_urls)})


class Command:
    """The child. What this process is told by signal, it is told too."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Wait for its end and return the exit status."""
        try:
            self._process = subprocess.Popen(command, env=env)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
            return 127 if isinstance(error, FileNotFoundError) else 126
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def pass_on(self, number: int, _: FrameType | None) -> None:
        if self._process is None:
            raise SystemExit(128 + number)
        if number != signal.SIGINT or not _at_terminal():
            self._process.send_signal(number)


def _at_terminal() -> bool:
    """Whether Ctrl-C is typed where it reaches the command as well as this process."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _start(size: int, data_dir: Path | None) -> embed.RunningEtcd | embed.RunningCluster:
    if size == 1:
        return embed.start(data_dir=data_dir, in_memory=data_dir is None)
    return embed.start_cluster(size, data_dir=data_dir, in_memory=data_dir is None)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quorate.testing",
        usage="%(prog)s [--members N] [--data-dir DIR] -- COMMAND [ARGUMENT ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--members", type=int, choices=range(1, 8), default=1, metavar="N", help="1 to 7, default 1")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="keep the data there; several members need an empty one"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        parser.error("no command is given")
    if options.members > 1 and options.data_dir and options.data_dir.exists() and any(options.data_dir.iterdir()):
        parser.error(f"{options.data_dir} is not empty: several members cannot start there again, at other ports")
    return options


if __name__ == "__main__":
    sys.exit(main())
