"""Which commands there are: the words, the module that has it, and what it does in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from quorate.cmd.ctl.flags import Flag
    from quorate.cmd.ctl.run import Run


class Command:
    """How a command is used, and what does it. `use` is the line after `etcdctl`, `[flags]` left out; `about` more than
    one line about it, for its help."""

    __slots__ = ("about", "flags", "run", "use")

    def __init__(self, use: str, run: Callable[[Run], None], flags: tuple[Flag, ...] = (), about: str = "") -> None:
        self.use = use
        self.run = run
        self.flags = flags
        self.about = about


INDEX: dict[str, tuple[str, str]] = {
    "check datascale": ("check", "Tells how much memory a server takes for keys"),
    "check perf": ("check", "Tells whether a cluster is quick enough"),
    "compaction": ("compaction", "Compacts the history of the store"),
    "completion": ("completion", "Prints a script that completes words in a shell"),
    "del": ("kv", "Deletes a key or a range of keys [key, range_end)"),
    "downgrade cancel": ("downgrade", "Ends a downgrade that was enabled"),
    "downgrade enable": ("downgrade", "Lets members of an older version into the cluster"),
    "downgrade validate": ("downgrade", "Tells whether the cluster could be downgraded"),
    "elect": ("elect", "Takes part in an election, or looks on"),
    "get": ("kv", "Gets a key or a range of keys"),
    "help": ("help", "Explains a command"),
    "lease grant": ("lease", "Makes a lease"),
    "lease keep-alive": ("lease", "Renews a lease again and again"),
    "lease list": ("lease", "Lists all leases"),
    "lease revoke": ("lease", "Ends a lease"),
    "lease timetolive": ("lease", "Tells how long a lease lasts"),
    "lock": ("lock", "Takes a lock with a name"),
    "make-mirror": ("mirror", "Copies keys to another cluster, and every change of them"),
    "options": ("help", "Lists the flags that every command has"),
    "put": ("kv", "Puts a key into the store"),
    "txn": ("txn", "Does several requests in one transaction"),
    "version": ("help", "Prints which etcdctl this is"),
    "watch": ("watch", "Prints what happens to keys"),
}
"""By words."""

GROUPS: dict[str, tuple[str, str]] = {
    "check": ("check <subcommand>", "Checks of a cluster"),
    "downgrade": ("downgrade <subcommand>", "Commands about downgrades"),
    "lease": ("lease <subcommand>", "Commands about leases"),
}
"""Words that only lead to others: how they are used, and what about."""


def group_flags(path: str) -> tuple[Flag, ...]:
    """The flags that all commands of a group have, so that they may stand before the command's word."""
    if path != "endpoint":
        return ()
    from quorate.cmd.ctl.flags import BOOL, Flag

    return (Flag("cluster", BOOL, False, "ask all members that the cluster has, at their client URLs"),)


def children(path: str) -> list[str]:
    """The words that may follow those of `path`, in order."""
    start = f"{path} " if path else ""
    return sorted({name[len(start) :].split(" ")[0] for name in INDEX if name.startswith(start)})


def load(path: str) -> Command:
    """The command of these words."""
    import importlib

    module = importlib.import_module(f"quorate.cmd.ctl.{INDEX[path][0]}")
    command: Command = module.COMMANDS[path]
    return command
