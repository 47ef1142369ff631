"""`watch`: events as they happen, from one watch of the command line or from many that are typed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.failures import BAD_ARGS, ERROR, INTERRUPTED, INVALID_INPUT, Exit, Fail, UsageFail
from quorate.cmd.ctl.flags import BOOL, INT, Flag, HelpAsked, parse
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.run import as_bytes
from quorate.cmd.ctl.spawn import Ended, spawn
from quorate.cmd.ctl.watching import Event, Watching
from quorate.cmd.ctl.words import split_words
from quorate.pkg.gotext import quote
from quorate.pkg.key_prefix import prefix_end

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quorate.cmd.ctl.flags import Parsed
    from quorate.cmd.ctl.run import Run

KEY_VARIABLE, END_VARIABLE = "ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"
WRONG = "bad number of arguments"

FLAGS = (
    Flag("interactive", BOOL, False, "read watches from stdin, a line each", "i"),
    Flag("prefix", BOOL, False, "watch all keys that begin with the given one"),
    Flag("prev-kv", BOOL, False, "print the pair as it was before, too"),
    Flag("progress-notify", BOOL, False, "print now and then how far the server is"),
    Flag("rev", INT, 0, "watch from this revision on"),
)


def _watch(run: Run) -> None:
    variables = (run.environ.get(KEY_VARIABLE, ""), run.environ.get(END_VARIABLE, ""))
    if run.flags["interactive"]:
        _interactive(run, variables)
        return
    words, command = _words_of(run.parsed, variables)
    request = _request(words, run.flags)
    watching = Watching(run.client())
    watching.add(request, command)
    show_events(run, watching)
    raise Fail(INTERRUPTED, "watch is canceled by the server")


def _words_of(parsed: Parsed, variables: tuple[str, str]) -> tuple[list[str], list[str]]:
    """The keys and the command that words and variables ask for. Raises Fail."""
    words, command = parsed.args, []
    if parsed.dash_at >= 0:
        words, command = parsed.args[: parsed.dash_at], parsed.args[parsed.dash_at :]
        if not command:
            raise Fail(BAD_ARGS, f"{WRONG} (found separator --, but no commands)")
    key, end = variables
    if not key and end:
        raise Fail(BAD_ARGS, f"{KEY_VARIABLE} is empty but got {END_VARIABLE}={quote(end)}")
    if key:
        if words:
            raise Fail(BAD_ARGS, f"{WRONG} (found conflicting environment key)")
        words = [key, end] if end else [key]
    if not words and not command:
        raise Fail(BAD_ARGS, WRONG)
    return words, command


def _request(words: list[str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Raises Fail."""
    if not words:
        raise Fail(BAD_ARGS, WRONG)
    key = as_bytes(words[0])
    request = {
        "key": key,
        "start_revision": flags["rev"],
        "prev_kv": flags["prev-kv"],
        "progress_notify": flags["progress-notify"],
    }
    if len(words) > 1:
        if flags["prefix"]:
            raise Fail(BAD_ARGS, "`range_end` and `--prefix` are mutually exclusive")
        request["range_end"] = as_bytes(words[1])
    elif flags["prefix"]:
        request["key"], request["range_end"] = key or b"\0", prefix_end(key)
    return request


def _interactive(run: Run, variables: tuple[str, str]) -> None:
    """Watches line by line; their events are printed by a thread of its own."""
    import threading

    watching = Watching(run.client())
    failed: list[BaseException] = []

    def print_events() -> None:
        try:
            while True:
                show_events(run, watching)
        except (Fail, Exit) as fail:
            failed.append(fail)

    threading.Thread(target=print_events, daemon=True).start()
    while True:
        line = sys.stdin.readline()
        if failed:
            raise failed[0]
        if not line.endswith("\n"):
            raise Fail(INVALID_INPUT, "error reading watch request line: EOF")
        _take_line(run, watching, line.rstrip("\n"), variables)


def _take_line(run: Run, watching: Watching, line: str, variables: tuple[str, str]) -> None:
    """What cannot be watched is told, and the next line may be better; what cannot be read ends it. Raises Fail."""
    words = split_words(line)
    if not words:
        run.warn(f"Invalid command: {line} (watch and progress supported)")
    elif words[0] == "progress":
        watching.ask_progress()
    elif words[0] != "watch":
        run.warn(f"Invalid command {words[0]} (only support watch)")
    elif len(words) < 2 and not variables[0]:
        run.warn(f"Invalid command {words[0]} (command type or key is not provided)")
    else:
        try:
            parsed = parse(words[1:], FLAGS)
        except UsageFail as fail:
            raise Fail(BAD_ARGS, fail.text) from None
        except HelpAsked:
            raise Fail(BAD_ARGS, "pflag: help requested") from None
        keys, command = _words_of(parsed, variables)
        try:
            watching.add(_request(keys, parsed.values), command)
        except Fail as fail:
            run.warn(f"Invalid command {line} ({fail.text})")


def show_events(run: Run, watching: Watching) -> None:
    """Print what a connection tells until all its watches have ended. Raises Exit when a command fails."""
    for event in watching.events():
        if event.cancelled:
            run.warn(f"watch was canceled ({event.reason})")
        if event.is_progress:
            run.print(f"progress notify: {event.message.header.revision}")
        event.show(run)
        for one in event.message.events if event.command else ():
            _run_command(run, event, one)


def _run_command(run: Run, event: Event, one: Any) -> None:
    more = {
        "ETCD_WATCH_REVISION": str(event.message.header.revision),
        "ETCD_WATCH_EVENT_TYPE": quote(event.type_of(one)),
        "ETCD_WATCH_KEY": quote(one.kv.key),
        "ETCD_WATCH_VALUE": quote(one.kv.value),
    }
    try:
        spawn(event.command, run.environ, more)
    except Ended as ended:
        run.warn(f"command [{' '.join(quote(word) for word in event.command)}] error ({ended.text})")
        raise Exit(ERROR) from None


COMMANDS = {
    "watch": Command("watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]", _watch, FLAGS)
}
