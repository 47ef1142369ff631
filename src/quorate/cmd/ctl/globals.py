"""The flags that every command has, and the variables ETCDCTL_* that stand in for them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.failures import Exit
from quorate.cmd.ctl.flags import BOOL, DURATION, INT, STRING, STRINGS, Flag
from quorate.pkg.gotext import json_string

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quorate.cmd.ctl.flags import Parsed

PREFIX = "ETCDCTL_"
QUIET = frozenset({"ETCDCTL_API", "ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"})
"""Variables that are no flags, and known all the same."""

GLOBAL_FLAGS = (
    Flag("auth-jwt-token", STRING, "", "token to send in place of a name and a password"),
    Flag("cacert", STRING, "", "whom to believe: a file of CA certificates for servers with TLS"),
    Flag("cert", STRING, "", "the client's TLS certificate"),
    Flag("command-timeout", DURATION, 5.0, "how long a short command may take, connecting not counted"),
    Flag("debug", BOOL, False, "print the settings in force, and more about connections"),
    Flag("dial-timeout", DURATION, 2.0, "how long connecting may take"),
    Flag("discovery-srv", STRING, "", "DNS domain whose SRV records name the endpoints", "d"),
    Flag("discovery-srv-name", STRING, "", "service name within those records"),
    Flag("endpoints", STRINGS, ["127.0.0.1:2379"], "where the members listen"),
    Flag("hex", BOOL, False, "print keys and values as hexadecimal bytes"),
    Flag("insecure-discovery", BOOL, True, "take SRV records of endpoints without TLS"),
    Flag("insecure-skip-tls-verify", BOOL, False, "believe any server certificate (CAUTION: for tests only)"),
    Flag("insecure-transport", BOOL, True, "connect without TLS"),
    Flag("keepalive-time", DURATION, 2.0, "silence after which a connection is probed"),
    Flag("keepalive-timeout", DURATION, 6.0, "how long a probe may stay unanswered"),
    Flag("key", STRING, "", "the key to the client's TLS certificate"),
    Flag("max-recv-bytes", INT, 0, "largest answer to take (0: no limit)"),
    Flag("max-request-bytes", INT, 0, "largest request to send (0: no limit)"),
    Flag("password", STRING, "", "password to log in with (--user is then the name alone)"),
    Flag("user", STRING, "", "name[:password] to log in with (asks for a password that is not given)"),
    Flag("write-out", STRING, "simple", "output format (fields, json, protobuf, simple, table)", "w"),
)


def take_environment(parsed: Parsed, environ: Mapping[str, str]) -> None:
    """Set the flags that a variable stands in for. A variable beside its flag ends the program; one that cannot be
    read is passed over, as is one that nobody knows, with a warning."""
    names = set(QUIET)
    conflict = ""
    for flag in GLOBAL_FLAGS:
        name = variable_of(flag.name)
        names.add(name)
        text = environ.get(name, "")
        if not text:
            continue
        if flag.name in parsed.given:
            conflict = conflict or name
            continue
        try:
            parsed.values[flag.name] = flag.read(text)
        except ValueError:
            continue
        parsed.given.add(flag.name)
    if conflict:
        shadowed = "conflicting environment variable is shadowed by corresponding command-line flag"
        _log("fatal", f"{shadowed} (either unset environment variable or disable flag))", conflict)
        raise Exit(1)
    for name in environ:
        if name.startswith(PREFIX) and name not in names:
            _log("warn", "unrecognized environment variable", f"{name}={environ[name]}")


def variable_of(name: str) -> str:
    """The variable that stands in for a flag."""
    return PREFIX + name.upper().replace("-", "_")


def debug_lines(values: Mapping[str, Any]) -> list[str]:
    """What `--debug` prints of the settings."""
    return [f"{variable_of(flag.name)}={show_value(flag, values[flag.name])}" for flag in GLOBAL_FLAGS]


def show_value(flag: Flag, value: Any) -> str:
    """A value as pflag prints it."""
    if flag.kind == BOOL:
        return "true" if value else "false"
    if flag.kind == STRINGS:
        return f"[{','.join(value)}]"
    if flag.kind == DURATION:
        from quorate.pkg.goflag import format_duration

        return format_duration(value)
    return str(value)


def _log(level: str, text: str, variable: str) -> None:
    import time

    fields = f'"level":"{level}","ts":{time.time()},"caller":"ctl/globals.py","msg":{json_string(text)}'
    sys.stderr.write(f'{{{fields},"environment-variable":{json_string(variable)}}}\n')
