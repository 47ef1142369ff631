"""Data directory ──► state: for a member that is new, and for one that starts again.

    data/member/snap/db     backend: everything applied up to its consistent index
    data/member/wal/*.wal   log: everything promised

The log is the authority. The backend may lag behind it, never lead: what it lacks is applied again from the log. When
the two do not fit, when a file is damaged beyond its torn tail, or when the directory is not a member's, this raises
and nothing is started: an operator must look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quorate.api.pb import etcdserver_pb2
from quorate.api.raftpb import (
    ConfChange,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Snapshot,
    encode_conf_change,
)
from quorate.membership import Cluster, Member, conf_change_context, new_cluster
from quorate.pkg.jsonlog import get_log
from quorate.raft import MemoryStorage
from quorate.server.config import ServerConfig
from quorate.storage import schema, wal
from quorate.storage.backend import Backend
from quorate.storage.files import Files, OsFiles

log = get_log(__name__)

BOOTSTRAP_TERM = 1
"""Term of the entries that a new cluster begins with; the first election is for the next one."""


class BootstrapError(Exception):
    """A data directory that this member cannot start from."""


@dataclass(slots=True)
class Booted:
    """What a member starts from."""

    cluster_id: int
    member_id: int
    backend: Backend
    cluster: Cluster
    wal: wal.WAL
    storage: MemoryStorage
    snapshot: Snapshot
    """Where the log begins; entries up to here are applied for good."""


def boot(config: ServerConfig, on_backend_error: Callable[[BaseException], None]) -> Booted:
    """Open or create the data directory. Raises BootstrapError, WalError, BackendError, OSError.

    `on_backend_error` is called, on the backend's thread, when the backend can write no more.
    """
    _check_directory(config.data_dir)
    files = OsFiles()
    files.make_directory(str(config.snap_dir))
    backend = Backend.open(
        config.snap_dir / "db",
        schema.BUCKETS,
        batch_interval=config.backend_batch_interval,
        batch_limit=config.backend_batch_limit,
        unsafe_no_fsync=config.unsafe_no_fsync,
        on_error=on_backend_error,
    )
    log.info("opened backend db", path=str(config.snap_dir / "db"), size_bytes=backend.size())
    try:
        begin = _restart if wal.exists(files, str(config.wal_path)) else _start_new
        booted = begin(config, files, backend)
        booted.wal.unsafe_no_fsync = config.unsafe_no_fsync
        return booted
    except BaseException:
        backend.close()
        raise


def _check_directory(path: Path) -> None:
    """Raises BootstrapError when `path` holds something that is not a member's."""
    if not path.exists():
        path.mkdir(mode=0o700, parents=True)
    if not path.is_dir():
        raise BootstrapError(f"data directory {path} is not a directory")
    names = {entry.name for entry in path.iterdir()}
    if "proxy" in names:
        raise BootstrapError(f"data directory {path} holds a v2 proxy, which this release cannot run")
    for name in sorted(names - {"member", "lost+found"}):
        log.warn("found invalid file under data directory", filename=name, data_dir=str(path))
    if (path / "member" / "snap" / "db").is_file() and _is_bbolt(path / "member" / "snap" / "db"):
        raise BootstrapError(f"data directory {path} belongs to a Go etcd: its database is a bbolt file, not LMDB")


def _is_bbolt(path: Path) -> bool:
    """True when the first page carries bbolt's magic number, 16 bytes into it."""
    with path.open("rb") as file:
        return file.read(20)[16:] == (0xED0CDAED).to_bytes(4, "little")


def _start_new(config: ServerConfig, files: Files, backend: Backend) -> Booted:
    """Create the log of a new cluster."""
    if applied := schema.get_applied(backend).index:
        raise BootstrapError(
            f"the log in {config.wal_path} is missing, but {config.snap_dir / 'db'} holds entries up to "
            f"{applied}: restore the log, or the member from a backup"
        )
    members, metadata = _founders(config)
    opened = wal.WAL.create(files, str(config.wal_path), metadata)
    return _seed(config, opened, members, metadata, backend)


