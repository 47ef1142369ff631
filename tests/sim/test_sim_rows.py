"""The simulated backend answers as the real one does, and after a crash holds exactly the last finished batch."""

from __future__ import annotations

import importlib.util
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quorate.storage.backend import (
    Backend,
    BackendError,
    BackendFailed,
    BackendForeign,
    BackendInUse,
    Bucket,
    defrag,
    load,
)
from quorate.testing.sim.disk import Crashed, Disk, Faults
from quorate.testing.sim.rows import RowsRoom

ONE = Bucket(b"one", 0)
TWO = Bucket(b"two", 1)
BUCKETS = (ONE, TWO)


class Clock:
    """Virtual time, for one machine."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        heappush(self._due, (self.now + seconds, next(self._order), call))

    def run(self, seconds: float = 3600.0) -> None:
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, call = heappop(self._due)
            call()
        self.now = end


def machine(seed: int = 0, faults: Faults | None = None) -> Disk:
    disk = Disk(random.Random(seed), faults)
    disk.mount().make_directory("/snap")
    return disk


def room_on(disk: Disk, clock: Clock) -> RowsRoom:
    return RowsRoom(disk.mount(), clock.call_later, lambda: clock.now)


# The tests of the real backend, with the simulated one in its place.

STORAGE = Path(__file__).parent.parent / "storage"
BORROWED = {
    "test_backend_rows.py": None,
    "test_backend_batches.py": {
        "test_a_full_buffer_is_frozen_at_the_end_of_the_entry_that_filled_it",
        "test_a_buffer_is_frozen_when_the_interval_has_passed",
        "test_no_batch_ends_inside_an_entry",
        "test_an_entry_that_broke_off_leaves_nothing_when_the_backend_is_closed",
        "test_a_listener_that_breaks_does_not_stop_the_batches",
        "test_a_bucket_that_is_new_to_an_old_file_is_made",
        "test_a_full_map_stops_everything_and_keeps_the_last_good_batch",
    },
    "test_backend_replace.py": {
        "test_a_loaded_file_holds_the_rows_and_was_made_in_bites",
        "test_rows_in_any_order_are_loaded_and_the_later_of_two_counts",
        "test_a_load_that_is_given_up_leaves_nothing",
        "test_a_load_whose_rows_fail_leaves_nothing_and_passes_the_failure_on",
        "test_a_key_that_cannot_be_stored_is_said_plainly",
        "test_a_load_into_a_place_that_is_not_there_is_said_plainly",
        "test_a_replace_while_a_view_is_open_is_an_assertion",
        "test_a_replace_inside_an_entry_is_an_assertion",
        "test_a_second_opener_stays_out_over_a_replace",
        "test_a_file_larger_than_half_its_map_gets_a_larger_map_at_the_next_open",
    },
    "test_backend_defrag.py": {
        "test_an_empty_file_can_be_defragmented_again_and_again",
        "test_what_is_written_meanwhile_is_read_at_once_durable_soon_and_in_the_new_file",
        "test_readers_and_writers_see_every_row_at_every_bite",
        "test_a_run_that_is_closed_leaves_nothing",
        "test_a_database_from_a_leader_wins",
    },
}


class Door:
    """`Backend.open` and `load` on a disk on which every directory of the machine is there."""

    def __init__(self) -> None:
        self.disk = machine()
        self.room = RowsRoom(self.disk.mount(), lambda seconds, call: call(), lambda: 0.0)

    def open(self, path: Path, buckets: Any, **options: Any) -> Backend:
        self._same_directory(path)
        return self.room.open(path, buckets, **options)

    def load(self, path: Path, buckets: Any, rows: Any) -> Any:
        self._same_directory(path)
        return self.room.load(path, buckets, rows)

    def names(self, path: Path) -> list[str]:
        return self.room.mount.list(str(path))

    def _same_directory(self, path: Path) -> None:
        if path.parent.exists():
            self.room.mount.make_directory(str(path.parent))


DOOR = Door()


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    opened = DOOR.open(tmp_path / "db", BUCKETS, batch_interval=3600)
    yield opened
    opened.close()


@pytest.fixture
def small_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defrag, "BITE_ROWS", 20)


def borrowed(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"borrowed_{name.removesuffix('.py')}", STORAGE / name)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.NAMES = ["db", "db.lock"]
    module.Backend, module.load, module.os = DOOR, DOOR.load, SimpleNamespace(listdir=DOOR.names)
    return module


globals().update(
    (name, test)
    for file, wanted in BORROWED.items()
    for name, test in vars(borrowed(file)).items()
    if name.startswith("test_") and (wanted is None or name in wanted)
)


# Both side by side.


class Real:
    """A real backend, each of whose batches is waited for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lives = 0
        self.backend = self._open()

    def _open(self) -> Backend:
        return Backend.open(self.directory / "db", BUCKETS, batch_limit=6, batch_interval=3600, unsafe_no_fsync=True)

    def settle(self) -> None:
        if self.backend._frozen:
            self.backend._frozen[-1].finished.acquire()
            self.backend._frozen[-1].finished.release()

    def load(self, rows: Any) -> None:
        for _ in load(self.directory / "new", BUCKETS, rows):
            pass

    def replace(self) -> None:
        self.backend.replace(self.directory / "new")

    def reopen(self) -> None:
        self.backend.close()
        self.backend = self._open()

    def kill(self) -> None:
        """Go on with the file as it is on the disk now."""
        self.lives += 1
        after = self.directory / str(self.lives)
        after.mkdir()
        shutil.copy(self.directory / "db", after / "db")
        self.backend.close()
        self.directory = after
        self.backend = self._open()


