"""Settings that change how a member works, one claim each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from peer_support import until
from server_support import StartServer

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as rpc
from quorate.server import Server, agreement
from quorate.storage.backend import Backend

MEGABYTE = 1 << 20


async def fill(server: Server) -> None:
    for _ in range(2):
        for number in range(300):
            await server.propose("put", rpc.PutRequest(key=b"k%d" % number, value=bytes(5000)))
    await server.committed()
    await server.compact(rpc.CompactionRequest(revision=server.store.revision, physical=True))
    await server.committed()


async def test_a_start_defragments_when_that_frees_enough(start_server: StartServer) -> None:
    server = await start_server(bootstrap_defrag_bytes=1)
    await fill(server)
    size = server.backend.size()
    freed = size - server.backend.size_in_use()
    assert freed > MEGABYTE
    server = await start_server(bootstrap_defrag_bytes=size)
    assert server.defragmenter.seconds.buckets()[-1][1] == 0
    server = await start_server(bootstrap_defrag_bytes=MEGABYTE)
    assert server.defragmenter.seconds.buckets()[-1][1] == 1
    assert server.backend.size() < size - MEGABYTE


async def test_a_compaction_takes_batches_of_the_size_and_at_the_pace_that_was_set(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(compaction_batch_limit=7, compaction_sleep_interval=0.0123)
    for number in range(30):
        await server.propose("put", rpc.PutRequest(key=b"k%d" % (number % 3)))
    scanned: list[Any] = []
    scan = Backend.scan
    monkeypatch.setattr(Backend, "scan", lambda self, *words: (scanned.append(words[3:]), scan(self, *words))[1])
    paused: list[float] = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    class Loop:
        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        def call_later(self, seconds: float, *words: Any) -> asyncio.TimerHandle:
            paused.append(seconds)
            return call_later(seconds, *words)

    monkeypatch.setattr(server.jobs, "_loop", Loop())
    await server.compact(rpc.CompactionRequest(revision=server.store.revision, physical=True))
    assert scanned.count((7,)) == 5, "31 revisions and the last look, seven at a time"
    assert set(paused) == {0.0123}


async def test_without_lease_checkpoints_nothing_is_noted(start_server: StartServer) -> None:
    server = await start_server(lease_checkpoints=False)
    await server.propose("lease_grant", rpc.LeaseGrantRequest(ID=7, TTL=9_000_000))
    assert not server.lessor.has_due_checkpoints(asyncio.get_running_loop().time() + 8_000_000)
    server = await start_server(lease_checkpoints=True)
    await server.propose("lease_grant", rpc.LeaseGrantRequest(ID=8, TTL=9_000_000))
    assert server.lessor.has_due_checkpoints(asyncio.get_running_loop().time() + 301)


@pytest.mark.parametrize("gate", [False, True])
async def test_leases_are_revoked_while_others_are_turned_away_if_that_was_set(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, gate: bool
) -> None:
    server = await start_server(priority_requests=gate)
    await server.propose("lease_grant", rpc.LeaseGrantRequest(ID=7, TTL=60))
    monkeypatch.setattr(server.state, "applied_index", server.committed_index - 11)
    monkeypatch.setattr(agreement, "MAX_APPLY_GAP", 10)
    with pytest.raises(errors.TooManyRequests):
        server._entry_data("put", b"", server.auth.root())
    if not gate:
        with pytest.raises(errors.TooManyRequests):
            server._entry_data("lease_revoke", b"", server.auth.root())
        return
    assert server._entry_data("lease_revoke", b"", server.auth.root())
    monkeypatch.setattr(server.state, "applied_index", server.committed_index - 21)
    with pytest.raises(errors.TooManyRequests):
        server._entry_data("lease_revoke", b"", server.auth.root())


async def test_the_end_of_a_downgrade_is_looked_for_as_often_as_was_set(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(downgrade_check_time=0.05)
    assert server.versions._interval() == 4.0
    asked: list[None] = []
    monkeypatch.setattr(server.versions, "_members_run", lambda: asked.append(None) or asyncio.sleep(0, {}))
    await server.versions.enable_downgrade("3.6")
    assert server.versions._interval() == 0.05
    await until(lambda: len(asked) > 3)
