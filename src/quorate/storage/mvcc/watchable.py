"""A store that tells watchers what changes: those in sync at once, the others at their own pace.

                      start in the past
           watch ──────────────────────► UNSYNCED ◄──── restore
             │                            │    ▲  │
             │         sync_watchers      ▼    │  │ sink full
             └──────────────────────► SYNCED   │  ▼
                                          └─► VICTIM      retry_victims: the parked batch goes first, then on from there
                                   sink full

`next` of a watcher moves with every batch made for it, and a batch once made is delivered before anything later, so no
event is missed, repeated or reordered. A watcher whose `next` is compacted is told so, once, and is gone.

Catching up reads rows once for all watchers that want them: whole revisions, WINDOW_ROWS or a little more at a time (so
a batch spans at most that many revisions), SYNC_ROWS in a pass. Watchers that are not done go to the end of the queue.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from quorate.storage.mvcc import compaction
from quorate.storage.mvcc.events import Change
from quorate.storage.mvcc.revision import parse_revision, revision_bytes
from quorate.storage.mvcc.rows import key_of
from quorate.storage.mvcc.store import LeaseAttachments, Rows, Store
from quorate.storage.mvcc.watch_stream import WatchStream
from quorate.storage.mvcc.watchers import DeliverAlike, State, WatchBatch, Watcher, WatcherGroup, Watchers, WatchSink
from quorate.storage.schema import KEY

SYNC_WATCHERS = 512
"""Watchers looked at in one pass."""
SYNC_ROWS = 10_000
"""Rows read in one pass."""
WINDOW_ROWS = 1000
"""Rows read for the watchers of one neighbourhood, and so the most revisions in a batch."""


class WatchableStore(Store):
    """Store with watch streams. Somebody calls `sync_watchers` and `retry_victims` now and then."""

    def __init__(
        self, rows: Rows, leases: LeaseAttachments, *, compaction_batch_limit: int = compaction.BATCH_LIMIT
    ) -> None:
        super().__init__(rows, leases, compaction_batch_limit=compaction_batch_limit)
        self._streams: dict[WatchStream, None] = {}
        self._synced = WatcherGroup()
        self._unsynced: Watchers = {}
        self._victims: dict[Watcher, WatchBatch] = {}
        self._telling = False
        self.events_total = 0
        """Events delivered so far."""

    def watch_stream(self, sink: WatchSink) -> WatchStream:
        stream = WatchStream(self, sink)
        self._streams[stream] = None
        return stream

    def sync_watchers(self) -> bool:
        """One pass of catching up. True if there was progress and there is more to do; call it again soon, then."""
        assert not self._writing, "sync inside a write transaction"
        looked_at = list(islice(self._unsynced, SYNC_WATCHERS))
        behind = []
        progress = False
        for watcher in looked_at:
            if watcher.state is not State.UNSYNCED:
                continue
            if watcher.next < self.compacted_revision:
                progress |= self._end_compacted(watcher)
            elif watcher.next > self.revision:
                self._move(watcher, State.SYNCED)
                progress = True
            else:
                behind.append(watcher)
        behind.sort(key=lambda watcher: watcher.next)
        rows_left = SYNC_ROWS
        place = 0
        while place < len(behind) and rows_left > 0:
            changes, end = self._history(behind[place].next)
            rows_left -= len(changes)
            first = place
            while place < len(behind) and behind[place].next < end:
                place += 1
            self._catch_up(behind[first:place], changes, end)
        return bool(self._unsynced) and (progress or bool(behind))

    def retry_victims(self) -> bool:
        """Deliver what is parked where there is room again. True as long as any watcher is behind; come again, then."""
        full = set()
        for watcher, batch in list(self._victims.items()):
            if watcher.state is not State.VICTIM or watcher.stream in full:
                continue
            if not watcher.stream.sink.deliver(batch):
                full.add(watcher.stream)
                continue
            self.events_total += len(batch.events)
            if watcher.state is State.VICTIM:
                self._move(watcher, State.SYNCED if watcher.next > self.revision else State.UNSYNCED)
        return self.slow_watcher_count > 0

    def restore(self, rows: Rows | None = None) -> None:
        """As Store.restore; watchers go on from where each of them was, by the history now found."""
        told = self.revision
        super().restore(rows)
        for watcher in list(self._synced):
            watcher.next = max(watcher.next, told + 1)
            self._move(watcher, State.UNSYNCED)

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    @property
    def watcher_count(self) -> int:
        return len(self._synced) + self.slow_watcher_count

    @property
    def slow_watcher_count(self) -> int:
        """Watchers that are behind."""
        return len(self._unsynced) + len(self._victims)

    @property
    def parked_events(self) -> int:
        """Events that wait for room in a sink."""
        return sum(len(batch.events) for batch in self._victims.values())

    # For the streams.

    def start(self, watcher: Watcher) -> None:
        assert not self._writing or self._telling, "watch inside a write transaction"
        if watcher.start == 0 or watcher.start > self.revision:
            watcher.next = max(watcher.start, self.revision + 1)
            watcher.state = State.SYNCED
            self._synced.add(watcher)
        else:
            self._unsynced[watcher] = None

    def stop(self, watcher: Watcher) -> None:
        self._move(watcher, State.GONE)
        watcher.stream.forget(watcher)

    def forget_stream(self, stream: WatchStream) -> None:
        self._streams.pop(stream, None)

    # For the write transaction.

    def wants_changes(self) -> bool:
        return len(self._synced) > 0

    def committed(self, revision: int, changes: list[Change] | None) -> None:
        super().committed(revision, changes)
        if changes:
            self._telling = True
            self._notify(revision, changes)
            self._telling = False

    # Telling.

    def _notify(self, revision: int, changes: list[Change]) -> None:
        """Tell synced watchers."""
        if len(changes) == 1:
            self._notify_of_one(revision, changes[0])
            return
        batches: dict[Watcher, list[bytes]] = {}
        for change in changes:
            for watcher in self._synced.match(change.key):
                if watcher.next > revision or (watcher.no_delete if change.tombstone else watcher.no_put):
                    continue
                batches.setdefault(watcher, []).append(self._event(watcher, change))
        for watcher, events in batches.items():
            # An earlier sink may have cancelled it.
            if watcher.state is State.SYNCED:
                watcher.next = revision + 1
                self._deliver(watcher, WatchBatch(watcher.id, revision, events))

    def _notify_of_one(self, revision: int, change: Change) -> None:
        """The same for one change, as nearly always: those of a stream that are told the same are told together."""
        alike: dict[tuple[WatchStream, bool], list[Watcher]] = {}
        for watcher in self._synced.match(change.key):
            if watcher.next > revision or (watcher.no_delete if change.tombstone else watcher.no_put):
                continue
            alike.setdefault((watcher.stream, watcher.prev_kv), []).append(watcher)
        shared: dict[bytes, list[bytes]] = {}
        for (stream, prev_kv), watchers in alike.items():
            event = change.event_with_prev(self.row_before) if prev_kv else change.event()
            events = shared.setdefault(event, [event])
            if stream.deliver_alike is not None and len(watchers) > 1:
                self._tell_alike(watchers, revision, events, stream.deliver_alike)
                continue
            for watcher in watchers:
                # An earlier sink may have cancelled it.
                if watcher.state is State.SYNCED:
                    watcher.next = revision + 1
                    self._deliver(watcher, WatchBatch(watcher.id, revision, events))

    def _tell_alike(
        self, watchers: list[Watcher], revision: int, events: list[bytes], deliver_alike: DeliverAlike
    ) -> None:
        """Tell watchers of one stream the same."""
        told = [watcher for watcher in watchers if watcher.state is State.SYNCED]
        for watcher in told:
            watcher.next = revision + 1
        taken = deliver_alike([watcher.id for watcher in told], revision, events)
        self.events_total += taken * len(events)
        for watcher in told[taken:]:
            self._park(watcher, WatchBatch(watcher.id, revision, events))

    def _catch_up(self, watchers: list[Watcher], changes: Iterable[Change], end: int) -> None:
        """Tell unsynced watchers what they want of `changes`, which are all there are before revision `end`."""
        group = WatcherGroup(watchers)
        batches: dict[Watcher, list[bytes]] = {}
        for change in changes:
            for watcher in group.match(change.key):
                if change.main >= watcher.next and not (watcher.no_delete if change.tombstone else watcher.no_put):
                    batches.setdefault(watcher, []).append(self._event(watcher, change))
        for watcher in watchers:
            if watcher.state is not State.UNSYNCED:
                continue
            watcher.next = end
            if watcher in batches:
                self._deliver(watcher, WatchBatch(watcher.id, self.revision, batches[watcher]))
            if watcher.state is State.UNSYNCED:
                self._move(watcher, State.SYNCED if end > self.revision else State.UNSYNCED)

    def _event(self, watcher: Watcher, change: Change) -> bytes:
        return change.event_with_prev(self.row_before) if watcher.prev_kv else change.event()

    def _deliver(self, watcher: Watcher, batch: WatchBatch) -> None:
        if watcher.stream.sink.deliver(batch):
            self.events_total += len(batch.events)
        else:
            self._park(watcher, batch)

    def _park(self, watcher: Watcher, batch: WatchBatch) -> None:
        if watcher.state is not State.GONE:
            self._move(watcher, State.VICTIM)
            self._victims[watcher] = batch

    def _end_compacted(self, watcher: Watcher) -> bool:
        """Tell a watcher that what it needs is gone; False when its sink is full: it stays, to be told later."""
        batch = WatchBatch(watcher.id, 0, [], compact_revision=self.compacted_revision)
        told = watcher.stream.sink.deliver(batch)
        if watcher.state is not State.GONE:
            if told:
                self.stop(watcher)
            else:
                self._move(watcher, State.UNSYNCED)
        return told

    def _history(self, start: int) -> tuple[list[Change], int]:
        """Changes from revision `start` on, whole revisions, and the first revision they do not cover."""
        changes: list[Change] = []
        last = 0
        for place, row in self.rows.scan(KEY, revision_bytes(start, 0)):
            main, _, tombstone = parse_revision(place)
            if main != last and len(changes) >= WINDOW_ROWS:
                return changes, main
            last = main
            changes.append(Change(key_of(row), main, row, tombstone))
        return changes, self.revision + 1

    def _move(self, watcher: Watcher, state: State) -> None:
        """Take a watcher from its place and put it at the end of another; a victim's batch is the caller's matter."""
        match watcher.state:
            case State.SYNCED:
                self._synced.remove(watcher)
            case State.UNSYNCED:
                del self._unsynced[watcher]
            case State.VICTIM:
                del self._victims[watcher]
        watcher.state = state
        if state is State.SYNCED:
            self._synced.add(watcher)
        elif state is State.UNSYNCED:
            self._unsynced[watcher] = None
