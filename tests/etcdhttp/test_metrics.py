"""What the numbers of a member mean: each goes where it should when something is done."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from gateway_support import Web, until
from metrics_support import Page

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as rpc
from quorate.embed import Etcd
from quorate.transport.grpc import Status

VERSION = (("client-api-version", "3.6"),)


class Watched:
    """A member without sockets, calls to it and its page."""

    def __init__(self, member: Etcd, page: Callable[[], bytes]) -> None:
        self.member = member
        self.channel = member.channel()
        self._page = page

    @property
    def server(self) -> Any:
        return self.member.server

    def page(self) -> Page:
        return Page(self._page().decode())

    async def call(self, path: str, request: Any, **options: Any) -> bytes:
        body = request if isinstance(request, bytes) else request.SerializeToString()
        return await self.channel.unary(f"/etcdserverpb.{path}", body, timeout=10, **options)


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    from quorate.embed import member as module

    made = []

    class Seen(module.Metrics):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(module, "Metrics", Seen)
    async with Etcd(listen=False, in_memory=True, metrics="extensive", unsafe_no_fsync=False) as member:
        watched = Watched(member, made[0].page)
        try:
            yield watched
        finally:
            await watched.channel.close()


async def test_what_is_done_to_keys_is_counted(watched: Watched) -> None:
    before = watched.page()
    assert before.of("etcd_debugging_mvcc_compact_revision") == -1
    await watched.call("KV/Put", rpc.PutRequest(key=b"abc", value=b"12345"))
    await watched.call("KV/Put", rpc.PutRequest(key=b"abd", value=b""))
    await watched.call("KV/Range", rpc.RangeRequest(key=b"abc"))
    await watched.call("KV/Range", rpc.RangeRequest(key=b"a", range_end=b"b"))
    put = rpc.RequestOp(request_put=rpc.PutRequest(key=b"t", value=b"v"))
    get = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"t"))
    await watched.call("KV/Txn", rpc.TxnRequest(success=[put]))
    await watched.call("KV/Txn", rpc.TxnRequest(success=[put, get]))
    await watched.call("KV/Txn", rpc.TxnRequest(success=[get, get]))
    await watched.call("KV/DeleteRange", rpc.DeleteRangeRequest(key=b"a", range_end=b"b"))
    after = watched.page()
    grown = {name: after.of(name) - before.of(name) for name in after.families if name in before.numbers}
    assert grown["etcd_mvcc_put_total"] == 4
    assert grown["etcd_debugging_mvcc_total_put_size_in_bytes"] == 8 + 3 + 2 + 2
    assert grown["etcd_mvcc_range_total"] == grown["etcd_debugging_mvcc_range_total"] == 2 + 1 + 2
    assert grown["etcd_mvcc_txn_total"] == 2
    assert grown["etcd_mvcc_delete_total"] == 1
    assert grown["etcd_debugging_mvcc_keys_total"] == 1
    assert grown["etcd_debugging_mvcc_current_revision"] == 5
    assert grown["etcd_server_proposals_applied_total"] == grown["etcd_server_proposals_committed_total"] == 5
    assert grown["etcd_server_proposals_pending"] == 0
    assert grown["etcd_disk_wal_write_bytes_total"] > 100
    for seconds, least in (("etcd_disk_wal_fsync_duration_seconds", 5), ("etcd_disk_wal_write_duration_seconds", 5)):
        assert after.of(f"{seconds}_count") - before.of(f"{seconds}_count") >= least
    applied = 'etcd_server_apply_duration_seconds_count{op="%s",success="true",version="v3"}'
    assert [after.of(applied % kind) for kind in ("Put", "Txn", "DeleteRange")] == [2, 2, 1]


async def test_an_entry_that_is_refused_counts_as_not_applied_well(watched: Watched) -> None:
    with pytest.raises(Status):
        await watched.call("KV/Put", rpc.PutRequest(key=b"k", lease=77))
    page = watched.page()
    assert page.of('etcd_server_apply_duration_seconds_count{op="Put",success="false",version="v3"}') == 1


async def test_compactions_hashes_and_defragmentations_are_timed(watched: Watched) -> None:
    for _ in range(3):
        await watched.call("KV/Put", rpc.PutRequest(key=b"k", value=b"v"))
    await watched.call("KV/Compact", rpc.CompactionRequest(revision=4, physical=True))
    await watched.call("Maintenance/HashKV", rpc.HashKVRequest())
    await watched.call("Maintenance/Hash", rpc.HashRequest())
    await watched.call("Maintenance/Defragment", rpc.DefragmentRequest())
    saving = watched.channel.stream("/etcdserverpb.Maintenance/Snapshot")
    saving.send(b"")
    saving.half_close()
    assert [part async for part in saving]
    page = watched.page()
    assert page.of("etcd_debugging_mvcc_compact_revision") == 4
    assert page.of("etcd_debugging_mvcc_db_compaction_keys_total") == 2
    assert page.of("etcd_debugging_mvcc_db_compaction_last") > page.of("process_start_time_seconds") - 1
    for name in (
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
        "etcd_mvcc_hash_duration_seconds",
        "etcd_mvcc_hash_rev_duration_seconds",
        "etcd_disk_backend_defrag_duration_seconds",
        "etcd_disk_backend_snapshot_duration_seconds",
    ):
        assert page.of(f"{name}_count") == 1, name
    assert page.of("etcd_disk_backend_commit_duration_seconds_count") >= 1


async def test_leases_and_watchers_are_counted(watched: Watched) -> None:
    lease = rpc.LeaseGrantResponse.FromString(await watched.call("Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=60)))
    keeping = watched.channel.stream("/etcdserverpb.Lease/LeaseKeepAlive")
    keeping.send(rpc.LeaseKeepAliveRequest(ID=lease.ID).SerializeToString())
    assert await keeping.receive()
    watching = watched.channel.stream("/etcdserverpb.Watch/Watch")
    create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"w"))
    watching.send(create.SerializeToString())
    assert await watching.receive()
    await watched.call("KV/Put", rpc.PutRequest(key=b"w"))
    assert await watching.receive()
    await watched.call("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease.ID))
    page = watched.page()
    for name in ("granted", "renewed", "revoked"):
        assert page.of(f"etcd_debugging_lease_{name}_total") == 1
    assert page.of('etcd_debugging_lease_ttl_total_bucket{le="32"}') == 0
    assert page.of('etcd_debugging_lease_ttl_total_bucket{le="64"}') == 1
    assert page.of("etcd_debugging_mvcc_watch_stream_total") == page.of("etcd_debugging_mvcc_watcher_total") == 1
    assert page.of("etcd_debugging_mvcc_events_total") == 1
    assert page.of("etcd_debugging_mvcc_slow_watcher_total") == 0
    for stream in (keeping, watching):
        stream.cancel()


async def test_calls_are_counted_by_method_status_and_version_of_the_caller(watched: Watched) -> None:
    put = rpc.PutRequest(key=b"k", value=b"v" * 100).SerializeToString()
    await watched.call("KV/Put", put, metadata=VERSION)
    await watched.call("KV/Put", put)
    with pytest.raises(Status):
        await watched.call("KV/Put", rpc.PutRequest())
    page = watched.page()
    names = 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"'
    for what, count in (("started", 3), ("msg_received", 3), ("msg_sent", 2)):
        assert page.of(f"grpc_server_{what}_total{{{names}}}") == count
    assert page.of(f'grpc_server_handled_total{{grpc_code="OK",{names}}}') == 2
    assert page.of(f'grpc_server_handled_total{{grpc_code="InvalidArgument",{names}}}') == 1
    assert page.of(f"grpc_server_handling_seconds_count{{{names}}}") == 3
    assert page.of("etcd_network_client_grpc_received_bytes_total") == 2 * len(put)
    assert page.of("etcd_network_client_grpc_sent_bytes_total") > 0
    calls = 'etcd_server_client_requests_total{client_api_version="%s",type="unary"}'
    assert [page.of(calls % version) for version in ("3.6", "unknown")] == [1, 2]


async def test_callers_that_make_up_versions_do_not_fill_the_page(watched: Watched) -> None:
    for number in range(100):
        await watched.call("Maintenance/Status", b"", metadata=(("client-api-version", f"v{number}"),))
    counts = watched.page().named("etcd_server_client_requests_total")
    assert len(counts) <= 65 and sum(counts.values()) == 100


async def test_a_proposal_whose_caller_leaves_is_a_failed_one(watched: Watched) -> None:
    watched.server.raft.stop()  # nothing is committed any more
    with pytest.raises(Status):
        await watched.channel.unary("/etcdserverpb.KV/Put", rpc.PutRequest(key=b"k").SerializeToString(), timeout=0.05)
    await until(lambda: watched.page().of("etcd_server_proposals_failed_total") == 1)
    assert watched.page().of("etcd_server_proposals_pending") == 0
    watched.server.proposals.expire(math.inf, lambda data, proposal: errors.Timeout())
    assert watched.page().of("etcd_server_proposals_failed_total") == 1, "it failed once"


async def test_a_leader_that_slept_has_sent_its_heartbeats_late(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = watched.server.heartbeats
    beats.tick(100.0)
    beats.tick(100.3)
    assert beats.late == 0, "nobody waits for the heartbeats of a member alone"
    monkeypatch.setattr(watched.server.transport, "peers", lambda: [1, 2])
    beats.tick(100.45)
    beats.tick(100.8)
    assert watched.page().of("etcd_server_heartbeat_send_failures_total") == 2
    monkeypatch.setattr(watched.server.leadership, "leader_id", 0)
    beats.tick(109.0)
    monkeypatch.setattr(watched.server.leadership, "leader_id", watched.server.member_id)
    beats.tick(110.0)
    assert beats.late == 2, "who did not lead owed none"


async def test_an_alarm_shows_while_it_is_on(watched: Watched) -> None:
    alarm = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=0xABC, alarm=rpc.NOSPACE)
    await watched.call("Maintenance/Alarm", alarm)
    assert watched.page().of('etcd_debugging_server_alarms{alarm_type="NOSPACE",server_id="abc"}') == 1


async def test_calls_are_timed_only_in_an_extensive_page_and_other_words_mean_basic() -> None:
    for word, timed in (("basic", False), ("whatever", False), ("extensive", True)):
        async with Etcd(in_memory=True, listen_metrics_urls=["http://127.0.0.1:0"], metrics=word) as member:
            page = await _get(member.config.listen_metrics_urls[0], "/metrics")
            assert ("grpc_server_handling_seconds" in Page(page[1].decode()).families) == timed


async def test_metrics_listeners_serve_what_is_watched_and_nothing_else() -> None:
    urls = ["http://127.0.0.1:0", "http://127.0.0.1:0"]
    async with Etcd(in_memory=True, listen_metrics_urls=urls, enable_pprof=True) as member:
        first, second = member.config.listen_metrics_urls
        assert first != second
        for url in (first, second):
            for path in ("/metrics", "/health", "/livez", "/readyz"):
                assert (await _get(url, path))[0] == 200, path
            for path in ("/version", "/debug/vars", "/debug/pprof/", "/v3/kv/range", "/"):
                assert await _get(url, path) == (404, b"404 page not found\n"), path


async def test_debug_vars_tell_where_raft_stands(web: Web) -> None:
    status, body = await _get(f"http://127.0.0.1:{web.port}", "/debug/vars")
    found = json.loads(body)
    server = web.member.server
    assert server is not None and status == 200
    own = f"{server.member_id:x}"
    assert set(found) == {"cmdline", "file_descriptor_limit", "memstats", "raft.status"}
    raft = found["raft.status"]
    assert raft["progress"][own].keys() == {"match", "next", "state"}
    assert raft == raft | {"id": own, "lead": own, "raftState": "StateLeader", "leadtransferee": "0"}


async def test_a_profile_path_is_there_only_if_asked_for(web: Web) -> None:
    assert (await _get(f"http://127.0.0.1:{web.port}", "/debug/pprof/"))[0] == 404


async def _get(url: str, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def test_the_page_is_read_by_the_parser_of_prometheus(watched: Watched) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    await watched.call("KV/Put", rpc.PutRequest(key=b"k"))
    text = watched._page().decode()
    found = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert len(found) > 90
    assert found["etcd_disk_wal_fsync_duration_seconds"].type == "histogram"
    assert {sample.labels.get("op") for sample in found["etcd_server_apply_duration_seconds"].samples} >= {"Put"}
