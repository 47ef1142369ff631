"""`--config-file`: the settings of a member as YAML, with etcd's keys.

    name: m1                                  a flag's name is its key
    heartbeat-interval: 100                   numbers as numbers, texts as texts; durations in nanoseconds
    log-outputs: [stderr]                     log-outputs and cipher-suites are lists
    client-transport-security:                sections, whose keys stand for flags of other names
      cert-file: /etc/etcd/cert.pem

Keys are found whatever their case. One that no flag stands for is not looked at, as in etcd, but is told of.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from quorate.cmd.discovery_flags import parse_endpoints
from quorate.pkg.goflag import (
    Flag,
    FlagSet,
    parse_bool,
    parse_duration,
    parse_int,
    parse_list,
    parse_uint,
    parse_uint32,
)
from quorate.pkg.urls import parse_origins, parse_urls


class ConfigFileError(Exception):
    """A file that cannot be taken. `code` is the exit code, `plain` tells that etcd prints no log line for it."""

    def __init__(self, text: str, code: int = 1, plain: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.plain = plain


class FileSettings(NamedTuple):
    """Values by flag, and keys that no flag stands for."""

    values: dict[str, Any]
    unknown: list[str]


_TLS = (
    "cert-file",
    "key-file",
    "client-cert-file",
    "client-key-file",
    "client-cert-auth",
    "trusted-ca-file",
    "auto-tls",
)
SECTIONS: dict[str, dict[str, str]] = {
    "client-transport-security": {
        **{key: key for key in _TLS},
        "allowed-hostname": "client-cert-allowed-hostname",
        "ca-file": "ca-file",
    },
    "peer-transport-security": {
        **{key: f"peer-{key}" for key in _TLS},
        "allowed-cn": "peer-cert-allowed-cn",
        "allowed-hostname": "peer-cert-allowed-hostname",
        "skip-client-san-verification": "peer-skip-client-san-verification",
        "ca-file": "peer-ca-file",
    },
    "socket-options": {"reuse-port": "socket-reuse-port", "reuse-address": "socket-reuse-address"},
    "discovery-config": {"token": "discovery-token"},
    "discovery-config.client": {
        key: f"discovery-{key}"
        for key in ("endpoints", "request-timeout", "dial-timeout", "keepalive-time", "keepalive-timeout")
    },
    "discovery-config.client.secure": {
        key: f"discovery-{key}" for key in ("cert", "key", "cacert", "insecure-transport", "insecure-skip-tls-verify")
    },
    "discovery-config.client.auth": {"username": "discovery-user", "password": "discovery-password"},
}
"""Flags by key, of every section."""
NO_KEYS = frozenset(
    {"config-file", "version", "client-crl-file", "peer-crl-file", "raft-read-timeout", "raft-write-timeout"}
    | {flag for keys in SECTIONS.values() for flag in keys.values()}
)
"""Flags that have no key at the top."""
_RESPELLED = {"experimental-snapshot-catch-up-entries": "experimental-snapshot-catchup-entries"}
_LISTS = ("log-outputs", "cipher-suites", "discovery-endpoints")
_TEXTS_OR_LISTS = ("client-cert-allowed-hostname", "peer-cert-allowed-cn", "peer-cert-allowed-hostname")
"""Texts in older releases, lists in newer ones."""
_GO_INTEGERS = {"snapshot-count": "uint64", "snapshot-catchup-entries": "uint64", "quota-backend-bytes": "int64"}


def read_config_file(path: str, flags: FlagSet) -> FileSettings:
    """The settings in the file at `path`. Raises ConfigFileError."""
    try:
        with open(path, encoding="utf-8", errors="strict") as file:
            text = file.read()
    except OSError as err:
        raise ConfigFileError(f"open {path}: {os.strerror(err.errno or 0).lower()}") from None
    except UnicodeDecodeError:
        raise ConfigFileError("error converting YAML to JSON: yaml: invalid UTF-8") from None
    return _Reader(flags).read(_parse(text))


def _parse(text: str) -> Mapping[Any, Any]:
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as err:
        line = (err.problem_mark.line + 1) if err.problem_mark is not None else 0
        raise ConfigFileError(f"error converting YAML to JSON: yaml: line {line}: {err.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise ConfigFileError(f"error converting YAML to JSON: yaml: {' '.join(str(err).split())}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _wrong(found, "Go value of type embed.configYAML")
    return found


class _Reader:
    """Goes through sections, collects values."""

    def __init__(self, flags: FlagSet) -> None:
        self._flags = flags
        top = {name: name for name in flags.flags if name not in NO_KEYS} | _RESPELLED
        self._keys = {"": top, **SECTIONS}
        self._done = FileSettings({}, [])

    def read(self, found: Mapping[Any, Any], section: str = "") -> FileSettings:
        for given, value in found.items():
            key = str(given).lower()
            path = f"{section}.{key}" if section else key
            if path in SECTIONS:
                if value is not None and not isinstance(value, dict):
                    raise _wrong(value, f"Go struct field configYAML.{path} of type struct")
                self.read(value or {}, path)
            elif (name := self._keys[section].get(key)) is None:
                self._done.unknown.append(f"{section}.{given}" if section else str(given))
            elif name in self._flags.removed:
                raise ConfigFileError(f"{path}: {self._flags.removed[name]}")
            elif value is not None:
                self._done.values[name] = _value(self._flags.flags[name], path, value)
        return self._done


def _value(flag: Flag, path: str, value: Any) -> Any:
    """What `flag` is to be, from a value of YAML. Raises ConfigFileError in etcd's words."""
    field = f"Go struct field configYAML.{path} of type "
    if flag.parse is parse_bool:
        return value if isinstance(value, bool) else _refuse(value, field + "bool")
    if flag.parse is parse_duration:
        if isinstance(value, int) and not isinstance(value, bool):
            return type(flag.default)(value / 1e9)
        return _refuse(value, field + "time.Duration", " (a duration is a number of nanoseconds)")
    if flag.parse in (parse_int, parse_uint, parse_uint32):
        return _integer(flag, value, field)
    if flag.name in _LISTS or (flag.name in _TEXTS_OR_LISTS and isinstance(value, list)):
        if not isinstance(value, list):
            return _refuse(value, field + "[]string")
        return [item if isinstance(item, str) else _refuse(item, field + "string") for item in value]
    if not isinstance(value, str):
        return _refuse(value, field + "string", " (put it in quotes)")
    return _parsed(flag, value)


