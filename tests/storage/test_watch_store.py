"""What a watcher is told and when, one claim a test; numbers in names are etcd's issues."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from mvcc_support import DictLeases, MemoryRows, finish, kv

from quorate.api import errors
from quorate.api.pb import kv_pb2
from quorate.storage.mvcc import (
    WatchableStore,
    WatchBatch,
    WatcherDuplicateId,
    WatcherRangeEmpty,
    WatchStream,
)
from quorate.storage.mvcc.watchers import SpanTable
from quorate.storage.schema import KEY


class Sink:
    """Takes batches while it has room."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.batches: list[WatchBatch] = []

    def deliver(self, batch: WatchBatch) -> bool:
        if self.room == 0:
            return False
        self.room -= 1
        self.batches.append(batch)
        return True

    def take(self) -> list[WatchBatch]:
        taken, self.batches = self.batches, []
        return taken


class Told(NamedTuple):
    """An event, decoded."""

    delete: bool
    key: bytes
    mod: int
    value: bytes
    prev: bytes | None


def told(batch: WatchBatch) -> list[Told]:
    found = []
    for data in batch.events:
        event = kv_pb2.Event.FromString(data)
        prev = event.prev_kv.value if event.HasField("prev_kv") else None
        found.append(Told(event.type == kv_pb2.Event.DELETE, event.kv.key, event.kv.mod_revision, event.kv.value, prev))
    return found


def keys_told(sink: Sink) -> list[tuple[int, int, list[tuple[bytes, int]]]]:
    """(watch id, revision, [(key, mod revision)]) of each batch."""
    return [(b.watch_id, b.revision, [(t.key, t.mod) for t in told(b)]) for b in sink.take()]


@pytest.fixture
def store() -> WatchableStore:
    store = WatchableStore(MemoryRows(), DictLeases())
    store.restore()
    return store


def put(store: WatchableStore, *keys: bytes, value: bytes = b"v") -> int:
    with store.write() as txn:
        for key in keys:
            txn.put(key, value)
    return store.revision


def delete(store: WatchableStore, key: bytes, end: bytes = b"") -> int:
    with store.write() as txn:
        txn.delete_range(key, end)
    return store.revision


def catch_up(store: WatchableStore) -> None:
    while store.sync_watchers():
        pass


def test_a_synced_watcher_is_told_of_each_revision_as_it_is_written(store: WatchableStore) -> None:
    sink = Sink()
    stream = store.watch_stream(sink)
    put(store, b"a")
    assert stream.watch(0, b"a") == 0
    put(store, b"a", value=b"2")
    put(store, b"b")
    delete(store, b"a", b"c")
    assert [(b.revision, told(b)) for b in sink.take()] == [
        (3, [Told(False, b"a", 3, b"2", None)]),
        (5, [Told(True, b"a", 5, b"", None)]),
    ]
    event = kv_pb2.Event.FromString(_last_event(store, b"a"))
    assert event.kv == kv_pb2.KeyValue(key=b"a", mod_revision=5)


def _last_event(store: WatchableStore, key: bytes) -> bytes:
    sink = Sink()
    stream = store.watch_stream(sink)
    stream.watch(0, key, start_revision=1)
    catch_up(store)
    stream.close()
    return sink.batches[-1].events[-1]


def test_all_events_of_one_revision_arrive_in_one_batch_in_order(store: WatchableStore) -> None:
    sink = Sink()
    stream = store.watch_stream(sink)
    stream.watch(0, b"a", b"\0")
    put(store, b"c", b"a", b"b")
    delete(store, b"a", b"\0")
    want = [[(b"c", 2), (b"a", 2), (b"b", 2)], [(b"a", 3), (b"b", 3), (b"c", 3)]]
    assert [events for _, _, events in keys_told(sink)] == want
    stream.watch(0, b"a", b"\0", start_revision=1)
    catch_up(store)
    assert keys_told(sink) == [(1, 3, want[0] + want[1])]


@pytest.mark.parametrize(
    ("key", "end", "seen"),
    [
        (b"b", b"", [b"b"]),
        (b"a", b"c", [b"a", b"b"]),
        (b"b", b"\0", [b"b", b"c"]),
        (b"\0", b"\0", [b"a", b"b", b"c"]),
        (b"x", b"y", []),
    ],
)
@pytest.mark.parametrize("start", [0, 1, 2, 3, 4])
def test_a_watcher_sees_its_range_from_its_start(
    store: WatchableStore, key: bytes, end: bytes, seen: list[bytes], start: int
) -> None:
    if start == 0:
        sink = Sink()
        store.watch_stream(sink).watch(0, key, end)
    for name in (b"a", b"b", b"c"):
        put(store, name)
    if start:
        sink = Sink()
        store.watch_stream(sink).watch(0, key, end, start)
        assert sink.batches == [], "nothing is delivered before watch returns"
        catch_up(store)
    got = [event.key for batch in sink.batches for event in told(batch)]
    assert got == [name for name in seen if b"abc".index(name) + 2 >= start]


