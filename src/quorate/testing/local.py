"""A cluster on this machine with one command, for trying things out: `python -m quorate.testing.local`.

    member  clients           peers
    infra1  127.0.0.1:2379    127.0.0.1:2380
    infra2  127.0.0.1:22379   127.0.0.1:22380
    infra3  127.0.0.1:32379   127.0.0.1:32380

Names and ports are those of etcd's own Procfile. What the members print comes out with their names before it, and goes
to a file beside each data directory as well. Ctrl-C stops all; the next start goes on with the same data.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from quorate.testing.process import QUORATE, MemberProcess

FIRST_PORTS = (2379, 22379, 32379, 42379, 52379)
TOKEN = "local-cluster"
FOLLOW_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C or SIGTERM, then stop all; or until no member is left. Returns the exit code."""
    options = _options(arguments)
    members = _members(options)
    stopping = threading.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: stopping.set())
    for member in members:
        member.spawn()
    offsets = [member.log_path.stat().st_size for member in members]
    print(_table(members), flush=True)  # noqa: T201
    left = list(members)
    try:
        while left and not stopping.wait(FOLLOW_SECONDS):
            _follow(members, offsets)
            for member in [member for member in left if not member.alive()]:
                print(f"{member.name} ended by itself with status {member.exit_status()}", file=sys.stderr)  # noqa: T201
                left.remove(member)
    finally:
        _stop(members)
        _follow(members, offsets)
    return 0 if left else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, choices=(1, 2, 3, 4, 5), default=3)
    parser.add_argument("--dir", type=Path, default=Path("local-cluster"), help="where the data directories go")
    parser.add_argument("--command", default="", help="what starts a member, if not Quorate: e.g. the path of an etcd")
    parser.add_argument("flags", nargs="*", help="more flags for every member, after --")
    return parser.parse_args(arguments)


def _members(options: argparse.Namespace) -> list[MemberProcess]:
    command = tuple(shlex.split(options.command)) or QUORATE
    options.dir.mkdir(parents=True, exist_ok=True)
    made = [
        MemberProcess(
            options.dir / f"infra{number}.etcd",
            command=command,
            name=f"infra{number}",
            client_port=port,
            peer_port=port + 1,
        )
        for number, port in enumerate(FIRST_PORTS[: options.members], 1)
    ]
    everyone = ",".join(f"{member.name}={member.peer_url}" for member in made)
    for member in made:
        member.flags = [f"--initial-cluster={everyone}", f"--initial-cluster-token={TOKEN}", *options.flags]
    return made


def _table(members: Sequence[MemberProcess]) -> str:
    lines = [f"{member.name}  clients {member.client_url}  peers {member.peer_url}" for member in members]
    endpoints = ",".join(member.endpoint for member in members)
    return "\n".join([*lines, f"ETCDCTL_ENDPOINTS={endpoints}", "Ctrl-C stops all"])


def _follow(members: Sequence[MemberProcess], offsets: list[int]) -> None:
    """Print the whole lines that have come since the last time."""
    for number, member in enumerate(members):
        with member.log_path.open("rb") as file:
            file.seek(offsets[number])
            news = file.read()
        whole = news[: news.rfind(b"\n") + 1]
        offsets[number] += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            print(f"{member.name} | {line}")  # noqa: T201
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()


def _stop(members: Sequence[MemberProcess]) -> None:
    """All at the same time; one that hangs is killed."""
    threads = [threading.Thread(target=member.stop) for member in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
