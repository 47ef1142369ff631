"""The data directory of a member of this program becomes one of etcd: `export`.

The member stays who it is, as in `from_etcd`. etcd starts from a snapshot at the last entry applied; of the log only
what follows is kept, so a member that lags gets the whole state from the one that leads.

    member/snap/db                    the rows, bbolt
    member/snap/<term>-<index>.snap   the members, for releases up to 3.7
    member/wal/…                      a snapshot record, the entries not yet applied, the last term, vote and commit

An etcd does not start in a cluster of a later version than its own. So for an older one the cluster's version is
lowered, which is right only when all members are exported for the same release.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from quorate.api.raftpb import Entry, Snapshot
from quorate.membership import Cluster, Downgrade, Minor, encode_v2_store, parse_target, parse_version
from quorate.pkg.jsonlog import get_log
from quorate.server.offline.errors import OfflineError, one_kind
from quorate.server.offline.logs import decode_entry, write_log
from quorate.server.offline.own_files import OwnFiles, open_own
from quorate.server.offline.staging import Staged, new_directory
from quorate.storage import bbolt, schema, snap, wal
from quorate.storage.files import OS_FILES
from quorate.version import ETCD_VERSION

log = get_log(__name__)

OLDEST = Minor(3, 5)
FIRST_VERSIONED = Minor(3, 6)
"""The first release whose databases say by whose rules they are."""


def hand_over(source: Path, data_dir: Path, source_wal: Path | None = None, target: str = "") -> None:
    """Make `data_dir` for an etcd of release `target`, X.Y (empty: the cluster's version), of the member in `source`.

    Raises OfflineError, and then there is no `data_dir`.
    """
    with one_kind("open"), open_own(source, source_wal) as own:
        log.info("exporting to an etcd", source=str(source), data_dir=str(data_dir))
        release = _release(target, own.cluster)
        waiting = [entry for entry in own.contents.entries if entry.index > own.applied.index]
        _check_entries(waiting, release)
        with new_directory(data_dir) as staged:
            _write(own, staged, release, waiting)
    log.info(
        "exported to an etcd",
        data_dir=str(data_dir),
        release=release.short(),
        cluster_id=f"{own.cluster.id:x}",
        local_member_id=f"{own.cluster.local_id:x}",
        applied_index=own.applied.index,
        last_index=own.applied.index + len(waiting),
    )


def parse_release(text: str) -> Minor:
    """A release that databases can be made for. Raises OfflineError."""
    newest = parse_version(ETCD_VERSION)
    try:
        release = parse_target(text)
    except ValueError:
        raise OfflineError(f'wrong target version format, expected "X.Y", got "{text}"') from None
    if release < OLDEST:
        raise OfflineError(f'target version "{release.short()}" not supported. Minimal "{OLDEST.short()}"')
    if release > newest:
        raise OfflineError(f'target version "{release.short()}" not supported. Maximal "{newest.short()}"')
    return release


def _release(target: str, cluster: Cluster) -> Minor:
    if target:
        return parse_release(target)
    if cluster.version is None:
        raise OfflineError("the cluster has decided on no version yet; say for which release this is to be")
    return parse_version(cluster.version)


def _check_entries(waiting: Iterable[Entry], release: Minor) -> None:
    """Raises OfflineError when an entry that is still to be applied is not for this release."""
    for entry in waiting:
        request = decode_entry(entry)
        if request and request.kind == "cluster_version_set" and parse_version(request.request.ver) > release:
            raise OfflineError(
                f"entry {entry.index}, not yet applied, raises the cluster's version to {request.request.ver}: "
                "start the members once more, stop them, and try again"
            )


def _write(own: OwnFiles, staged: Staged, release: Minor, waiting: list[Entry]) -> None:
    view = own.backend.view()
    try:
        draft = schema.Draft(view)
        _for_release(draft, release)
        cluster = Cluster.restore(draft, own.cluster.id, own.cluster.local_id)
        index, term = own.applied
        for _ in bbolt.write(staged.snap / "db", ((it.name, draft.scan(it)) for it in schema.BUCKETS)):
            pass
    finally:
        view.close()
    data = encode_v2_store(cluster)
    snap.save(OS_FILES, str(staged.snap), Snapshot(index, term, own.conf_state, data))
    state = own.contents.hard_state
    state = state._replace(commit=max(state.commit, index))
    start = wal.WalSnapshot(index, term, own.conf_state)
    write_log(staged.wal, own.contents.metadata, start, waiting, state)


def _for_release(draft: schema.Draft, release: Minor) -> None:
    """Make the rows those of `release`."""
    if release < FIRST_VERSIONED:
        schema.delete_storage_version(draft)
    else:
        schema.put_storage_version(draft, str(release))
    version = schema.get_cluster_version(draft)
    if version is not None and parse_version(version) > release:
        log.warn("lowering the cluster version: export all members alike", before=version, now=str(release))
        schema.put_cluster_version(draft, str(release))
        if schema.get_downgrade(draft).enabled:
            schema.put_downgrade(draft, Downgrade())