def test_a_watch_at_revision_0_starts_from_now_11496(store: WatchableStore) -> None:
    for _ in range(5):
        put(store, b"k")
    sink = Sink()
    stream = store.watch_stream(sink)
    stream.watch(1, b"k", start_revision=0)
    stream.watch(2, b"k", start_revision=1)
    catch_up(store)
    put(store, b"k")
    by_id: dict[int, list[int]] = {1: [], 2: []}
    for watch_id, _, events in keys_told(sink):
        by_id[watch_id] += [mod for _, mod in events]
    assert by_id == {1: [7], 2: [2, 3, 4, 5, 6, 7]}


def test_a_watch_on_the_future_gets_nothing_below_its_start_20221(store: WatchableStore) -> None:
    sink = Sink()
    stream = store.watch_stream(sink)
    stream.watch(1, b"a", start_revision=5)
    stream.watch(2, b"a", start_revision=(1 << 63) - 1)
    for _ in range(3):
        put(store, b"a")
        assert stream.request_progress(1) is None
    store.restore()
    catch_up(store)
    assert store.slow_watcher_count == 0
    assert sink.batches == []
    put(store, b"a")
    put(store, b"a")
    assert keys_told(sink) == [(1, 5, [(b"a", 5)]), (1, 6, [(b"a", 6)])]


def test_filters_leave_out_events_and_whole_batches(store: WatchableStore) -> None:
    sink = Sink()
    stream = store.watch_stream(sink)
    put(store, b"a")
    delete(store, b"a")
    for start in (0, 1):
        stream.watch(10 + start, b"a", start_revision=start, no_put=True)
        stream.watch(20 + start, b"a", start_revision=start, no_delete=True)
        stream.watch(30 + start, b"a", start_revision=start, no_put=True, no_delete=True)
    catch_up(store)
    put(store, b"a")
    delete(store, b"a")
    got = sorted((watch_id, mod) for watch_id, _, events in keys_told(sink) for _, mod in events)
    assert got == [(10, 5), (11, 3), (11, 5), (20, 4), (21, 2), (21, 4)]


@pytest.mark.parametrize("start", [0, 1])
def test_prev_kv_is_the_key_one_revision_before_and_absent_for_creates(store: WatchableStore, start: int) -> None:
    sink = Sink()
    stream = store.watch_stream(sink)
    if start == 0:
        stream.watch(1, b"a", prev_kv=True)
        stream.watch(2, b"a")
    put(store, b"a", value=b"1")
    put(store, b"a", value=b"2")
    delete(store, b"a")
    put(store, b"a", value=b"3")
    if start:
        stream.watch(1, b"a", start_revision=1, prev_kv=True)
        stream.watch(2, b"a", start_revision=1)
        catch_up(store)
    prevs: dict[int, list[bytes | None]] = {1: [], 2: []}
    for batch in sink.take():
        prevs[batch.watch_id] += [event.prev for event in told(batch)]
    assert prevs == {1: [None, b"1", b"2", None], 2: [None] * 4}


def test_a_put_that_recreates_a_key_its_own_transaction_deleted_has_no_prev_kv(store: WatchableStore) -> None:
    put(store, b"a", value=b"1")
    sink = Sink()
    store.watch_stream(sink).watch(0, b"a", prev_kv=True)
    with store.write() as txn:
        txn.delete_range(b"a")
        txn.put(b"a", b"2")
    assert [(event.delete, event.prev) for batch in sink.take() for event in told(batch)] == [
        (True, b"1"),
        (False, None),
    ]


def test_prev_kv_is_absent_when_compacted(store: WatchableStore) -> None:
    put(store, b"a", value=b"1")
    put(store, b"a", value=b"2")
    put(store, b"a", value=b"3")
    finish(store.compact(3))
    sink = Sink()
    store.watch_stream(sink).watch(0, b"a", start_revision=3, prev_kv=True)
    catch_up(store)
    assert [event.prev for batch in sink.take() for event in told(batch)] == [None, b"2"]


