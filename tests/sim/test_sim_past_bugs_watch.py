"""Faults that etcd once had in watches, each played again (docs/testing/past-bugs.md)."""

from __future__ import annotations

import pytest
from sim_scenes import Scene
from sim_watch import Watch

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.sim.member import Doom

ALL = {"key": b"\0", "range_end": b"\0"}


def test_15220_progress_that_was_asked_for_comes_behind_the_events_it_speaks_of() -> None:
    with Scene(1) as scene:
        puts = [scene.begin(0, pb.PutRequest(key=b"a")) for _ in range(300)]
        scene.until(lambda: all(put.done() for put in puts))
        watch = Watch(scene.channel_to(0))
        watch.create(key=b"a", start_revision=1)
        for _ in range(3):
            watch.ask_progress()
        scene.client_loop.create_task(watch.run())
        for _ in range(50):
            last = scene.put(0, b"a")
            watch.ask_progress()
        scene.until(lambda: watch.revisions[-1:] == [last])
        watch.ask_progress()
        scene.until(lambda: watch.progress[-1:] == [last])
        assert watch.revisions == list(range(2, last + 1))
        watch.check_progress()


def test_17557_a_stream_that_caught_up_is_told_of_progress_when_it_asks() -> None:
    with Scene(1) as scene:
        last = scene.fill(0, 20)
        watch = Watch(scene.channel_to(0))
        watch.create(key=b"no events", start_revision=2)
        watch.ask_progress()
        scene.client_loop.create_task(watch.run())
        scene.scheduler.run_for(1.0)
        watch.ask_progress()
        scene.until(lambda: watch.progress[-1:] == [last], 1.0)


def test_15271_a_watch_goes_on_behind_what_it_was_told_before_a_snapshot() -> None:
    with Scene(3, snapshot_count=10, catchup_entries=5) as scene:
        scene.lead(0)
        watches = [scene.watch(2, **ALL), scene.watch(2, start_revision=1, **ALL)]
        scene.fill(2, 5)
        scene.leave_behind(2, 30)
        scene.until(lambda: scene.installed(2) > 30)
        last = scene.fill(0, 5)
        scene.until(lambda: all(watch.revisions[-1:] == [last] for watch in watches))
        assert all(watch.revisions == list(range(2, last + 1)) for watch in watches)


def test_8411_a_watch_that_was_told_nothing_yet_lives_on_behind_a_snapshot() -> None:
    with Scene(3, snapshot_count=10, catchup_entries=5) as scene:
        scene.lead(0)
        watch = scene.watch(2, key=b"k")
        scene.leave_behind(2, 30)
        scene.until(lambda: scene.installed(2) > 20)
        last = scene.put(0, b"k")
        scene.until(lambda: watch.revisions == [last])


def test_20221_a_watch_on_the_future_is_told_of_nothing_before_it() -> None:
    with Scene(3, boot=False, snapshot_count=10, catchup_entries=5) as scene:
        scene.configure(watch_progress_interval=0.02)
        scene.boot()
        scene.wait_healthy()
        scene.lead(0)
        now = scene.fill(0, 3)
        starts = [now + 10, now + 34, now + 40, now + 60, 2**63 - 3]
        watches = [scene.watch(2, start_revision=start, progress_notify=True, **ALL) for start in starts]
        scene.leave_behind(2, 35)
        scene.until(lambda: scene.installed(2) > now + 20)
        last = scene.fill(0, 30)
        scene.until(lambda: watches[3].revisions[-1:] == [last])
        scene.scheduler.run_for(1.0)
        for start, watch in zip(starts, watches, strict=True):
            assert watch.revisions == list(range(start, last + 1))
            assert bool(watch.progress) == (start <= last + 1) and all(told >= start - 1 for told in watch.progress)
            watch.check_progress()


def test_17529_a_watch_that_lags_is_told_all_or_that_it_is_compacted() -> None:
    with Scene(1) as scene:
        watch = scene.watch(0, key=b"foo")
        watch.reads.clear()
        puts = [scene.begin(0, pb.PutRequest(key=b"foo", value=b"x" * 100_000)) for _ in range(140)]
        scene.until(lambda: all(put.done() for put in puts))
        scene.scheduler.run_for(0.2)
        assert scene.server(0).store.slow_watcher_count == 1
        last = scene.server(0).store.revision
        scene.compact(0, last)
        scene.put(0, b"foo")
        watch.reads.set()
        scene.until(lambda: watch.canceled or watch.revisions[-1:] == [last + 1])
        assert watch.revisions == list(range(2, 2 + len(watch.revisions)))
        assert [answer.compact_revision for answer in watch.canceled] == [last]


