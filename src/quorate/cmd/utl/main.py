"""From words to an exit code."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence

from quorate.cmd.ctl.failures import ERROR, Fail, UsageFail
from quorate.cmd.ctl.flags import HelpAsked, parse, words_of_command
from quorate.cmd.utl.commands import COMMANDS, GLOBAL_FLAGS, GROUPS, Command, Values
from quorate.cmd.utl.usage import PROGRAM, command_usage, group_usage
from quorate.pkg import jsonlog

INTERRUPTED = 130
TERMINATED = 143
POLL_SECONDS = 0.05


class Terminated(BaseException):
    """SIGTERM: what was begun is to be taken back, as after Ctrl-C."""


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


def _terminate(*_: object) -> None:
    raise Terminated


def run(words: Sequence[str]) -> int:
    """Run the command to its end; returns the exit code."""
    jsonlog.configure("info", ["stderr"])
    try:
        sys.stdout.write(_answer(list(words)))
        sys.stdout.flush()
    except BrokenPipeError:
        return ERROR
    except Fail as err:
        sys.stderr.write(f"Error: {err.text}\n")
        return err.code
    except (KeyboardInterrupt, Terminated) as err:
        sys.stderr.write("Error: interrupted\n")
        return INTERRUPTED if isinstance(err, KeyboardInterrupt) else TERMINATED
    return 0


def _answer(words: list[str]) -> str:
    """What goes to stdout. Raises Fail."""
    places = words_of_command(words, GLOBAL_FLAGS)
    if places and words[places[0]] == "help":
        return _help([word for at, word in enumerate(words) if at in places[1:]])
    command, used = _find([words[place] for place in places])
    rest = [word for at, word in enumerate(words) if at not in places[:used]]
    if command is None:
        prefix = _spelled_out([words[place] for place in places[:used]])
        try:
            parse(rest, GLOBAL_FLAGS)
        except HelpAsked:
            pass
        except UsageFail as err:
            raise Fail(err.code, f"{err.text}\n{group_usage(prefix)}") from err
        return group_usage(prefix)
    try:
        parsed = parse(rest, (*command.flags, *GLOBAL_FLAGS))
        if missing := [f'"{name}"' for name in command.required if name not in parsed.given]:
            raise UsageFail(f"required flag(s) {', '.join(missing)} not set")
    except HelpAsked:
        return f"{command.short}\n\n{command_usage(command)}"
    except UsageFail as err:
        raise Fail(err.code, f"{err.text}\n{command_usage(command)}") from err
    return _run(command, parsed.values, parsed.args)


def _run(command: Command, values: Values, args: list[str]) -> str:
    deadline = time.monotonic() + values["timeout"] if values["timeout"] > 0 else float("inf")
    while True:
        try:
            return command.run(values, args)
        except Fail:
            raise
        except Exception as err:
            from quorate.server.offline import InUse, OfflineError

            if not isinstance(err, OfflineError):
                raise
            if not isinstance(err, InUse) or time.monotonic() >= deadline:
                raise Fail(ERROR, str(err)) from err
            time.sleep(POLL_SECONDS)


def _find(words: Sequence[str]) -> tuple[Command | None, int]:
    """The command that the first of these words name, and how many that takes; None for a group, or for no words.
    Beginnings of words do where there is one way to end them."""
    if not words:
        return None, 0
    known = _spelled_out(words[:1])
    if not known:
        raise Fail(ERROR, f'unknown command "{words[0]}" for "{PROGRAM}"\nRun \'{PROGRAM} --help\' for usage.')
    if known not in GROUPS:
        return next(command for command in COMMANDS if command.words == known), 1
    known = _spelled_out(words[:2])
    command = next((command for command in COMMANDS if command.words == known), None)
    return command, 1 if command is None else 2


def _spelled_out(words: Sequence[str]) -> tuple[str, ...]:
    """The words of the tree of commands that `words` are beginnings of, as far as they are of exactly one."""
    found: tuple[str, ...] = ()
    for word in words:
        below = {command.words[len(found)] for command in COMMANDS if command.words[: len(found)] == found}
        fitting = [name for name in below if name.startswith(word)]
        if word in below:
            fitting = [word]
        if len(fitting) != 1:
            break
        found = (*found, fitting[0])
        if any(command.words == found for command in COMMANDS):
            break
    return found


def _help(words: Sequence[str]) -> str:
    found = _spelled_out(words)
    command = next((command for command in COMMANDS if command.words == found), None)
    return group_usage(found) if command is None else f"{command.short}\n\n{command_usage(command)}"
