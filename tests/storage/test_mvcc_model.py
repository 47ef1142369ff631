"""Random work on the store and on a naive model of it, compared at every readable revision, over restarts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mvcc_support import DictLeases, Disk, Model, finish, kv

from quorate.api import errors
from quorate.storage.mvcc import Mode, Store
from quorate.storage.schema import KEY

KEYS = [b"%c" % c * n for c in b"abcd" for n in (1, 2)]
STEPS = 150


@pytest.fixture(params=["memory", "backend"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(request.param, tmp_path)
    yield disk
    disk.close()


class Run:
    """A store and its model, and the dice that decide what happens to both."""

    def __init__(self, seed: int, disk: Disk) -> None:
        self.dice = random.Random(seed)
        self.model = Model()
        self.disk = disk
        self.jobs: list[Any] = []
        self.rows = disk.new()
        self.restart()

    def restart(self) -> None:
        self.rows = self.disk.copy(self.rows)
        self.leases = DictLeases()
        self.store = Store(self.rows, self.leases, compaction_batch_limit=2)  # type: ignore[arg-type]
        self.store.restore()
        self.jobs = [self.store.pending_compaction] if self.store.pending_compaction else []
        assert self.store.revision == self.model.revision
        assert self.store.compacted_revision == self.model.compacted

    def some_range(self) -> tuple[bytes, bytes]:
        return self.dice.choice(KEYS), self.dice.choice([b"", b"\0", *KEYS])

    def write(self) -> None:
        model, dice = self.model, self.dice
        main = model.revision + 1
        changed = False
        with self.store.write() as txn:
            for _ in range(dice.choice([1, 1, 1, 2, 4])):
                # As agreed requests do, no transaction changes a key twice.
                free = [k for k in KEYS if not any(c[:2] == (main, k) for c in model.changes)]
                if not free:
                    break
                key, end = dice.choice(free), b""
                if dice.random() < 0.7:
                    value, lease = dice.randbytes(3), dice.choice([0, 0, 1, -2])
                    assert txn.put(key, value, lease) == main
                    model.changes.append((main, key, value, lease))
                    changed = True
                else:
                    if not changed and dice.random() < 0.5:
                        key, end = self.some_range()
                    doomed = [found[0] for found in model.range(key, end, main)]
                    assert txn.delete_range(key, end) == doomed
                    model.changes += [(main, key, None, 0) for key in doomed]
                    changed = changed or bool(doomed)
                assert txn.revision == (main if changed else main - 1)
                assert [kv(row) for row in txn.range(b"\0", b"\0").kvs] == model.range(b"\0", b"\0", main)
        model.revision += changed
        assert self.store.revision == model.revision

    def compact(self) -> None:
        revision = self.dice.randint(-1, self.model.revision + 1)
        if revision <= self.model.compacted:
            with pytest.raises(errors.Compacted):
                self.store.compact(revision)
        elif revision > self.model.revision:
            with pytest.raises(errors.FutureRevision):
                self.store.compact(revision)
        else:
            self.jobs.append(self.store.compact(revision))
            self.model.compacted = revision

    def work(self) -> None:
        """A bite of the first job."""
        if self.jobs and next(self.jobs[0], self) is self:
            del self.jobs[0]

    def check(self) -> None:
        model, store = self.model, self.store
        key, end = self.some_range()
        revision = self.dice.randint(0, model.revision + 1)
        mode, limit = self.dice.choice(list(Mode)), self.dice.choice([0, 1, 3])
        if revision > model.revision:
            with pytest.raises(errors.FutureRevision):
                store.range(key, end, revision=revision)
        elif 0 < revision < model.compacted:
            with pytest.raises(errors.Compacted):
                store.range(key, end, revision=revision)
        else:
            want = model.range(key, end, revision)
            got = store.range(key, end, revision=revision, mode=mode, limit=limit)
            assert (got.count, got.revision) == (len(want), model.revision)
            if mode is Mode.COUNT:
                want = []
            elif mode is Mode.KEYS:
                want = [(key, b"", create, mod, version, 0) for key, _, create, mod, version, _ in want]
            assert [kv(row) for row in got.kvs] == want[: limit or None]
        attached = {key: lease for key, _, _, _, _, lease in model.range(b"\0", b"\0") if lease}
        assert self.leases.by_key == attached

    def check_rows(self) -> None:
        """Once all jobs are done, exactly the rows that compaction keeps are left."""
        while self.jobs:
            self.work()
        left = [place for place, _ in self.rows.scan(KEY)]  # type: ignore[attr-defined]
        kept = 0
        newest: dict[bytes, tuple[int, bool]] = {}
        for main, key, value, _ in self.model.changes:
            if main > self.model.compacted:
                kept += 1
            else:
                newest[key] = main, value is not None
        kept += sum(alive or main == self.model.compacted for main, alive in newest.values())
        assert len(left) == kept


@pytest.mark.parametrize("seed", range(8))
def test_the_store_does_what_a_naive_model_does(seed: int, disk: Disk) -> None:
    print("seed", seed)
    run = Run(seed, disk)
    for step in range(STEPS):
        chance = run.dice.random()
        if chance < 0.6:
            run.write()
        elif chance < 0.65:
            run.compact()
        elif chance < 0.7:
            run.restart()
        else:
            run.work()
        run.check()
        if step % 50 == 49:
            run.check_rows()
    for revision in range(max(run.model.compacted, 1), run.model.revision + 1):
        assert [kv(row) for row in run.store.range(b"\0", b"\0", revision=revision).kvs] == run.model.range(
            b"\0", b"\0", revision
        )
    finish(iter(run.jobs))
