"""What a member must be told to run. Times are in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from quorate.auth import TokenOptions
from quorate.storage.backend import BATCH_INTERVAL, BATCH_LIMIT
from quorate.version import ETCD_VERSION

DEFAULT_SNAPSHOT_COUNT = 10_000
DEFAULT_CATCHUP_ENTRIES = 5_000
COMPACTION_BATCH_LIMIT = 1000
COMPACTION_SLEEP_INTERVAL = 0.01
MESSAGE_OVERHEAD = 512 * 1024
"""Bytes that a message may be larger than the request it carries."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One member's settings, checked already; what etcd's flags of the same names mean."""

    name: str
    data_dir: Path
    initial_cluster: dict[str, list[str]]
    """Peer URLs by member name; without effect once the member has data."""
    advertise_client_urls: list[str]
    peer_urls: list[str]
    """What the other members reach this one by."""
    initial_cluster_token: str = "etcd-cluster"
    joining: bool = False
    """True for a member that is to join a cluster there is; without effect once it has data."""
    force_new_cluster: bool = False
    """Go on alone with the data of a cluster whose other members are lost for good."""
    strict_reconfig_check: bool = True
    """Refuse changes of the members that would leave the cluster without a quorum."""
    initial_election_tick_advance: bool = True
    """Shorten the first election timeout once the other members are there."""
    initial_corrupt_check: bool = False
    """Compare hashes with the other members before serving."""
    corrupt_check_time: float = 0.0
    """Seconds between comparisons of hashes by the leader; 0 is off."""
    compact_hash_check: bool = True
    compact_hash_check_time: float = 60.0
    """Seconds between comparisons, by the leader, of the hashes that compactions leave."""
    wal_dir: Path | None = None
    snapshot_count: int = DEFAULT_SNAPSHOT_COUNT
    snapshot_catchup_entries: int = DEFAULT_CATCHUP_ENTRIES
    max_wals: int = 5
    heartbeat_interval: float = 0.1
    election_timeout: float = 1.0
    pre_vote: bool = True
    quota_backend_bytes: int = 0
    backend_batch_interval: float = BATCH_INTERVAL
    backend_batch_limit: int = BATCH_LIMIT
    max_txn_ops: int = 128
    max_request_bytes: int = 1_572_864
    auto_compaction_mode: str = "periodic"
    auto_compaction_retention: float = 0
    """Seconds in periodic mode, revisions in revision mode; 0 is off."""
    watch_progress_interval: float = 600.0
    warning_apply_duration: float = 0.1
    """Seconds; what takes longer is told to the log: applying an entry, answering a proposal, reading a range."""
    warning_unary_request_duration: float = 0.3
    """Seconds; the same for a whole unary call."""
    auth_token: TokenOptions = field(default_factory=TokenOptions)
    bcrypt_cost: int = 10
    client_cert_auth: bool = False
    """Clients show certificates, whose common names are users to callers without a token."""
    compaction_batch_limit: int = COMPACTION_BATCH_LIMIT
    """Keys or rows that a compaction handles at a time."""
    compaction_sleep_interval: float = COMPACTION_SLEEP_INTERVAL
    """Seconds between two such batches."""
    downgrade_check_time: float = 5.0
    """Seconds between two looks at whether a downgrade has come to its end; 0 never looks."""
    bootstrap_defrag_bytes: int = 0
    """Defragment before serving if that frees so many; 0 never does."""
    raft_read_timeout: float = 5.0
    raft_write_timeout: float = 5.0
    """Seconds that a stream between members may bring nothing, or take nothing, before it is dropped."""
    lease_checkpoints: bool = True
    """Note the time left of long leases in the log."""
    not_serving_on_defrag: bool = False
    """The gRPC health service says so while the database is defragmented."""
    priority_requests: bool = False
    """Revoking a lease is taken when other requests are already too many."""
    peer_local_address: str = ""
    """The address to call other members from; empty leaves it to the system."""
    unsafe_no_fsync: bool = False
    max_learners: int = 1
    release: str = ETCD_VERSION
    """The etcd release, X.Y.Z, that this member takes part as: an older one holds the cluster's version down."""

    @property
    def max_message_bytes(self) -> int:
        """Largest gRPC message taken, and where a watch response is split: a request and what is around it."""
        return self.max_request_bytes + MESSAGE_OVERHEAD

    @property
    def member_dir(self) -> Path:
        return self.data_dir / "member"

    @property
    def wal_path(self) -> Path:
        return self.wal_dir or self.member_dir / "wal"

    @property
    def snap_dir(self) -> Path:
        return self.member_dir / "snap"

    @property
    def election_ticks(self) -> int:
        return int(round(self.election_timeout * 1000) // round(self.heartbeat_interval * 1000))

    @property
    def dial_timeout(self) -> float:
        """How long another member may take to answer a connection."""
        return 1.0 + self.election_timeout

    @property
    def request_timeout(self) -> float:
        """How long a proposal or a linearizable read may take: 5 s for the disk, 2 elections for the cluster."""
        return 5.0 + 2 * self.election_timeout

    @property
    def min_lease_ttl(self) -> int:
        """Whole seconds; a lease must outlive an election."""
        return math.ceil(3 * self.election_timeout / 2)