def _integer(flag: Flag, value: Any, field: str) -> int:
    unsigned = flag.parse is not parse_int
    kind = _GO_INTEGERS.get(flag.name, "uint32" if flag.parse is parse_uint32 else "uint" if unsigned else "int")
    whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, float) or (whole and unsigned and value < 0):
        raise ConfigFileError(f"{_PREFIX} number {value} into {field}{kind}")
    if not whole:
        return int(_refuse(value, field + kind))
    try:
        return int(flag.parse(str(value)))
    except ValueError:
        raise ConfigFileError(f"{_PREFIX} number {value} into {field}{kind}") from None


def _parsed(flag: Flag, text: str) -> Any:
    """A text as the flag takes it."""
    if not text and flag.parse in (parse_urls, parse_origins, parse_list, parse_endpoints):
        return flag.default
    try:
        return flag.parse(text)
    except ValueError as err:
        if flag.name == "cors":
            raise ConfigFileError(f"new UniqueURLs should never fail: {err}", 2, plain=True) from None
        if flag.name == "initial-cluster-state":
            raise ConfigFileError(f'unexpected clusterState "{text}"') from None
        raise ConfigFileError(f"unexpected error setting up {flag.name}: {err}", plain=True) from None


_PREFIX = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal"


def _refuse(value: Any, into: str, hint: str = "") -> Any:
    raise _wrong(value, into, hint)


def _wrong(value: Any, into: str, hint: str = "") -> ConfigFileError:
    kinds = ((bool, "bool"), ((int, float), "number"), (str, "string"), (list, "array"), (dict, "object"))
    kind = next((name for types, name in kinds if isinstance(value, types)), "string")
    return ConfigFileError(f"{_PREFIX} {kind} into {into}{hint}")
