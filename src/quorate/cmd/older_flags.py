"""Flags that etcd has renamed, given up, or that ask for what is not built here: none is passed over in silence.

renamed      works under its old name, with a warning
gated        has become a feature gate: the same
refused      ends the start with one line, unless it asks for what is done anyway
no effect    says so, once
removed      is told what to use now, as a flag that is not defined
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from quorate.embed import ConfigError
from quorate.pkg.goflag import (
    Duration,
    FlagSet,
    Parser,
    one_of,
    parse_bool,
    parse_duration,
    parse_int,
    parse_list,
    parse_string,
    parse_uint,
)
from quorate.pkg.loglevels import parse_package_levels

V2_DEPRECATION = ("not-yet", "write-only", "write-only-skip-check", "write-only-drop-data", "gone")


class Old(NamedTuple):
    """An old name, and what it has become: another flag, or a feature gate."""

    parse: Parser
    default: Any
    now: str


class Refused(NamedTuple):
    parse: Parser
    default: Any
    why: str


_RENAMED: dict[str, Old] = {
    "experimental-corrupt-check-time": Old(parse_duration, Duration(0), "corrupt-check-time"),
    "experimental-compact-hash-check-time": Old(parse_duration, Duration(60), "compact-hash-check-time"),
    "experimental-compaction-batch-limit": Old(parse_int, 1000, "compaction-batch-limit"),
    "experimental-compaction-sleep-interval": Old(parse_duration, Duration(0.01), "compaction-sleep-interval"),
    "experimental-peer-skip-client-san-verification": Old(parse_bool, False, "peer-skip-client-san-verification"),
    "experimental-watch-progress-notify-interval": Old(parse_duration, Duration(600), "watch-progress-notify-interval"),
    "experimental-warning-apply-duration": Old(parse_duration, Duration(0.1), "warning-apply-duration"),
    "experimental-warning-unary-request-duration": Old(parse_duration, Duration(0.3), "warning-unary-request-duration"),
    "experimental-bootstrap-defrag-threshold-megabytes": Old(parse_uint, 0, "bootstrap-defrag-threshold-megabytes"),
    "experimental-downgrade-check-time": Old(parse_duration, Duration(5), "downgrade-check-time"),
    "experimental-memory-mlock": Old(parse_bool, False, "memory-mlock"),
    "experimental-snapshot-catchup-entries": Old(parse_uint, 5000, "snapshot-catchup-entries"),
    "experimental-max-learners": Old(parse_int, 1, "max-learners"),
    "experimental-backend-bbolt-freelist-type": Old(parse_string, "array", "backend-bbolt-freelist-type"),
    "log-output": Old(parse_list, ["default"], "log-outputs"),
}
_GATED: dict[str, Old] = {
    "experimental-initial-corrupt-check": Old(parse_bool, False, "InitialCorruptCheck"),
    "experimental-compact-hash-check-enabled": Old(parse_bool, False, "CompactHashCheck"),
    "experimental-enable-lease-checkpoint": Old(parse_bool, False, "LeaseCheckpoint"),
    "experimental-enable-lease-checkpoint-persist": Old(parse_bool, False, "LeaseCheckpointPersist"),
    "experimental-stop-grpc-service-on-defrag": Old(parse_bool, False, "StopGRPCServiceOnDefrag"),
    "experimental-txn-mode-write-with-shared-buffer": Old(parse_bool, True, "TxnModeWriteWithSharedBuffer"),
}
_TRACING = "spans are not sent anywhere by this release"
_V2 = "the v2 API and its proxy are not built"
_REFUSED: dict[str, Refused] = {
    "enable-distributed-tracing": Refused(parse_bool, False, _TRACING),
    "experimental-enable-distributed-tracing": Refused(parse_bool, False, _TRACING),
    "enable-v2": Refused(parse_bool, False, _V2),
    "experimental-enable-v2v3": Refused(parse_string, "", _V2),
    "proxy": Refused(one_of("off", "readonly", "on"), "off", _V2),
    "proxy-failure-wait": Refused(parse_uint, 5000, _V2),
    "proxy-refresh-interval": Refused(parse_uint, 30000, _V2),
    "proxy-dial-timeout": Refused(parse_uint, 1000, _V2),
    "proxy-write-timeout": Refused(parse_uint, 5000, _V2),
    "proxy-read-timeout": Refused(parse_uint, 0, _V2),
    "next-cluster-version-compatible": Refused(
        parse_bool, False, "that was etcd 3.4's; --hold-version keeps the way back to an older release open"
    ),
}
_WITHOUT_TRACING: dict[str, tuple[Parser, Any]] = {
    "distributed-tracing-address": (parse_string, "localhost:4317"),
    "distributed-tracing-service-name": (parse_string, "etcd"),
    "distributed-tracing-instance-id": (parse_string, ""),
    "distributed-tracing-sampling-rate": (parse_int, 0),
}
_NO_EFFECT: dict[str, str] = {
    "max-snapshots": "raft snapshots are records of the log here, not files",
    "backend-bbolt-freelist-type": "the database is LMDB, which keeps its free pages in its own way",
    "v2-deprecation": "there is no v2 store whose content could stand in the way",
    "socket-reuse-address": "listeners have SO_REUSEADDR in any case",
    **dict.fromkeys(_WITHOUT_TRACING, "tracing is off"),
    **dict.fromkeys((f"experimental-{name}" for name in _WITHOUT_TRACING), "tracing is off"),
}
REMOVED = {
    "ca-file": "removed in 3.4: use --trusted-ca-file and --client-cert-auth",
    "peer-ca-file": "removed in 3.4: use --peer-trusted-ca-file and --peer-client-cert-auth",
}
IGNORED = (
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
    "test.coverprofile",
    "test.outputdir",
)
"""Words of etcd 0.x and of Go's tests, which every etcd takes and none looks at."""


