"""Data directories cross over: what etcd left, Quorate goes on from, and the other way round."""

from __future__ import annotations

import random
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from utl_support import (
    TINY_SNAPSHOTS,
    Saved,
    command_of,
    done,
    members_of,
    names,
    picture,
    seen,
    twin,
    utl,
    work,
    worked,
)

from quorate.api.errors import EtcdError
from quorate.api.raftpb import ConfChange, ConfChangeType, Entry, EntryType, HardState, encode_conf_change
from quorate.client.sync import Client
from quorate.membership import Member, conf_change_context
from quorate.storage import wal
from quorate.storage.files import OS_FILES
from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE, MemberProcess

pytestmark = pytest.mark.real


def test_there_and_back_a_member_stays_who_it_is_with_all_it_has(
    tmp_path: Path, running: list[MemberProcess], seed: int
) -> None:
    member, before, members = worked(tmp_path / "etcd", "etcd", seed)
    running.append(member)
    member.stop()
    untouched = (tmp_path / "etcd" / "member" / "snap" / "db").read_bytes()
    done("import", tmp_path / "etcd", "--data-dir", tmp_path / "quorate")
    assert (tmp_path / "etcd" / "member" / "snap" / "db").read_bytes() == untouched

    quorate = twin(member, "quorate", tmp_path / "quorate")
    running.append(quorate)
    looks, same = seen(quorate)
    assert (looks, same) == (before, members)
    with Client(quorate.endpoint) as client:
        client.put("from", "quorate")
        before = picture(client)
    quorate.stop()

    done("export", tmp_path / "quorate", "--data-dir", tmp_path / "back", "--target-version=3.5")
    etcd = twin(member, "etcd", tmp_path / "back")
    running.append(etcd)
    looks, same = seen(etcd)
    assert (looks, same) == (before, members)
    with Client(etcd.endpoint) as client:
        assert client.put("from", "etcd").header.revision == looks.revision + 1


@pytest.mark.parametrize("kind", ["etcd", "quorate"])
def test_after_a_kill_in_the_middle_of_writes_both_start_with_the_same(
    kind: str, tmp_path: Path, running: list[MemberProcess], seed: int
) -> None:
    """Whatever the kill left, the other program makes of it what the one that was killed makes of it."""
    member, _, _ = worked(
        tmp_path / "killed", kind, seed, "--hold-version=3.5" if kind == "quorate" else "--logger=zap"
    )
    running.append(member)
    writes = threading.Thread(target=write_until_it_ends, args=(member.endpoint, seed))
    writes.start()
    with Client(member.endpoint) as client:
        first = client.get("n").header.revision
        while client.get("n").header.revision < first + 200:
            pass
    member.kill()
    writes.join()
    shutil.copytree(member.data_dir, tmp_path / "copy")

    other = "quorate" if kind == "etcd" else "etcd"
    done("import" if kind == "etcd" else "export", tmp_path / "killed", "--data-dir", tmp_path / "crossed")
    pictures = []
    for name, who in (("copy", kind), ("crossed", other)):
        again = twin(member, who, tmp_path / name)
        again.flags = [*TINY_SNAPSHOTS, "--hold-version=3.5"] if who == "quorate" else [*TINY_SNAPSHOTS]
        running.append(again)
        pictures.append(seen(again))
        again.stop()
    assert pictures[0] == pictures[1]


def test_a_cluster_that_has_changed_is_taken_over_as_it_is(
    tmp_path: Path, running: list[MemberProcess], seed: int
) -> None:
    """One member removed, a learner added that never started; one of the rest killed, one stopped."""
    flags = [*TINY_SNAPSHOTS, "--strict-reconfig-check=false"]
    cluster = Cluster(tmp_path, [command_of("etcd")] * 3, flags=flags)
    running += cluster.members
    try:
        cluster.start()
        with Client([member.endpoint for member in cluster.members]) as client:
            work(client, random.Random(seed))
            leader = client.maintenance.status().leader
            gone = next(it for it in client.cluster.members().members if it.id != leader)
            rest = [member for member in cluster.members if member.name != gone.name]
        with Client([member.endpoint for member in rest]) as client:
            client.cluster.remove(gone.id)
            client.cluster.add(["http://127.0.0.1:1"], learner=True)
            for number in range(30):
                client.put("more", str(number))
            before, members = picture(client), members_of(client)
        rest[0].kill()
        rest[1].stop()
        for member in rest:
            done("import", member.data_dir, "--data-dir", f"{member.data_dir}-q")
            member.data_dir = Path(f"{member.data_dir}-q")
            member.command = QUORATE
            member.spawn()
        for member in rest:
            member.wait_ready()
        with Client([member.endpoint for member in rest]) as client:
            after, same = picture(client), members_of(client)
            assert (after, sorted(same)) == (before, sorted(members))
            client.put("goes", "on")
            before, members = picture(client), members_of(client)
        for member in rest:
            member.stop()
        for member in rest:
            done("export", member.data_dir, "--data-dir", f"{member.data_dir}-e", "--target-version=3.5")
            member.data_dir = Path(f"{member.data_dir}-e")
            member.command = command_of("etcd")
            member.spawn()
        for member in rest:
            member.wait_ready()
        with Client([member.endpoint for member in rest]) as client:
            after, same = picture(client), members_of(client)
            assert (after, sorted(same)) == (before, sorted(members))
    finally:
        cluster.close()


