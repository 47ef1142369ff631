"""The flags of `etcd`. Names and defaults are etcd's; meanings are settled in `embed.config`."""

from __future__ import annotations

from quorate.cmd.discovery_flags import add_discovery
from quorate.cmd.older_flags import add_older
from quorate.cmd.security_flags import add_security
from quorate.embed import Config
from quorate.embed.config import DEFAULT_CLIENT_URL, DEFAULT_PEER_URL
from quorate.embed.features import parse_gates
from quorate.pkg.goflag import (
    Duration,
    FlagSet,
    one_of,
    parse_bool,
    parse_duration,
    parse_int,
    parse_list,
    parse_string,
    parse_uint,
    parse_uint32,
)
from quorate.pkg.urls import parse_origins, parse_urls


def build_flags() -> FlagSet:
    """Every flag of the command, with the default that `Config` has."""
    flags = FlagSet()
    _add_member(flags)
    _add_connections(flags)
    _add_watch(flags)
    _add_web(flags)
    _add_monitoring(flags)
    _add_clustering(flags)
    add_discovery(flags)
    _add_storage(flags)
    add_security(flags)
    _add_logging(flags)
    _add_slow(flags)
    _add_checks(flags)
    _add_auth(flags)
    flags.section("Unsafe and others")
    flags.add(
        "force-new-cluster",
        parse_bool,
        False,
        "Go on alone with this member's data: the others are removed. Only when they are lost for good.",
    )
    flags.add("unsafe-no-fsync", parse_bool, False, "Skip fsync: acknowledged writes do not survive a power loss.")
    flags.add(
        "keep-processors-awake",
        parse_bool,
        Config().keep_processors_awake,
        "Forbid processors to sleep while clients call one after another, on a small machine that lets this user.",
    )
    flags.add("config-file", parse_string, "", "Settings as YAML; flags and variables are then left out of account.")
    flags.add("version", parse_bool, False, "Print the version and exit.")
    add_older(flags)
    return flags


def _add_member(flags: FlagSet) -> None:
    default = Config()
    flags.section("Member")
    flags.add("name", parse_string, default.name, "Human-readable name of this member.")
    flags.add("data-dir", parse_string, default.data_dir, "Directory of this member's data; <name>.etcd when empty.")
    flags.add("wal-dir", parse_string, default.wal_dir, "Directory of the write-ahead log, when it is to be apart.")
    flags.add("listen-peer-urls", parse_urls, default.listen_peer_urls, "URLs to listen on for other members.")
    flags.add("listen-client-urls", parse_urls, default.listen_client_urls, "URLs to listen on for clients.")
    flags.add("heartbeat-interval", parse_uint, default.heartbeat_interval, "Milliseconds between heartbeats.")
    flags.add("election-timeout", parse_uint, default.election_timeout, "Milliseconds without a leader to an election.")
    flags.add("max-txn-ops", parse_uint, default.max_txn_ops, "Most operations in one transaction.")
    flags.add("max-request-bytes", parse_uint, default.max_request_bytes, "Largest client request in bytes.")
    flags.add("memory-mlock", parse_bool, False, "Keep the memory of the process from being swapped out.")
    flags.add("feature-gates", parse_gates, {}, "Switches, Name=true|false,...: see docs/operations/configuration.md.")


def _add_connections(flags: FlagSet) -> None:
    default = Config()
    flags.section("Connections")
    flags.add(
        "max-concurrent-streams",
        parse_uint32,
        default.max_concurrent_streams,
        "Calls that one connection of a client may have open; the default is this server's own limit, 16384.",
    )
    for name, seconds, usage in (
        ("min-time", default.grpc_keepalive_min_time, "Clients that ping more often are sent away."),
        ("interval", default.grpc_keepalive_interval, "Silence after which a client is pinged; 0s never does."),
        ("timeout", default.grpc_keepalive_timeout, "Time in which it must answer; 0s never pings."),
    ):
        flags.add(f"grpc-keepalive-{name}", parse_duration, Duration(seconds), usage)
    flags.add("socket-reuse-port", parse_bool, False, "Share the ports with others that say so too (SO_REUSEPORT).")
    flags.add("socket-reuse-address", parse_bool, False, "Take ports in TIME_WAIT (SO_REUSEADDR): always done.")
    for word, what in (("read", "bring nothing"), ("write", "take nothing")):
        flags.add(
            f"raft-{word}-timeout",
            parse_duration,
            Duration(default.raft_read_timeout),
            f"Time that a connection between members may {what}; 5s at least.",
        )