def test_22294_of_very_many_watches_that_are_compacted_each_is_told_once() -> None:
    with Scene(1) as scene:
        last = scene.fill(0, 5)
        scene.compact(0, last)
        watch = scene.watch(0, start_revision=2, **ALL)
        for _ in range(599):
            watch.create(start_revision=2, **ALL)
        scene.until(lambda: len(watch.canceled) == 600)
        scene.scheduler.run_for(1.0)
        assert {answer.watch_id for answer in watch.canceled} == set(range(600)) and len(watch.canceled) == 600
        assert {answer.compact_revision for answer in watch.canceled} == {last}


def test_18089_a_delete_at_the_compacted_revision_is_still_told() -> None:
    with Scene(3) as scene:
        for _ in range(3):
            scene.put(0, b"k")
        deleted = scene.delete(0, b"k")
        last = scene.put(0, b"k", b"again")
        scene.compact(0, deleted)
        scene.settle()
        for number in range(3):
            watch = scene.watch(number, key=b"k", start_revision=deleted)
            scene.until(lambda watch=watch: len(watch.events) == 2)
            assert watch.events == [(deleted, b"k", None), (last, b"k", b"again")]


def test_19179_the_same_delete_is_told_when_the_compaction_was_broken_off() -> None:
    with Scene(1) as scene:
        scene.fill(0, 5)
        deleted = scene.delete(0, b"fill/0")
        server, machine = scene.server(0), scene.members[0]
        server.store.compaction_batch_limit = 5
        scene.at(0, "compactBeforeSetFinishedCompact", server.backend.commit)
        machine.doom = Doom("compactBeforeSetFinishedCompact", 0, power=True)
        scene.begin(0, pb.CompactionRequest(revision=deleted, physical=True))
        scene.until(lambda: not machine.alive)
        scene.start(0)
        scene.settle()
        watch = scene.watch(0, key=b"fill/0", start_revision=deleted)
        scene.until(lambda: watch.events)
        assert watch.events == [(deleted, b"fill/0", None)]


def test_11496_a_watch_from_0_begins_now_and_one_from_1_at_the_beginning() -> None:
    with Scene(1) as scene:
        for _ in range(5):
            scene.put(0, b"k")
        now, all_ = scene.watch(0, key=b"k"), scene.watch(0, key=b"k", start_revision=1)
        last = scene.put(0, b"k")
        scene.until(lambda: len(all_.events) == 6)
        assert (now.revisions, all_.revisions) == ([last], [2, 3, 4, 5, 6, 7])


def test_20707_a_watch_from_a_negative_revision_is_refused_as_compacted() -> None:
    with Scene(1) as scene:
        watch = scene.watch(0, key=b"k", start_revision=-1)
        scene.put(0, b"k")
        scene.scheduler.run_for(1.0)
        [answer] = watch.answers
        assert answer.created and answer.canceled and answer.watch_id == -1
        assert answer.cancel_reason == "etcdserver: mvcc: required revision has been compacted"


@pytest.mark.parametrize("start", [0, 1])
def test_20655_watches_made_fast_while_others_write_miss_nothing(start: int) -> None:
    with Scene(1) as scene:
        scene.put(0, b"hot")
        streams = [scene.watch(0, key=b"hot", start_revision=start) for _ in range(3)]
        for _ in range(50):
            for stream in streams:
                stream.create(key=b"hot", start_revision=start)
            puts = [scene.begin(0, pb.PutRequest(key=b"hot")) for _ in range(2)]
            scene.until(lambda: all(put.done() for put in puts))  # noqa: B023
        last = scene.put(0, b"hot")
        scene.scheduler.run_for(0.5)
        for stream in streams:
            made = {answer.watch_id: answer.header.revision for answer in stream.answers if answer.created}
            told: dict[int, list[int]] = {number: [] for number in made}
            for answer in stream.answers:
                told[answer.watch_id] += [event.kv.mod_revision for event in answer.events]
            assert len(made) == 51
            for number, revisions in told.items():
                assert revisions == list(range(2 if start else made[number] + 1, last + 1))
