"""The sub-commands, their flags and their help: the command line of etcd's `benchmark`, and a few flags more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quorate.pkg.goflag import (
    Duration,
    Parser,
    parse_bool,
    parse_duration,
    parse_int,
    parse_list,
    parse_string,
    parse_uint,
    show,
)


class UsageError(Exception):
    """The command line cannot be read. `command` is the one whose usage helps."""

    def __init__(self, text: str, command: str) -> None:
        super().__init__(text)
        self.command = command


class HelpWanted(Exception):
    """-h or --help; the argument is the command, empty for all."""


@dataclass(frozen=True, slots=True)
class Flag:
    name: str
    parse: Parser
    default: Any
    usage: str


KINDS: dict[Parser, str] = {
    parse_string: "string",
    parse_int: "int",
    parse_uint: "uint",
    parse_list: "strings",
    parse_duration: "duration",
    parse_bool: "",
}
NO_TIME = Duration(0)

GLOBAL = [
    Flag("endpoints", parse_list, ["127.0.0.1:2379"], "addresses of members, with commas between them"),
    Flag("conns", parse_uint, 1, "number of connections, each to the next endpoint in turn"),
    Flag("clients", parse_uint, 1, "number of clients; client i uses connection i mod conns"),
    Flag("target-leader", parse_bool, False, "ask the endpoints who leads, and connect to the leader only"),
    Flag("cacert", parse_string, "", "CA bundle that servers' certificates are verified with"),
    Flag("cert", parse_string, "", "certificate of the client"),
    Flag("key", parse_string, "", "key of the client's certificate"),
    Flag("insecure-skip-tls-verify", parse_bool, False, "do not verify servers' certificates"),
    Flag("user", parse_string, "", "username[:password]; asks for a password that is not given"),
    Flag("dial-timeout", parse_duration, NO_TIME, "how long connecting is tried; 0 is for ever"),
    Flag("auto-sync-interval", parse_duration, NO_TIME, "accepted for etcd's scripts; endpoints are never changed"),
    Flag("precise", parse_bool, False, "print numbers in full"),
    Flag("sample", parse_bool, False, "add a table with a row for each second"),
    Flag("json", parse_bool, False, "print the report as JSON"),
    Flag("processes", parse_uint, 1, "processes that make the load; 0 is one for each core"),
    Flag("slo-throughput", parse_uint, 0, "requests a second to be reached; missing it is exit status 1"),
    Flag("slo-latency", parse_duration, NO_TIME, "99 % of requests are to take no longer; e.g. 100ms"),
]


def _sizes(key: int = 8, value: int = 8) -> list[Flag]:
    return [
        Flag("key-size", parse_int, key, "bytes of a key"),
        Flag("val-size", parse_int, value, "bytes of a value"),
    ]


def _pace(what: str) -> list[Flag]:
    return [
        Flag("total", parse_int, 10000, f"number of {what}"),
        Flag("rate", parse_int, 0, f"{what} per second at most; 0 is no limit"),
    ]


SPACE = Flag("key-space-size", parse_int, 1, "number of different keys")
SEQUENTIAL = Flag("sequential-keys", parse_bool, False, "take keys in turn instead of drawing them")
CONSISTENCY = Flag("consistency", parse_string, "l", "linearizable (l) or serializable (s)")
PUTS = [
    Flag("put-total", parse_int, 1000, "number of puts"),
]

COMMANDS: dict[str, tuple[str, str, list[Flag]]] = {
    "put": (
        "put",
        "Put keys one by one",
        [
            *_sizes(),
            *_pace("puts"),
            SPACE,
            SEQUENTIAL,
            Flag("prefix", parse_string, "", "put in front of each key"),
            Flag("compact-interval", parse_duration, NO_TIME, "compact the history so often; 0 is never"),
            Flag("compact-index-delta", parse_int, 1000, "revisions that a compaction leaves"),
            Flag("check-hashkv", parse_bool, False, "ask for the hash of all keys afterwards"),
        ],
    ),
    "range": (
        "range key [end-range]",
        "Get a key or a range of keys",
        [
            CONSISTENCY,
            *_pace("range requests"),
            Flag("limit", parse_int, 0, "keys of one answer at most; 0 is no limit"),
            Flag("count-only", parse_bool, False, "ask for the number of keys only"),
            Flag("keys-only", parse_bool, False, "ask for keys without values"),
        ],
    ),
    "txn-put": (
        "txn-put",
        "Put keys in transactions",
        [*_sizes(), Flag("txn-ops", parse_int, 1, "puts in a transaction"), *_pace("transactions"), SPACE],
    ),
    "txn-mixed": (
        "txn-mixed",
        "Mix transactions that read with transactions that put",
        [
            *_sizes(),
            *_pace("transactions"),
            SPACE,
            Flag("rw-ratio", float, 1.0, "reads for each write"),
            CONSISTENCY,
            Flag("end-key", parse_string, "", "end of the ranges that are read; empty reads single keys"),
            Flag("limit", parse_int, 1000, "keys of one read at most"),
        ],
    ),
    "lease-keepalive": (
        "lease-keepalive",
        "Renew leases, one of each client",
        [Flag("total", parse_int, 10000, "number of renewals")],
    ),
    "stm": (
        "stm",
        "Run software transactional memory",
        [
            Flag(
                "isolation",
                parse_string,
                "r",
                "read committed (c), repeatable reads (r), serializable (s), snapshot (ss)",
            ),
            Flag("keys", parse_int, 1, "number of different keys"),
            Flag("keys-per-txn", parse_int, 1, "keys that a transaction touches"),
            Flag("txn-wr-percent", parse_int, 50, "share of touched keys that are overwritten"),
            Flag("val-size", parse_int, 8, "bytes of a value"),
            *_pace("transactions"),
            Flag("stm-locker", parse_string, "stm", "what guards a transaction: stm, lock-client, lock-rpc"),
        ],
    ),
    "watch": (
        "watch",
        "Create watchers, then put what they watch",
        [
            Flag("streams", parse_int, 10, "watch streams"),
            Flag("watch-per-stream", parse_int, 100, "watchers on a stream"),
            Flag("watched-key-total", parse_int, 1, "number of keys that are watched"),
            Flag("put-rate", parse_int, 0, "puts per second at most; 0 is no limit"),
            *PUTS,
            Flag("key-size", parse_int, 32, "bytes of a key"),
            SPACE,
            SEQUENTIAL,
        ],
    ),
    "watch-get": (
        "watch-get",
        "Get a key while watchers are sent its past",
        [
            Flag("watchers", parse_int, 10000, "number of watchers"),
            Flag("streams", parse_int, 1, "watch streams"),
            Flag("events", parse_int, 8, "events that each watcher is sent"),
        ],
    ),
    "watch-latency": (
        "watch-latency",
        "Time from a put to its events",
        [
            Flag("total", parse_int, 0, "number of puts, as older releases called it"),
            *PUTS,
            Flag("put-rate", parse_int, 100, "puts per second at most; 0 is no limit"),
            Flag("streams", parse_int, 10, "watch streams"),
            Flag("watchers-per-stream", parse_int, 10, "watchers on a stream"),
            Flag("prevkv", parse_bool, False, "have events carry the previous value"),
            *_sizes(32, 32),
        ],
    ),
    "mvcc put": (
        "mvcc put",
        "Put into a store without a server",
        [
            Flag("total", parse_int, 100, "number of keys"),
            Flag("key-size", parse_int, 64, "bytes of a key"),
            Flag("value-size", parse_int, 64, "bytes of a value"),
            Flag("txn", parse_bool, False, "put in transactions"),
            Flag("txn-ops", parse_int, 1, "puts in a transaction"),
            Flag("batch-interval", parse_int, 100, "milliseconds between two commits"),
            Flag("batch-limit", parse_int, 10000, "operations of one commit at most"),
        ],
    ),
}


def parse(arguments: Sequence[str]) -> tuple[str, list[str], dict[str, Any]]:
    """Command, its arguments, and the values of all its flags and the global ones. Raises UsageError, HelpWanted."""
    words = list(arguments)
    command = _take_command(words)
    flags = {flag.name: flag for flag in (*GLOBAL, *(COMMANDS[command][2] if command else ()))}
    values = {name: flag.default for name, flag in flags.items()}
    positional: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            positional += words
            break
        if word in ("-h", "--help") or (word == "help" and not command):
            raise HelpWanted(command)
        if not word.startswith("--"):
            if word.startswith("-") and word != "-":
                raise UsageError(f"unknown shorthand flag: {word[1]!r} in {word}", command)
            positional.append(word)
            continue
        name, equals, text = word[2:].partition("=")
        flag = flags.get(name)
        if flag is None:
            raise UsageError(f"unknown flag: --{name}", command)
        values[name] = _value(flag, text if equals else None, words, command)
    if not command and positional:
        raise UsageError(f'unknown command "{positional[0]}" for "benchmark"', "")
    return command, positional, values


def _take_command(words: list[str]) -> str:
    """Take the command's words out of the line; empty when there is none. Global flags may come before it."""
    takes_value = {f"--{flag.name}" for flag in GLOBAL if flag.parse is not parse_bool}
    skip = False
    for index, word in enumerate(words):
        if skip or word.startswith("-"):
            skip = not skip and word in takes_value
            continue
        for command in sorted(COMMANDS, key=len, reverse=True):
            parts = command.split()
            if words[index : index + len(parts)] == parts:
                del words[index : index + len(parts)]
                return command
        return ""
    return ""


