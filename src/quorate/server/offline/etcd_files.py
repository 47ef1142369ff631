"""The data directory of an etcd that does not run: which of its files count, and who is a member by them.

    member/snap/db                   bbolt; everything applied up to its consistent index
    member/snap/<index>.snap.db      what a leader sent, when a crash kept it from becoming db
    member/snap/<term>-<index>.snap  members at that entry, to 3.7; in 3.5 the only record of them that is always right
    member/wal/*.wal                 log

An etcd of 3.5 starts from the newest `.snap` and applies the log behind it anew, as far as members are concerned; what
its database says of them is not used, and releases of it were wrong there. So this does the same. From 3.6 on the
database counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quorate.api import errors
from quorate.api.pb import etcdserver_pb2
from quorate.api.raftpb import ConfChange, ConfChangeType, ConfState, Entry, EntryType, decode_conf_change
from quorate.membership import Cluster, decode_v2_store
from quorate.pkg.jsonlog import get_log
from quorate.server.bootstrap import ANY_INDEX
from quorate.server.offline.databases import is_lmdb, open_bbolt
from quorate.server.offline.errors import OfflineError
from quorate.server.offline.logs import decode_entry
from quorate.storage import bbolt, schema, snap, wal
from quorate.storage.files import OS_FILES

log = get_log(__name__)

ANY_NUMBER = 2**31
"""Of learners: how many there may be was decided when the changes were applied."""


@dataclass(slots=True)
class EtcdFiles:
    """What a member of etcd is. `start` is where `contents` begin, `applied` the last entry that is in the rows."""

    reader: bbolt.Reader
    start: wal.WalSnapshot
    contents: wal.WalContents
    applied: schema.Applied
    v2_members: bool
    """True when members are what `.snap` file and log say, and not what the rows say."""
    cluster: Cluster
    """At entry `applied`; in memory only. Empty when the rows count."""
    conf_state: ConfState
    """Who votes at entry `applied`."""


@contextmanager
def open_etcd(data_dir: Path, wal_dir: Path | None) -> Iterator[EtcdFiles]:
    """Read the directory of a member of etcd, and keep etcd from starting on it meanwhile.

    Raises OfflineError, and errors of the rooms of storage.
    """
    snap_dir, wal_path = data_dir / "member" / "snap", wal_dir or data_dir / "member" / "wal"
    if not (snap_dir / "db").exists():
        raise OfflineError(f"{data_dir} is not the data directory of an etcd: there is no {snap_dir / 'db'}")
    if is_lmdb(snap_dir / "db"):
        raise OfflineError(f"{data_dir} is a data directory of this program already")
    with open_bbolt(snap_dir / "db") as held:
        newest = wal.newest_snapshot(OS_FILES, str(wal_path), ANY_INDEX)
        received = snap_dir / f"{newest.index:016x}.snap.db" if newest else snap_dir
        applied = schema.get_applied(schema.Draft(schema.BboltSource(held)))
        if newest is not None and newest.index > applied.index and received.is_file():
            log.info("taking a received snapshot", path=str(received), snapshot_index=newest.index)
            with open_bbolt(received) as reader:
                yield _read(reader, newest, snap_dir, wal_path)
            return
        start = wal.newest_snapshot(OS_FILES, str(wal_path), applied.index)
        if start is None:
            raise OfflineError(
                f"{snap_dir / 'db'} stands at entry {applied.index}, before the oldest snapshot that the log in "
                f"{wal_path} begins with: etcd could not start on it either"
            )
        yield _read(held, start, snap_dir, wal_path)


def _read(reader: bbolt.Reader, start: wal.WalSnapshot, snap_dir: Path, wal_path: Path) -> EtcdFiles:
    rows = schema.Draft(schema.BboltSource(reader))
    contents = wal.read_only(OS_FILES, str(wal_path), start)
    metadata = etcdserver_pb2.Metadata.FromString(contents.metadata)
    # etcd before 3.5.3 let the index of a received database lag behind entries that changed no row.
    index = max(schema.get_applied(rows).index, start.index)
    term = _term_at(index, start, contents)
    version = schema.get_storage_version(rows)
    v2_members = version is None or version.startswith("3.5.")
    cluster = Cluster(schema.Draft(schema.NoRows()), metadata.ClusterID, metadata.NodeID, max_learners=ANY_NUMBER)
    conf_state = start.conf_state or ConfState()
    if v2_members:
        conf_state = _recall(cluster, conf_state, start, snap_dir)
        conf_state = _follow(cluster, conf_state, [entry for entry in contents.entries if entry.index <= index])
    else:
        conf_state = schema.get_conf_state(rows) or conf_state
    for entry in contents.entries:
        if entry.index > index:
            decode_entry(entry)
    return EtcdFiles(reader, start, contents, schema.Applied(index, term), v2_members, cluster, conf_state)


def _term_at(index: int, start: wal.WalSnapshot, contents: wal.WalContents) -> int:
    if index == start.index:
        return start.term
    place = index - start.index - 1
    if place >= len(contents.entries):
        raise OfflineError(
            f"the log ends at entry {start.index + len(contents.entries)}, but the database holds entries up to {index}"
        )
    return contents.entries[place].term


def _recall(cluster: Cluster, conf_state: ConfState, start: wal.WalSnapshot, snap_dir: Path) -> ConfState:
    """Put the members that there were at `start` into `cluster`; who voted then."""
    if not start.index:
        return conf_state
    path = snap_dir / f"{start.term:016x}-{start.index:016x}.snap"
    try:
        snapshot = snap.load(OS_FILES, str(path))
        found = decode_v2_store(snapshot.data)
    except FileNotFoundError:
        raise OfflineError(f"{path} is missing: it tells who the members were") from None
    except ValueError as err:
        raise OfflineError(f"{path}: {err}") from err
    if found.has_keys:
        raise OfflineError(f"{path} holds keys of API v2, which would be lost")
    rows = schema.Draft(schema.NoRows())
    for member in found.members:
        schema.put_member(rows, member)
    for number in found.removed:
        schema.put_removed(rows, number)
    if found.version is not None:
        schema.put_cluster_version(rows, found.version)
    cluster.reload(rows)
    return snapshot.conf_state


def _follow(cluster: Cluster, conf_state: ConfState, entries: list[Entry]) -> ConfState:
    """Let `cluster` go through what `entries` say of it; who votes then. etcd makes simple changes only."""
    voters, learners = set(conf_state.voters), set(conf_state.learners)
    for entry in entries:
        if entry.type == EntryType.CONF_CHANGE:
            change = decode_conf_change(entry.data)
            try:
                cluster.validate(change)
            except errors.EtcdError:
                continue
            cluster.apply(change)
            _vote(change, voters, learners)
        elif request := decode_entry(entry):
            match request.kind:
                case "cluster_member_attr_set":
                    own = request.request.member_attributes
                    cluster.set_attributes(request.request.member_ID, own.name, own.client_urls)
                case "cluster_version_set":
                    cluster.set_version(request.request.ver)
    return ConfState(voters=tuple(sorted(voters)), learners=tuple(sorted(learners)))


def _vote(change: ConfChange, voters: set[int], learners: set[int]) -> None:
    if change.type == ConfChangeType.UPDATE_NODE:
        return
    voters.discard(change.node_id)
    learners.discard(change.node_id)
    if change.type == ConfChangeType.ADD_NODE:
        voters.add(change.node_id)
    elif change.type == ConfChangeType.ADD_LEARNER_NODE:
        learners.add(change.node_id)
