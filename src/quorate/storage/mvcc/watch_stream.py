"""One client's stream of watches: ids, creation, cancellation, progress. All its batches go into one sink."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from quorate.api import errors
from quorate.storage.mvcc.key_index import FROM_KEY
from quorate.storage.mvcc.watchers import (
    DeliverAlike,
    State,
    Watcher,
    WatcherDuplicateId,
    WatcherRangeEmpty,
    WatchSink,
)

if TYPE_CHECKING:
    from quorate.storage.mvcc.watchable import WatchableStore

CHOOSE_ID = 0
STREAM_ID = -1
"""Names no watcher: the id in answers that concern the whole stream."""


class WatchStream:
    """Watchers with ids of their own; made by `WatchableStore.watch_stream`."""

    def __init__(self, store: WatchableStore, sink: WatchSink) -> None:
        self.sink = sink
        self.deliver_alike: DeliverAlike | None = getattr(sink, "deliver_alike", None)
        self._store = store
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._closed = False

    def watch(
        self,
        watch_id: int,
        key: bytes,
        range_end: bytes = b"",
        start_revision: int = 0,
        *,
        no_put: bool = False,
        no_delete: bool = False,
        prev_kv: bool = False,
    ) -> int:
        """Watch [key, range_end) from `start_revision` on (0: from the next one); the id of the watcher.

        Id 0 lets the stream choose: the smallest value of its counter that is free. Nothing is delivered before this
        returns; history comes with `sync_watchers`. Raises WatcherRangeEmpty, WatcherDuplicateId (also for -1, which
        stands for the stream), Compacted for a negative start.
        """
        assert not self._closed, "watch on a closed stream"
        if start_revision < 0:
            raise errors.Compacted()
        if range_end and range_end != FROM_KEY and range_end <= key:
            raise WatcherRangeEmpty()
        if watch_id == STREAM_ID or (watch_id != CHOOSE_ID and watch_id in self._watchers):
            raise WatcherDuplicateId()
        if watch_id == CHOOSE_ID:
            watch_id = self._choose_id()
        watcher = Watcher(
            self, watch_id, key, range_end, start_revision, no_put=no_put, no_delete=no_delete, prev_kv=prev_kv
        )
        self._watchers[watch_id] = watcher
        self._store.start(watcher)
        return watch_id

    def cancel(self, watch_id: int) -> bool:
        """End a watcher; what is parked for it is dropped. False if there is none of this id."""
        watcher = self._watchers.get(watch_id)
        if watcher is None:
            return False
        self._store.stop(watcher)
        return True

    def close(self) -> None:
        """End all watchers and the stream."""
        self._closed = True
        for watcher in list(self._watchers.values()):
            self._store.stop(watcher)
        self._store.forget_stream(self)

    def request_progress(self, watch_id: int) -> int | None:
        """Revision up to which this watcher has been told everything; None if it is behind or starts later.

        True at this moment: whoever passes it on must do so behind what the sink has taken, and before anything else.
        """
        watcher = self._watchers.get(watch_id)
        return None if watcher is None else self._progress([watcher])

    def progress_if_synced(self) -> int | None:
        """The same for all watchers of the stream together; None also if it has none."""
        return self._progress(self._watchers.values()) if self._watchers else None

    def ids(self) -> list[int]:
        return list(self._watchers)

    # For the store.

    def forget(self, watcher: Watcher) -> None:
        del self._watchers[watcher.id]

    def _progress(self, watchers: Iterable[Watcher]) -> int | None:
        revision = self._store.revision
        if any(watcher.state is not State.SYNCED or watcher.start > revision for watcher in watchers):
            return None
        return revision

    def _choose_id(self) -> int:
        while self._next_id in self._watchers:
            self._next_id += 1
        chosen = self._next_id
        self._next_id += 1
        return chosen
