"""Faults that etcd once had in what it stores and applies, each played again (docs/testing/past-bugs.md)."""

from __future__ import annotations

import asyncio

import pytest
from sim_scenes import Scene

from quorate.api.pb import rpc_pb2 as pb
from quorate.storage import schema
from quorate.storage.mvcc import WriteTxn
from quorate.testing.sim.member import Doom
from quorate.transport.grpc import Status

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"
RECEIVING = (
    "raftBeforeSaveSnap",
    "raftAfterSaveSnap",
    "raftBeforeWALSaveSnaphot",
    "raftBeforeSave",
    "walBeforeSync",
    "walAfterSync",
    "raftAfterSave",
    "raftBeforeApplySnap",
    "applyBeforeOpenSnapshot",
    "applyAfterOpenSnapshot",
    "raftAfterApplySnap",
    "raftAfterWALRelease",
)
"""The way of a snapshot that a leader sent, in order."""


def put_op(key: bytes, value: bytes = b"v") -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


def get_op(key: bytes, revision: int = 0) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, revision=revision))


@pytest.mark.parametrize("point", ["beforeApplyOneEntryNormal", "beforeWritebackBuf", "afterWritebackBuf"])
@pytest.mark.parametrize("passes", [0, 3, 8])
def test_13766_an_entry_is_stored_with_its_index_or_not_at_all(point: str, passes: int) -> None:
    with Scene(3, snapshot_count=100, batch_limit=1, batch_interval=0.01) as scene:
        victim = scene.members[2]
        scene.settle()
        before = scene.server(2).applied_index
        victim.doom = Doom(point, passes, power=False)
        while victim.alive:
            puts = [scene.begin(number, pb.PutRequest(key=b"k")) for number in (0, 1, 0)]
            scene.until(lambda: all(put.done() for put in puts))  # noqa: B023
        with scene.rows(2) as disk:
            stored = sum(1 for _ in disk.scan(schema.KEY))
            index = schema.get_applied(disk).index
        assert stored == max(0, index - before)
        scene.start(2)


def test_13937_an_entry_that_fails_moves_the_index() -> None:
    with Scene(3, snapshot_count=5, catchup_entries=1) as scene:
        for _ in range(8):
            assert scene.refusal(0, pb.PutRequest(key=b"k", lease=404)) == "etcdserver: requested lease not found"
        scene.settle()
        applied, snapshot = scene.server(1).applied_index, scene.installed(1)
        assert snapshot > 5
        scene.members[1].crash(power=True)
        assert scene.applied_on_disk(1) == applied >= snapshot
        scene.start(1)


def test_13922_behind_a_snapshot_the_index_is_the_snapshots() -> None:
    with Scene(3, snapshot_count=5, catchup_entries=1) as scene:
        scene.lead(0)
        before = scene.server(2).applied_index
        taken: list[int] = []
        scene.at(2, "raftAfterApplySnap", lambda: taken.append(scene.server(2).applied_index))
        scene.members[2].doom = Doom("raftAfterApplySnap", 0, power=True)
        scene.leave_behind(2)
        scene.until(lambda: not scene.members[2].alive)
        assert scene.applied_on_disk(2) == taken[0] > before
        scene.start(2)


@pytest.mark.parametrize("point", ["raftBeforeSave", "walBeforeSync", "walAfterSync", "raftAfterSave"])
def test_14370_the_only_member_acknowledges_nothing_that_it_then_loses(point: str) -> None:
    with Scene(1) as scene:
        machine = scene.members[0]
        scene.put(0, b"k", b"old")
        machine.doom = Doom(point, 0, power=True)
        call = scene.begin(0, pb.PutRequest(key=b"k", value=b"new"))
        scene.until(call.done)
        if call.exception() is None:
            scene.scheduler.run_for(5.0)
        assert not machine.alive
        scene.start(0)
        found = scene.get(0, b"k")
        assert found == b"new" if call.exception() is None else found in (b"old", b"new")
        assert call.exception() is not None or point == "raftAfterSave"


def test_17780_the_revision_stays_where_a_compaction_that_crashed_had_it() -> None:
    with Scene(3, snapshot_count=1000) as scene:
        scene.lead(0)
        for key in (b"2", b"3", b"4", b"5", b"6", b"7", b"8"):
            scene.put(1, key)
        last = [scene.delete(1, key) for key in (b"4", b"5", b"6")][-1]
        scene.settle()
        store = scene.server(1).store
        store.compaction_batch_limit = 10
        scene.at(1, "compactBeforeSetFinishedCompact", scene.server(1).backend.commit)
        scene.members[1].doom = Doom("compactBeforeSetFinishedCompact", 0, power=True)
        scene.begin(2, pb.CompactionRequest(revision=last, physical=True))
        scene.until(lambda: not scene.members[1].alive)
        scene.start(1)
        assert scene.server(1).store.revision >= last
        assert [scene.put(1, b"k%d" % number) for number in range(9)] == list(range(last + 1, last + 10))


