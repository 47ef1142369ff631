"""Work on the directory of a stopped member that leaves it the member it is, and copies of one."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from quorate.api.pb import etcdserver_pb2
from quorate.api.raftpb import Entry, EntryType
from quorate.membership import Minor, parse_version
from quorate.pkg.jsonlog import get_log
from quorate.server.offline.errors import OfflineError, one_kind
from quorate.server.offline.logs import decode_entry, write_log
from quorate.server.offline.own_files import open_backend, open_own
from quorate.server.offline.staging import new_directory
from quorate.server.offline.to_etcd import FIRST_VERSIONED, parse_release
from quorate.storage import schema, wal
from quorate.storage.backend import Backend, load
from quorate.storage.files import OS_FILES

log = get_log(__name__)

BITE_PAUSE = 0.0005
"""Seconds between two bites: the thread that writes needs turns, too."""


def defragment(data_dir: Path) -> None:
    """Make the database file as small as its rows. Raises OfflineError; the file is then as it was."""
    with one_kind("open"), open_backend(data_dir) as backend:
        before = backend.size()
        for _ in backend.defragment():
            time.sleep(BITE_PAUSE)
        log.info("finished defragmenting directory", data_dir=str(data_dir), before=before, after=backend.size())


def migrate(data_dir: Path, target: str, wal_dir: Path | None = None, *, force: bool = False) -> None:
    """Bring the rows to the rules of release `target`, X.Y, a minor at a time.

    Unless `force` is set, it must know all that the log still holds. Raises OfflineError.
    """
    release = parse_release(target)
    with one_kind("open"), open_backend(data_dir) as backend:
        stored = schema.get_storage_version(backend)
        if stored is None:
            raise OfflineError("cannot tell by whose rules the database is: it has no storage version")
        current = parse_version(stored)
        if current == release:
            log.info("storage version up-to-date", storage_version=str(current))
            return
        if not force:
            _check_log(wal_dir or data_dir / "member" / "wal", backend, release)
        while current != release:
            current = Minor(current.major, current.minor + (1 if release > current else -1))
            if current < FIRST_VERSIONED:
                schema.delete_storage_version(backend)
            else:
                schema.put_storage_version(backend, str(current))
            backend.commit()
            log.info("updated storage version", new_storage_version=str(current))


def _check_log(path: Path, backend: Backend, release: Minor) -> None:
    """Raises OfflineError when the log that a start reads holds what `release` does not know."""
    applied = schema.get_applied(backend).index
    start = wal.newest_snapshot(OS_FILES, str(path), applied)
    for entry in () if start is None else wal.read_only(OS_FILES, str(path), start).entries:
        request = decode_entry(entry)
        if request and request.kind == "cluster_version_set" and parse_version(request.request.ver) > release:
            raise OfflineError(
                f"cannot downgrade storage, WAL contains newer entries: entry {entry.index} sets cluster version "
                f"{request.request.ver}; --force goes on all the same"
            )


def copy(data_dir: Path, backup_dir: Path, wal_dir: Path | None = None, backup_wal_dir: Path | None = None) -> None:
    """Make `backup_dir`, a copy under new IDs: it cannot be mistaken for the member, and starts with
    --force-new-cluster alone. Raises OfflineError.

    As the copy is of another cluster, changes of members that are not applied yet are left out of it.
    """
    with one_kind("open"), open_own(data_dir, wal_dir) as own, new_directory(backup_dir, backup_wal_dir) as staged:
        view = own.backend.view()
        try:
            for _ in load(staged.snap / "db", schema.BUCKETS, schema.Draft(view).rows()):
                pass
        finally:
            view.close()
        node_id, cluster_id = (secrets.randbits(63) | 1 for _ in range(2))
        metadata = etcdserver_pb2.Metadata(NodeID=node_id, ClusterID=cluster_id).SerializeToString()
        index, term = own.applied
        state = own.contents.hard_state
        state = state._replace(vote=0, commit=max(state.commit, index))
        waiting = [_without_change(entry) for entry in own.contents.entries if entry.index > index]
        write_log(staged.wal, metadata, wal.WalSnapshot(index, term, own.conf_state), waiting, state)
    log.info("copied a member", data_dir=str(data_dir), backup_dir=str(backup_dir), applied_index=index)


def _without_change(entry: Entry) -> Entry:
    return entry if entry.type == EntryType.NORMAL else Entry(entry.term, entry.index, b"", EntryType.NORMAL)
