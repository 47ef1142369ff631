"""Data directory ──► state: for a member that is new, and for one that starts again.

    data/member/snap/db                backend: everything applied up to its consistent index
    data/member/snap/<index>.snap.db   what a leader sent, when a crash kept it from becoming the backend
    data/member/wal/*.wal              log: everything promised

The log is the authority. The backend may lag behind it, never lead: what it lacks is applied again from the log. When
the two do not fit, when a file is damaged beyond its torn tail, or when the directory is not a member's, this raises
and nothing is started: an operator must look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

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
from quorate.membership import Cluster, Member, check_not_above, conf_change_context, new_cluster
from quorate.pkg.jsonlog import get_log
from quorate.raft import MemoryStorage
from quorate.server.config import ServerConfig
from quorate.server.force import alone
from quorate.server.join import BootstrapError, Joined
from quorate.server.snapshot_files import database_path, remove_leftovers
from quorate.server.world import World
from quorate.storage import schema, wal
from quorate.storage.backend import Backend
from quorate.storage.files import Files
from quorate.version import ETCD_VERSION

log = get_log(__name__)

ANY_INDEX = 2**63
UNFINISHED = ".unfinished"
"""What the name of a directory ends with while a tool builds it."""
BOOTSTRAP_TERM = 1
"""Term of the entries that a new cluster begins with; the first election is for the next one."""


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
    """Where the log begins; its entries up to `applied_index` only serve members that lag behind."""
    applied_index: int
    conf_state: ConfState
    """The configuration at `applied_index`."""
    joined: Joined | None
    """The cluster that a new member has found, until the log tells it more."""


def boot(
    config: ServerConfig, world: World, joined: Joined | None, on_backend_error: Callable[[BaseException], None]
) -> Booted:
    """Open or create the data directory. Raises BootstrapError, WalError, BackendError, OSError.

    `joined` is the cluster that a member without a log is to join. `on_backend_error` is called, on the backend's
    thread, when the backend can write no more.
    """
    files = world.files
    _check_directory(files, config.data_dir)
    files.make_directory(str(config.snap_dir))
    # A member stops when it cannot sync a rename, so the names that it finds next time may still be lost.
    files.sync_directory(str(config.snap_dir))
    backend = world.open_backend(
        config.snap_dir / "db",
        schema.BUCKETS,
        batch_interval=config.backend_batch_interval,
        batch_limit=config.backend_batch_limit,
        unsafe_no_fsync=config.unsafe_no_fsync,
        on_error=on_backend_error,
    )
    log.info("opened backend db", path=str(config.snap_dir / "db"), size_bytes=backend.size())
    try:
        known = has_log(config, files)
        if known:
            finish_install(config.snap_dir, config.wal_path, files, backend)
        remove_leftovers(config.snap_dir, files)
        booted = _restart(config, world, backend) if known else _start_new(config, world, backend, joined)
        booted.wal.unsafe_no_fsync = config.unsafe_no_fsync
        return booted
    except BaseException:
        backend.close()
        raise


def has_log(config: ServerConfig, files: Files) -> bool:
    """True for a member that has run before."""
    return wal.exists(files, str(config.wal_path))


def _check_directory(files: Files, path: Path) -> None:
    """Raises BootstrapError when `path` holds something that is not a member's."""
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        names = set(files.list(str(path)))
    except FileNotFoundError:
        with suppress(OSError):
            if unfinished.name in files.list(str(path.parent)):
                _refuse_unfinished(unfinished)
        return
    except NotADirectoryError:
        raise BootstrapError(f"data directory {path} is not a directory") from None
    if "proxy" in names:
        raise BootstrapError(f"data directory {path} holds a v2 proxy, which this release cannot run")
    unfinished = path / f"member{UNFINISHED}"
    if "member" not in names and unfinished.name in names:
        _refuse_unfinished(unfinished)
    for name in sorted(names - {"member", "fixtures", "lost+found"}):
        log.warn("found invalid file under data directory", filename=name, data_dir=str(path))
    if _is_bbolt(files, str(path / "member" / "snap" / "db")):
        raise BootstrapError(
            f"data directory {path} belongs to a Go etcd: its database is a bbolt file, not LMDB; "
            "`etcdutl import` makes a directory for this release of it"
        )