def _founders(config: ServerConfig) -> tuple[list[Member], bytes]:
    """The members that a new cluster begins with, and the metadata of this one's log. Raises BootstrapError."""
    if config.joining:
        raise BootstrapError("joining an existing cluster is not built yet")
    if len(config.initial_cluster) > 1:
        raise BootstrapError("a cluster of more than one member is not built yet")
    members, cluster_id = new_cluster(config.initial_cluster, config.initial_cluster_token)
    own = next(member for member in members if member.name == config.name)
    log.info("starting local member", local_member_id=f"{own.id:x}", cluster_id=f"{cluster_id:x}")
    return members, etcdserver_pb2.Metadata(NodeID=own.id, ClusterID=cluster_id).SerializeToString()


def _seed(
    config: ServerConfig, opened: wal.WAL, members: Sequence[Member], metadata: bytes, backend: Backend
) -> Booted:
    """Write what the log of a new cluster begins with: an AddNode entry for each initial member, committed."""
    entries = [
        Entry(
            BOOTSTRAP_TERM,
            index,
            encode_conf_change(ConfChange(ConfChangeType.ADD_NODE, member.id, conf_change_context(member))),
            EntryType.CONF_CHANGE,
        )
        for index, member in enumerate(sorted(members, key=lambda member: member.id), 1)
    ]
    state = HardState(BOOTSTRAP_TERM, 0, len(entries))
    opened.save(state, entries)
    return _booted(config, backend, opened, wal.WalContents(metadata, state, entries), wal.WalSnapshot())


def _restart(config: ServerConfig, files: Files, backend: Backend) -> Booted:
    """Read the log from the newest snapshot that the backend has reached."""
    path = str(config.wal_path)
    applied = schema.get_applied(backend).index
    start = wal.newest_snapshot(files, path, applied)
    if start is None:
        raise BootstrapError(
            f"{config.snap_dir / 'db'} stands at entry {applied}, before the oldest snapshot that the log in "
            f"{path} begins with: the database is missing or too old"
        )
    opened, contents = _open_wal(files, path, start)
    try:
        return _resume(config, backend, opened, contents, start)
    except BaseException:
        opened.close()
        raise


def _resume(
    config: ServerConfig, backend: Backend, opened: wal.WAL, contents: wal.WalContents, start: wal.WalSnapshot
) -> Booted:
    """Go on from a log that is open, if it and the backend fit together."""
    path = config.wal_path
    applied = schema.get_applied(backend).index
    last = contents.entries[-1].index if contents.entries else start.index
    if last < applied:
        raise BootstrapError(
            f"the log in {path} ends at entry {last}, but {config.snap_dir / 'db'} holds entries up to "
            f"{applied}: the log lost what was promised"
        )
    if last == 0:
        members, expected = _founders(config)
        if contents.metadata != expected:
            raise BootstrapError(
                f"the log in {path} is empty and was made for another member or cluster than the flags describe: "
                "start with the flags it was made with, or remove the data directory"
            )
        log.info("the log is empty, starting the cluster anew", path=str(path))
        return _seed(config, opened, members, expected, backend)
    metadata = etcdserver_pb2.Metadata.FromString(contents.metadata)
    log.info(
        "restarting local member",
        cluster_id=f"{metadata.ClusterID:x}",
        local_member_id=f"{metadata.NodeID:x}",
        commit_index=contents.hard_state.commit,
        last_index=last,
        applied_index=applied,
    )
    return _booted(config, backend, opened, contents, start)


def _open_wal(files: Files, path: str, start: wal.WalSnapshot) -> tuple[wal.WAL, wal.WalContents]:
    """Open the log for appending. A torn tail is what a crash leaves behind: it is cut off once, and said so."""
    try:
        return wal.WAL.open(files, path, start)
    except wal.UnexpectedEof as err:
        log.warn("found a torn log tail, cutting it off", path=path, error=str(err))
    wal.repair(files, path)
    log.info("repaired the log", path=path)
    return wal.WAL.open(files, path, start)


def _booted(
    config: ServerConfig, backend: Backend, opened: wal.WAL, contents: wal.WalContents, start: wal.WalSnapshot
) -> Booted:
    metadata = etcdserver_pb2.Metadata.FromString(contents.metadata)
    snapshot = Snapshot(start.index, start.term, start.conf_state or ConfState())
    storage = MemoryStorage()
    if snapshot.index:
        storage.apply_snapshot(snapshot)
    storage.set_hard_state(contents.hard_state)
    storage.append(contents.entries)
    cluster = Cluster.restore(backend, metadata.ClusterID, metadata.NodeID, max_learners=config.max_learners)
    return Booted(metadata.ClusterID, metadata.NodeID, backend, cluster, opened, storage, snapshot)