class Simulated:
    def __init__(self, seed: int) -> None:
        self.disk = machine(seed)
        self.clock = Clock()
        self.backend = self._open()

    def _open(self) -> Backend:
        self.room = room_on(self.disk, self.clock)
        return self.room.open("/snap/db", BUCKETS, batch_limit=6, batch_interval=36000)

    def settle(self) -> None:
        self.clock.run(1.0)

    def load(self, rows: Any) -> None:
        for _ in self.room.load("/snap/new", BUCKETS, rows):
            pass

    def replace(self) -> None:
        self.backend.replace("/snap/new")

    def reopen(self) -> None:
        self.backend.close()
        self.backend = self._open()

    def kill(self) -> None:
        self.disk.rng.choice((self.disk.crash, self.disk.power_loss))()
        self.backend.close()
        self.backend = self._open()


KEYS = st.sampled_from([b"a", b"b", b"ba", b"c", b"d\x00", b"d\x00\x00", b"\xff", b"\xff\xff"])
IN = st.sampled_from(BUCKETS)
OPS = st.one_of(
    st.tuples(st.just("put"), IN, KEYS, st.binary(max_size=6)),
    st.tuples(st.just("put"), IN, KEYS, st.binary(max_size=6)),
    st.tuples(st.just("delete"), IN, KEYS),
    st.tuples(st.just("entry"), st.lists(st.tuples(IN, KEYS, st.none() | st.binary(max_size=3)), max_size=8)),
    st.tuples(st.just("scan"), IN, st.none() | KEYS, st.none() | KEYS, st.integers(0, 4)),
    st.tuples(st.sampled_from(["flush", "commit", "told", "reopen", "kill", "view", "look", "replace", "defragment"])),
)


def do(system: Real | Simulated, views: list[Any], op: str, args: tuple[Any, ...]) -> Any:
    backend = system.backend
    match op:
        case "put" | "delete":
            return getattr(backend, op)(*args)
        case "entry":
            backend.begin_entry()
            for bucket, key, value in args[0]:
                if value is None:
                    backend.delete(bucket, key)
                else:
                    backend.put(bucket, key, value)
            backend.end_entry()
        case "scan":
            bucket, start, end, limit = args
            return list(backend.scan(bucket, start or b"", end, limit))
        case "flush" | "commit":
            getattr(backend, op)()
        case "told":
            told: list[Any] = []
            event = threading.Event()
            backend.flush(lambda error: (told.append(error), event.set()))
            system.settle()
            assert event.wait(10)
            return told
        case "view":
            views.append(backend.view())
        case "defragment":
            for _ in backend.defragment():
                system.settle()
        case "look":
            return [[list(view.scan(bucket)) for bucket in BUCKETS] for view in views]
        case _:
            while views:
                views.pop().close()
            if op == "replace":
                system.load([(ONE, b"b", b"new"), (TWO, b"c", b"new"), (ONE, b"a", b"new")])
            getattr(system, op)()
    return None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ops=st.lists(OPS, max_size=30), seed=st.integers(0, 1000))
