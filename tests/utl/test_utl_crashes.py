"""A tool that is killed between any two lines leaves a directory that is whole, or one that nobody starts on."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from utl_kill import KILLED, Line, die_at, lines_of
from utl_support import names

from quorate.server.bootstrap import boot
from quorate.server.config import ServerConfig
from quorate.server.join import BootstrapError
from quorate.server.offline.from_etcd import take_over
from quorate.server.offline.looking import hash_kv
from quorate.server.offline.restore import Restore, restore
from quorate.server.offline.to_etcd import hand_over
from quorate.server.world import World
from quorate.storage import bbolt, files, schema
from quorate.storage.mvcc import HashResult
from quorate.storage.mvcc.revision import revision_bytes
from quorate.storage.mvcc.rows import encode_key_value

Job = Callable[[], None]

CHILD_SECONDS = 60
CHILDREN = multiprocessing.get_context("forkserver")
"""A process with one thread starts them: a child of this one could wait for a lock that no thread holds any more."""
CHILDREN.set_forkserver_preload([restore.__module__, take_over.__module__, hand_over.__module__])


class Small(NamedTuple):
    """Files with a few rows, so that a run is short: a snapshot, and what was made of it for either program."""

    snapshot: Path
    quorate: Path
    etcd: Path
    hash: HashResult


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    place = tmp_path_factory.mktemp("small")
    rows = schema.Draft(schema.NoRows())
    for main in range(2, 9):
        value = encode_key_value(b"k%d" % main, main, main, 1, b"v" * 3000, 0)
        rows.put(schema.KEY, revision_bytes(main, 0), value)
    schema.put_cluster_version(rows, "3.5.0")
    snapshot = place / "saved.db"
    for _ in bbolt.write(snapshot, ((bucket.name, rows.scan(bucket)) for bucket in schema.BUCKETS)):
        pass
    snapshot.write_bytes(snapshot.read_bytes() + hashlib.sha256(snapshot.read_bytes()).digest())
    restore(Restore(snapshot, place / "quorate"))
    hand_over(place / "quorate", place / "etcd")
    return Small(snapshot, place / "quorate", place / "etcd", hash_kv(snapshot))


@pytest.mark.parametrize("place", ["free", "empty", "own log"])
def test_a_restore_killed_at_any_line_leaves_all_or_nothing_to_start_on(
    place: str, small: Small, tmp_path: Path
) -> None:
    def job(root: Path) -> Job:
        data_dir = root / "data"
        if place == "empty":
            data_dir.mkdir()
        return partial(restore, Restore(small.snapshot, data_dir, root / "log" if place == "own log" else None))

    assert check_every_line(job, tmp_path, lambda root: starts(root, small, place == "own log")) > 0


def test_an_import_killed_at_any_line_leaves_all_or_nothing_to_start_on(small: Small, tmp_path: Path) -> None:
    def job(root: Path) -> Job:
        return partial(take_over, small.etcd, root / "data")

    assert check_every_line(job, tmp_path, lambda root: starts(root, small)) > 0


def test_an_export_killed_at_any_line_leaves_a_whole_directory_or_none(small: Small, tmp_path: Path) -> None:
    expected = names(small.etcd)

    def look(root: Path) -> bool:
        if not (root / "data").exists():
            return False
        assert names(root / "data") == expected
        return True

    assert check_every_line(lambda root: partial(hand_over, small.quorate, root / "data"), tmp_path, look) > 0


def starts(root: Path, small: Small, own_log: bool = False) -> bool:
    """Whether a member starts on what is there; asserts that it has all, and that it does not start without."""
    if not names(root) or names(root) == ["data"]:
        return False  # as it was before
    config = ServerConfig(
        "default",
        root / "data",
        {"default": ["http://localhost:2380"]},
        ["http://localhost:2379"],
        ["http://localhost:2380"],
        wal_dir=root / "log" if own_log else None,
    )
    try:
        booted = boot(config, World(), None, print)
    except BootstrapError:
        for path in (*root.glob("*.unfinished"), *root.glob("data/*.unfinished")):
            shutil.rmtree(path)
        if names(root) not in ([], ["data"]):
            with pytest.raises(BootstrapError):  # nor without what says that it is unfinished
                boot(config, World(), None, print)
        return False
    booted.wal.close()
    assert booted.conf_state.voters == (booted.member_id,)
    assert booted.applied_index == schema.get_applied(booted.backend).index > 0
    booted.backend.close()
    assert hash_kv(root / "data" / "member" / "snap" / "db") == small.hash
    return True


def check_every_line(job: Callable[[Path], Job], place: Path, look: Callable[[Path], bool]) -> int:
    """Kill a job where each line of it is reached for the first time; `look` at what is left. How often all was."""
    first = place / "first"
    first.mkdir()
    lines = lines_of(job(first))
    assert look(first)
    assert not [name for name in names(first) if "unfinished" in name]
    whole = killed = 0
    for number, line in enumerate(lines):
        root = place / f"run{number}"
        root.mkdir()
        ended = ended_at(line, job(root))
        # What is between two looks at a thread is reached only if that is still at work.
        assert ended in (KILLED, 0), f"{line} ended with {ended}"
        killed += ended == KILLED
        try:
            complete = look(root)
            whole += complete
            assert complete or ended == KILLED
        except AssertionError as err:
            raise AssertionError(f"killed at {line}: {names(root)}") from err
        shutil.rmtree(root)
    assert killed > 50
    return whole


def ended_at(line: Line, job: Job) -> int | None:
    """Run a job in a child up to a line; with which code it ended."""
    child = CHILDREN.Process(target=die_at, args=(line, job))
    child.start()
    child.join(CHILD_SECONDS)
    child.kill()
    child.join()
    return child.exitcode


@pytest.mark.parametrize("own_log", [False, True])
def test_everything_is_on_disk_before_it_gets_its_name_and_the_name_before_success(
    own_log: bool, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    done: list[tuple[str, list[str]]] = []
    rename, fsync, fdatasync = os.rename, os.fsync, files._fdatasync

    def note(sync: Callable[[int], None]) -> Callable[[int], None]:
        def noted(fd: int) -> None:
            sync(fd)
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))
            if synced[-1] == str(tmp_path):
                done.append(("synced", []))

        return noted

    def note_rename(old: Any, new: Any) -> None:
        if ".unfinished" in str(old) and not str(old).endswith(".tmp"):
            inside = [str(path) for path in Path(old).rglob("*") if path.name != "db"]  # LMDB syncs its own
            done.append((Path(new).name, [path for path in [str(old), *inside] if path not in synced]))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", note(fsync))
    monkeypatch.setattr(files, "_fdatasync", note(fdatasync))
    monkeypatch.setattr(os, "rename", note_rename)
    restore(Restore(small.snapshot, tmp_path / "data", tmp_path / "log" if own_log else None))
    steps = ["data", "synced", "log", "synced"] if own_log else ["data", "synced"]
    assert done[-len(steps) :] == [(step, []) for step in steps]
