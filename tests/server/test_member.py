"""A server of one member: what it acknowledges it keeps, and what it cannot keep stops it."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server_support import StartServer

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.pb.etcdserver_pb2 import Metadata
from quorate.membership import new_cluster, remove_change
from quorate.server import Server, ServerConfig, logs
from quorate.server.bootstrap import BootstrapError
from quorate.storage import files
from quorate.storage.wal import WAL, WalError
from quorate.storage.wal.record import ENTRY, SNAPSHOT, scan
from quorate.testing.process import free_port
from quorate.transport.grpc.steps import stop


async def put(server: Server, key: bytes, value: bytes = b"v", lease: int = 0) -> int:
    return (await server.propose("put", rpc.PutRequest(key=key, value=value, lease=lease))).revision


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def test_what_was_acknowledged_is_there_after_a_restart(start_server: StartServer) -> None:
    server = await start_server()
    for number in range(200):
        await put(server, b"k%d" % number, b"%d" % number)
    await server.propose("delete_range", rpc.DeleteRangeRequest(key=b"k7"))
    revision, index = server.store.revision, server.applied_index
    server = await start_server()
    assert server.store.revision == revision
    assert server.applied_index > index
    assert server.store.range(b"k", b"l").count == 199


async def test_a_restart_that_lost_the_database_applies_the_log_again(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server()
    for number in range(50):
        await put(server, b"k%d" % number)
    await server.stop()
    for file in (tmp_path / "data/member/snap").iterdir():
        file.unlink()
    server = await start_server()
    assert server.store.range(b"k", b"l").count == 50


async def test_a_database_without_its_log_is_refused(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server()
    await put(server, b"k")
    await server.stop()
    for file in (tmp_path / "data/member/wal").iterdir():
        file.unlink()
    with pytest.raises(BootstrapError, match=r"the log .* is missing"):
        await start_server()


async def test_a_crash_while_a_cluster_begins_leaves_nothing_that_does_not_start(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server()
    await server.stop()
    (segment,) = (tmp_path / "data/member/wal").iterdir()
    whole = segment.read_bytes()
    offsets = {kind: end for kind, _, _, end in scan("", whole, 0, last=True)}
    first_entry = next(end for kind, _, _, end in scan("", whole, 0, last=True) if kind == ENTRY)
    assert offsets[SNAPSHOT] < first_entry
    for torn in (offsets[SNAPSHOT], offsets[SNAPSHOT] + 20, first_entry, first_entry + 5):
        for file in (tmp_path / "data/member/snap").iterdir():
            file.unlink()
        segment.write_bytes(whole[:torn])
        server = await start_server()
        await put(server, b"k")
        assert len(server.cluster.members()) == 1
        await server.stop()
        for file in (tmp_path / "data/member/wal").glob("*.broken"):
            file.unlink()


@pytest.mark.parametrize(
    "place",
    [
        "quorate.server.bootstrap.remove_leftovers",
        "quorate.server.bootstrap.Cluster.restore",
        "quorate.server.agreement.make_node",
        "quorate.server.state.Lessor.restore",
        "quorate.server.member.Snapshots",
    ],
)
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
async def test_a_start_that_fails_lets_go_of_what_it_had_opened(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, place: str, again: bool
) -> None:
    def fail(*args: object, **settings: object) -> None:
        raise RuntimeError("no")

    before = sorted(thread.name for thread in threading.enumerate())
    if again:
        await (await start_server()).stop()
    with monkeypatch.context() as broken:
        broken.setattr(place, fail)
        with pytest.raises(RuntimeError, match="no"):
            await start_server()
    assert sorted(thread.name for thread in threading.enumerate()) == before
    await put(await start_server(), b"k")


async def test_an_old_database_below_a_compacted_log_is_refused(start_server: StartServer, tmp_path: Path) -> None:
    settings = {"snapshot_count": 10, "snapshot_catchup_entries": 5, "max_wals": 1}
    server = await start_server(**settings)
    snap = tmp_path / "data/member/snap"
    for number in range(60):
        await put(server, b"k%d" % number)
    await until(lambda: server.raft.storage.first_index() > 1)
    await server.stop()
    for file in snap.iterdir():
        file.unlink()
    # The first segment still begins at index 0, so the log alone is enough; without it nothing is.
    server = await start_server(**settings)
    assert server.store.range(b"k", b"l").count == 60


async def test_the_log_in_memory_is_cut_behind_a_snapshot(start_server: StartServer) -> None:
    server = await start_server(snapshot_count=20, snapshot_catchup_entries=5)
    for number in range(100):
        await put(server, b"k%d" % number)
    await until(lambda: server.raft.storage.snapshot().index > 60)
    assert server.raft.storage.first_index() > server.raft.storage.snapshot().index - 6
    revision = server.store.revision
    server = await start_server(snapshot_count=20, snapshot_catchup_entries=5)
    assert server.store.revision == revision
    assert server.raft.storage.first_index() > 60
    await put(server, b"after")


async def test_an_expired_lease_takes_its_keys_along(start_server: StartServer) -> None:
    server = await start_server(election_timeout=0.5)
    await server.propose("lease_grant", rpc.LeaseGrantRequest(ID=7, TTL=1))
    await put(server, b"k", lease=7)
    assert await server.leases.renew(7) == 1
    found = await server.leases.time_to_live(7)
    assert found is not None and found.keys == [b"k"]
    await until(lambda: server.store.range(b"k").count == 0)
    assert await server.leases.time_to_live(7) is None
    with pytest.raises(errors.LeaseNotFound):
        await server.leases.renew(7)


async def test_a_lease_outlives_a_restart_and_never_ends_early(start_server: StartServer) -> None:
    server = await start_server(election_timeout=0.5)
    await server.propose("lease_grant", rpc.LeaseGrantRequest(ID=7, TTL=2))
    await put(server, b"k", lease=7)
    server = await start_server(election_timeout=0.5)
    found = await server.leases.time_to_live(7)
    assert found is not None and found.ttl >= 1 and found.keys == [b"k"]


async def test_past_the_quota_writes_are_refused_until_there_is_room_again(start_server: StartServer) -> None:
    server = await start_server(quota_backend_bytes=1_000_000, backend_batch_interval=0.01)
    value = bytes(os.urandom(20_000))
    written = 0
    with pytest.raises(errors.NoSpace):
        for written in range(200):
            server.check_quota(rpc.PutRequest(key=b"k", value=value))
            await put(server, b"k%d" % written, value)
            await server.committed()
    assert written > 20
    await until(lambda: server.alarms.has(rpc.NOSPACE))
    with pytest.raises(errors.NoSpace):
        await put(server, b"small")
    await server.propose("delete_range", rpc.DeleteRangeRequest(key=b"k", range_end=b"l"))
    await server.compact(rpc.CompactionRequest(revision=server.store.revision, physical=True))
    await until(lambda: not server.alarms.has(rpc.NOSPACE))
    await put(server, b"small")


async def test_a_request_beyond_the_limit_is_refused(start_server: StartServer) -> None:
    server = await start_server(max_request_bytes=1000)
    with pytest.raises(errors.RequestTooLarge):
        await put(server, b"k", bytes(1000))
    await put(server, b"k", bytes(900))


async def test_a_physical_compaction_returns_when_the_rows_are_gone(start_server: StartServer) -> None:
    server = await start_server()
    for number in range(30):
        await put(server, b"k", b"%d" % number)
    rows = len(list(server.store.rows.scan(_key_bucket())))
    await server.compact(rpc.CompactionRequest(revision=server.store.revision, physical=True))
    assert len(list(server.store.rows.scan(_key_bucket()))) == 1 < rows
    with pytest.raises(errors.Compacted):
        await server.compact(rpc.CompactionRequest(revision=server.store.revision))


async def test_hashing_a_revision_that_is_gone_is_refused_and_nothing_else_happens(start_server: StartServer) -> None:
    server = await start_server()
    for number in range(5):
        await put(server, b"k", b"%d" % number)
    await server.compact(rpc.CompactionRequest(revision=4, physical=True))
    with pytest.raises(errors.Compacted):
        await server.hash_kv(3)
    for revision in (-1, -7):
        assert (await server.hash_kv(revision)).hash == 1084519789, "the hash of no rows"
    racing = server.store.hash_kv(5)
    server.store.compacted_revision = 6
    with pytest.raises(errors.Compacted):
        await server.jobs.submit(racing)
    await put(server, b"k")


async def test_a_removed_member_that_is_stopped_in_time_has_not_failed(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.server.peers.REMOVAL_DELAY", 0.1)
    server = await start_server()
    server.peers.reconfigured(remove_change(server.member_id))
    await server.stop()
    await asyncio.sleep(0.2)  # no event tells that nothing comes
    assert server.failures == []  # type: ignore[attr-defined]


async def test_an_entry_nobody_can_apply_stops_the_member(start_server: StartServer) -> None:
    server = await start_server()
    with pytest.raises(errors.Stopped):
        await server.propose("downgrade_version_test", rpc.DowngradeVersionTestRequest())
    assert isinstance(server.failures[0], NotImplementedError)  # type: ignore[attr-defined]


async def test_a_log_that_cannot_be_written_stops_the_member(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    await put(server, b"k", b"1")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "_fdatasync", fail)
    with pytest.raises(errors.Stopped):
        await put(server, b"k", b"2")
    assert isinstance(server.failures[0], WalError)  # type: ignore[attr-defined]
    monkeypatch.undo()
    with pytest.raises(errors.Stopped):
        await put(server, b"k", b"3")


async def test_a_log_that_fails_before_the_member_is_ready_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ServerConfig(
        name="m",
        data_dir=tmp_path,
        initial_cluster={"m": ["http://127.0.0.1:2380"]},
        advertise_client_urls=[],
        peer_urls=[],
    )
    failures: list[BaseException] = []
    server = await Server.open(config, asyncio.get_running_loop(), failures.append)

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "_fdatasync", fail)
    server.start()
    with pytest.raises(errors.Stopped):
        await asyncio.wait_for(server.ready(), 10)
    assert isinstance(failures[0], WalError)
    await server.stop()


async def test_segments_that_nobody_needs_are_purged(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "PURGE_INTERVAL", 0.02)
    server = await start_server(snapshot_count=10, snapshot_catchup_entries=5, max_wals=1, unsafe_no_fsync=True)
    for number in range(150):
        await put(server, b"k%d" % (number % 3), bytes(1_400_000))
    wal = tmp_path / "data/member/wal"
    await until(lambda: not (wal / "0000000000000000-0000000000000000.wal").exists())
    server = await start_server()
    assert server.store.revision == 151


async def test_joining_a_cluster_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    own = "http://127.0.0.1:2380"
    cluster = {"m": [own], "n": [f"http://127.0.0.1:{free_port()}"]}
    config = ServerConfig(
        name="m",
        data_dir=tmp_path / "data",
        initial_cluster=cluster,
        advertise_client_urls=[],
        peer_urls=[own],
        joining=True,
    )
    for _ in range(2):  # the first refusal leaves nothing behind that would make the second one differ
        with pytest.raises(BootstrapError, match="cannot fetch cluster info from peer urls"):
            await Server.open(config, asyncio.get_running_loop(), lambda error: None)


async def test_a_crash_before_the_first_entry_is_started_over_but_not_as_somebody_else(tmp_path: Path) -> None:
    def config(**settings: Any) -> ServerConfig:
        cluster = {"m": ["http://127.0.0.1:2380"]}
        return ServerConfig(
            name="m", data_dir=tmp_path, initial_cluster=cluster, advertise_client_urls=[], peer_urls=[], **settings
        )

    members, cluster_id = new_cluster(config().initial_cluster, config().initial_cluster_token)
    metadata = Metadata(NodeID=members[0].id, ClusterID=cluster_id).SerializeToString()
    WAL.create(files.OsFiles(), str(config().wal_path), metadata).close()
    loop = asyncio.get_running_loop()
    with pytest.raises(BootstrapError, match="another member or cluster"):
        await Server.open(config(initial_cluster_token="other"), loop, lambda error: None)
    server = await Server.open(config(), loop, lambda error: None)
    server.start()
    await asyncio.wait_for(server.ready(), 10)
    await put(server, b"k")
    await server.stop()


async def test_a_slow_disk_is_left_to_the_thread(start_server: StartServer) -> None:
    server = await start_server()
    server._writer._quick = False
    await asyncio.gather(*(put(server, b"k%d" % number) for number in range(100)))
    assert server.store.range(b"k", b"l").count == 100
    for _ in range(40):
        await put(server, b"k")
    assert server._writer._quick, "a quick disk is trusted again"


def _key_bucket():  # type: ignore[no-untyped-def]
    from quorate.storage.schema import KEY

    return KEY


async def test_a_read_that_was_stopped_leaves_no_error_that_nobody_saw(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    loop = asyncio.get_running_loop()
    barrier = loop.create_future()
    monkeypatch.setattr(server, "read_barrier", lambda: barrier)
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    reader = server.fresh()
    reader.send(None)
    stop(reader)  # as a unary call whose deadline has passed
    barrier.set_exception(errors.LeaderChanged())
    assert barrier.exception()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert not complaints


async def test_a_compaction_can_be_stopped_where_it_waits(start_server: StartServer) -> None:
    server = await start_server()
    await put(server, b"k")
    call = server.compact(rpc.CompactionRequest(revision=await put(server, b"k"), physical=True))
    call.send(None)
    call.close()  # raises RuntimeError when the call goes on waiting
