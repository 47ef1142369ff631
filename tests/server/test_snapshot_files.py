"""A database becomes a bbolt file, and a bbolt file a database, with every row as it was."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.api.raftpb import ConfState
from quorate.server.snapshot_files import (
    database_path,
    export,
    remove_leftovers,
    remove_superseded,
    take_in,
)
from quorate.storage import bbolt, schema
from quorate.storage.backend import Backend, BackendError, load
from quorate.testing.process import MemberProcess, real_binary

VOTERS = ConfState(voters=(1, 2, 3))
OTHERS = ConfState(voters=(7,), learners=(8,))

Rows = dict[bytes, dict[bytes, bytes]]


def finish(job: Generator[None, None, Any]) -> Any:
    """What the job returns."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    backend = Backend.open(tmp_path / "db", schema.BUCKETS)
    yield backend
    backend.close()


def fill(backend: Backend, keys: int = 1_000) -> None:
    for number in range(keys):
        backend.put(schema.KEY, (number + 2).to_bytes(8, "big") + b"_" + bytes(8), b"%d" % number * 50)
    for lease in (1, -5, 1 << 62):
        schema.put_lease(backend, schema.LeaseRecord(lease, 60))
    schema.put_member(backend, schema.MemberRecord(0xABC, ("http://a:2380",), name="a"))
    schema.put_applied(backend, 40, 3)
    schema.put_conf_state(backend, VOTERS)
    backend.put(schema.AUTH_USERS, b"root", b"user")
    backend.commit()


def contents(backend: Backend) -> Rows:
    return {bucket.name: dict(backend.scan(bucket)) for bucket in schema.BUCKETS}


def bolt(path: Path, rows: Rows) -> Path:
    finish(bbolt.write(path, [(name, sorted(rows[name].items())) for name in sorted(rows)]))
    return path


def meta_after(tmp_path: Path, stored: dict[bytes, bytes], index: int = 50, term: int = 4) -> Backend:
    """A backend over what became of a file whose bucket `meta` is `stored`."""
    finish(take_in(bolt(tmp_path / "in", {b"meta": stored}), tmp_path / "out", OTHERS, index, term))
    return Backend.open(tmp_path / "out", schema.BUCKETS)


def index_row(number: int) -> bytes:
    return number.to_bytes(8, "big")


def test_there_and_back_every_row_is_as_it_was(tmp_path: Path, backend: Backend) -> None:
    fill(backend)
    before = contents(backend)
    view = backend.view()
    size = finish(export(view, tmp_path / "tmp.out"))
    view.close()
    assert size == (tmp_path / "tmp.out").stat().st_size
    path = database_path(tmp_path, 40)
    finish(take_in(tmp_path / "tmp.out", path, VOTERS, 40, 3))
    backend.put(schema.KEY, b"gone", b"")
    backend.replace(path)
    assert contents(backend) == before
    assert sorted(os.listdir(tmp_path)) == ["db", "db-lock", "db.lock", "tmp.out"]


def test_an_export_holds_all_buckets_and_shows_the_moment_it_began(tmp_path: Path, backend: Backend) -> None:
    fill(backend, 5_000)
    before = contents(backend)
    view = backend.view()
    job = export(view, tmp_path / "out")
    next(job)
    fill(backend, 9_000)
    backend.put(schema.AUTH_USERS, b"later", b"")
    backend.commit()
    finish(job)
    view.close()
    reader = bbolt.Reader.open(tmp_path / "out")
    assert reader.buckets() == [bucket.name for bucket in schema.BUCKETS]
    assert {name: dict(reader.scan(name)) for name in reader.buckets()} == before
    reader.close()


def test_both_ways_are_taken_in_bites(tmp_path: Path, backend: Backend) -> None:
    fill(backend, 10_000)
    view = backend.view()
    assert sum(1 for _ in export(view, tmp_path / "out")) >= 20
    view.close()
    assert sum(1 for _ in take_in(tmp_path / "out", tmp_path / "in", VOTERS, 40, 3)) >= 20


def test_a_job_given_up_takes_back_what_it_made(tmp_path: Path, backend: Backend) -> None:
    fill(backend, 5_000)
    names = sorted(os.listdir(tmp_path))
    view = backend.view()
    job: Generator[None, None, object] = export(view, tmp_path / "out")
    next(job)
    job.close()
    assert sorted(os.listdir(tmp_path)) == names
    finish(export(view, tmp_path / "out"))
    view.close()
    job = take_in(tmp_path / "out", tmp_path / "in", VOTERS, 40, 3)
    next(job)
    job.close()
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "out"])


def test_a_database_that_lacks_index_term_and_voters_gets_the_snapshots(tmp_path: Path) -> None:
    backend = meta_after(tmp_path, {})
    assert schema.get_applied(backend) == (50, 4)
    assert schema.get_conf_state(backend) == OTHERS
    backend.close()


@pytest.mark.parametrize("index", [49, 50])
def test_a_database_not_ahead_of_the_snapshot_gets_its_index_term_and_voters(tmp_path: Path, index: int) -> None:
    """A database restored from a backup tells the voters of its old cluster."""
    old = b'{"voters":[1,2,3],"auto_leave":false}'
    stored = {b"consistent_index": index_row(index), b"term": index_row(2), b"confState": old, b"other": b"kept"}
    backend = meta_after(tmp_path, stored)
    assert schema.get_applied(backend) == (50, 4)
    assert schema.get_conf_state(backend) == OTHERS
    assert backend.get(schema.META, b"other") == b"kept"
    backend.close()


def test_a_database_ahead_of_the_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="at entry 51 came with a snapshot of entry 50"):
        meta_after(tmp_path, {b"consistent_index": index_row(51), b"term": index_row(5)})


