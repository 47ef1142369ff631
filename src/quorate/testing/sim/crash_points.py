"""Points in production code where a simulated process may die, by the names that etcd's failpoints have.

Production code knows nothing of them: for the time of a run, a call of each function named here first asks whether the
process that calls is to die there. A point `before` dies instead of the call, one `after` behind it. Those of the
database (ON_DISK) are operations of the simulated disk (`rows`), and ask by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from quorate.lease import Lessor
from quorate.server import leases, snapshots
from quorate.server.leases import LeaseKeeper
from quorate.server.peers import Peers
from quorate.server.raft_loop import RaftLoop
from quorate.server.snapshots import Snapshots
from quorate.server.state import State
from quorate.server.versions import Versions
from quorate.storage import schema
from quorate.storage.backend import Backend
from quorate.storage.mvcc import WatchableStore, compaction
from quorate.storage.mvcc.watch_stream import WatchStream
from quorate.storage.wal import WAL
from quorate.v3rpc.kv import KV
from quorate.v3rpc.watch import WatchCall

Reached = Callable[[str], None]
"""Told of every point that is passed; raises Crashed where the process is to die."""


class Place(NamedTuple):
    """A function: an attribute of a class or a module; of a generator or coroutine function the begin."""

    owner: Any
    attribute: str
    before: str = ""
    after: str = ""


PLACES = (
    Place(Peers, "send", before="raftBeforeLeaderSend"),
    Place(WAL, "append", before="raftBeforeSave", after="raftAfterSave"),
    Place(WAL, "_write", before="walBeforeSync", after="walAfterSync"),
    Place(WAL, "release_to", after="raftAfterWALRelease"),
    Place(snapshots, "take_in", before="raftBeforeSaveSnap"),
    Place(Snapshots, "_remove", after="raftAfterSaveSnap"),
    Place(RaftLoop, "_append_snapshot", before="raftBeforeWALSaveSnaphot"),
    Place(RaftLoop, "_step_all", before="raftBeforeFollowerSend"),
    Place(RaftLoop, "_propose_all", before="raftBeforeAdvance"),
    Place(State, "install", before="raftBeforeApplySnap", after="raftAfterApplySnap"),
    Place(Backend, "replace", before="applyBeforeOpenSnapshot", after="applyAfterOpenSnapshot"),
    Place(State, "_apply_normal", before="beforeApplyOneEntryNormal"),
    Place(State, "_apply_conf_change", before="beforeApplyOneConfChange"),
    Place(Backend, "end_entry", before="beforeWritebackBuf", after="afterWritebackBuf"),
    Place(
        schema,
        "put_scheduled_compact_revision",
        before="compactBeforeCommitScheduledCompact",
        after="compactAfterCommitScheduledCompact",
    ),
    Place(compaction, "_remove", before="compactBeforeCommitBatch", after="compactAfterCommitBatch"),
    Place(
        schema,
        "put_finished_compact_revision",
        before="compactBeforeSetFinishedCompact",
        after="compactAfterSetFinishedCompact",
    ),
    Place(WatchCall, "_send_events", before="beforeSendWatchResponse"),
    Place(WatchableStore, "sync_watchers", before="beforeSyncWatchers"),
    Place(WatchableStore, "retry_victims", before="beforeMoveVictims"),
    Place(WatchStream, "progress_if_synced", before="beforeProgressIfSync"),
    Place(leases, "_checkpoint", before="beforeCheckpointInLeaseRenew"),
    Place(LeaseKeeper, "renew_all_here", before="beforeServeHTTPLeaseRenew"),
    Place(Lessor, "time_to_live", before="beforeLookupWhenLeaseTimeToLive"),
    Place(LeaseKeeper, "time_to_live_here", before="beforeLookupWhenForwardLeaseTimeToLive"),
    Place(Versions, "publish", before="beforePublishing"),
    Place(KV, "_send_chunks", before="beforeRangeStreamChunk"),
)

ON_DISK = ("beforeCommit", "afterCommit", "defragBeforeCopy", "defragBeforeRename")
NAMES = (*(name for place in PLACES for name in (place.before, place.after) if name), *ON_DISK)


@contextmanager
def watched(reached: Reached) -> Iterator[None]:
    """Tell `reached` of every point until this is left."""
    kept = [(place, getattr(place.owner, place.attribute)) for place in PLACES]
    try:
        for place, function in kept:
            setattr(place.owner, place.attribute, _watching(place, function, reached))
        yield
    finally:
        for place, function in kept:
            setattr(place.owner, place.attribute, function)


def _watching(place: Place, function: Callable[..., Any], reached: Reached) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if place.before:
            reached(place.before)
        result = function(*args, **kwargs)
        if place.after:
            reached(place.after)
        return result

    return call
