"""A new cluster that begins with the rows of a snapshot: `snapshot restore`.

Every member of it is made from the same file and the same description of the cluster, each under its own name. IDs are
derived from URLs and token, so they differ from those of the cluster that was saved, and its members cannot be mistaken
for the new ones. Keys, leases, users, alarms and the cluster's version stay what they were.

    rows     the snapshot's; members are the new ones, nobody is removed; the last entry applied is n, in term 1
    log      n entries, one for each member, committed; a snapshot record at n
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quorate.api.pb import etcdserver_pb2
from quorate.api.raftpb import ConfState, HardState
from quorate.membership import ClusterVersionTooHigh, Member, check_not_above, new_cluster, parse_initial_cluster
from quorate.pkg.jsonlog import get_log
from quorate.pkg.urls import parse_urls
from quorate.server.bootstrap import BOOTSTRAP_TERM, founding_entries
from quorate.server.offline.databases import check_hash, checked_rows, open_rows
from quorate.server.offline.errors import OfflineError, one_kind
from quorate.server.offline.staging import Staged, new_directory
from quorate.storage import schema, wal
from quorate.storage.backend import load
from quorate.storage.files import OS_FILES
from quorate.storage.mvcc.revision import parse_revision, revision_bytes
from quorate.version import ETCD_VERSION

log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Restore:
    """What is to be made of which file. `bump_revision`, when it is not 0, is added to the newest revision, and all up
    to there counts as compacted: so no client sees a revision for the second time with another content."""

    snapshot: Path
    data_dir: Path
    wal_dir: Path | None = None
    name: str = "default"
    initial_cluster: str = "default=http://localhost:2380"
    initial_cluster_token: str = "etcd-cluster"
    peer_urls: str = "http://localhost:2380"
    skip_hash_check: bool = False
    bump_revision: int = 0


def restore(plan: Restore) -> None:
    """Make the data directory of one member. Raises OfflineError, and then there is none."""
    members, cluster_id, own = _cluster(plan)
    with new_directory(plan.data_dir, plan.wal_dir) as staged, one_kind("open"):
        fields = {
            "path": str(plan.snapshot),
            "wal_dir": str(plan.wal_dir or plan.data_dir / "member" / "wal"),
            "data_dir": str(plan.data_dir),
            "snap_dir": str(plan.data_dir / "member" / "snap"),
        }
        log.info("restoring snapshot", **fields)
        if not plan.skip_hash_check:
            check_hash(plan.snapshot, required=True)
        _write_rows(plan, staged, members)
        _write_log(staged, members, cluster_id, own)
        for member in members:
            log.info(
                "added member",
                cluster_id=f"{cluster_id:x}",
                local_member_id=f"{own.id:x}",
                added_peer_id=f"{member.id:x}",
                added_peer_peer_urls=list(member.peer_urls),
            )
    log.info("restored snapshot", **fields)


def _cluster(plan: Restore) -> tuple[list[Member], int, Member]:
    """The members by ID, the cluster's ID, and which of them is to be made."""
    try:
        described = parse_initial_cluster(plan.initial_cluster)
        advertised = parse_urls(plan.peer_urls)
        if plan.name not in described:
            raise ValueError(f'couldn\'t find local name "{plan.name}" in the initial cluster configuration')
        if sorted(described[plan.name]) != advertised:
            raise ValueError(
                f"--initial-cluster has {plan.name}={','.join(described[plan.name])} but "
                f"--initial-advertise-peer-urls={plan.peer_urls}"
            )
        members, cluster_id = new_cluster(described, plan.initial_cluster_token)
    except ValueError as err:
        raise OfflineError(str(err)) from err
    return members, cluster_id, next(member for member in members if member.name == plan.name)


def _write_rows(plan: Restore, staged: Staged, members: list[Member]) -> None:
    with open_rows(plan.snapshot) as database:
        draft = database.draft()
        check_version(draft)
        draft.clear(schema.MEMBERS)
        draft.clear(schema.MEMBERS_REMOVED)
        for member in members:
            schema.put_member(draft, member)
        schema.put_applied(draft, len(members), BOOTSTRAP_TERM)
        schema.put_conf_state(draft, _voters(members))
        if plan.bump_revision:
            _bump(draft, plan.bump_revision)
        for _ in load(staged.snap / "db", schema.BUCKETS, checked_rows(draft.rows())):
            pass


def check_version(rows: schema.Store) -> None:
    """Raises OfflineError for a cluster that members here may not be part of."""
    version = schema.get_cluster_version(rows)
    if version is not None:
        try:
            check_not_above(version, ETCD_VERSION)
        except ClusterVersionTooHigh as err:
            raise OfflineError(str(err)) from err


def _bump(draft: schema.Draft, amount: int) -> None:
    """Raise the newest revision as etcd does it: by an empty row, and a compaction there that a start carries out."""
    last = max((place for place, _ in draft.scan(schema.KEY)), default=None)
    if last is None:
        raise OfflineError("the snapshot holds no key, so there is no revision to raise")
    main, sub, deleted = parse_revision(last)
    draft.put(schema.KEY, revision_bytes(main + amount, sub, deleted), b"")
    schema.put_scheduled_compact_revision(draft, main + amount)


def _write_log(staged: Staged, members: list[Member], cluster_id: int, own: Member) -> None:
    metadata = etcdserver_pb2.Metadata(NodeID=own.id, ClusterID=cluster_id).SerializeToString()
    count = len(members)
    opened = wal.WAL.create(OS_FILES, str(staged.wal), metadata)
    try:
        opened.save(HardState(BOOTSTRAP_TERM, members[0].id, count), founding_entries(members))
        opened.save(snapshot=wal.WalSnapshot(count, BOOTSTRAP_TERM, _voters(members)))
    finally:
        opened.close()


def _voters(members: list[Member]) -> ConfState:
    return ConfState(voters=tuple(member.id for member in members))
