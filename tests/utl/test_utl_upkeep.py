"""Defragmentation, versions of rows, and copies of a member that does not run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from utl_support import Saved, done, members_of, names, picture, seen, status, utl, worked

from quorate.client.sync import Client
from quorate.testing.process import MemberProcess


@pytest.fixture
def data_dir(ours: Saved, tmp_path: Path) -> Path:
    """A copy of a stopped member's directory."""
    shutil.copytree(ours.member.data_dir, tmp_path / "data")
    return tmp_path / "data"


def test_defrag_gives_back_what_deleted_rows_took(tmp_path: Path, running: list[MemberProcess]) -> None:
    member = MemberProcess(tmp_path / "data", name="m1")
    running.append(member)
    member.start()
    with Client(member.endpoint) as client:
        for number in range(60):
            client.put(b"k%d" % number, os.urandom(50_000))
        client.delete(b"k", prefix=True)
        client.put("stays", "here")
        client.compact(client.get("stays").header.revision, physical=True)
        before = picture(client)
    member.stop()
    path = tmp_path / "data" / "member" / "snap" / "db"
    size = path.stat().st_size
    told = utl("defrag", "--data-dir", tmp_path / "data")
    assert (told.code, told.out) == (0, "")
    assert path.stat().st_size < size / 10
    looks, _ = seen(member)
    assert looks == before


def test_rows_go_to_the_rules_of_another_release_a_minor_at_a_time(data_dir: Path) -> None:
    path = data_dir / "member" / "snap" / "db"
    assert status(path)["version"] == "3.7.0"
    told = utl("migrate", "--data-dir", data_dir, "--target-version=3.5", "--force")
    steps = [json.loads(line) for line in told.err.splitlines()]
    assert [(it["msg"], it["new-storage-version"]) for it in steps] == [
        ("updated storage version", "3.6.0"),
        ("updated storage version", "3.5.0"),
    ]
    assert status(path)["version"] == "3.5.0"
    assert "storage version up-to-date" in utl("migrate", "--data-dir", data_dir, "--target-version=3.5").err
    assert utl("migrate", "--data-dir", data_dir, "--target-version=3.7").code == 0
    assert status(path)["version"] == "3.7.0"


def test_rows_do_not_go_below_what_the_log_still_holds(tmp_path: Path, running: list[MemberProcess]) -> None:
    member = MemberProcess(tmp_path / "data", name="m1")
    running.append(member)
    member.start()
    with Client(member.endpoint) as client:
        client.put("a", "b")
    member.stop()
    told = utl("migrate", "--data-dir", tmp_path / "data", "--target-version=3.6")
    assert told.code == 1 and "cannot downgrade storage, WAL contains newer entries" in told.error
    assert status(tmp_path / "data" / "member" / "snap" / "db")["version"] == "3.7.0"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--target-version=3.4"], 128, 'target version "3.4" not supported. Minimal "3.5"'),
        (["--target-version=3.8"], 128, 'target version "3.8" not supported. Maximal "3.7"'),
        (["--target-version=foo"], 128, 'wrong target version format, expected "X.Y", got "foo"'),
        ([], 1, 'required flag(s) "target-version" not set'),
    ],
)
def test_targets_that_there_are_not(words: list[str], code: int, text: str, data_dir: Path) -> None:
    told = utl("migrate", "--data-dir", data_dir, *words)
    assert (told.code, told.error) == (code, text)


def test_a_copy_is_of_another_cluster_and_holds_everything(
    ours: Saved, tmp_path: Path, running: list[MemberProcess]
) -> None:
    done("backup", "--data-dir", ours.member.data_dir, "--backup-dir", tmp_path / "copy")
    member = MemberProcess(tmp_path / "copy", name="m1", flags=["--force-new-cluster"])
    running.append(member)
    looks, members = seen(member)
    assert looks == ours.picture
    assert len(members) == 1 and members[0][0] != ours.members[0][0]
    member.stop()
    member.flags = []
    again, same = seen(member)
    assert (again, same) == (looks, members)


def test_a_copy_that_is_started_without_the_flag_does_not_take_part_in_anything(
    ours: Saved, tmp_path: Path, running: list[MemberProcess]
) -> None:
    done(
        *("backup", "--data-dir", ours.member.data_dir, "--backup-dir", tmp_path / "copy"),
        *("--backup-wal-dir", tmp_path / "log"),
    )
    assert names(tmp_path / "log") == ["0000000000000000-0000000000000000.wal"]
    member = MemberProcess(tmp_path / "copy", name="m1", flags=[f"--wal-dir={tmp_path / 'log'}"])
    running.append(member)
    member.spawn()
    with pytest.raises(Exception, match="does not serve after"):
        member.wait_ready(4.0)
    assert "became leader" not in member.log()


@pytest.mark.parametrize("command", ["export", "backup"])
def test_a_member_that_was_killed_is_taken_with_all_it_has_acknowledged(
    command: str, tmp_path: Path, running: list[MemberProcess], seed: int
) -> None:
    """The last rows are in the log alone."""
    member, before, _ = worked(tmp_path / "data", "quorate", seed)
    running.append(member)
    member.kill()
    if command == "backup":
        done("backup", "--data-dir", member.data_dir, "--backup-dir", tmp_path / "new")
        flags = ["--force-new-cluster"]
    else:
        done("export", member.data_dir, "--data-dir", tmp_path / "etcd", "--target-version=3.7")
        done("import", tmp_path / "etcd", "--data-dir", tmp_path / "new")
        flags = []
    again = MemberProcess(tmp_path / "new", name="m1", flags=flags, client_port=member.client_port)
    running.append(again)
    again.start()
    with Client(again.endpoint) as client:
        assert picture(client) == before
        assert len(members_of(client)) == 1