def _add_watch(flags: FlagSet) -> None:
    flags.add(
        "watch-progress-notify-interval",
        parse_duration,
        Duration(0),
        "Time between idle notifications of watchers that want them; 0s: 10m.",
    )


def _add_slow(flags: FlagSet) -> None:
    default = Config()
    flags.add(
        "warning-apply-duration",
        parse_duration,
        Duration(default.warning_apply_duration),
        "Log what takes longer to be applied, agreed on or read.",
    )
    flags.add(
        "warning-unary-request-duration",
        parse_duration,
        Duration(default.warning_unary_request_duration),
        "Log unary calls that take longer.",
    )


def _add_web(flags: FlagSet) -> None:
    default = Config()
    flags.section("HTTP on the client port")
    flags.add(
        "listen-client-http-urls",
        parse_urls,
        default.listen_client_http_urls,
        "URLs to listen on for HTTP alone; then the client URLs are for gRPC alone.",
    )
    flags.add("enable-grpc-gateway", parse_bool, default.enable_grpc_gateway, "Serve the API as JSON under /v3/.")
    flags.add(
        "cors", parse_origins, default.cors, "Origins whose pages may read answers, scheme://host:port; * is all."
    )
    flags.add("host-whitelist", parse_list, default.host_whitelist, "Host names answered to over plain HTTP; * is all.")


def _add_monitoring(flags: FlagSet) -> None:
    default = Config()
    flags.section("Monitoring")
    flags.add(
        "metrics", parse_string, default.metrics, "basic, or extensive: then /metrics shows how long calls take, too."
    )
    flags.add(
        "listen-metrics-urls",
        lambda text: parse_urls(text) if text else [],
        default.listen_metrics_urls,
        "Further URLs to listen on for /metrics, /health, /livez and /readyz alone.",
    )
    flags.add("enable-pprof", parse_bool, default.enable_pprof, "Serve profiles of the process under /debug/pprof/.")


def _add_clustering(flags: FlagSet) -> None:
    default = Config()
    flags.section("Clustering")
    flags.add(
        "initial-advertise-peer-urls",
        parse_urls,
        default.initial_advertise_peer_urls,
        "Peer URLs that the rest of the cluster reaches this member by.",
    )
    flags.add("advertise-client-urls", parse_urls, [DEFAULT_CLIENT_URL], "Client URLs to tell others.")
    flags.add(
        "initial-cluster", parse_string, f"{default.name}={DEFAULT_PEER_URL}", "Members to start with, name=url,..."
    )
    flags.add("initial-cluster-state", one_of("new", "existing"), "new", "Whether to start or to join a cluster.")
    flags.add("initial-cluster-token", parse_string, default.initial_cluster_token, "Keeps clusters apart.")
    flags.add(
        "strict-reconfig-check",
        parse_bool,
        default.strict_reconfig_check,
        "Refuse changes of the members that would cost the quorum.",
    )
    flags.add(
        "initial-election-tick-advance",
        parse_bool,
        default.initial_election_tick_advance,
        "Hold the first election sooner when the other members are there.",
    )
    flags.add("max-learners", parse_int, default.max_learners, "Most learners in the cluster.")
    flags.add(
        "downgrade-check-time",
        parse_duration,
        Duration(default.downgrade_check_time),
        "Time between two looks at whether a downgrade is complete; 0s never looks.",
    )
    flags.add(
        "hold-version",
        parse_string,
        default.hold_version,
        "Take part as a member of this older etcd release (3.5, 3.6), so that its members can join again.",
    )
    flags.add("pre-vote", parse_bool, default.pre_vote, "Ask for votes before raising the term.")