def test_one_member_of_a_cluster_is_taken_over_while_the_others_go_on_as_etcd(
    tmp_path: Path, running: list[MemberProcess], seed: int
) -> None:
    cluster = Cluster(tmp_path, [command_of("etcd")] * 3, flags=[*TINY_SNAPSHOTS])
    running += cluster.members
    try:
        cluster.start()
        first = cluster.members[0]
        with Client([member.endpoint for member in cluster.members]) as client:
            work(client, random.Random(seed))
            first.stop()
            for number in range(10):
                client.put("meanwhile", str(number))
            done("import", first.data_dir, "--data-dir", f"{first.data_dir}-q")
            first.data_dir = Path(f"{first.data_dir}-q")
            first.command = QUORATE
            first.start()
            with Client(first.endpoint) as own:
                own.get("meanwhile")
                assert picture(own) == picture(client)
                own.put("by", "quorate")
                assert picture(own) == picture(client)
    finally:
        cluster.close()


def test_entries_that_nobody_has_confirmed_are_promised_still(real: Saved, tmp_path: Path) -> None:
    """Term, vote and an uncommitted tail are taken over, so that the cluster loses nothing."""
    source = tmp_path / "etcd"
    shutil.copytree(real.member.data_dir, source)
    path = str(source / "member" / "wal")
    start = wal.newest_snapshot(OS_FILES, path, 2**63)
    assert start is not None and start.index > 0
    opened, contents = wal.WAL.open(OS_FILES, path, start)
    last = contents.entries[-1]
    tail = Entry(last.term + 1, last.index + 1, b"", EntryType.NORMAL)
    state = HardState(last.term + 4, 77, contents.hard_state.commit)
    opened.save(state, [tail])
    opened.close()
    done("import", source, "--data-dir", tmp_path / "quorate")
    taken = wal.read_only(OS_FILES, str(tmp_path / "quorate" / "member" / "wal"), start)
    assert taken.metadata == contents.metadata
    assert taken.entries == [*contents.entries, tail]
    assert taken.hard_state[:2] == state[:2] and last.index == taken.hard_state.commit


def test_a_snapshot_that_was_received_and_not_yet_in_place_is_what_counts(
    real: Saved, tmp_path: Path, running: list[MemberProcess]
) -> None:
    source = tmp_path / "etcd"
    shutil.copytree(real.member.data_dir, source)
    snap = source / "member" / "snap"
    newest = wal.newest_snapshot(OS_FILES, str(source / "member" / "wal"), 2**63)
    assert newest is not None
    (snap / "db").rename(snap / f"{newest.index:016x}.snap.db")
    fresh = MemberProcess(tmp_path / "fresh", command=command_of("etcd"), name="x")
    running.append(fresh)
    fresh.start()
    fresh.stop()
    shutil.copy(tmp_path / "fresh" / "member" / "snap" / "db", snap / "db")
    done("import", source, "--data-dir", tmp_path / "quorate")
    member = twin(real.member, "quorate", tmp_path / "quorate")
    running.append(member)
    looks, members = seen(member)
    assert (looks, members) == (real.picture, real.members)


def test_a_change_of_members_in_the_log_counts_where_the_database_does_not_know_it(
    real: Saved, tmp_path: Path, running: list[MemberProcess]
) -> None:
    """etcd commits its rows some time after its log: what was confirmed last is in the log alone."""
    source = tmp_path / "etcd"
    shutil.copytree(real.member.data_dir, source)
    path = str(source / "member" / "wal")
    start = wal.newest_snapshot(OS_FILES, path, 2**63)
    assert start is not None
    opened, contents = wal.WAL.open(OS_FILES, path, start)
    last = contents.entries[-1]
    added = Member(0xABC, ("http://127.0.0.1:1",), True)
    change = ConfChange(ConfChangeType.ADD_LEARNER_NODE, added.id, conf_change_context(added))
    entry = Entry(last.term, last.index + 1, encode_conf_change(change), EntryType.CONF_CHANGE)
    opened.save(contents.hard_state._replace(commit=entry.index), [entry])
    opened.close()
    done("import", source, "--data-dir", tmp_path / "quorate")
    member = twin(real.member, "quorate", tmp_path / "quorate")
    running.append(member)
    looks, members = seen(member)
    assert looks == real.picture
    assert (0xABC, "", ["http://127.0.0.1:1"], True) in members and len(members) == 2


def test_neither_tool_takes_the_directory_of_a_member_that_runs(
    tmp_path: Path, running: list[MemberProcess], seed: int
) -> None:
    for kind, command in (("etcd", "import"), ("quorate", "export")):
        member, _, _ = worked(tmp_path / kind, kind, seed)
        running.append(member)
        told = utl(command, member.data_dir, "--data-dir", tmp_path / "new", "--timeout=200ms")
        assert told.code == 1 and "is in use by another process" in told.error
        assert not [name for name in names(tmp_path) if name.startswith("new")]
        assert member.alive()


def write_until_it_ends(endpoint: str, seed: int) -> None:
    dice = random.Random(seed)
    with Client(endpoint, timeout=2.0) as client, suppress(EtcdError, OSError):
        for number in range(100_000):
            client.put(b"n", b"%d" % number)
            if number % 10 == 0:
                client.grant(600 + number, 5_000_000_000 + dice.randrange(10**9))
