"""The data directory of a member of this program that does not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quorate.api.pb import etcdserver_pb2
from quorate.api.raftpb import ConfState
from quorate.membership import Cluster
from quorate.server.bootstrap import finish_install
from quorate.server.offline.errors import OfflineError
from quorate.storage import schema, wal
from quorate.storage.backend import Backend
from quorate.storage.files import OS_FILES


@contextmanager
def open_backend(data_dir: Path) -> Iterator[Backend]:
    """The database of the member at `data_dir`; while it is open no member starts there.

    Raises OfflineError, BackendError; BackendInUse when the member runs.
    """
    path = data_dir / "member" / "snap" / "db"
    if not path.exists():
        raise OfflineError(f"stat {path}: no such file or directory")
    backend = Backend.open(path, schema.BUCKETS)
    try:
        yield backend
    finally:
        backend.close()


@dataclass(slots=True)
class OwnFiles:
    """What a member is: `contents` are its log from `start` on, `applied` the last entry that is in its rows."""

    backend: Backend
    start: wal.WalSnapshot
    contents: wal.WalContents
    applied: schema.Applied
    conf_state: ConfState
    cluster: Cluster


@contextmanager
def open_own(data_dir: Path, wal_dir: Path | None) -> Iterator[OwnFiles]:
    """Read the directory of a member. A snapshot that it has received and not put in place is put there, as its next
    start would do. Raises OfflineError, BackendError, WalError, OSError."""
    wal_path = wal_dir or data_dir / "member" / "wal"
    with open_backend(data_dir) as backend:
        finish_install(data_dir / "member" / "snap", wal_path, OS_FILES, backend)
        applied = schema.get_applied(backend)
        conf_state = schema.get_conf_state(backend)
        start = wal.newest_snapshot(OS_FILES, str(wal_path), applied.index)
        if not applied.index or conf_state is None or start is None:
            raise OfflineError(f"{data_dir} holds no state yet, or not the log that goes with it")
        contents = wal.read_only(OS_FILES, str(wal_path), start)
        last = start.index + len(contents.entries)
        if last < applied.index:
            raise OfflineError(
                f"the log in {wal_path} ends at entry {last}, but the database stands at {applied.index}"
            )
        metadata = etcdserver_pb2.Metadata.FromString(contents.metadata)
        cluster = Cluster.restore(backend, metadata.ClusterID, metadata.NodeID)
        yield OwnFiles(backend, start, contents, applied, conf_state, cluster)
