"""A member inside this process, served over real sockets."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from quorate.api.pb import rpc_pb2 as rpc
from quorate.embed import Config, Etcd
from quorate.testing.process import free_port
from quorate.transport.grpc import Channel, Status
from quorate.v3rpc import watch


def config(path: Path, **settings: object) -> Config:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    return Config(
        name="m",
        data_dir=str(path / "data"),
        listen_client_urls=[client],
        advertise_client_urls=[client],
        listen_peer_urls=[peer],
        initial_advertise_peer_urls=[peer],
        **settings,  # type: ignore[arg-type]
    )


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def get_page(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def test_grpc_and_http_share_the_client_port(tmp_path: Path) -> None:
    settings = config(tmp_path)
    member = Etcd(settings)
    await member.start()
    port = port_of(settings.listen_client_urls[0])
    channel = Channel("127.0.0.1", port)
    try:
        put = rpc.PutRequest(key=b"k", value=b"v").SerializeToString()
        await channel.unary("/etcdserverpb.KV/Put", put, timeout=5)
        status, body = await get_page(port, "/health")
        assert (status, json.loads(body)) == (200, {"health": "true", "reason": ""})
        status, body = await get_page(port, "/version")
        assert json.loads(body)["etcdserver"] == json.loads(body)["storage"] == "3.7.0"
        status, body = await get_page(port, "/metrics")
        assert b"etcd_server_has_leader 1" in body
        put = b'grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"'
        assert b"grpc_server_handled_total{%b} 1" % put in body
        await channel.unary("/etcdserverpb.Maintenance/Defragment", b"", timeout=5)
        status, body = await get_page(port, "/metrics")
        assert b"etcd_disk_backend_defrag_duration_seconds_count 1" in body
        assert b'etcd_disk_backend_defrag_duration_seconds_bucket{le="409.6"} 1' in body
        assert b"etcd_disk_defrag_inflight 0" in body
        assert (await get_page(port, "/nowhere"))[0] == 404
        assert (await get_page(port_of(settings.listen_peer_urls[0]), "/version"))[0] == 200
    finally:
        await channel.close()
        await member.stop()


async def test_a_taken_port_is_found_before_any_data_is_touched(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port_of(settings.listen_client_urls[0])))
        taken.listen()
        member = Etcd(settings)
        with pytest.raises(OSError, match="bind: address already in use"):
            await member.start()
        await member.stop()
    assert not (tmp_path / "data").exists()


async def test_a_watcher_and_a_deadline_end_with_the_member(tmp_path: Path) -> None:
    settings = config(tmp_path)
    member = Etcd(settings)
    await member.start()
    channel = Channel("127.0.0.1", port_of(settings.listen_client_urls[0]))
    stream = channel.stream("/etcdserverpb.Watch/Watch")
    create = rpc.WatchCreateRequest(key=b"a", range_end=b"b", prev_kv=True)
    stream.send(rpc.WatchRequest(create_request=create).SerializeToString())
    created = rpc.WatchResponse.FromString(await stream.receive() or b"")
    assert created.created and created.watch_id == 0
    put = rpc.PutRequest(key=b"a1", value=b"v").SerializeToString()
    await channel.unary("/etcdserverpb.KV/Put", put, timeout=5)
    told = rpc.WatchResponse.FromString(await stream.receive() or b"")
    assert told.events[0].kv.key == b"a1"
    assert told.header.revision == told.events[0].kv.mod_revision
    await asyncio.wait_for(member.stop(), 10)
    with pytest.raises(Status):
        while await stream.receive() is not None:
            pass
    await channel.close()


async def test_a_client_that_reads_nothing_has_its_requests_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending: list[int] = []
    limit = 50_000
    send = watch.WatchCall._send

    def recorded(call: watch.WatchCall, **fields: Any) -> None:
        send(call, **fields)
        pending.append(call._stream.pending)

    monkeypatch.setattr(watch, "MAX_PENDING", limit)
    monkeypatch.setattr(watch.WatchCall, "_send", recorded)
    settings = config(tmp_path)
    member = Etcd(settings)
    await member.start()
    channel = Channel("127.0.0.1", port_of(settings.listen_client_urls[0]))
    stream = channel.stream("/etcdserverpb.Watch/Watch")
    empty = rpc.WatchCreateRequest(key=b"b", range_end=b"a")  # refused, with a text
    request = rpc.WatchRequest(create_request=empty).SerializeToString()
    count = 60_000
    for _ in range(count):
        stream.send(request)
    async with asyncio.timeout(20):
        while not pending or pending[-1] <= limit:  # noqa: ASYNC110 - nobody tells when a limit is reached
            await asyncio.sleep(0.005)
    for _ in range(50):
        await asyncio.sleep(0.002)
    assert len(pending) < count
    assert max(pending) < 3 * limit, "the backlog of a full socket counts all at once, but once"
    for _ in range(count):
        answer = rpc.WatchResponse.FromString(await asyncio.wait_for(stream.receive(), 10) or b"")
        assert answer.cancel_reason == "mvcc: watcher range is empty"
    stream.cancel()
    await channel.close()
    await member.stop()


async def test_ranges_are_streamed_in_chunks_at_one_revision(tmp_path: Path) -> None:
    settings = config(tmp_path, max_request_bytes=4000)
    member = Etcd(settings)
    await member.start()
    channel = Channel("127.0.0.1", port_of(settings.listen_client_urls[0]))
    for number in range(100):
        put = rpc.PutRequest(key=b"k%02d" % number, value=b"v" * 100).SerializeToString()
        await channel.unary("/etcdserverpb.KV/Put", put, timeout=5)
    for limit in (0, 5, 37):
        stream = channel.stream("/etcdserverpb.KV/RangeStream")
        stream.send(rpc.RangeRequest(key=b"k", range_end=b"l", limit=limit).SerializeToString())
        stream.half_close()
        parts = []
        while (data := await stream.receive()) is not None:
            parts.append(rpc.RangeStreamResponse.FromString(data).range_response)
        keys = [kv.key for part in parts for kv in part.kvs]
        assert keys == [b"k%02d" % number for number in range(limit or 100)]
        assert (parts[-1].count, parts[-1].header.revision, parts[-1].more) == (100, 101, bool(limit))
        assert not any(part.HasField("header") or part.count for part in parts[:-1])
        assert limit == 5 or len(parts) > 1
    await channel.close()
    await member.stop()
