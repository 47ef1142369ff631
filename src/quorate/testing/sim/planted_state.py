"""Bugs to plant in what is kept, applied and told; the docstring of each says what it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress

from quorate.api import errors
from quorate.api.pb import kv_pb2, rpc_pb2
from quorate.api.raftpb import Entry, EntryType, Snapshot
from quorate.auth import AuthStore
from quorate.lease import Lessor
from quorate.raft import RawNode
from quorate.server import bootstrap
from quorate.server.leases import LeaseKeeper
from quorate.server.proposals import Proposal
from quorate.server.snapshots import Snapshots
from quorate.server.state import Result, State
from quorate.server.world import World
from quorate.storage import schema, wal
from quorate.storage.backend import Backend
from quorate.storage.files import Files
from quorate.storage.mvcc import WatchableStore, WatchBatch
from quorate.storage.mvcc.events import Change, RowBefore
from quorate.storage.mvcc.key_index import KeyIndex
from quorate.storage.mvcc.revision import version_of
from quorate.storage.mvcc.store import Store
from quorate.storage.mvcc.watch_stream import WatchStream
from quorate.storage.mvcc.watchers import State as WatcherState
from quorate.storage.mvcc.watchers import Watcher
from quorate.storage.wal.errors import UnexpectedEof
from quorate.storage.wal.record import scan
from quorate.storage.wal.segment import all_segments
from quorate.testing.sim.patch import Patch
from quorate.txn import execute
from quorate.v3rpc import watch

REFUSED = 7
"""`fill_streams`: batches of revisions that this divides are refused at first."""

# Restarts.


def apply_last_entry_again(patch: Patch) -> None:
    """The index that is stored with the effects of an entry is that of the entry before."""

    def put_applied(store: schema.Store, index: int, term: int) -> None:
        honest(store, index - isinstance(store, Backend), term)

    honest = patch.attribute(schema, "put_applied", put_applied)


def index_apart_from_data(patch: Patch) -> None:
    """The index of an entry is stored behind its effects, perhaps in the next batch."""

    def apply(self: State, entries: Sequence[Entry], now: float, node: RawNode) -> None:
        answers: list[tuple[Proposal, Result]] = []
        self.backend.begin_entry()
        for entry in entries:
            if entry.type == EntryType.NORMAL:
                self._apply_normal(entry, now, node, answers)
            else:
                self._apply_conf_change(entry, node, answers)
        self.backend.end_entry()
        self.applied_index = entries[-1].index
        schema.put_applied(self.backend, entries[-1].index, entries[-1].term)
        for proposal, result in answers:
            proposal.resolve(result)

    patch.attribute(State, "apply", apply)


def repair_cuts_too_much(patch: Patch) -> None:
    """A torn tail of the log is cut off together with the last whole record before it."""

    def repair(files: Files, directory: str) -> bool:
        path = f"{directory}/{all_segments(files, directory)[-1]}"
        with closing(files.open(path)) as segment:
            segment.lock()
            offset = before = 0
            try:
                for *_, end in scan(path, segment.read(0, segment.size()), 0, last=True):
                    offset, before = end, offset
            except UnexpectedEof:
                segment.truncate(before)
                segment.sync()
            return True

    patch.attribute(wal, "repair", repair)


def restart_drops_uncommitted(patch: Patch) -> None:
    """A member that starts again takes only those entries from its log that the commit index stored there covers."""

    def open_wal(world: World, path: str, start: wal.WalSnapshot) -> tuple[wal.WAL, wal.WalContents]:
        opened, contents = honest(world, path, start)
        kept = [entry for entry in contents.entries if entry.index <= contents.hard_state.commit]
        return opened, contents._replace(entries=kept)

    honest = patch.attribute(bootstrap, "_open_wal", open_wal)


# Snapshots.


def snapshot_of_old_members(patch: Patch) -> None:
    """A snapshot for a follower names the members of the time when its sender was started."""

    def restored(self: State, *arguments: object, **named: object) -> None:
        honest_init(self, *arguments, **named)
        self.first_conf_state = self.conf_state  # type: ignore[attr-defined]

    def describe(self: Snapshots, rows: schema.Store) -> Snapshot:
        snapshot: Snapshot = honest(self, rows)
        return snapshot._replace(conf_state=self._server.state.first_conf_state)  # type: ignore[attr-defined]

    honest_init = patch.attribute(State, "__init__", restored)
    honest = patch.attribute(Snapshots, "_describe", describe)


def snapshot_ahead_of_rows(patch: Patch) -> None:
    """A snapshot for a follower is said to be of what is applied by now, not of what its rows hold."""

    def describe(self: Snapshots, rows: schema.Store) -> Snapshot:
        snapshot: Snapshot = honest(self, rows)
        return snapshot._replace(index=self._server.applied_index)

    honest = patch.attribute(Snapshots, "_describe", describe)


# Keys.


def compact_tombstone_too_soon(patch: Patch) -> None:
    """Compaction at the revision of a delete forgets the delete, where a watch may begin."""

    def compact(self: KeyIndex, key: bytes, revision: int) -> bool:
        remains: bool = honest(self, key, revision)
        record = self._records.get(key)
        if not remains or not isinstance(record, list) or version_of(record[0]):
            return remains
        del record[0]
        if not record:
            del self._records[key]
            self._dead.remove(key)
        elif len(record) == 1:
            self._records[key] = record[0]
        return False

    honest = patch.attribute(KeyIndex, "compact", compact)


def compact_live_row(patch: Patch) -> None:
    """The job of a compaction takes rows for superseded that a transaction wrote behind its first."""
    honest = KeyIndex.knows
    patch.attribute(KeyIndex, "knows", lambda self, key, main, sub: sub == 0 and honest(self, key, main, sub))


def compare_with_old_state(patch: Patch) -> None:
    """A transaction compares with the state of one revision ago."""

    def holds(view: Store, compare: rpc_pb2.Compare) -> bool:
        before = max(view.revision - 1, view.compacted_revision)
        rows = view.range(compare.key, compare.range_end, revision=before).kvs
        found = [kv_pb2.KeyValue.FromString(row) for row in rows] or [kv_pb2.KeyValue()]
        return all(execute._satisfies(kv, compare) for kv in found)

    patch.attribute(execute, "_holds", holds)


# Watches.


def watch_begins_late(patch: Patch) -> None:
    """A watch that begins in the past misses its first revision."""

    def start(self: WatchableStore, watcher: Watcher) -> None:
        honest(self, watcher)
        if watcher.state is WatcherState.UNSYNCED:
            watcher.next += 1

    honest = patch.attribute(WatchableStore, "start", start)


def watch_repeats_after_catching_up(patch: Patch) -> None:
    """A watch whose stream was full is told the events that waited for it, and then once more from the rows."""

    def deliver(self: WatchableStore, watcher: Watcher, batch: WatchBatch) -> None:
        honest(self, watcher, batch)
        if watcher.state is WatcherState.VICTIM:
            watcher.next = min(watcher.next, batch.revision)

    fill_streams(patch)
    honest = patch.attribute(WatchableStore, "_deliver", deliver)


def fill_streams(patch: Patch) -> None:
    """No bug: streams are full now and then. It takes megabytes that nobody reads, more than a run sends."""

    def deliver(self: watch.WatchCall, batch: WatchBatch) -> bool:
        if batch.events and batch.revision % REFUSED == 0 and vars(self).get("refused") != batch:
            vars(self)["refused"] = batch
            self._server.watch_sync.poke()
            return False
        return honest(self, batch)  # type: ignore[no-any-return]

    honest = patch.attribute(watch.WatchCall, "deliver", deliver)
    patch.attribute(watch.WatchCall, "deliver_alike", None)


def tell_progress_too_early(patch: Patch) -> None:
    """A watch that is behind is told that it has seen everything."""
    patch.attribute(WatchStream, "progress_if_synced", lambda self: self._store.revision)


def show_an_older_pair(patch: Patch) -> None:
    """The previous pair of an event is that of two changes ago."""

    def event_with_prev(self: Change, before: RowBefore) -> bytes:
        return honest(self, lambda key, at: before(key, at - 1))  # type: ignore[no-any-return]

    honest = patch.attribute(Change, "event_with_prev", event_with_prev)


# Leases.


def revoke_without_asking(patch: Patch) -> None:
    """Who led before it was stalled revokes leases by its own clock, by way of whoever leads now."""

    async def revoke(self: LeaseKeeper, lease_id: int) -> None:
        with suppress(errors.EtcdError):
            await self._server.propose("lease_revoke", rpc_pb2.LeaseRevokeRequest(ID=lease_id))
        self._revoking.pop(lease_id, None)

    patch.attribute(LeaseKeeper, "_revoke", revoke)


def keep_expiry_of_earlier_leadership(patch: Patch) -> None:
    """Who leads for the second time goes on with the expiry times that it knew when it led before."""

    def demote(self: Lessor) -> None:
        self.primary = False

    patch.attribute(Lessor, "demote", demote)


# Auth.


def keep_users_behind_snapshot(patch: Patch) -> None:
    """Behind a snapshot a member goes on with the users and roles that it knew before it."""

    def reload(self: AuthStore, store: schema.Store) -> None:
        if hasattr(self, "enabled"):
            self._store = store
        else:
            honest(self, store)

    honest = patch.attribute(AuthStore, "reload", reload)


def remember_what_was_granted(patch: Patch) -> None:
    """What a user may do is worked out once, and never again when that changes."""

    def commit(self: AuthStore) -> None:
        self.revision += 1
        schema.put_auth_revision(self._store, self.revision)

    patch.attribute(AuthStore, "_commit", commit)
