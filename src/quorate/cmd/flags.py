"""The flags of `etcd`. Names and defaults are etcd's; meanings are settled in `embed.config`."""

from __future__ import annotations

from quorate.cmd.security_flags import add_security
from quorate.embed import Config
from quorate.embed.config import DEFAULT_CLIENT_URL
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
)
from quorate.pkg.urls import parse_origins, parse_urls


def build_flags() -> FlagSet:
    """Every flag of the command, with the default that `Config` has."""
    flags = FlagSet()
    _add_member(flags)
    _add_watch(flags)
    _add_web(flags)
    _add_clustering(flags)
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
    flags.add("version", parse_bool, False, "Print the version and exit.")
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


def _add_watch(flags: FlagSet) -> None:
    for name in ("watch-progress-notify-interval", "experimental-watch-progress-notify-interval"):
        flags.add(
            name,
            parse_duration,
            Duration(Config().watch_progress_notify_interval),
            "Time between idle notifications of watchers that want them.",
        )


def _add_slow(flags: FlagSet) -> None:
    default = Config()
    for prefix in ("", "experimental-"):
        flags.add(
            f"{prefix}warning-apply-duration",
            parse_duration,
            Duration(default.warning_apply_duration),
            "Log what takes longer to be applied, agreed on or read.",
        )
        flags.add(
            f"{prefix}warning-unary-request-duration",
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
    flags.add("initial-cluster", parse_string, default.initial_cluster, "Members to start with, name=url,...")
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
    for name in ("max-learners", "experimental-max-learners"):
        flags.add(name, parse_int, default.max_learners, "Most learners in the cluster.")
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
    for prefix in ("", "experimental-"):
        flags.add(
            f"{prefix}initial-corrupt-check",
            parse_bool,
            default.initial_corrupt_check,
            "Compare hashes with the other members before serving.",
        )
        flags.add(
            f"{prefix}corrupt-check-time",
            parse_duration,
            Duration(default.corrupt_check_time),
            "Time between comparisons of hashes by the leader; 0s is off.",
        )
        flags.add(
            f"{prefix}compact-hash-check-enabled",
            parse_bool,
            default.compact_hash_check_enabled,
            "Compare the hashes that compactions leave.",
        )
        flags.add(
            f"{prefix}compact-hash-check-time",
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
    flags.add("max-wals", parse_uint, default.max_wals, "Log segments kept; 0 keeps all.")
    flags.add("quota-backend-bytes", parse_int, default.quota_backend_bytes, "Space quota; 0 is 2 GiB, negative none.")
    flags.add(
        "backend-batch-interval", parse_duration, Duration(0), "Longest time before a batch is written; 0s: 100ms."
    )
    flags.add("backend-batch-limit", parse_uint, 0, "Most operations in a batch; 0: 10000.")
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
    flags.add("log-outputs", parse_list, default.log_outputs, "default, stderr, stdout or file paths.")
