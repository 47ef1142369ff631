"""What operators ask, and snapshots."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from quorate.api import errors
from quorate.client import Client, EtcdError
from quorate.client.results import AlarmType

from client_support import Server  # isort: skip


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_the_members_are_listed(client: Client, server: Server) -> None:
    members = await client.cluster.members()
    (member,) = members
    assert len(members) == 1 and members.header.member_id == member.id and not member.is_learner
    if server.process is None:
        assert await client.sync_endpoints() == client.endpoints, "who has no URL stays where he is"
    else:
        assert (member.name, member.client_urls) == ("m0", (server.process.client_url,))
        assert await client.sync_endpoints() == [server.process.client_url] == client.endpoints
    await client.put("k")


async def test_changes_of_the_members_that_cannot_be_are_refused(client: Client) -> None:
    (member,) = await client.cluster.members()
    with pytest.raises(errors.MemberNotFound):
        await client.cluster.remove(404)
    with pytest.raises(errors.MemberNotFound):
        await client.cluster.promote(404)
    with pytest.raises(EtcdError):
        await client.cluster.add(member.peer_urls)
    updated = await client.cluster.update(member.id, member.peer_urls)
    assert [each.peer_urls for each in updated] == [member.peer_urls]


async def test_a_member_says_how_it_is(client: Client, server: Server) -> None:
    revision = (await client.put("k")).header.revision
    for endpoint in (None, client.endpoints[0]):
        status = await client.maintenance.status(endpoint)
        assert status.leader == status.header.member_id and status.header.revision == revision
        assert status.db_size >= status.db_size_in_use > 0 and status.raft_applied_index <= status.raft_index
        assert status.version.startswith("3.") and not status.errors
    with pytest.raises(ValueError, match="none of"):
        await client.maintenance.status("http://elsewhere:1")


async def test_there_is_no_alarm(client: Client) -> None:
    assert await client.maintenance.alarms() == []
    assert await client.maintenance.disarm() == []
    assert await client.maintenance.disarm(AlarmType.NOSPACE, 1) == []


async def test_the_hash_is_that_of_the_rows(client: Client) -> None:
    first = (await client.put("k", "1")).header.revision
    old = await client.maintenance.hash_kv(revision=first)
    await client.put("k", "2")
    new = await client.maintenance.hash_kv()
    assert old.hash != new.hash
    assert (await client.maintenance.hash_kv(revision=first)).hash == old.hash
    await client.maintenance.defragment()
    assert (await client.maintenance.hash_kv()).hash == new.hash


async def test_leadership_goes_to_members_only(client: Client) -> None:
    with pytest.raises(EtcdError):
        await client.maintenance.move_leader(404)


async def test_a_snapshot_is_a_file_with_its_hash(client: Client, tmp_path: Path) -> None:
    for n in range(20):
        await client.put(f"k{n}", bytes(10_000))
    told: list[tuple[int, int]] = []
    threads = set()

    def on_progress(done: int, remaining: int) -> None:
        told.append((done, remaining))
        threads.add(threading.current_thread().name)

    size = await client.snapshot(tmp_path / "db", on_progress=on_progress)
    assert size == (tmp_path / "db").stat().st_size == told[-1][0]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert "quorate-client-sync" not in threads, "the caller's thread is told, not the portal's"
    assert names(tmp_path) == ["db"]
    named = await client.snapshot(str(tmp_path / "named"), endpoint=client.endpoints[0])
    assert named == (tmp_path / "named").stat().st_size


async def test_a_snapshot_that_its_caller_breaks_off_leaves_no_file(client: Client, tmp_path: Path) -> None:
    (tmp_path / "db").write_text("old")

    def refuse(done: int, remaining: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client.snapshot(tmp_path / "db", on_progress=refuse)
    with pytest.raises(OSError, match="none"):
        await client.snapshot(tmp_path / "none" / "db")
    assert await client.maintenance.alarms() == []
    assert names(tmp_path) == ["db"]


async def test_calls_run_beside_each_other(client: Client) -> None:
    await asyncio.gather(*(client.put(f"k{n}", str(n)) for n in range(50)))
    answers = await asyncio.gather(*(client.get(f"k{n}") for n in range(50)))
    assert [answer.value for answer in answers] == [str(n).encode() for n in range(50)]
