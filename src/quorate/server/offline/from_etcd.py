"""The data directory of etcd becomes one of this program: `import`.

The member stays who it is: its ID and its cluster's, its term and vote, every entry it has promised. So a whole cluster
that was stopped may be taken over member by member, or one member alone, and the others go on as etcd.

    rows     etcd's; index, term and voters of the last entry applied, members as etcd itself would know them
    log      from etcd's newest snapshot on, entry by entry; what is not applied yet is at the first start, as ever

etcd's directory is read and not changed.
"""

from __future__ import annotations

from pathlib import Path

from quorate.pkg.jsonlog import get_log
from quorate.server.offline.databases import Database, checked_rows
from quorate.server.offline.errors import OfflineError, one_kind
from quorate.server.offline.etcd_files import EtcdFiles, open_etcd
from quorate.server.offline.logs import write_log
from quorate.server.offline.restore import check_version
from quorate.server.offline.staging import new_directory
from quorate.storage import schema, wal
from quorate.storage.backend import load

log = get_log(__name__)


def take_over(source: Path, data_dir: Path, source_wal: Path | None = None, wal_dir: Path | None = None) -> None:
    """Make `data_dir` of what etcd has in `source`. Raises OfflineError, and then there is no `data_dir`."""
    with one_kind("open"), open_etcd(source, source_wal) as etcd:
        log.info("importing an etcd", source=str(source), data_dir=str(data_dir))
        draft = _draft(etcd)
        with new_directory(data_dir, wal_dir) as staged:
            for _ in load(staged.snap / "db", schema.BUCKETS, checked_rows(draft.rows())):
                pass
            metadata, state, entries = etcd.contents
            start = etcd.start
            if start.index and start.conf_state is None:
                raise OfflineError(
                    f"the log does not say who voted at entry {start.index}: etcd 3.5 or newer is needed"
                )
            # What is applied was committed, whatever the commit index on disk says: that one lags.
            state = state._replace(commit=max(state.commit, etcd.applied.index))
            write_log(staged.wal, metadata, wal.WalSnapshot(*start[:3]), entries, state)
    log.info(
        "imported an etcd",
        data_dir=str(data_dir),
        cluster_id=f"{etcd.cluster.id:x}",
        local_member_id=f"{etcd.cluster.local_id:x}",
        applied_index=etcd.applied.index,
        last_index=start.index + len(entries),
    )


def _draft(etcd: EtcdFiles) -> schema.Draft:
    """etcd's rows, with what they must say here."""
    draft = Database(etcd.reader, etcd.reader.size).draft()
    if etcd.v2_members:
        if {member[:3] for member in schema.members(draft)} != {member[:3] for member in etcd.cluster.members()}:
            log.warn("members in the database of the etcd are not those that it serves: taking the latter")
        draft.clear(schema.MEMBERS)
        draft.clear(schema.MEMBERS_REMOVED)
        for member in etcd.cluster.members():
            schema.put_member(draft, member)
        for number in etcd.cluster.removed():
            schema.put_removed(draft, number)
        if etcd.cluster.version is not None:
            schema.put_cluster_version(draft, etcd.cluster.version)
    schema.put_applied(draft, *etcd.applied)
    schema.put_conf_state(draft, etcd.conf_state)
    check_version(draft)
    if etcd.cluster.local_id in schema.removed_members(draft):
        raise OfflineError(f"member {etcd.cluster.local_id:x} has been permanently removed from the cluster")
    return draft
