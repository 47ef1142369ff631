"""A whole database goes from one simulated disk to another, and a crash on the way leaves nothing half."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sim_scenes import Scene

from quorate.api.raftpb import ConfState
from quorate.server.snapshot_files import database_path, export, remove_leftovers, take_in
from quorate.storage import bbolt, schema
from quorate.storage.backend import SPARE_BYTES, View
from quorate.testing.sim.disk import Crashed, Disk, DiskFile, Mount
from quorate.testing.sim.rows import RowsRoom, SimBackend

SNAP = Path("/member/snap")
VOTERS = ConfState((1, 2))


def member(seed: int) -> tuple[Disk, RowsRoom]:
    disk = Disk(Random(seed))
    disk.mount().make_directory(str(SNAP))
    return disk, room(disk)


def room(disk: Disk) -> RowsRoom:
    return RowsRoom(disk.mount(), lambda seconds, call: call(), lambda: 0.0)


def filled(own: RowsRoom, applied: int, rows: int) -> SimBackend:
    backend = own.open(SNAP / "db", schema.BUCKETS)
    for number in range(rows):
        backend.put(schema.KEY, b"%08d" % number, b"v" * (number * 37 % 5000))
    schema.put_applied(backend, applied, 3)
    schema.put_conf_state(backend, VOTERS)
    backend.commit()
    return backend


def finish(job: Any) -> Any:
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def sent(own: RowsRoom, view: View) -> bytes:
    """The bytes that go over the wire."""
    path = str(SNAP / "tmp.out")
    size = finish(export(view, path, own.mount))
    file = own.mount.open(path, read_only=True)
    data = file.read(0, file.size())
    file.close()
    assert len(data) == size
    return data


def received(own: RowsRoom, data: bytes, index: int) -> Path:
    path = SNAP / "tmp.in"
    file = own.mount.open(str(path), create=True)
    file.write(data, 0)
    file.close()
    database = database_path(SNAP, index)
    finish(take_in(path, database, VOTERS, index, 3, own.mount, own.load))
    return database


def test_a_database_is_sent_taken_in_and_put_in_place() -> None:
    _, leader = member(1)
    view = filled(leader, 40, 1500).view()
    data = sent(leader, view)
    _, follower = member(2)
    backend = filled(follower, 3, 2)
    backend.replace(received(follower, data, 40))
    for bucket in schema.BUCKETS:
        assert list(backend.scan(bucket)) == list(view.scan(bucket))
    view.close()
    remove_leftovers(SNAP, follower.mount)
    assert follower.mount.list(str(SNAP)) == ["db", "db.lock"]


def test_the_file_that_is_sent_is_a_sound_bbolt_file() -> None:
    _, leader = member(1)
    view = filled(leader, 40, 500).view()
    sent(leader, view)
    reader = bbolt.Reader.open(SNAP / "tmp.out", leader.mount)
    assert [text for text in reader.check() if text is not None] == []
    reader.close()


def test_a_crash_on_the_way_leaves_the_old_rows_or_the_new_ones() -> None:
    _, leader = member(0)
    data = sent(leader, filled(leader, 40, 30).view())
    seen = set()
    for seed in range(300):
        disk, follower = member(seed)
        backend = filled(follower, 3, 2)
        die_at = disk.operations + seed % 30

        def hook(operation: str, path: str, disk: Disk = disk, die_at: int = die_at) -> None:
            if disk.operations == die_at:
                raise Crashed

        disk.hook = hook
        with suppress(Crashed):
            backend.replace(received(follower, data, 40))
        disk.hook = None
        disk.power_loss()
        follower = room(disk)
        backend = follower.open(SNAP / "db", schema.BUCKETS)
        database = database_path(SNAP, 40)
        if database.name in follower.mount.list(str(SNAP)):
            backend.replace(database)
        remove_leftovers(SNAP, follower.mount)
        applied = schema.get_applied(backend).index
        assert len(list(backend.scan(schema.KEY))) == {3: 2, 40: 30}[applied]
        assert follower.mount.list(str(SNAP)) == ["db", "db.lock"]
        seen.add(applied)
    assert seen == {3, 40}


def test_a_leader_without_room_makes_no_snapshot_until_there_is_some() -> None:
    with Scene(3, snapshot_count=5, catchup_entries=1) as scene:
        scene.lead(0)
        disk = scene.members[0].disk
        made: list[str] = []
        disk.hook = lambda operation, path: made.append(path) if operation == "open" and ".bbolt" in path else None
        disk.faults.capacity = disk.used() + SPARE_BYTES
        scene.leave_behind(2)
        scene.scheduler.run_for(5.0)
        assert not made and scene.server(2).applied_index < scene.server(0).applied_index
        scene.put(1, b"k", b"goes on")
        disk.faults.capacity = None
        scene.until(lambda: scene.get(2, b"k", serializable=True) == b"goes on")
        assert made


class ForgetsNames(Random):
    """At a power loss, no change of names that was not synced has come through."""

    def random(self) -> float:
        return 0.9


def test_a_rename_whose_sync_failed_is_synced_before_anybody_relies_on_it() -> None:
    with Scene(3, snapshot_count=5, catchup_entries=1) as scene:
        scene.lead(0)
        machine = scene.members[2]
        faults = machine.disk.faults

        def fail_behind_the_rename(operation: str, path: str) -> None:
            if operation == "rename" and path.endswith(".snap.db"):
                machine.disk_failed, faults.sync_error = True, 1.0

        machine.disk.hook = fail_behind_the_rename
        scene.leave_behind(2)
        scene.until(lambda: not machine.alive)
        faults.sync_error = 0.0
        scene.start(2)
        begins = scene.installed(2)
        scene.fill(2, 20)
        scene.until(lambda: scene.installed(2) > begins)
        machine.disk.rng = ForgetsNames(1)
        scene.restart(2, power=True)


def test_files_of_whole_databases_lose_their_names_at_once_and_are_closed_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk is long about the last to close a large file: nobody may wait for it but a thread of its own."""
    closed: list[str] = []
    aside = Mount.aside

    def record(mount: Mount, call: Callable[[], None]) -> Generator[None, None, None]:
        file = getattr(call, "__self__", None)
        if isinstance(file, DiskFile) and call == file.close:
            closed.append(file.path)
        return aside(mount, call)

    monkeypatch.setattr(Mount, "aside", record)
    with Scene(3, snapshot_count=5, catchup_entries=1) as scene:
        scene.lead(0)
        scene.leave_behind(2)
        scene.until(lambda: scene.server(2).applied_index == scene.server(0).applied_index)
        scene.settle()
        scene.lead(1)
        scene.leave_behind(2)
        scene.settle()
    names = [path.rpartition("/")[2] for path in closed]
    assert sum(name.endswith(".bbolt") for name in names) >= 4, "sent ones and received ones"