def _refuse_unfinished(path: Path) -> NoReturn:
    """Starting with nothing beside it would be a new cluster, and not what somebody was about to restore."""
    raise BootstrapError(
        f"{path} is what a restore or import leaves that was cut off, or is at work now: run it again, or remove it"
    )


def _is_bbolt(files: Files, path: str) -> bool:
    """True when the first page carries bbolt's magic number, 16 bytes into it."""
    try:
        with closing(files.open(path, read_only=True)) as file:
            return file.read(16, 4) == (0xED0CDAED).to_bytes(4, "little")
    except FileNotFoundError:
        return False


def _start_new(config: ServerConfig, world: World, backend: Backend, joined: Joined | None) -> Booted:
    """Create the log of a new cluster, or an empty one for a member that joins."""
    if applied := schema.get_applied(backend).index:
        raise BootstrapError(
            f"the log in {config.wal_path} is missing, but {config.snap_dir / 'db'} holds entries up to "
            f"{applied}: restore the log, or the member from a backup"
        )
    members: Sequence[Member] = ()
    if joined is not None:
        metadata = etcdserver_pb2.Metadata(NodeID=joined.member_id, ClusterID=joined.cluster_id).SerializeToString()
    else:
        members, metadata = _founders(config)
    opened = wal.WAL.create(world.files, str(config.wal_path), metadata, segment_bytes=world.segment_bytes)
    try:
        if joined is None:
            return _seed(config, opened, members, metadata, backend)
        contents = wal.WalContents(metadata, HardState(), [])
        return _booted(config, backend, opened, contents, wal.WalSnapshot(), joined)
    except BaseException:
        opened.close()
        raise


def _founders(config: ServerConfig) -> tuple[list[Member], bytes]:
    """The members that a new cluster begins with, and the metadata of this one's log."""
    members, cluster_id = new_cluster(config.initial_cluster, config.initial_cluster_token)
    own = next(member for member in members if member.name == config.name)
    log.info("starting local member", local_member_id=f"{own.id:x}", cluster_id=f"{cluster_id:x}")
    return members, etcdserver_pb2.Metadata(NodeID=own.id, ClusterID=cluster_id).SerializeToString()


def _seed(
    config: ServerConfig, opened: wal.WAL, members: Sequence[Member], metadata: bytes, backend: Backend
) -> Booted:
    """Write what the log of a new cluster begins with, committed."""
    entries = founding_entries(members)
    state = HardState(BOOTSTRAP_TERM, 0, len(entries))
    opened.save(state, entries)
    return _booted(config, backend, opened, wal.WalContents(metadata, state, entries), wal.WalSnapshot())


def founding_entries(members: Sequence[Member]) -> list[Entry]:
    """An AddNode entry for each initial member, in the order of their IDs."""
    return [
        Entry(
            BOOTSTRAP_TERM,
            index,
            encode_conf_change(ConfChange(ConfChangeType.ADD_NODE, member.id, conf_change_context(member))),
            EntryType.CONF_CHANGE,
        )
        for index, member in enumerate(sorted(members, key=lambda member: member.id), 1)
    ]


def _restart(config: ServerConfig, world: World, backend: Backend) -> Booted:
    """Read the log from the newest snapshot that the backend has reached."""
    path = str(config.wal_path)
    applied = schema.get_applied(backend).index
    start = wal.newest_snapshot(world.files, path, applied)
    if start is None:
        raise BootstrapError(
            f"{config.snap_dir / 'db'} stands at entry {applied}, before the oldest snapshot that the log in "
            f"{path} begins with: the database is missing or too old"
        )
    opened, contents = _open_wal(world, path, start)
    try:
        return _resume(config, backend, opened, contents, start)
    except BaseException:
        opened.close()
        raise