def _add_checks(flags: FlagSet) -> None:
    default = Config()
    flags.section("Checks of consistency")
    flags.add(
        "initial-corrupt-check",
        parse_bool,
        default.initial_corrupt_check,
        "Compare hashes with the other members before serving.",
    )
    flags.add(
        "corrupt-check-time",
        parse_duration,
        Duration(default.corrupt_check_time),
        "Time between comparisons of hashes by the leader; 0s is off.",
    )
    flags.add(
        "compact-hash-check-enabled",
        parse_bool,
        default.compact_hash_check_enabled,
        "Compare the hashes that compactions leave.",
    )
    flags.add(
        "compact-hash-check-time",
        parse_duration,
        Duration(default.compact_hash_check_time),
        "Time between comparisons of the hashes that compactions leave.",
    )


def _add_auth(flags: FlagSet) -> None:
    default = Config()
    flags.section("Auth")
    flags.add(
        "auth-token",
        parse_string,
        default.auth_token,
        "How callers get tokens: simple, or jwt,sign-method=M,pub-key=FILE,priv-key=FILE,ttl=T.",
    )
    flags.add("auth-token-ttl", parse_uint, default.auth_token_ttl, "Seconds a simple token lives after its last use.")
    flags.add("bcrypt-cost", parse_uint, default.bcrypt_cost, "Cost of a password's hash, 4 to 31.")


def _add_storage(flags: FlagSet) -> None:
    default = Config()
    flags.section("Storage")
    flags.add("snapshot-count", parse_uint, default.snapshot_count, "Entries applied between two raft snapshots.")
    flags.add(
        "snapshot-catchup-entries",
        parse_uint,
        default.snapshot_catchup_entries,
        "Entries kept in memory behind a raft snapshot.",
    )
    flags.add("max-snapshots", parse_uint, 5, "Snapshot files kept: without effect, raft snapshots are no files here.")
    flags.add("max-wals", parse_uint, default.max_wals, "Log segments kept; 0 keeps all.")
    flags.add("quota-backend-bytes", parse_int, default.quota_backend_bytes, "Space quota; 0 is 2 GiB, negative none.")
    flags.add(
        "backend-batch-interval", parse_duration, Duration(0), "Longest time before a batch is written; 0s: 100ms."
    )
    flags.add("backend-batch-limit", parse_int, 0, "Most operations in a batch; 0: 10000.")
    flags.add("backend-bbolt-freelist-type", parse_string, "map", "array or map: without effect, LMDB keeps its own.")
    flags.add(
        "bootstrap-defrag-threshold-megabytes",
        parse_uint,
        0,
        "Defragment before serving if that frees so many megabytes; 0 never does.",
    )
    flags.add("compaction-batch-limit", parse_int, 0, "Revisions that a compaction handles at a time; 0: 1000.")
    flags.add("compaction-sleep-interval", parse_duration, Duration(0), "Pause between two such batches; 0s: 10ms.")
    flags.add("auto-compaction-mode", parse_string, default.auto_compaction_mode, "periodic or revision.")
    flags.add(
        "auto-compaction-retention",
        parse_string,
        default.auto_compaction_retention,
        "Hours or a duration in periodic mode, revisions in revision mode; 0 is off.",
    )


def _add_logging(flags: FlagSet) -> None:
    default = Config()
    flags.section("Logging")
    flags.add("logger", parse_string, default.logger, "Only zap, the shape of the JSON lines.")
    flags.add("log-level", parse_string, default.log_level, "debug, info, warn, error, panic or fatal.")
    flags.add(
        "log-outputs", parse_list, default.log_outputs, "default, stderr, stdout, systemd/journal, or paths of files."
    )
    flags.add("log-format", parse_string, default.log_format, "json or console.")
    flags.add("enable-log-rotation", parse_bool, False, "Set the log file aside when it is full.")
    flags.add(
        "log-rotation-config-json",
        parse_string,
        default.log_rotation_config_json,
        "When a log file is full (maxsize, MB) and which of those set aside stay (maxage, days; maxbackups).",
    )