def test_both_backends_give_the_same_answers(
    tmp_path_factory: pytest.TempPathFactory, ops: list[tuple[Any, ...]], seed: int
) -> None:
    real, simulated = Real(tmp_path_factory.mktemp("both")), Simulated(seed)
    real_views: list[Any] = []
    views: list[Any] = []
    try:
        for op, *args in ops:
            assert do(real, real_views, op, tuple(args)) == do(simulated, views, op, tuple(args)), op
            real.settle()
            simulated.settle()
            assert real.backend.pending_ops == simulated.backend.pending_ops
            for bucket in BUCKETS:
                assert list(real.backend.scan(bucket)) == list(simulated.backend.scan(bucket)), op
                for key in (b"a", b"ba", b"\xff"):
                    assert real.backend.get(bucket, key) == simulated.backend.get(bucket, key)
    finally:
        for view in real_views:
            view.close()
        real.backend.close()


# What only a simulated one can be asked.


class Member:
    """Applies entries, each of which changes rows by its number, and knows which batch is on the disk."""

    def __init__(self, disk: Disk, clock: Clock, dice: random.Random) -> None:
        self.disk, self.clock, self.dice = disk, clock, dice
        self.durable = self.number = 0
        self.told: list[int] = []

    def start(self) -> None:
        room = room_on(self.disk, self.clock)
        options = {"batch_limit": self.dice.choice((3, 20, 1000)), "batch_interval": self.dice.choice((0.0, 0.05, 9.0))}
        self.backend = room.open("/snap/db", BUCKETS, **options)
        self.number = int(self.backend.get(TWO, b"index") or b"0")

    def live(self) -> None:
        for _ in range(self.dice.randrange(60)):
            self.number += 1
            number = self.number
            self.backend.begin_entry()
            for row in range(number % 7):
                self.backend.put(ONE, b"%08d-%d" % (number, row), bytes(number % 30))
            self.backend.delete(ONE, b"%08d-0" % (number // 2))
            self.backend.put(TWO, b"index", b"%d" % number)
            self.backend.end_entry()
            if self.dice.random() < 0.1:
                self.backend.flush(self.dice.choice((None, lambda error, at=number: error or self.told.append(at))))
            if self.dice.random() < 0.05:
                self.backend.commit()
            self.clock.run(self.dice.choice((0.0, 0.0001, 0.1)))

    def check(self, least: int, on_disk: int | None) -> None:
        assert all(told <= self.number for told in self.told), "told too soon"
        assert self.number >= max([least, *self.told])
        if on_disk is not None:
            assert self.number == on_disk
        expected: dict[bytes, bytes] = {}
        for number in range(1, self.number + 1):
            expected.update({b"%08d-%d" % (number, row): bytes(number % 30) for row in range(number % 7)})
            expected.pop(b"%08d-0" % (number // 2), None)
        assert dict(self.backend.scan(ONE)) == expected


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_a_crash_anywhere_leaves_whole_batches_in_their_order(first: int) -> None:
    for seed in range(first, first + 100):
        dice = random.Random(seed)
        disk, clock = machine(seed, Faults(slow_sync=0.2, slow_seconds=1.0)), Clock()
        member = Member(disk, clock, dice)
        on_disk = 0
        for _ in range(3):
            member.start()
            member.check(on_disk, on_disk)
            die_at = disk.operations + dice.randrange(1, 80)

            def hook(
                operation: str, _path: str, disk: Disk = disk, member: Member = member, die_at: int = die_at
            ) -> None:
                nonlocal on_disk
                if operation == "afterCommit":
                    view = member.backend.view()
                    on_disk = int(view.get(TWO, b"index") or b"0")
                    view.close()
                if disk.operations == die_at:
                    raise Crashed

            disk.hook = hook
            try:
                member.live()
            except Crashed:
                pass
            else:
                dice.choice((disk.crash, disk.power_loss))()
            disk.hook = None
            if dice.random() < 0.5:
                disk.power_loss()
            member.backend.close()
            clock.run()


def test_a_batch_is_durable_when_its_sync_is_over_and_not_before() -> None:
    disk, clock = machine(0, Faults(sync_seconds=2.0)), Clock()
    backend = room_on(disk, clock).open("/snap/db", BUCKETS)
    told: list[tuple[float, Any]] = []
    backend.put(ONE, b"a", b"1")
    backend.flush(lambda error: told.append((clock.now, error)))
    clock.run(1.9)
    assert backend.pending_ops == 1 and told == []
    clock.run(0.2)
    assert backend.pending_ops == 0
    assert told == [(pytest.approx(2.0, abs=0.001), None)]


def test_what_a_dead_process_began_never_reaches_the_file() -> None:
    disk, clock = machine(), Clock()
    dead = room_on(disk, clock).open("/snap/db", BUCKETS)
    told: list[Any] = []
    dead.put(ONE, b"a", b"1")
    dead.flush(told.append)
    disk.crash()
    after = room_on(disk, clock).open("/snap/db", BUCKETS)
    clock.run()
    dead.put(ONE, b"b", b"1")
    dead.flush()
    with pytest.raises(Crashed):
        dead.commit()
    dead.close()
    clock.run()
    assert told == [] and list(after.scan(ONE)) == []
    with pytest.raises(BackendInUse):
        room_on(disk, clock).open("/snap/db", BUCKETS)


@pytest.mark.parametrize("fault", ["capacity", "write_error", "sync_error"])
def test_a_batch_that_fails_stops_everything_and_what_was_there_stays(fault: str) -> None:
    disk, clock = machine(), Clock()
    errors: list[BackendFailed] = []
    backend = room_on(disk, clock).open("/snap/db", BUCKETS, on_error=errors.append)
    backend.put(ONE, b"a", b"1")
    backend.commit()
    setattr(disk.faults, fault, 20_000 if fault == "capacity" else 1.0)
    backend.put(ONE, b"b", bytes(20_000))
    text = "No space left on device" if fault == "capacity" else "Input/output error"
    with pytest.raises(BackendFailed, match=f"cannot write a batch of 1 operations to /snap/db: .*{text}"):
        backend.commit()
    with pytest.raises(BackendFailed):
        backend.flush()
    assert len(errors) == 1
    backend.close()
    disk.faults = Faults()
    backend = room_on(disk, clock).open("/snap/db", BUCKETS)
    assert list(backend.scan(ONE)) == [(b"a", b"1")]


def test_files_that_are_not_ours_are_refused() -> None:
    disk, clock = machine(), Clock()
    room = room_on(disk, clock)
    with room_closing(room, "/snap/db") as file:
        file.write(b"x" * 40, 0)
    with pytest.raises(BackendForeign, match="not a database"):
        room.open("/snap/db", BUCKETS)
    room_closing(room, "/snap/empty").close()
    with pytest.raises(BackendForeign, match="empty"):
        room.open("/snap/empty", BUCKETS)
    with pytest.raises(BackendForeign, match="is a directory"):
        room.open("/snap", BUCKETS)
    with pytest.raises(BackendError, match="No such file or directory"):
        room.open("/missing/db", BUCKETS)


class room_closing:
    """An open file of the room's disk."""

    def __init__(self, room: RowsRoom, path: str) -> None:
        self.file = room.mount.open(path, create=True)
        self.close = self.file.close

    def __enter__(self) -> Any:
        return self.file

    def __exit__(self, *_: object) -> None:
        self.file.close()


def test_a_crash_or_power_loss_in_a_replace_leaves_the_old_file_or_the_new_one() -> None:
    seen = set()
    for seed in range(400):
        dice = random.Random(seed)
        disk, clock = machine(seed), Clock()
        room = room_on(disk, clock)
        backend = room.open("/snap/db", BUCKETS)
        backend.put(TWO, b"index", b"old")
        backend.commit()
        die_at = disk.operations + dice.randrange(14)

        def hook(operation: str, _path: str, disk: Disk = disk, die_at: int = die_at) -> None:
            if disk.operations >= die_at:
                raise Crashed

        disk.hook = hook
        try:
            for _ in room.load("/snap/new", BUCKETS, [(TWO, b"index", b"new"), (ONE, b"a", b"new")]):
                pass
            backend.replace("/snap/new")
            finished = True
        except Crashed:
            finished = False
        disk.hook = None
        disk.power_loss() if dice.random() < 0.7 else disk.crash()
        room = room_on(disk, clock)
        backend = room.open("/snap/db", BUCKETS)
        stands = backend.get(TWO, b"index")
        assert stands in ((b"new",) if finished else (b"old", b"new"))
        assert (backend.get(ONE, b"a") == b"new") == (stands == b"new")
        if "new" in room.mount.list("/snap"):
            backend.replace("/snap/new")  # whole, whenever it has its name
            stands = backend.get(TWO, b"index")
            assert stands == b"new"
        seen.add((finished, stands))
    assert seen == {(False, b"old"), (False, b"new"), (True, b"new")}


def test_the_same_seed_is_the_same_run() -> None:
    def run(hash_of: list[Any]) -> list[Any]:
        disk, clock = machine(7, Faults(slow_sync=0.3, slow_seconds=0.5)), Clock()
        disk.hook = lambda operation, path: hash_of.append((operation, path, clock.now))
        member = Member(disk, clock, random.Random(7))
        member.start()
        member.live()
        return hash_of

    assert run([]) == run([])
