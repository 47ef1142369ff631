"""Defragmentation as the server runs it: one at a time, shared by all who ask, ended with the member."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from server_support import StartServer

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as rpc
from quorate.server import Server
from quorate.storage.backend import DefragmentError, defrag, twin


async def fill(server: Server, rows: int = 300) -> None:
    for _ in range(2):
        await asyncio.gather(
            *(server.propose("put", rpc.PutRequest(key=b"k%d" % n, value=bytes(5000))) for n in range(rows))
        )
    await server.committed()  # or the old rows are forgotten before the file has ever held them
    await server.compact(rpc.CompactionRequest(revision=server.store.revision, physical=True))
    await server.committed()  # the size of the file is that of all of it


async def test_all_who_ask_meanwhile_share_one_run_and_one_who_goes_does_not_end_it(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    real = twin.Twin.begin
    monkeypatch.setattr(twin.Twin, "begin", lambda self, size: (begun.append(size), real(self, size))[1])
    server = await start_server()
    await fill(server)
    before = server.backend.size()
    asking = [asyncio.ensure_future(server.defragmenter.defragment()) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert await asyncio.gather(*asking[1:]) == [None, None]
    assert len(begun) == 1
    assert server.backend.size() < before
    await server.defragmenter.defragment()
    assert len(begun) == 2


async def test_writes_compactions_and_hashes_go_on_meanwhile(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defrag, "BITE_ROWS", 5)
    monkeypatch.setattr(defrag, "ROWS_PER_SECOND", 0)
    server = await start_server()
    await fill(server)
    asking = asyncio.ensure_future(server.defragmenter.defragment())
    done = 0
    while not asking.done():
        done += 1
        await server.propose("put", rpc.PutRequest(key=b"during", value=b"%d" % done))
        if done % 10 == 0:
            await server.compact(rpc.CompactionRequest(revision=server.store.revision, physical=True))
            await server.hash()
    await asking
    assert done >= 10
    revision, found = server.store.revision, (await server.hash_kv(0)).hash
    server = await start_server()
    assert server.store.revision == revision
    assert (await server.hash_kv(0)).hash == found
    assert server.store.range(b"during").count == 1


async def test_a_failed_run_is_told_to_all_who_asked_and_the_next_one_may_succeed(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    with monkeypatch.context() as full:
        full.setattr(twin, "SPARE_BYTES", 1 << 60)
        told = await asyncio.gather(*(server.defragmenter.defragment() for _ in range(2)), return_exceptions=True)
        assert [type(error) for error in told] == [DefragmentError] * 2
    await server.defragmenter.defragment()
    await server.propose("put", rpc.PutRequest(key=b"k"))


async def test_a_member_that_stops_ends_its_run_and_starts_again(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defrag, "BITE_ROWS", 5)
    monkeypatch.setattr(defrag, "ROWS_PER_SECOND", 0)
    server = await start_server()
    await fill(server)
    asking = asyncio.ensure_future(server.defragmenter.defragment())
    while not (tmp_path / "data/member/snap/db.tmp").exists():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await server.stop()
    with pytest.raises(errors.Stopped):
        await asking
    assert "db.tmp" not in os.listdir(tmp_path / "data/member/snap")
    server = await start_server()
    assert server.store.range(b"k", b"l").count == 300