def test_ids_are_the_smallest_unused_value_of_a_counter(store: WatchableStore) -> None:
    stream = store.watch_stream(Sink())
    assert [stream.watch(0, b"a") for _ in range(2)] == [0, 1]
    assert stream.watch(2, b"a") == 2
    assert stream.watch(-7, b"a") == -7
    assert stream.watch(0, b"a") == 3
    assert stream.cancel(1)
    assert not stream.cancel(1)
    assert stream.watch(0, b"a") == 4
    assert stream.watch(1, b"a") == 1
    for taken in (1, 4, -7, -1):
        with pytest.raises(WatcherDuplicateId) as refused:
            stream.watch(taken, b"a")
        assert refused.value.reason == "mvcc: duplicate watch ID provided on the WatchStream"
    assert store.watch_stream(Sink()).watch(0, b"a") == 0


def test_an_empty_range_and_a_negative_start_are_refused(store: WatchableStore) -> None:
    stream = store.watch_stream(Sink())
    for key, end in [(b"b", b"b"), (b"b", b"a"), (b"\0\0", b"\0\0")]:
        with pytest.raises(WatcherRangeEmpty) as refused:
            stream.watch(0, key, end)
        assert refused.value.reason == "mvcc: watcher range is empty"
    with pytest.raises(errors.Compacted):
        stream.watch(0, b"a", start_revision=-1)
    assert stream.watch(0, b"b", b"\0") == 0
    assert store.watcher_count == 1


def test_a_full_sink_parks_the_batch_and_the_watcher_goes_on_from_there(store: WatchableStore) -> None:
    full, open_ = Sink(room=1), Sink()
    store.watch_stream(full).watch(0, b"a")
    store.watch_stream(open_).watch(0, b"a")
    for _ in range(4):
        put(store, b"a")
    assert len(open_.batches) == 4, "a slow stream delays no other"
    assert keys_told(full) == [(0, 2, [(b"a", 2)])]
    assert (store.slow_watcher_count, store.parked_events) == (1, 1)
    assert store.retry_victims()
    full.room = 1
    assert store.retry_victims()
    assert (store.slow_watcher_count, store.parked_events) == (1, 0)
    assert keys_told(full) == [(0, 3, [(b"a", 3)])]
    put(store, b"a")
    assert not store.sync_watchers()
    assert store.retry_victims()
    full.room = 10
    assert not store.retry_victims()
    assert keys_told(full) == [(0, 6, [(b"a", 4), (b"a", 5), (b"a", 6)])]
    put(store, b"a")
    assert keys_told(full) == [(0, 7, [(b"a", 7)])]


