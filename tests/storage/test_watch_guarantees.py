"""Watch guarantees under random work, slow sinks, compaction, restored snapshots and sinks that cancel.

Every watcher's story is checked in the end: it was told exactly the events from its start on, in order, each once, all
of one revision together, until it was cancelled or told that what it needed next was compacted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mvcc_support import DictLeases, Disk, finish, in_range

from quorate.api.pb import kv_pb2
from quorate.storage.mvcc import WatchableStore, WatchBatch

KEYS = [b"a", b"aa", b"b", b"ba", b"c"]
STEPS = 300

Row = tuple[int, bytes, bytes | None]
"""(revision, key, value or None for a delete)"""


class Story:
    """What one watcher asked for and was told."""

    def __init__(self, key: bytes, end: bytes, asked: int, start: int, options: dict[str, bool]) -> None:
        self.key, self.end, self.asked, self.start, self.options = key, end, asked, start, options
        self.told: list[WatchBatch | int] = []
        """Batches, and revisions of progress reports."""
        self.cancelled = False


class SlowSink:
    """Takes as much as it has room for; sometimes cancels a watcher of its stream on the way."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.room = 0
        self.stories: dict[int, Story] = {}
        self.stream: Any = None

    def deliver(self, batch: WatchBatch) -> bool:
        assert batch.watch_id in self.stream.ids(), "told after its end"
        if self.dice.random() < 0.02:
            self.cancel(self.dice.choice(list(self.stories)))
        if self.room == 0:
            return False
        self.room -= 1
        self.stories[batch.watch_id].told.append(batch)
        return True

    def cancel(self, watch_id: int) -> None:
        self.stream.cancel(watch_id)
        self.stories[watch_id].cancelled = True


