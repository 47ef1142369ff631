"""From command line, environment and file to the settings of a member.

    command line > environment > default          a flag that is set by both is an error
    --config-file or ETCD_CONFIG_FILE             the file alone; the other two are not looked at

Nothing is logged here: where log lines go is one of the settings. What is to be said is handed back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quorate.cmd.config_file import ConfigFileError, read_config_file
from quorate.cmd.default_host import advertise_default_host
from quorate.cmd.older_flags import translate
from quorate.embed import Config
from quorate.embed.config import DEFAULT_CLIENT_URL
from quorate.pkg.goflag import FlagSet, variable_name
from quorate.pkg.jsonlog import Log

PREFIX = "ETCD"
CONFIG_FILE = "config-file"
_UNSET = ("version",)
"""Flags that no variable stands in for."""
_NOT_FLAGS = ("ETCD_UNSUPPORTED_ARCH",)
"""Variables of etcd's that stand in for no flag."""


class ShadowedVariable(Exception):
    """A flag is given, and its variable is set: the text is the variable's name."""


@dataclass(frozen=True, slots=True)
class Line:
    """A log line to be written once it is known where to."""

    level: str
    msg: str
    fields: Mapping[str, object] = field(default_factory=dict)

    def write(self, log: Log) -> None:
        getattr(log, self.level)(self.msg, **self.fields)


@dataclass(frozen=True, slots=True)
class Settings:
    config: Config
    lines: list[Line]


def read_settings(flags: FlagSet, given: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """The settings that the command line (`given`), the environment, or the file that they name describe.

    Raises FlagError, ShadowedVariable, ConfigFileError, ConfigError.
    """
    path = given.get(CONFIG_FILE) or environment.get(variable_name(PREFIX, CONFIG_FILE))
    if path:
        return _from_file(flags, path)
    hidden = [variable_name(PREFIX, name) for name in _UNSET if environment.get(variable_name(PREFIX, name))]
    seen = {name: text for name, text in environment.items() if name not in hidden}
    stood_in = flags.from_environment(seen, PREFIX)
    if shadowed := sorted(variable_name(PREFIX, name) for name in stood_in.keys() & given.keys()):
        raise ShadowedVariable(shadowed[0])
    lines = [Line("warn", "cannot set special environment variable", {"key": name}) for name in hidden]
    lines += _report(flags, stood_in, seen)
    config, more = _build(flags, {**stood_in, **given})
    return Settings(config, lines + more)


def _from_file(flags: FlagSet, path: str) -> Settings:
    found = read_config_file(path, flags)
    loaded = "loaded server configuration, other configuration command line flags and environment variables will be "
    lines = [Line("info", loaded + "ignored if provided", {"path": path})]
    lines += [Line("warn", "unrecognized key in the configuration file", {"key": key}) for key in found.unknown]
    # As in etcd, only the flag of the listeners asks for that of what is advertised.
    values = {"advertise-client-urls": [DEFAULT_CLIENT_URL], **found.values}
    config, more = _build(flags, values)
    return Settings(config, lines + more)


def _build(flags: FlagSet, values: Mapping[str, Any]) -> tuple[Config, list[Line]]:
    done = translate(values, {name: flag.default for name, flag in flags.flags.items()})
    done.values.pop(CONFIG_FILE, None)
    config = Config(**{name.replace("-", "_"): value for name, value in done.values.items()})
    lines = [Line("warn", msg, fields) for msg, fields in done.warnings]
    if (host := advertise_default_host(config)) is not None:
        lines.append(Line("info", "detected default host for advertise", {"host": host}))
    return config, lines + [Line("info", msg, fields) for msg, fields in done.notes]


def _report(flags: FlagSet, used: Mapping[str, Any], environment: Mapping[str, str]) -> list[Line]:
    variables = {variable_name(PREFIX, name) for name in (*flags.flags, *flags.ignored)}
    lines = []
    for name in used:
        variable = variable_name(PREFIX, name)
        told = {"variable_name": variable, "variable_value": environment[variable]}
        lines.append(Line("info", "recognized and used environment variable", told))
    for variable, value in environment.items():
        if variable.startswith(PREFIX + "_") and variable not in variables and variable not in _NOT_FLAGS:
            told = {"environment_variable": f"{variable}={value}"}
            lines.append(Line("warn", "unrecognized environment variable", told))
    return lines


__all__ = ["ConfigFileError", "Line", "Settings", "ShadowedVariable", "read_settings"]
