"""Help, in the layout of etcdctl 3.5, and `version`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from quorate.cmd.ctl.flags import BOOL, HELP, STRING
from quorate.cmd.ctl.globals import GLOBAL_FLAGS, show_value
from quorate.cmd.ctl.index import GROUPS, INDEX, Command, children, group_flags, load
from quorate.version import ETCD_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quorate.cmd.ctl.flags import Flag
    from quorate.cmd.ctl.run import Run

API_VERSION = ETCD_VERSION.rpartition(".")[0]
ROOT = "A command line client for etcd."
TAB = 8
NEAR = 2
"""How many letters a word may be away from a command to be taken for it."""


def help_text(path: str) -> str:
    """The help of a command, of a group of commands, or of all."""
    if path in INDEX:
        command = load(path)
        return _page(path, INDEX[path][1], command.use, command.about, command.flags)
    if path in GROUPS:
        use, about = GROUPS[path]
        return _page(path, about, use, "", group_flags(path))
    return _page("", ROOT, "", "", ())


def _page(path: str, what: str, use: str, about: str, flags: Sequence[Flag]) -> str:
    usage = f"etcdctl {use} [flags]" if use else "etcdctl [flags]"
    parts = [f"NAME:\n\t{path or 'etcdctl'} - {what}\n\nUSAGE:\n\t{usage}\n"]
    below = [name for name in INDEX if name.startswith(f"{path} " if path else "")]
    if below:
        if not path:
            parts.append(f"\nVERSION:\n\t{ETCD_VERSION}\n")
        names = [name[len(path) :].strip() for name in sorted(below)]
        lines = _columns([(name, INDEX[f"{path} {name}".strip()][1]) for name in names])
        parts.append(f"\nAPI VERSION:\n\t{API_VERSION}\n\n\nCOMMANDS:\n" + "".join(f"\t{line}\n" for line in lines))
    if about:
        parts.append("\nDESCRIPTION:\n" + "".join(f"\t{line}\n" for line in about.split("\n")))
    own = sorted((*flags, HELP), key=lambda flag: flag.name)
    if not path:
        own = sorted((*own, *GLOBAL_FLAGS), key=lambda flag: flag.name)
    parts.append("\nOPTIONS:\n" + _flag_lines(own, path.split(" ")[-1] or "etcdctl"))
    if path:
        parts.append("\nGLOBAL OPTIONS:\n" + _flag_lines(GLOBAL_FLAGS, ""))
    return "".join(parts) + "\n"


def _flag_lines(flags: Sequence[Flag], word: str) -> str:
    pairs = []
    for flag in flags:
        value = show_value(flag, flag.default)
        shown = f"[={value}]" if flag.kind == BOOL else f'="{value}"' if flag.kind == STRING else f"={value}"
        start = f"  -{flag.short}, " if flag.short else "      "
        pairs.append((f"{start}--{flag.name}{shown}", flag.usage or f"help for {word}"))
    return "".join(f"{line}\n" for line in _columns(pairs))


def _columns(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Two columns, with as many tabs between them as the longest of the first needs."""
    wide = max((len(left) for left, _ in pairs), default=0) // TAB + 1
    return [left + "\t" * (wide - len(left) // TAB) + right for left, right in pairs]


def suggestions(word: str) -> list[str]:
    """Commands that somebody who typed `word` may have meant."""
    small = word.lower()
    return [name for name in children("") if name.startswith(small) or _distance(small, name) <= NEAR]


def _distance(one: str, other: str) -> int:
    """How many letters to put, drop or change to come from one word to the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        last, row = row, [i]
        for j, right in enumerate(other, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (left != right)))
    return row[-1]


def _show_help(run: Run) -> None:
    path = ""
    for word in run.args:
        longer = f"{path} {word}".strip()
        if longer not in INDEX and longer not in GROUPS:
            if not path:
                run.warn(f"Unknown help topic [`{' '.join(run.args)}`]")
            break
        path = longer
    run.write(os.fsencode(help_text(path)))


def _version(run: Run) -> None:
    run.print(f"etcdctl version: {ETCD_VERSION}", f"API version: {API_VERSION}")


def _options(run: Run) -> None:
    run.write(b"The following options can be passed to any command:\n\n" + os.fsencode(_flag_lines(GLOBAL_FLAGS, "")))


COMMANDS = {
    "options": Command("options", _options),
    "help": Command("help [command]", _show_help, (), "Tells how a command is used: etcdctl help [command]."),
    "version": Command("version", _version),
}
