"""What `etcd gateway` and `etcd grpc-proxy` share: how their lines are read, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from quorate.cmd.process import catch_signals, end_by, let_signals_kill
from quorate.pkg.goflag import FlagError, FlagSet, HelpRequested, show

_GROUP = """{name} related command

Usage:
  etcd {name} [command]

Available Commands:
  start       {about}

Use "etcd {name} start --help" for its flags.
"""


def parse(name: str, about: str, flags: FlagSet, arguments: Sequence[str]) -> dict[str, Any] | int:
    """Every flag's value; or the exit code when there is nothing to start. Flags come after the word `start`."""
    if not arguments or arguments[0] != "start":
        print(_GROUP.format(name=name, about=about))  # noqa: T201
        return 0
    try:
        given = flags.parse(arguments[1:])
    except HelpRequested:
        print(f"{about}\n\n{_usage(name, flags)}")  # noqa: T201
        return 0
    except FlagError as error:
        print(f"Error: {_as_cobra(str(error))}\n{_usage(name, flags)}", file=sys.stderr)  # noqa: T201
        return 1
    return {flag.name: given.get(flag.name, flag.default) for flag in flags.flags.values()}


async def until_signal(stop: Callable[[], Awaitable[None]]) -> int:
    """Wait for SIGINT or SIGTERM, stop, and end by that signal; the exit code is for process 1, which cannot."""
    with catch_signals() as signals:
        ended_by = await signals.get()
    let_signals_kill()
    await stop()
    return end_by(ended_by)


def _usage(name: str, flags: FlagSet) -> str:
    lines = [f"Usage:\n  etcd {name} start [flags]\n\nFlags:"]
    for flag in flags.flags.values():
        lines.append(f"      --{flag.name} '{show(flag.default)}'\n    \t{flag.usage}")
    return "\n".join(lines) + "\n"


def _as_cobra(text: str) -> str:
    return text.replace("flag provided but not defined: -", "unknown flag: --")
