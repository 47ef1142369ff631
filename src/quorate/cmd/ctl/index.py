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
    "alarm disarm": ("alarm", "Ends all alarms"),
    "alarm list": ("alarm", "Lists the alarms that are on"),
    "auth disable": ("auth", "Lets anybody do anything"),
    "auth enable": ("auth", "Asks for users and what they may do"),
    "auth status": ("auth", "Tells whether users are asked for"),
    "check datascale": ("check", "Tells how much memory a server takes for keys"),
    "check disk": ("disk", "Tells whether a disk is quick enough for a member's log"),
    "check network": ("network", "Tells how long messages take between members"),
    "check perf": ("check", "Tells whether a cluster is quick enough"),
    "check tuning": ("tuning", "Recommends settings for the disk and the network that there are"),
    "compaction": ("compaction", "Compacts the history of the store"),
    "completion": ("completion", "Prints a script that completes words in a shell"),
    "defrag": ("maintenance", "Makes the database files of members as small as what they hold"),
    "del": ("kv", "Deletes a key or a range of keys [key, range_end)"),
    "downgrade cancel": ("downgrade", "Ends a downgrade that was enabled"),
    "downgrade enable": ("downgrade", "Lets members of an older version into the cluster"),
    "downgrade validate": ("downgrade", "Tells whether the cluster could be downgraded"),
    "elect": ("elect", "Takes part in an election, or looks on"),
    "endpoint hashkv": ("endpoint", "Prints a hash of all keys for each endpoint"),
    "endpoint health": ("health", "Tells whether each endpoint can do its work"),
    "endpoint status": ("endpoint", "Prints the state of each endpoint"),
    "get": ("kv", "Gets a key or a range of keys"),
    "help": ("help", "Explains a command"),
    "lease grant": ("lease", "Makes a lease"),
    "lease keep-alive": ("lease", "Renews a lease again and again"),
    "lease list": ("lease", "Lists all leases"),
    "lease revoke": ("lease", "Ends a lease"),
    "lease timetolive": ("lease", "Tells how long a lease lasts"),
    "lock": ("lock", "Takes a lock with a name"),
    "make-mirror": ("mirror", "Copies keys to another cluster, and every change of them"),
    "member add": ("member", "Adds a member to the cluster"),
    "member list": ("member", "Lists the members of the cluster"),
    "member promote": ("member", "Gives a learner its vote"),
    "member remove": ("member", "Takes a member out of the cluster"),
    "member update": ("member", "Changes where a member listens for the others"),
    "move-leader": ("maintenance", "Makes another member the leader"),
    "options": ("help", "Lists the flags that every command has"),
    "put": ("kv", "Puts a key into the store"),
    "role add": ("role", "Makes a role"),
    "role delete": ("role", "Deletes a role"),
    "role get": ("role", "Tells what a role may do"),
    "role grant-permission": ("role", "Lets a role read or write keys"),
    "role list": ("role", "Lists all roles"),
    "role revoke-permission": ("role", "Takes a permission from a role"),
    "snapshot restore": ("snapshot", "[deprecated] etcdutl makes a data directory from a snapshot"),
    "snapshot save": ("snapshot", "Saves a member's database to a file"),
    "snapshot status": ("snapshot", "[deprecated] etcdutl tells what a snapshot holds"),
    "txn": ("txn", "Does several requests in one transaction"),
    "user add": ("user", "Makes a user"),
    "user delete": ("user", "Deletes a user"),
    "user get": ("user", "Tells which roles a user has"),
    "user grant-role": ("user", "Gives a role to a user"),
    "user list": ("user", "Lists all users"),
    "user passwd": ("user", "Changes a user's password"),
    "user revoke-role": ("user", "Takes a role from a user"),
    "version": ("help", "Prints which etcdctl this is"),
    "watch": ("watch", "Prints what happens to keys"),
}
"""By words."""

GROUPS: dict[str, tuple[str, str]] = {
    "alarm": ("alarm <subcommand>", "Commands about alarms"),
    "auth": ("auth <enable, disable or status>", "Asks for users, or no longer"),
    "check": ("check <subcommand>", "Checks of a cluster"),
    "downgrade": ("downgrade <subcommand>", "Commands about downgrades"),
    "endpoint": ("endpoint <subcommand>", "Commands about single endpoints"),
    "lease": ("lease <subcommand>", "Commands about leases"),
    "member": ("member <subcommand>", "Commands about the members of the cluster"),
    "role": ("role <subcommand>", "Commands about roles"),
    "snapshot": ("snapshot <subcommand>", "Commands about snapshots of a member's database"),
    "user": ("user <subcommand>", "Commands about users"),
}
"""Words that only lead to others: how they are used, and what about."""


def group_flags(path: str) -> tuple[Flag, ...]:
    """The flags that all commands of a group have, so that they may stand before the command's word."""
    if path != "endpoint":
        return ()
    from quorate.cmd.ctl.each import CLUSTER

    return (CLUSTER,)


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