def test_6633_a_store_compacted_at_its_newest_delete_is_read_after_a_restart() -> None:
    with Scene(1) as scene:
        scene.put(0, b"k")
        last = scene.delete(0, b"k")
        scene.compact(0, last)
        scene.settle()
        scene.restart(0)
        assert scene.get(0, b"k") is None
        assert scene.put(0, b"k") == last + 1


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize(("offset", "error"), [(-1, COMPACTED), (+100, FUTURE)])
def test_18667_a_transaction_fails_or_not_alike_on_every_member(
    offset: int, error: str, taken: bool, nested: bool
) -> None:
    with Scene(3) as scene:
        last = scene.fill(0, 20)
        scene.compact(0, last)
        bad, good = [put_op(b"k2", b"foo"), get_op(b"fill/1", last + offset)], [put_op(b"k2", b"other")]
        if nested:
            bad = [put_op(b"k3"), pb.RequestOp(request_txn=pb.TxnRequest(success=bad))]
        compare = pb.Compare(key=b"fill/1", target=pb.Compare.VALUE, value=b"x" if taken else b"no")
        said = scene.refusal(1, pb.TxnRequest(compare=[compare], success=bad, failure=good))
        assert said == (error if taken else "")
        scene.settle()
        found = {scene.get(number, b"k2", serializable=True) for number in range(3)}
        assert found == ({None} if taken else {b"other"})


def test_18799_of_a_transaction_that_breaks_off_nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scene(1, batch_limit=1, batch_interval=0.01) as scene:
        scene.settle()
        plain = WriteTxn.put

        def broken(self: WriteTxn, key: bytes, value: bytes, lease: int = 0) -> int:
            if key == b"second":
                raise RuntimeError("no second write")
            return plain(self, key, value, lease)

        monkeypatch.setattr(WriteTxn, "put", broken)
        scene.begin(0, pb.TxnRequest(success=[put_op(b"first"), put_op(b"second")]))
        scene.until(lambda: not scene.members[0].alive)
        assert [str(death.failure) for death in scene.members[0].deaths] == ["no second write"]
        scene.members[0].deaths.clear()
        with scene.rows(0) as disk:
            assert not list(disk.scan(schema.KEY))
        monkeypatch.undo()
        scene.start(0)
        assert scene.get(0, b"first") == scene.get(0, b"second")


@pytest.mark.parametrize("serializable", [False, True])
def test_14110_the_deadline_of_a_client_ends_nothing_but_its_call(serializable: bool) -> None:
    with Scene(3) as scene:
        last = scene.fill(0, 30, 1000)
        reads = [pb.RequestOp(request_range=pb.RangeRequest(key=b"\0", range_end=b"\0", serializable=serializable))]
        calls = [scene.begin(0, pb.TxnRequest(success=reads * 20), 0.0004 * step) for step in range(1, 20)]
        calls += [
            scene.begin(0, pb.TxnRequest(success=[put_op(b"a"), put_op(b"b")]), 0.001 * step) for step in (1, 2, 3)
        ]
        scene.until(lambda: all(call.done() for call in calls))
        assert any(isinstance(call.exception(), Status) for call in calls)
        scene.settle()
        assert scene.get(1, b"a") == scene.get(1, b"b")
        assert last <= scene.server(0).store.revision <= last + 3


def test_18055_two_snapshots_in_a_row_are_put_in_place_one_after_the_other() -> None:
    with Scene(3, snapshot_count=5, catchup_entries=1) as scene:
        scene.lead(0)
        received: list[int] = []
        scene.members[2].disk.faults.sync_seconds = 2.0
        scene.at(2, "raftBeforeWALSaveSnaphot", lambda: received.append(scene.server(2).applied_index))
        scene.at(2, "raftBeforeWALSaveSnaphot", lambda: received.append(scene.server(2).applied_index))
        scene.leave_behind(2)
        scene.until(lambda: len(received) == 1)
        while len(received) < 2:
            scene.fill(0, 10)
        assert received[0] == received[1], "the second came while the first waited for the log"
        scene.members[2].disk.faults.sync_seconds = 0.0002