def test_history_comes_in_batches_of_bounded_length(store: WatchableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.storage.mvcc.watchable.WINDOW_ROWS", 10)
    for _ in range(25):
        put(store, b"a", b"b", b"c")
    sink = Sink()
    stream = store.watch_stream(sink)
    stream.watch(0, b"a", b"d", 1)
    stream.watch(0, b"b", start_revision=1)
    stream.watch(0, b"c", start_revision=20)
    catch_up(store)
    mods: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for watch_id, revision, events in keys_told(sink):
        assert revision == 26
        assert len({mod for _, mod in events}) <= 4
        assert not mods[watch_id] or events[0][1] > mods[watch_id][-1]
        mods[watch_id] += [mod for _, mod in events]
    assert mods == {
        0: [mod for mod in range(2, 27) for _ in range(3)],
        1: list(range(2, 27)),
        2: list(range(20, 27)),
    }


def test_a_watcher_whose_next_revision_is_compacted_is_told_once_and_gone(store: WatchableStore) -> None:
    for _ in range(5):
        put(store, b"a")
    sink = Sink(room=0)
    stream = store.watch_stream(sink)
    assert stream.watch(7, b"a", start_revision=3) == 7
    assert stream.watch(8, b"a", start_revision=4) == 8
    finish(store.compact(4))
    catch_up(store)
    assert not store.sync_watchers(), "the sink is full: no use in coming again at once"
    assert stream.ids() == [7, 8]
    sink.room = 10
    store.retry_victims()
    catch_up(store)
    batches = {batch.watch_id: batch for batch in sink.take()}
    assert batches[7] == WatchBatch(7, 0, [], compact_revision=4)
    assert [event.mod for event in told(batches[8])] == [4, 5, 6]
    assert stream.ids() == [8]
    assert stream.watch(7, b"a") == 7, "the id is free again"


def test_600_compacted_watchers_get_one_notice_each_22294(store: WatchableStore) -> None:
    for _ in range(3):
        put(store, b"a")
    sinks = [Sink(room=0), Sink(), Sink(room=0)]
    streams = [store.watch_stream(sink) for sink in sinks]
    for number in range(1800):
        streams[number // 600].watch(0, b"a", start_revision=2)
    finish(store.compact(4))
    for _ in range(20):
        store.sync_watchers()
    assert sorted(batch.watch_id for batch in sinks[1].batches) == list(range(600))
    assert store.watcher_count == 1200
    sinks[0].room = sinks[2].room = 1000
    for _ in range(20):
        store.sync_watchers()
    for sink in sinks:
        assert sorted(batch.watch_id for batch in sink.batches) == list(range(600))
        assert {batch.compact_revision for batch in sink.batches} == {4}
    assert store.watcher_count == 0


def test_a_slow_watcher_never_skips_compacted_events_silently_17529(store: WatchableStore) -> None:
    sink = Sink(room=1)
    store.watch_stream(sink).watch(0, b"foo")
    for _ in range(10):
        put(store, b"foo")
    finish(store.compact(store.revision))
    sink.room = 1
    store.retry_victims()
    store.sync_watchers()
    assert [events for _, _, events in keys_told(sink)] == [[(b"foo", 2)], [(b"foo", 3)]]
    put(store, b"foo")
    assert sink.batches == []
    sink.room = 1
    store.sync_watchers()
    assert [(b.compact_revision, b.events) for b in sink.batches] == [(11, [])]


@pytest.mark.parametrize("restart", [False, True])
def test_a_delete_at_exactly_the_compacted_revision_is_still_told_18089_19179(
    store: WatchableStore, restart: bool
) -> None:
    for _ in range(3):
        put(store, b"k")
    at = delete(store, b"k")
    put(store, b"other")
    job = store.compact(at)
    if restart:
        store.compaction_batch_limit = 3
        while len(list(store.rows.scan(KEY))) == 5:
            next(job)
        store.restore()
        assert store.pending_compaction is not None
        job = store.pending_compaction
    finish(job)
    put(store, b"k")
    sink = Sink()
    stream = store.watch_stream(sink)
    stream.watch(0, b"k", start_revision=at)
    stream.watch(0, b"k", start_revision=at - 1)
    catch_up(store)
    batches = {batch.watch_id: batch for batch in sink.take()}
    assert [(event.delete, event.mod) for event in told(batches[0])] == [(True, at), (False, at + 2)]
    assert batches[1].compact_revision == at


def test_progress_of_a_stream_waits_until_all_its_watchers_are_synced_15220_17557(store: WatchableStore) -> None:
    sink = Sink()
    stream = store.watch_stream(sink)
    assert stream.progress_if_synced() is None, "a stream without watchers has no progress"
    for _ in range(10):
        put(store, b"a")
    stream.watch(0, b"quiet", start_revision=2)
    stream.watch(0, b"a")
    assert stream.progress_if_synced() is None
    assert stream.request_progress(0) is None
    assert stream.request_progress(1) == 11
    catch_up(store)
    assert stream.progress_if_synced() == 11
    assert stream.request_progress(99) is None
    sink.room = 0
    put(store, b"a")
    assert stream.progress_if_synced() is None
    assert stream.request_progress(1) is None, "its batch is still parked"
    sink.room = 5
    store.retry_victims()
    assert stream.progress_if_synced() == 12


def test_after_a_restore_watchers_go_on_where_they_were_15271(store: WatchableStore) -> None:
    sink = Sink()
    stream = store.watch_stream(sink)
    stream.watch(0, b"a")
    stream.watch(0, b"idle")
    for _ in range(5):
        put(store, b"a")
    assert len(sink.take()) == 5
    other = WatchableStore(store.rows.copy(), DictLeases())  # type: ignore[attr-defined]
    other.restore()
    put(other, b"a")
    put(other, b"idle")
    finish(other.compact(6))
    store.restore(other.rows)
    catch_up(store)
    put(store, b"a")
    assert keys_told(sink) == [
        (0, 8, [(b"a", 7)]),
        (1, 8, [(b"idle", 8)]),
        (0, 9, [(b"a", 9)]),
    ]


def test_a_sink_may_cancel_and_create_watchers_while_it_takes_a_batch(store: WatchableStore) -> None:
    class Meddler(Sink):
        def deliver(self, batch: WatchBatch) -> bool:
            if batch.watch_id == 1:
                streams[0].cancel(1)
                streams[0].cancel(2)
                streams[1].close()
                streams[0].watch(9, b"a")
            return super().deliver(batch)

    sinks = [Meddler(), Sink()]
    streams: list[WatchStream] = [store.watch_stream(sink) for sink in sinks]
    for number in (1, 2, 3):
        streams[0].watch(number, b"a")
    streams[1].watch(0, b"a")
    put(store, b"a")
    assert [batch.watch_id for batch in sinks[0].take()] == [1, 3]
    assert sinks[1].batches == []
    put(store, b"a")
    assert [batch.watch_id for batch in sinks[0].take()] == [3, 9]
    assert (store.watcher_count, store.stream_count) == (2, 1)


class AlikeSink(Sink):
    """Takes what is alike together."""

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.together: list[list[int]] = []

    def deliver_alike(self, watch_ids: list[int], revision: int, events: list[bytes]) -> int:
        taken = watch_ids[: self.room]
        self.together.append(taken)
        self.batches += [WatchBatch(watch_id, revision, events) for watch_id in taken]
        self.room -= len(taken)
        return len(taken)


def test_what_is_alike_is_delivered_together_and_the_rest_when_there_is_room(store: WatchableStore) -> None:
    sink = AlikeSink(room=3)
    stream = store.watch_stream(sink)
    for number in range(1, 8):
        stream.watch(number, b"a", prev_kv=number in (2, 6), no_put=number == 7)
    put(store, b"a")
    assert sink.together == [[1, 3, 4], []]
    assert (store.events_total, store.parked_events, store.slow_watcher_count) == (3, 3, 3)
    put(store, b"a")
    assert sink.together[2:] == [[]], "those that are behind get nothing later than what is parked for them"
    sink.room = 1 << 30
    while store.retry_victims():
        store.sync_watchers()
    heard: dict[int, list[tuple[bytes, int]]] = {number: [] for number in range(1, 8)}
    for watch_id, _, events in keys_told(sink):
        heard[watch_id] += events
    assert heard == {number: [(b"a", 2), (b"a", 3)] for number in range(1, 7)} | {7: []}


def test_a_sink_may_not_write(store: WatchableStore) -> None:
    class Writer(Sink):
        def deliver(self, batch: WatchBatch) -> bool:
            put(store, b"b")
            return True

    store.watch_stream(Writer()).watch(0, b"a")
    with pytest.raises(AssertionError, match="write transaction"):
        put(store, b"a")


def test_watchers_of_one_event_share_its_bytes(store: WatchableStore) -> None:
    sink = Sink()
    stream = store.watch_stream(sink)
    for number in range(4):
        stream.watch(0, b"a", prev_kv=number >= 2)
    put(store, b"a")
    put(store, b"a", value=b"2")
    plain, also_plain, prev, also_prev = sink.take()[-4:]
    assert plain.events is also_plain.events
    assert prev.events is also_prev.events
    assert plain.events != prev.events


def test_nobody_watching_costs_a_transaction_no_record_of_changes(store: WatchableStore) -> None:
    stream = store.watch_stream(Sink())
    assert not store.wants_changes()
    stream.watch(0, b"a")
    assert store.wants_changes()
    stream.close()
    assert not store.wants_changes()


def test_a_table_of_spans_finds_those_that_cover_a_key() -> None:
    dice = random.Random(3)
    table = SpanTable()
    spans: list[tuple[bytes, bytes]] = []
    for step in range(3000):
        if spans and dice.random() < (0.2 if step < 1500 else 0.7):
            span = spans.pop(dice.randrange(len(spans)))
            table.remove(span)
        else:
            start, end = sorted(dice.sample(range(5000), 2))
            span = b"%05d" % start, b"%05d" % min(end, start + dice.choice([5, 50, 5000]))
            if span not in spans:
                spans.append(span)
                table.add(span)
        if step % 10 == 0:
            key = b"%05d" % dice.randrange(5000)
            assert list(table.covering(key)) == sorted(s for s in spans if s[0] <= key < s[1])


def test_events_carry_the_stored_key_value(store: WatchableStore) -> None:
    sink = Sink()
    store.watch_stream(sink).watch(0, b"a")
    with store.write() as txn:
        txn.put(b"a", b"x", lease=44)
    event = kv_pb2.Event.FromString(sink.batches[0].events[0])
    assert event.kv.SerializeToString() == store.range(b"a").kvs[0]
    assert kv(store.range(b"a").kvs[0]) == (b"a", b"x", 2, 2, 1, 44)