class Run:
    def __init__(self, seed: int, disk: Disk) -> None:
        self.disk = disk
        self.dice = random.Random(seed)
        self.store = WatchableStore(disk.new(), DictLeases(), compaction_batch_limit=3)
        self.store.restore()
        self.history: list[Row] = []
        self.sinks: list[SlowSink] = []
        self.jobs: list[Any] = []
        self.compacted_before = -1
        for _ in range(3):
            sink = SlowSink(self.dice)
            sink.stream = self.store.watch_stream(sink)
            self.sinks.append(sink)

    def write(self, store: WatchableStore | None = None) -> None:
        store = store or self.store
        dice = self.dice
        with store.write() as txn:
            main = store.revision + 1
            doomed = txn.delete_range(*dice.choice([(b"a", b"b"), (b"c", b"\0"), (b"x", b"")]))
            self.history += [(main, key, None) for key in doomed]
            for key in dice.sample(KEYS, dice.choice([0, 1, 1, 3])):
                if key not in doomed:
                    txn.put(key, b"%d" % main)
                    self.history.append((main, key, b"%d" % main))

    def watch(self) -> None:
        dice = self.dice
        sink = dice.choice(self.sinks)
        key, end = dice.choice([(b"a", b""), (b"c", b""), (b"a", b"b"), (b"aa", b"c"), (b"b", b"\0"), (b"\0", b"\0")])
        start = dice.choice([0, max(1, self.store.revision + dice.randint(-30, 30))])
        options = {name: dice.random() < 0.25 for name in ("no_put", "no_delete", "prev_kv")}
        watch_id = sink.stream.watch(0, key, end, start, **options)
        sink.stories[watch_id] = Story(key, end, start, start or self.store.revision + 1, options)

    def compact(self) -> None:
        revision = self.dice.randint(self.store.compacted_revision, self.store.revision)
        if revision > self.store.compacted_revision:
            self.jobs.append(self.store.compact(revision))

    def work(self) -> None:
        if self.jobs and next(self.jobs[0], self) is self:
            del self.jobs[0]

    def snapshot(self) -> None:
        """Another member went on without us; then its rows become ours."""
        other = WatchableStore(self.disk.copy(self.store.rows), DictLeases())
        other.restore()
        for _ in range(self.dice.randint(0, 5)):
            self.write(other)
        if other.compacted_revision < other.revision and self.dice.random() < 0.5:
            job = other.compact(self.dice.randint(other.compacted_revision + 1, other.revision))
            for _ in range(self.dice.randint(0, 5)):
                next(job, None)
        self.store.restore(other.rows)
        self.jobs = [self.store.pending_compaction] if self.store.pending_compaction else []

    def step(self) -> None:
        dice = self.dice
        choice = dice.choices(
            [self.write, self.watch, self.compact, self.work, self.snapshot, self.room, self.sync, self.progress],
            [30, 5, 1, 10, 1, 10, 15, 3],
        )[0]
        choice()

    def room(self) -> None:
        self.dice.choice(self.sinks).room = self.dice.choice([0, 1, 5, 50])

    def sync(self) -> None:
        if self.dice.random() < 0.5:
            self.store.sync_watchers()
        else:
            self.store.retry_victims()

    def progress(self) -> None:
        sink = self.dice.choice(self.sinks)
        if self.dice.random() < 0.5 and sink.stories:
            asked = [self.dice.choice(list(sink.stories))]
            revision = sink.stream.request_progress(asked[0])
        else:
            asked = sink.stream.ids()
            revision = sink.stream.progress_if_synced()
        for watch_id in asked if revision is not None else ():
            sink.stories[watch_id].told.append(revision)

    def settle(self) -> None:
        """Give everybody room and time."""
        for job in self.jobs:
            finish(job)
        for sink in self.sinks:
            sink.room = 1 << 30
        for _ in range(1000):
            self.store.sync_watchers()
            if not self.store.retry_victims():
                break
        assert self.store.slow_watcher_count == 0

    def check(self) -> None:
        for sink in self.sinks:
            for story in sink.stories.values():
                self.check_story(story)

    def check_story(self, story: Story) -> None:
        want: dict[int, list[Row]] = {}
        for row in self.history:
            wanted = not story.options["no_put"] if row[2] is not None else not story.options["no_delete"]
            if row[0] >= story.start and in_range(row[1], story.key, story.end) and wanted:
                want.setdefault(row[0], []).append(row)
        revisions = iter(sorted(want))
        compacted = 0
        last = story.start - 1
        for batch in story.told:
            assert not compacted, "told after the end"
            if isinstance(batch, int):
                assert batch >= max(last, story.asked)
                last = batch
                continue
            compacted = batch.compact_revision
            rows: list[Row] = []
            for data in batch.events:
                event = kv_pb2.Event.FromString(data)
                deleted = event.type == kv_pb2.Event.DELETE
                rows.append((event.kv.mod_revision, event.kv.key, None if deleted else event.kv.value))
                self.check_prev(story, event)
            for revision in sorted({row[0] for row in rows}):
                assert last < revision <= batch.revision
                assert revision == next(revisions)
                assert want[revision] == [row for row in rows if row[0] == revision]
                last = revision
            assert rows == sorted(rows, key=lambda row: row[0])
            if compacted:
                assert last + 1 < compacted
        missed = next(revisions, None)
        if missed is not None and not story.cancelled:
            assert compacted, f"revision {missed} was never told"

    def check_prev(self, story: Story, event: kv_pb2.Event) -> None:
        if not story.options["prev_kv"]:
            assert not event.HasField("prev_kv")
            return
        before = [row for row in self.history if row[0] < event.kv.mod_revision and row[1] == event.kv.key]
        want = before[-1][2] if before else None
        if event.HasField("prev_kv"):
            assert event.prev_kv.value == want
        else:
            assert want is None or event.kv.mod_revision - 1 < self.store.compacted_revision


@pytest.fixture(params=["memory", "backend"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(request.param, tmp_path)
    yield disk
    disk.close()


@pytest.mark.parametrize("seed", range(8))
def test_no_event_is_missed_repeated_or_reordered(seed: int, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.storage.mvcc.watchable.WINDOW_ROWS", 5)
    monkeypatch.setattr("quorate.storage.mvcc.watchable.SYNC_WATCHERS", 4)
    monkeypatch.setattr("quorate.storage.mvcc.watchable.SYNC_ROWS", 12)
    print("seed", seed)
    run = Run(seed, disk)
    for _ in range(STEPS):
        run.step()
    run.settle()
    run.check()
