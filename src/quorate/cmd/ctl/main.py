"""From words to an exit code."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from quorate.cmd.ctl.failures import Exit, Fail, UsageFail
from quorate.cmd.ctl.flags import HelpAsked, parse, words_of_command
from quorate.cmd.ctl.globals import GLOBAL_FLAGS
from quorate.cmd.ctl.index import INDEX, children, group_flags, load
from quorate.cmd.ctl.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def main() -> NoReturn:
    """The console script."""
    gc.disable()  # until the connection stands: reading modules leaves nothing behind
    try:
        code = execute(sys.argv[1:], os.environ)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _die_of_interrupt()
    except BrokenPipeError:
        code = 1
    sys.stderr.flush()
    os._exit(code)  # nothing is left to do, and taking everything down takes time


def execute(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line; its exit code."""
    path, rest = find(words)
    if path not in INDEX:
        return _without_command(path, rest)
    command = load(path)
    try:
        parsed = parse(rest, (*command.flags, *GLOBAL_FLAGS))
    except HelpAsked:
        return _help(path)
    except UsageFail as fail:
        _help(path)
        return _complain(fail.text, blank=True)
    run = Run(parsed, environ)
    try:
        command.run(run)
    except Fail as fail:
        run.warn(f"Error: {fail.text}")
        return fail.code
    except Exit as end:
        return end.code
    finally:
        run.close()
    return 0


def find(words: Sequence[str]) -> tuple[str, list[str]]:
    """The words that name a command, joined, and the other ones. A word may be cut short where one command alone begins
    with it."""
    path, rest = "", list(words)
    while path not in INDEX:
        places = words_of_command(rest, (*GLOBAL_FLAGS, *group_flags(path)))
        if not places:
            break
        found = _match(rest[places[0]], children(path))
        if found is None:
            break
        del rest[places[0]]
        path = f"{path} {found}".strip()
    return path, rest


def _match(word: str, names: Sequence[str]) -> str | None:
    if word in names:
        return word
    starting = [name for name in names if name.startswith(word)]
    return starting[0] if len(starting) == 1 else None


def _without_command(path: str, rest: Sequence[str]) -> int:
    """No command is named: the help of what is, or an error."""
    try:
        parsed = parse(rest, (*GLOBAL_FLAGS, *group_flags(path)))
    except HelpAsked:
        return _help(path)
    except UsageFail as fail:
        places = words_of_command(rest, GLOBAL_FLAGS)
        if not path and places:
            return _unknown(rest[places[0]])
        _help(path)
        return _complain(fail.text, blank=True)
    if parsed.args and not path:
        return _unknown(parsed.args[0])
    return _help(path)


def _unknown(word: str) -> int:
    from quorate.cmd.ctl.help import suggestions

    text = f'unknown command "{word}" for "etcdctl"'
    near = suggestions(word)
    if near:
        text += "\n\nDid you mean this?\n" + "".join(f"\t{name}\n" for name in near)
    sys.stderr.write(f"Error: {text}\nRun 'etcdctl --help' for usage.\nError: {text}\n")
    return 1


def _complain(text: str, *, blank: bool) -> int:
    sys.stdout.flush()
    between = "\n" if blank else ""
    sys.stderr.write(f"Error: {text}\n{between}Error: {text}\n")
    return 1


def _help(path: str) -> int:
    from quorate.cmd.ctl.help import help_text

    sys.stdout.write(help_text(path))
    return 0


def _die_of_interrupt() -> NoReturn:
    """End as a program that SIGINT has killed, so that a shell sees it."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    os._exit(130)