def test_an_unknown_bucket_stays_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bolt(tmp_path / "in", {b"key": {b"a": b"1"}, b"strange": {b"b": b"2"}})
    with caplog.at_level(logging.WARNING):
        finish(take_in(tmp_path / "in", tmp_path / "out", VOTERS, 1, 1))
    (record,) = caplog.records
    assert record.__dict__["fields"] == {"bucket": "strange"}
    backend = Backend.open(tmp_path / "out", schema.BUCKETS)
    assert list(backend.scan(schema.KEY)) == [(b"a", b"1")]
    backend.close()


def test_a_damaged_file_leaves_nothing(tmp_path: Path) -> None:
    path = bolt(tmp_path / "in", {b"key": {b"%05d" % number: bytes(100) for number in range(5_000)}})
    data = bytearray(path.read_bytes())
    at = data.index(b"03000")
    page = at - at % 4096
    data[page + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(bbolt.BboltError, match=f"page {page // 4096} element 0 does not fit"):
        finish(take_in(path, tmp_path / "out", VOTERS, 1, 1))
    assert os.listdir(tmp_path) == ["in"]


def test_a_key_too_long_for_the_backend_is_said_plainly(tmp_path: Path) -> None:
    bolt(tmp_path / "in", {b"authUsers": {b"u" * 600: b""}})
    with pytest.raises(BackendError, match="a key of 600 bytes in bucket authUsers"):
        finish(take_in(tmp_path / "in", tmp_path / "out", VOTERS, 1, 1))


def test_leftovers_of_every_kind_go_at_a_start_and_nothing_else_does(tmp_path: Path) -> None:
    kept = ["db", "db-lock", "db.lock", "0000000000000001-0000000000000005.snap", "x.broken", "tmp", "notes"]
    gone = ["tmp.1", "tmp.a.bbolt", "00000000000000ff.snap.db", "00000000000000ff.snap.db.tmp"]
    gone += ["00000000000000ff.snap.db.tmp-lock", "00000000000000ff.snap.db-lock"]
    for name in kept + gone:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_a_database_that_still_waits_stays_when_an_earlier_one_is_in_place(tmp_path: Path) -> None:
    for index in (15, 16, 17):
        database_path(tmp_path, index).touch()
    left = remove_superseded(tmp_path, 16)
    assert os.listdir(tmp_path) == ["0000000000000011.snap.db"]
    assert len(left) == 2, "to be closed by who can wait for the disk"
    for file in left:
        file.close()


def test_a_process_killed_while_it_takes_in_leaves_only_what_a_start_removes(tmp_path: Path) -> None:
    path = bolt(tmp_path / "tmp.in", {b"key": {b"%05d" % number: bytes(100) for number in range(5_000)}})
    if (child := os.fork()) == 0:
        job = take_in(path, database_path(tmp_path, 9), VOTERS, 9, 1)
        next(job)
        next(job)
        os._exit(0)
    os.waitpid(child, 0)
    assert "0000000000000009.snap.db.tmp" in os.listdir(tmp_path)
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_loaded_file_is_replaced_by_a_newer_one_of_the_same_index(tmp_path: Path) -> None:
    path = database_path(tmp_path, 9)
    finish(load(path, schema.BUCKETS, [(schema.KEY, b"old", b"")]))
    finish(take_in(bolt(tmp_path / "in", {b"key": {b"new": b""}}), path, VOTERS, 9, 1))
    backend = Backend.open(path, schema.BUCKETS)
    assert [key for key, _ in backend.scan(schema.KEY)] == [b"new"]
    backend.close()


@pytest.mark.real
def test_the_database_of_a_real_member_goes_through_unchanged_and_the_member_goes_on_with_it(tmp_path: Path) -> None:
    etcd, etcdctl, etcdutl = (real_binary(name) for name in ("etcd", "etcdctl", "etcdutl"))
    if etcd is None or etcdctl is None or etcdutl is None:
        pytest.skip("no real etcd here")

    def run(*command: object) -> Any:
        done = subprocess.run([str(word) for word in command], capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)

    def ctl(*command: object) -> Any:
        return run(etcdctl, "--endpoints", member.endpoint, "-w", "json", *command)

    member = MemberProcess(tmp_path / "data", command=(str(etcd),), flags=["--unsafe-no-fsync"])
    database = tmp_path / "data" / "member" / "snap" / "db"
    member.start()
    try:
        for number in range(10):
            ctl("put", f"key{number % 4}", "v" * 100 * number)
        ctl("del", "key1")
        ctl("lease", "grant", 9999)
        hashed = ctl("endpoint", "hashkv")[0]["HashKV"]["hash"]
        member.stop()
        told = run(etcdutl, "snapshot", "status", database, "-w", "json")
        reader = bbolt.Reader.open(database)
        meta = dict(reader.scan(b"meta"))
        reader.close()
        voters = ConfState(tuple(json.loads(meta[b"confState"])["voters"]))
        stands = (int.from_bytes(meta[key], "big") for key in (b"consistent_index", b"term"))
        finish(take_in(database, tmp_path / "db", voters, *stands))
        backend = Backend.open(tmp_path / "db", schema.BUCKETS)
        view = backend.view()
        finish(export(view, database))
        view.close()
        backend.close()
        again = run(etcdutl, "snapshot", "status", database, "-w", "json")
        assert {**again, "totalSize": 0} == {**told, "totalSize": 0}
        member.start()
        assert ctl("endpoint", "hashkv")[0]["HashKV"]["hash"] == hashed
        ctl("put", "key1", "back")
        assert ctl("get", "key", "--prefix")["count"] == 4
    finally:
        member.stop()
