"""What etcd's flags mean, their defaults and the rules between them. Field names are flag names in snake_case."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from quorate.auth import DEFAULT_TOKEN_TTL, InvalidAuthOptions, SignedTokens, TokenOptions, parse_token_options
from quorate.auth.token_options import SIMPLE
from quorate.embed.discovery_settings import DiscoverySettings
from quorate.embed.errors import ConfigError
from quorate.embed.features import ONE_WAY, Gates
from quorate.embed.log_settings import LogSettings
from quorate.membership import parse_initial_cluster
from quorate.pkg import urls
from quorate.pkg.goflag import format_duration, parse_duration
from quorate.pkg.jsonlog import get_log
from quorate.server import ServerConfig
from quorate.server.config import (
    COMPACTION_BATCH_LIMIT,
    COMPACTION_SLEEP_INTERVAL,
    DEFAULT_CATCHUP_ENTRIES,
    DEFAULT_SNAPSHOT_COUNT,
)
from quorate.storage.backend import BATCH_INTERVAL, BATCH_LIMIT
from quorate.transport.tls import TlsError, check_versions, known_cipher_suites
from quorate.version import ETCD_VERSION

log = get_log(__name__)

DEFAULT_NAME = "default"
DEFAULT_PEER_URL = "http://localhost:2380"
DEFAULT_CLIENT_URL = "http://localhost:2379"
PROGRESS_INTERVAL = 600.0
BASIC, EXTENSIVE = "basic", "extensive"
"""How much /metrics shows."""
MIN_PROGRESS_INTERVAL = 0.1
"""Seconds; shorter intervals between idle notifications of watchers are raised to this."""
MAX_ELECTION_MS = 50_000
UNLIMITED_STREAMS = 2**32 - 1
MIN_RAFT_TIMEOUT = 5.0
"""Seconds; shorter ones of --raft-read-timeout and --raft-write-timeout are raised to this."""
HOLDABLE = ("3.5", "3.6")
"""Older releases that a member can take part as."""
MAX_RECOMMENDED_QUOTA = 8 * 1024**3
MAX_RECOMMENDED_REQUEST = 10 * 1024**2


@dataclass
class Config(DiscoverySettings, LogSettings):
    """Settings of one member. Times are in the unit of the flag: heartbeat and election in ms, others in s."""

    name: str = DEFAULT_NAME
    data_dir: str = ""
    wal_dir: str = ""
    listen_peer_urls: list[str] = field(default_factory=lambda: [DEFAULT_PEER_URL])
    listen_client_urls: list[str] = field(default_factory=lambda: [DEFAULT_CLIENT_URL])
    listen_client_http_urls: list[str] = field(default_factory=list)
    initial_advertise_peer_urls: list[str] = field(default_factory=lambda: [DEFAULT_PEER_URL])
    advertise_client_urls: list[str] | None = None
    initial_cluster: str = ""
    initial_cluster_state: str = "new"
    initial_cluster_token: str = "etcd-cluster"
    strict_reconfig_check: bool = True
    initial_election_tick_advance: bool = True
    force_new_cluster: bool = False
    max_learners: int = 1
    hold_version: str = ""
    initial_corrupt_check: bool = False
    corrupt_check_time: float = 0.0
    compact_hash_check_enabled: bool = True
    compact_hash_check_time: float = 60.0
    snapshot_count: int = DEFAULT_SNAPSHOT_COUNT
    snapshot_catchup_entries: int = DEFAULT_CATCHUP_ENTRIES
    max_wals: int = 5
    heartbeat_interval: int = 100
    election_timeout: int = 1000
    pre_vote: bool = True
    quota_backend_bytes: int = 0
    backend_batch_interval: float = 0.0
    backend_batch_limit: int = 0
    max_txn_ops: int = 128
    max_request_bytes: int = 1_572_864
    max_concurrent_streams: int = UNLIMITED_STREAMS
    grpc_keepalive_min_time: float = 5.0
    grpc_keepalive_interval: float = 7200.0
    grpc_keepalive_timeout: float = 20.0
    socket_reuse_port: bool = False
    raft_read_timeout: float = MIN_RAFT_TIMEOUT
    raft_write_timeout: float = MIN_RAFT_TIMEOUT
    compaction_batch_limit: int = 0
    compaction_sleep_interval: float = 0.0
    downgrade_check_time: float = 5.0
    bootstrap_defrag_threshold_megabytes: int = 0
    memory_mlock: bool = False
    """For the command: it is the whole process that is locked."""
    feature_gates: dict[str, bool] = field(default_factory=dict)
    auto_compaction_mode: str = "periodic"
    auto_compaction_retention: str = "0"
    watch_progress_notify_interval: float = 0.0
    warning_apply_duration: float = 0.1
    warning_unary_request_duration: float = 0.3
    auth_token: str = "simple"
    auth_token_ttl: int = 300
    bcrypt_cost: int = 10
    unsafe_no_fsync: bool = False
    enable_grpc_gateway: bool = True
    keep_processors_awake: bool = True
    metrics: str = BASIC
    """EXTENSIVE: how long calls take is measured; any other word means what BASIC does."""
    listen_metrics_urls: list[str] = field(default_factory=list)
    enable_pprof: bool = False
    cors: list[str] = field(default_factory=lambda: [urls.ANY])
    host_whitelist: list[str] = field(default_factory=lambda: [urls.ANY])
    cert_file: str = ""
    key_file: str = ""
    client_cert_auth: bool = False
    trusted_ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    client_crl_file: str = ""
    client_cert_allowed_hostname: list[str] = field(default_factory=list)
    auto_tls: bool = False
    peer_cert_file: str = ""
    peer_key_file: str = ""
    peer_client_cert_auth: bool = False
    peer_trusted_ca_file: str = ""
    peer_client_cert_file: str = ""
    peer_client_key_file: str = ""
    peer_crl_file: str = ""
    peer_cert_allowed_cn: list[str] = field(default_factory=list)
    peer_cert_allowed_hostname: list[str] = field(default_factory=list)
    peer_skip_client_san_verification: bool = False
    peer_auto_tls: bool = False
    self_signed_cert_validity: int = 1
    """Years."""
    cipher_suites: list[str] = field(default_factory=list)
    tls_min_version: str = "TLS1.2"
    tls_max_version: str = ""

    def check(self) -> None:
        """Raises ConfigError at the first rule that is broken, in etcd's order and words."""
        self.check_logging()
        self._check_urls()
        if self.initial_cluster_state not in ("new", "existing"):
            raise ConfigError(f'unexpected clusterState "{self.initial_cluster_state}"')
        self.check_discovery(self.initial_cluster)
        if self.heartbeat_interval == 0:
            raise ConfigError("--heartbeat-interval must be >0 (set to 0ms)")
        if self.election_timeout == 0:
            raise ConfigError("--election-timeout must be >0 (set to 0ms)")
        if 5 * self.heartbeat_interval > self.election_timeout:
            raise ConfigError(
                f"--election-timeout[{self.election_timeout}ms] should be at least as 5 times as "
                f"--heartbeat-interval[{self.heartbeat_interval}ms]"
            )
        if self.election_timeout > MAX_ELECTION_MS:
            raise ConfigError(
                f"--election-timeout[{self.election_timeout}ms] is too long, and should be set less than "
                f"{MAX_ELECTION_MS}ms"
            )
        if self.listen_client_urls != [DEFAULT_CLIENT_URL] and self.advertise_client_urls is None:
            raise ConfigError("--advertise-client-urls is required when --listen-client-urls is set explicitly")
        if self.auto_compaction_mode not in ("periodic", "revision"):
            if not self.auto_compaction_mode:
                raise ConfigError("undefined auto-compaction-mode")
            raise ConfigError(f'unknown auto-compaction-mode "{self.auto_compaction_mode}"')
        Gates(self.feature_gates)
        if self.compact_hash_check_time <= 0:
            raise ConfigError(
                f"--compact-hash-check-time must be >0 (set to {format_duration(self.compact_hash_check_time)})"
            )
        try:
            check_versions(self.tls_min_version, self.tls_max_version, self.cipher_suites)
            known_cipher_suites(self.cipher_suites)
        except TlsError as err:
            raise ConfigError(str(err)) from None

    def _check_urls(self) -> None:
        try:
            for url in self.listening_urls():
                urls.check_bindable(url)
            for url in self.initial_advertise_peer_urls:
                urls.check_advertised(url, "--initial-advertise-peer-urls")
            for url in self.advertise_client_urls or ():
                urls.check_advertised(url, "--advertise-client-urls")
        except ValueError as err:
            raise ConfigError(str(err)) from None
        for url in self.listen_peer_urls + self.initial_advertise_peer_urls:
            if not url.startswith(("http://", "https://")):
                raise ConfigError(f"peers at {url} are not built yet: only at http:// and https://")

    def listening_urls(self) -> list[str]:
        """All URLs to listen at: for members, for clients, for who watches."""
        return self.listen_peer_urls + self.listen_client_urls + self.listen_client_http_urls + self.listen_metrics_urls

    def directory(self) -> Path:
        return Path(self.data_dir or f"{self.name}.etcd")

    def server_config(self) -> ServerConfig:
        """Checked settings for the server. Raises ConfigError."""
        self.check()
        self.warn()
        gates = Gates(self.feature_gates)
        corrupt_check, compact_check = gates.said("InitialCorruptCheck"), gates.said("CompactHashCheck")
        return ServerConfig(
            name=self.name,
            data_dir=self.directory(),
            initial_cluster=self._cluster(),
            advertise_client_urls=[DEFAULT_CLIENT_URL]
            if self.advertise_client_urls is None
            else self.advertise_client_urls,
            peer_urls=sorted(self.initial_advertise_peer_urls),
            initial_cluster_token=self.initial_cluster_token,
            joining=self.initial_cluster_state == "existing",
            wal_dir=Path(self.wal_dir) if self.wal_dir else None,
            snapshot_count=self.snapshot_count or DEFAULT_SNAPSHOT_COUNT,
            snapshot_catchup_entries=self.snapshot_catchup_entries,
            max_wals=self.max_wals,
            heartbeat_interval=self.heartbeat_interval / 1000,
            election_timeout=self.election_timeout / 1000,
            pre_vote=self.pre_vote,
            quota_backend_bytes=self.quota_backend_bytes,
            backend_batch_interval=self.backend_batch_interval or BATCH_INTERVAL,
            backend_batch_limit=self.backend_batch_limit or BATCH_LIMIT,
            max_txn_ops=self.max_txn_ops,
            max_request_bytes=self.max_request_bytes,
            auto_compaction_mode=self.auto_compaction_mode,
            auto_compaction_retention=self._retention(),
            watch_progress_interval=max(
                self.watch_progress_notify_interval or PROGRESS_INTERVAL, MIN_PROGRESS_INTERVAL
            ),
            warning_apply_duration=self.warning_apply_duration,
            warning_unary_request_duration=self.warning_unary_request_duration,
            auth_token=self._token_options(),
            bcrypt_cost=self.bcrypt_cost,
            unsafe_no_fsync=self.unsafe_no_fsync,
            max_learners=self.max_learners,
            release=self._release(),
            strict_reconfig_check=self.strict_reconfig_check,
            initial_election_tick_advance=self.initial_election_tick_advance,
            force_new_cluster=self.force_new_cluster,
            initial_corrupt_check=self.initial_corrupt_check if corrupt_check is None else corrupt_check,
            corrupt_check_time=self.corrupt_check_time,
            compact_hash_check=self.compact_hash_check_enabled if compact_check is None else compact_check,
            compact_hash_check_time=self.compact_hash_check_time,
            client_cert_auth=self.client_cert_auth,
            compaction_batch_limit=self.compaction_batch_limit or COMPACTION_BATCH_LIMIT,
            compaction_sleep_interval=self.compaction_sleep_interval or COMPACTION_SLEEP_INTERVAL,
            downgrade_check_time=self.downgrade_check_time,
            bootstrap_defrag_bytes=self.bootstrap_defrag_threshold_megabytes << 20,
            raft_read_timeout=_raised("raft-read-timeout", self.raft_read_timeout),
            raft_write_timeout=_raised("raft-write-timeout", self.raft_write_timeout),
            lease_checkpoints=gates.enabled("LeaseCheckpoint"),
            not_serving_on_defrag=gates.enabled("StopGRPCServiceOnDefrag"),
            priority_requests=gates.enabled("PriorityRequest"),
            peer_local_address=self._local_address() if gates.enabled("SetMemberLocalAddr") else "",
        )

    def _local_address(self) -> str:
        """The first advertised address that this machine could call others from; empty if there is none."""
        for url in self.initial_advertise_peer_urls:
            with suppress(ValueError):
                address = ip_address(urlsplit(url).hostname or "")
                if not address.is_loopback and not address.is_unspecified:
                    log.info("setting member local address", local_address=str(address))
                    return str(address)
        log.warn("no member local address is set: none of the advertised peer URLs has a suitable one")
        return ""

    def _token_options(self) -> TokenOptions:
        try:
            options = parse_token_options(self.auth_token, lambda path: Path(path).read_bytes())
            if options.kind == SIMPLE:
                return replace(options, ttl=float(self.auth_token_ttl or DEFAULT_TOKEN_TTL))
            weakness = SignedTokens(options).weakness  # keys that do not fit are found before any data is touched
        except InvalidAuthOptions as err:
            log.error("problem loading auth token options", error=err.why)
            raise ConfigError(str(err)) from None
        if options.unknown:
            log.warn("unknown JWT options", keys=list(options.unknown))
        if weakness:
            log.warn("weak key for tokens", detail=weakness)
        return options

    def warn(self) -> None:
        """Log settings that work but that an operator should know about."""
        if not self.snapshot_count:
            log.info("snapshot count is 0: the default is used", used=DEFAULT_SNAPSHOT_COUNT)
        if not self.data_dir:
            log.warn("'data-dir' was empty; using default", data_dir=str(self.directory()))
        if self.quota_backend_bytes > MAX_RECOMMENDED_QUOTA:
            log.warn("quota exceeds the maximum value", quota_size_bytes=self.quota_backend_bytes)
        if self.max_request_bytes > MAX_RECOMMENDED_REQUEST:
            log.warn("exceeded recommended request limit", max_request_bytes=self.max_request_bytes)
        if self.auth_token == SIMPLE:
            log.warn("simple token is not cryptographically signed")
        for gate in ONE_WAY:
            if Gates(self.feature_gates).said(gate) is False:
                log.info("feature gate makes no difference here: there is one way, that of true", gate=gate)
        if self.unsafe_no_fsync:
            log.warn("fsync is off: acknowledged writes are lost when this machine loses power")

    def _cluster(self) -> dict[str, list[str]]:
        """Peer URLs by member name; holds this member under the URLs it advertises."""
        advertised = sorted(self.initial_advertise_peer_urls)
        if self.initial_cluster:
            text = self.initial_cluster
        elif self.name == DEFAULT_NAME and not self.discovers:
            text = f"{DEFAULT_NAME}={DEFAULT_PEER_URL}"
        else:
            text = ",".join(f"{self.name}={url}" for url in advertised)
        try:
            cluster = parse_initial_cluster(text)
        except ValueError as err:
            raise ConfigError(f"error setting up initial cluster: {err}") from None
        if self.has_log():
            return cluster  # who the members are is in there
        if self.name not in cluster:
            raise ConfigError(f'couldn\'t find local name "{self.name}" in the initial cluster configuration')
        if sorted(cluster[self.name]) != advertised and not _same_places(cluster[self.name], advertised):
            _mismatch(self.name, sorted(cluster[self.name]), advertised)
        return cluster

    def _release(self) -> str:
        """The etcd release to take part as."""
        if not self.hold_version:
            return ETCD_VERSION
        if self.hold_version not in HOLDABLE:
            raise ConfigError(f"--hold-version={self.hold_version} is none of {', '.join(HOLDABLE)}")
        return self.hold_version + ".0"

    def has_log(self) -> bool:
        """Whether the member has run before, so that nobody need tell it who the others are."""
        directory = Path(self.wal_dir) if self.wal_dir else self.directory() / "member" / "wal"
        return directory.is_dir() and any(directory.glob("*.wal"))

    def _retention(self) -> float:
        """Seconds in periodic mode (a bare number means hours), revisions in revision mode."""
        text = self.auto_compaction_retention
        try:
            if text.isdecimal():
                return int(text) * (3600 if self.auto_compaction_mode == "periodic" else 1)
            if self.auto_compaction_mode == "periodic":
                return parse_duration(text)
        except ValueError:
            pass
        raise ConfigError(f'error parsing CompactionRetention: time: invalid duration "{text}"')