def _value(flag: Flag, text: str | None, words: list[str], command: str) -> Any:
    if text is None:
        if flag.parse is parse_bool:
            return True
        if not words:
            raise UsageError(f"flag needs an argument: --{flag.name}", command)
        text = words.pop(0)
    try:
        return flag.parse(text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--{flag.name}" flag: {error}', command) from None


def usage(command: str) -> str:
    """How to call a command, or all of them."""
    if command:
        line, about, flags = COMMANDS[command]
        lines = [about, "", "Usage:", f"  benchmark {line} [flags]", "", "Flags:", *_listed(flags)]
    else:
        lines = ["Load an etcd cluster and tell how fast it answers.", "", "Usage:", "  benchmark [command]", ""]
        lines += ["Available Commands:", *(f"  {name:<17}{about}" for name, (_, about, _) in COMMANDS.items())]
    return "\n".join([*lines, "", "Global Flags:", *_listed(GLOBAL)]) + "\n"


def _listed(flags: list[Flag]) -> list[str]:
    heads = [f"--{flag.name} {KINDS.get(flag.parse, 'float')}".rstrip() for flag in flags]
    width = max(map(len, heads)) + 3
    lines = []
    for head, flag in zip(heads, flags, strict=True):
        default = f" (default {show(flag.default)})" if flag.default else ""
        lines.append(f"      {head:<{width}}{flag.usage}{default}")
    return lines