def add_older(flags: FlagSet) -> None:
    """Every flag that some release from 3.4 on has and that is not one of today's."""
    flags.section("Older names; each has a newer one, or what it asks for is not built")
    for name, old in _RENAMED.items():
        flags.add(name, old.parse, old.default, f"Older name of --{old.now}.")
    for name, old in _GATED.items():
        flags.add(name, old.parse, old.default, f"Older name of --feature-gates={old.now}=true|false.")
    flags.add("debug", parse_bool, False, "Older name of --log-level=debug.")
    flags.add(
        "log-package-levels",
        parse_package_levels,
        {},
        "Levels of single rooms, such as etcdserver=DEBUG,raft=WARNING, where they differ from --log-level.",
    )
    flags.add("v2-deprecation", _v2_deprecation, "write-only", "Without effect: there is no v2 store.")
    for prefix in ("", "experimental-"):
        for name, (parse, default) in _WITHOUT_TRACING.items():
            flags.add(prefix + name, parse, default, "Without effect: tracing is not built.")
    for name, refused in _REFUSED.items():
        flags.add(name, refused.parse, refused.default, f"Not built: {refused.why}.")
    flags.removed = dict(REMOVED)
    flags.ignored = set(IGNORED)


def _v2_deprecation(text: str) -> str:
    if text not in V2_DEPRECATION:
        raise ValueError(f'invalid value "{text}"')
    return text


class Translated(NamedTuple):
    """Values by today's names, and what is to be said about older ones: a message and its fields."""

    values: dict[str, Any]
    warnings: list[tuple[str, dict[str, object]]]
    notes: list[tuple[str, dict[str, object]]]


def translate(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Translated:
    """Flags that were set, under the names that `Config` knows. Raises ConfigError for what is not built.

    `defaults` are those of all flags. A flag that is set under both names has the value of its newer one.
    """
    done = Translated(dict(values), [], [])
    found = done.values
    for name, refused in _REFUSED.items():
        if found.pop(name, refused.default) != refused.default:
            raise ConfigError(f"--{name} is not built: {refused.why}")
    _join_gates(done)
    _rename(done)
    if found.pop("debug", False):
        found.setdefault("log-level", "debug")
        done.warnings.append(_deprecated("debug", "--log-level=debug"))
    for name, why in _NO_EFFECT.items():
        if name in found and found.pop(name) != defaults[name]:
            done.notes.append((f"--{name} has no effect: {why}", {}))
    for name in [name for name in found if name in IGNORED]:
        del found[name]
        done.warnings.append(("flag is ignored: it means nothing any more", {"flag": f"--{name}"}))
    return done


def _rename(done: Translated) -> None:
    both = "experimental-warning-unary-request-duration"
    if both in done.values and _RENAMED[both].now in done.values:
        raise ConfigError(
            "both --experimental-warning-unary-request-duration and --warning-unary-request-duration flags are set. "
            "Use only --warning-unary-request-duration"
        )
    for name, old in _RENAMED.items():
        if name in done.values:
            value = done.values.pop(name)
            done.values.setdefault(old.now, value)
            done.warnings.append(_deprecated(name, f"--{old.now}"))


def _join_gates(done: Translated) -> None:
    gates: dict[str, bool] = dict(done.values.get("feature-gates", {}))
    for name, old in _GATED.items():
        if name not in done.values:
            continue
        value = done.values.pop(name)
        use = f"--feature-gates={old.now}={str(value).lower()}"
        if old.now in gates:
            raise ConfigError(
                f"cannot specify both flags: --{name}={str(value).lower()} and "
                f"--feature-gates={old.now}={str(gates[old.now]).lower()} at the same time, please just use "
                f"--feature-gates={old.now}={str(gates[old.now]).lower()}"
            )
        gates[old.now] = value
        done.warnings.append(_deprecated(name, use))
    if gates:
        done.values["feature-gates"] = gates


def _deprecated(name: str, instead: str) -> tuple[str, dict[str, object]]:
    return "flag is deprecated", {"flag": f"--{name}", "use": instead}