def _raised(flag: str, seconds: float) -> float:
    if seconds < MIN_RAFT_TIMEOUT:
        log.info(f"--{flag} is raised to its minimum", given=format_duration(seconds), minimum="5s")
    return max(seconds, MIN_RAFT_TIMEOUT)


def _same_places(urls: list[str], others: list[str]) -> bool:
    """Whether each of `urls` leads where one of `others` leads, once names are resolved."""
    places = [_places(url) for url in others]
    return len(urls) == len(others) and all(any(_places(url) & place for place in places) for url in urls)


def _places(url: str) -> set[tuple[str, str, int]]:
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {(parts.scheme, str(at[0]), int(at[1])) for *_, at in found}


def _mismatch(name: str, configured: list[str], advertised: list[str]) -> None:
    missing = ",".join(f"{name}={url}" for url in configured if url not in advertised)
    if missing:
        raise ConfigError(
            f"--initial-cluster has {missing} but missing from "
            f"--initial-advertise-peer-urls={','.join(advertised)} "
            f'(resolved urls: "{",".join(advertised)}" != "{",".join(configured)}")'
        )
    raise ConfigError(
        f"--initial-advertise-peer-urls has {','.join(url for url in advertised if url not in configured)} but missing "
        f"from --initial-cluster={','.join(f'{name}={url}' for url in configured)}"
    )