def finish_install(snap_dir: Path, wal_path: Path, files: Files, backend: Backend) -> None:
    """The log knows of a snapshot beyond the backend: a leader sent it, and a crash came before it was put in place."""
    newest = wal.newest_snapshot(files, str(wal_path), ANY_INDEX)
    if newest is None or newest.index <= schema.get_applied(backend).index:
        return
    database = database_path(snap_dir, newest.index)
    if database.name in files.list(str(snap_dir)):
        log.info("putting a received snapshot in place", path=str(database), snapshot_index=newest.index)
        backend.replace(database)


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
    metadata = etcdserver_pb2.Metadata.FromString(contents.metadata)
    if not applied and contents.hard_state == HardState() and not config.joining:
        # Nothing was promised: the crash came while the log was being made, perhaps in the middle of its beginning.
        members, expected = _founders(config)
        if contents.metadata == expected:
            log.info("the log is empty, starting the cluster anew", path=str(path))
            return _seed(config, opened, members, expected, backend)
        if last == 0:
            raise BootstrapError(
                f"the log in {path} is empty and was made for another member or cluster than the flags describe: "
                "start with the flags it was made with, or remove the data directory"
            )
    log.info(
        "restarting local member",
        cluster_id=f"{metadata.ClusterID:x}",
        local_member_id=f"{metadata.NodeID:x}",
        commit_index=contents.hard_state.commit,
        last_index=last,
        applied_index=applied,
    )
    booted = _booted(config, backend, opened, contents, start)
    if config.force_new_cluster:
        alone(booted.storage, booted.conf_state, applied, opened, metadata.NodeID, config.peer_urls)
    return booted


def _open_wal(world: World, path: str, start: wal.WalSnapshot) -> tuple[wal.WAL, wal.WalContents]:
    """Open the log for appending. A torn tail is what a crash leaves behind: it is cut off once, and said so."""
    try:
        return wal.WAL.open(world.files, path, start, segment_bytes=world.segment_bytes)
    except wal.UnexpectedEof as err:
        log.warn("found a torn log tail, cutting it off", path=path, error=str(err))
    wal.repair(world.files, path)
    log.info("repaired the log", path=path)
    return wal.WAL.open(world.files, path, start, segment_bytes=world.segment_bytes)


def _booted(
    config: ServerConfig,
    backend: Backend,
    opened: wal.WAL,
    contents: wal.WalContents,
    start: wal.WalSnapshot,
    joined: Joined | None = None,
) -> Booted:
    metadata = etcdserver_pb2.Metadata.FromString(contents.metadata)
    applied = schema.get_applied(backend)
    conf_state = schema.get_conf_state(backend) if applied.index else None
    if conf_state is None:
        conf_state = start.conf_state or ConfState()
    snapshot = Snapshot(start.index, start.term, conf_state)
    storage = MemoryStorage()
    if snapshot.index:
        storage.apply_snapshot(snapshot)
    elif applied.index:
        storage.set_conf_state(conf_state)
    # What is applied was committed, whatever the commit index on disk says: that one lags.
    state = contents.hard_state
    storage.set_hard_state(state._replace(commit=max(state.commit, applied.index)))
    storage.append(contents.entries)
    cluster = Cluster.restore(backend, metadata.ClusterID, metadata.NodeID, max_learners=config.max_learners)
    if cluster.is_removed(metadata.NodeID):
        raise BootstrapError(f"member {metadata.NodeID:x} has been permanently removed from the cluster")
    if cluster.version is not None:
        check_not_above(cluster.version, ETCD_VERSION)
    for line in cluster.repair(conf_state) if applied.index else ():
        log.warn("the stored members disagree with raft", detail=line)
    return Booted(
        metadata.ClusterID,
        metadata.NodeID,
        backend,
        cluster,
        opened,
        storage,
        snapshot,
        max(applied.index, start.index),
        conf_state,
        joined,
    )