@pytest.mark.parametrize("sync_seconds", [0.003, 0.3])
@pytest.mark.parametrize("point", ["raftBeforeSaveSnap", "raftAfterSaveSnap", "raftBeforeWALSaveSnaphot"])
def test_20271_a_defragmentation_does_not_undo_a_snapshot_that_comes_meanwhile(point: str, sync_seconds: float) -> None:
    with Scene(3, snapshot_count=10, catchup_entries=5) as scene:
        scene.lead(0)
        scene.fill(2, 20, 4000)
        machine, server = scene.members[2], scene.server(2)
        work = server.defragmenter.defragment
        ends: list[asyncio.Task[None]] = []
        scene.at(2, point, lambda: ends.append(scene.begin_inside(2, work())))
        machine.disk.faults.sync_seconds = sync_seconds
        scene.leave_behind(2, 30)
        last = scene.put(0, b"behind")
        scene.until(lambda: ends and ends[0].done() and server.store.revision == last)
        assert ends[0].exception() is None or "snapshot has taken the place" in str(ends[0].exception())
        scene.fill(0, 5)
        scene.settle()
        scene.restart(2, power=True)
        assert scene.get(2, b"behind", serializable=True) == b"v"


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("point", RECEIVING)
def test_10219_a_crash_anywhere_on_the_way_of_a_snapshot_leaves_a_member_that_starts(point: str, power: bool) -> None:
    with Scene(3, snapshot_count=5, catchup_entries=1) as scene:
        scene.lead(0)
        machine = scene.members[2]
        scene.at(2, "raftBeforeSaveSnap", lambda: setattr(machine, "doom", Doom(point, 0, power)))
        scene.leave_behind(2)
        scene.until(lambda: not machine.alive)
        scene.fill(0, 3)
        machine.boot()
        scene.scheduler.run_for(1.0)
        scene.network.reset("m1", "m3")  # as a probe of the kernel would, that meets a machine begun anew
        scene.until(lambda: machine.ready)
        assert scene.get(2, b"fill/19") == b"x"


@pytest.mark.parametrize("size", [1, 3])
def test_22028_a_member_starts_from_what_is_applied_when_the_commit_index_lags_behind(size: int) -> None:
    with Scene(size) as scene:
        scene.lead(0)
        scene.fill(0, 20)
        applied = scene.server(0).applied_index
        scene.settle()
        scene.members[0].crash(power=True)
        assert scene.log_on_disk(0).hard_state.commit < scene.applied_on_disk(0) == applied
        scene.members[0].boot()
        scene.until(lambda: scene.members[0].server)
        assert scene.server(0).node.raft.log.committed >= applied
        scene.start(0)
        assert scene.get(0, b"fill/19") == b"x"


def test_16666_what_was_acknowledged_before_a_crash_is_read_behind_it_or_nothing() -> None:
    with Scene(3, batch_interval=3600.0) as scene:
        for number in range(20):
            scene.put(0, b"k", b"%d" % number)
        for machine in scene.members:
            machine.crash(power=True)
        scene.members[0].boot()
        scene.scheduler.run_for(3.0)
        assert scene.server(0).store.revision < 20, "what is committed it learns from the others only"
        assert scene.refusal(0, pb.RangeRequest(key=b"k"))
        scene.boot()
        scene.until(lambda: scene.members[0].ready)
        assert scene.get(0, b"k") == b"19"


def test_17247_a_row_that_went_to_the_file_does_not_come_back_from_the_buffer() -> None:
    with Scene(1, batch_limit=1, batch_interval=0.01) as scene:
        watch = scene.watch(0, key=b"\0", range_end=b"\0")
        revisions = [scene.put(0, b"k", b"old"), scene.put(0, b"k", b"new")]
        scene.settle()
        lease = scene.grant(0, 60)
        scene.settle()
        late = scene.watch(0, key=b"\0", range_end=b"\0", start_revision=1)
        revisions.append(scene.put(0, b"k", b"newest", lease))
        found = scene.get(0, b"k")
        scene.settle()
        assert scene.get(0, b"k") == found == b"newest"
        assert watch.revisions == late.revisions == revisions


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_22134_what_is_put_inside_nested_transactions_counts_for_the_quota(depth: int) -> None:
    with Scene(1, quota_bytes=60_000) as scene:
        op = put_op(b"k", b"x" * 100_000)
        for _ in range(depth):
            op = pb.RequestOp(request_txn=pb.TxnRequest(failure=[op]))
        request = pb.TxnRequest(success=[op])
        assert scene.refusal(0, request) == "etcdserver: mvcc: database space exceeded"
        assert scene.get(0, b"k") is None
