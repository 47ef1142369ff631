"""Snapshots cross over: either tool says the same of either's file, and either's cluster goes on from it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from utl_support import Saved, command_of, done, members_of, names, picture, real_utl, seen, status, utl

from quorate.api import errors
from quorate.api.raftpb import decode_conf_change
from quorate.client.sync import Client
from quorate.storage import bbolt, schema, wal
from quorate.storage.files import OS_FILES
from quorate.storage.mvcc.revision import parse_revision, revision_bytes
from quorate.storage.mvcc.rows import encode_tombstone
from quorate.testing.process import MemberProcess


def test_what_status_and_hashkv_say_is_what_the_member_said(saved: Saved) -> None:
    looks = saved.picture
    told = status(saved.path)
    assert (told["revision"], told["totalKey"]) == (looks.revision, len(looks.keys))
    assert told["totalSize"] == saved.path.stat().st_size - 32
    hashed = json.loads(done("hashkv", saved.path, "-w", "json"))
    assert (hashed["hash"], hashed["compactRevision"]) == looks.hash
    assert hashed["hashRevision"] == looks.revision


@pytest.mark.real
def test_real_etcdutl_says_the_same_of_a_snapshot(saved: Saved) -> None:
    theirs = json.loads(real_utl("snapshot", "status", saved.path, "-w", "json").out)
    told = status(saved.path)
    assert [told[name] for name in ("hash", "revision", "totalSize")] == [
        theirs[name] for name in ("hash", "revision", "totalSize")
    ]


@pytest.mark.real
def test_hash_size_and_revision_are_printed_as_real_etcdutl_prints_them(saved: Saved) -> None:
    ours = done("snapshot", "status", saved.path).split(", ")
    theirs = real_utl("snapshot", "status", saved.path).out.strip().split(", ")
    assert [ours[0], ours[1], ours[3]] == [theirs[0], theirs[1], theirs[3]]


def test_reading_a_snapshot_does_not_change_it(saved: Saved) -> None:
    before = saved.path.read_bytes()
    done("hashkv", saved.path)
    done("snapshot", "status", saved.path)
    assert saved.path.read_bytes() == before


def test_a_member_restored_goes_on_with_everything_but_its_members(
    saved: Saved, tmp_path: Path, running: list[MemberProcess]
) -> None:
    member = MemberProcess(tmp_path / "new", name="n1")
    running.append(member)
    restore(saved.path, member, f"n1={member.peer_url}")
    assert names(tmp_path) == ["new", *(f"new/{name}" for name in made(member))]
    looks, members = seen(member)
    assert looks == saved.picture
    assert [it[1:] for it in members] == [("n1", [member.peer_url], False)]
    assert {it[0] for it in members}.isdisjoint(it[0] for it in saved.members)
    with Client(member.endpoint) as client:
        assert client.put("more", "x").header.revision == looks.revision + 1
    member.kill()
    looks, _ = seen(member)
    assert looks.revision == saved.picture.revision + 1


@pytest.mark.real
def test_the_log_of_a_restored_member_says_what_real_etcdutl_writes(saved: Saved, tmp_path: Path) -> None:
    words = [
        *("snapshot", "restore", saved.path, "--name=b", "--initial-cluster-token=tok"),
        "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2,b=http://127.0.0.1:3,c=http://127.0.0.1:4",
        "--initial-advertise-peer-urls=http://127.0.0.1:3,http://127.0.0.1:2",
    ]
    done(*words, "--data-dir", tmp_path / "ours")
    assert real_utl(*words, "--data-dir", tmp_path / "theirs").code == 0
    assert log_of(tmp_path / "ours") == log_of(tmp_path / "theirs")


def log_of(data_dir: Path) -> Any:
    """What a log says, however its fields were written."""
    path = str(data_dir / "member" / "wal")
    metadata, state, entries = wal.read_only(OS_FILES, path, wal.WalSnapshot())
    changes = [(entry[:2], decode_conf_change(entry.data)) for entry in entries]
    return metadata, state, changes, wal.valid_snapshots(OS_FILES, path)


@pytest.mark.real
@pytest.mark.parametrize("kinds", [("quorate",) * 3, ("quorate", "etcd", "quorate")])
def test_a_cluster_is_restored_member_by_member_by_either_tool(
    kinds: tuple[str, ...], saved: Saved, tmp_path: Path, running: list[MemberProcess], seed: int
) -> None:
    flags = ["--initial-cluster-token=again"]
    members = [
        MemberProcess(tmp_path / f"n{number}", command=command_of(kind), name=f"n{number}", flags=flags)
        for number, kind in enumerate(kinds)
    ]
    running += members
    cluster = ",".join(f"{member.name}={member.peer_url}" for member in members)
    for kind, member in zip(kinds, members, strict=True):
        restore(saved.path, member, cluster, "--initial-cluster-token=again", kind=kind)
        member.flags.append(f"--initial-cluster={cluster}")
        member.spawn()
    for member in members:
        member.wait_ready()
    with Client([member.endpoint for member in members]) as client:
        assert picture(client) == saved.picture
        assert [it[1] for it in sorted(members_of(client), key=lambda it: it[1])] == ["n0", "n1", "n2"]
        dice = random.Random(seed)
        for number in range(20):
            client.put(b"after%d" % number, dice.randbytes(20))
        client.get("after19")
    hashes = set()
    for member in members:
        with Client(member.endpoint) as client:
            client.get("after19")
            hashed = client.maintenance.hash_kv()
            hashes.add((hashed.hash, hashed.header.revision, hashed.compact_revision))
    assert len(hashes) == 1


def test_a_raised_revision_is_never_seen_with_another_content(
    ours: Saved, tmp_path: Path, running: list[MemberProcess]
) -> None:
    member = MemberProcess(tmp_path / "new", name="n1")
    running.append(member)
    restore(ours.path, member, f"n1={member.peer_url}", "--bump-revision=1000000", "--mark-compacted")
    looks, _ = seen(member)
    assert looks.revision == ours.picture.revision + 1_000_000
    assert (looks.keys, looks.leases, looks.users) == ours.picture[1:2] + ours.picture[3:5]
    with Client(member.endpoint) as client:
        with pytest.raises(errors.Compacted):
            client.get("t1", revision=ours.picture.revision)
        assert client.put("t1", "x").header.revision == looks.revision + 1


@pytest.mark.real
@pytest.mark.parametrize("last_is_deleted", [False, True])
def test_a_raised_revision_is_the_same_to_an_etcd_before_and_after_a_compaction(
    last_is_deleted: bool, ours: Saved, tmp_path: Path, running: list[MemberProcess]
) -> None:
    snapshot = ours.path if not last_is_deleted else with_a_deletion(ours.path, tmp_path / "deleted.db")
    bump = ("--bump-revision=500", "--mark-compacted", "--skip-hash-check")
    seen_by = []
    for kind in ("quorate", "etcd"):
        member = MemberProcess(tmp_path / kind, command=command_of(kind), name="n1")
        running.append(member)
        restore(snapshot, member, f"n1={member.peer_url}", *bump)
        if kind == "etcd":
            member.data_dir = tmp_path / "exported"
            done("export", tmp_path / kind, "--data-dir", member.data_dir, "--target-version=3.5")
        looks, _ = seen(member)
        with Client(member.endpoint) as client:
            client.put("k", "v")
            client.compact(client.delete("k").header.revision, physical=True)
            seen_by.append((looks, picture(client)))
    assert seen_by[0] == seen_by[1]
    assert seen_by[0][0].revision == ours.picture.revision + 500 + last_is_deleted


def with_a_deletion(path: Path, new: Path) -> Path:
    """A snapshot, without a hash, whose newest row says that a key was deleted."""
    reader = bbolt.Reader.open(path)
    rows = schema.Draft(schema.BboltSource(reader))
    newest = max(place for place, _ in rows.scan(schema.KEY))
    rows.put(schema.KEY, revision_bytes(parse_revision(newest)[0] + 1, 0, True), encode_tombstone(b"t1"))
    for _ in bbolt.write(new, ((bucket.name, rows.scan(bucket)) for bucket in schema.BUCKETS)):
        pass
    reader.close()
    return new


def test_a_plain_copy_of_a_database_is_restored_when_no_hash_is_asked_for(saved: Saved, tmp_path: Path) -> None:
    plain = tmp_path / "plain.db"
    plain.write_bytes(saved.path.read_bytes()[:-32])
    done("snapshot", "restore", plain, "--data-dir", tmp_path / "new", "--skip-hash-check")
    hashed = json.loads(done("hashkv", tmp_path / "new" / "member" / "snap" / "db", "-w", "json"))
    assert (hashed["hash"], hashed["compactRevision"]) == saved.picture.hash


def test_a_copy_of_a_stopped_member_s_database_is_restored(ours: Saved, tmp_path: Path) -> None:
    copied = tmp_path / "copied.db"
    copied.write_bytes((ours.member.data_dir / "member" / "snap" / "db").read_bytes())
    assert "missing hash" in utl("snapshot", "restore", copied, "--data-dir", tmp_path / "new").error
    done("snapshot", "restore", copied, "--data-dir", tmp_path / "new", "--skip-hash-check")
    hashed = json.loads(done("hashkv", tmp_path / "new" / "member" / "snap" / "db", "-w", "json"))
    assert (hashed["hash"], hashed["compactRevision"]) == ours.picture.hash


def test_an_empty_directory_is_filled_and_the_log_may_lie_elsewhere(ours: Saved, tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    done("snapshot", "restore", ours.path, "--data-dir", tmp_path / "mounted", "--wal-dir", tmp_path / "log")
    assert names(tmp_path) == [
        "log",
        "log/0000000000000000-0000000000000000.wal",
        *("mounted", "mounted/member", "mounted/member/snap", "mounted/member/snap/db"),
    ]


def test_nobody_but_the_owner_may_read_what_is_restored(ours: Saved, tmp_path: Path) -> None:
    done("snapshot", "restore", ours.path, "--data-dir", tmp_path / "new")
    for path in (tmp_path / "new", *(tmp_path / "new").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def restore(path: Path, member: MemberProcess, cluster: str, *more: str, kind: str = "quorate") -> None:
    words = [
        *("snapshot", "restore", path, "--data-dir", member.data_dir, "--name", member.name),
        *("--initial-cluster", cluster, "--initial-advertise-peer-urls", member.peer_url, *more),
    ]
    if kind == "quorate":
        done(*words)
    else:
        assert real_utl(*words).code == 0


def made(member: MemberProcess) -> list[str]:
    return ["member", "member/snap", "member/snap/db", "member/wal", "member/wal/0000000000000000-0000000000000000.wal"]
