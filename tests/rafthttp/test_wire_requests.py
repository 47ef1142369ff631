"""Requests under /raft, right and wrong: statuses, texts and headers, and the order in which they are checked."""

from __future__ import annotations

import datetime
import struct
import time
from collections.abc import AsyncIterator

import pytest
from wires_support import CLUSTER, Wires, append, response, running, until

from quorate.api.raftpb import ConfState, Entry, Message, MessageType, Snapshot, encode_message
from quorate.rafthttp import probing
from quorate.rafthttp.limits import REMOTES_LIMIT, SNAPSHOT_MESSAGE_LIMIT
from quorate.transport.http1_client import HttpClient, HttpReply
from quorate.transport.web import find_header

HEADERS = {
    "X-Server-From": "2",
    "X-Server-Version": "3.5.1",
    "X-Min-Cluster-Version": "3.0.0",
    "X-Etcd-Cluster-ID": f"{CLUSTER:x}",
    "X-PeerURLs": "http://127.0.0.1:1",
}


@pytest.fixture
async def one() -> AsyncIterator[Wires]:
    member = Wires(1)
    async with running(member):
        yield member


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient(connect_timeout=1.0)
    yield client
    await client.close()


async def ask(
    client: HttpClient, one: Wires, method: str, path: str, body: bytes = b"", **changes: str | None
) -> HttpReply:
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    fields = [(name, value) for name, value in headers.items() if value is not None]
    return await client.request(method, one.url + path, headers=fields, body=body, timeout=3.0)


async def test_a_posted_message_is_heard(one: Wires, client: HttpClient) -> None:
    two = Wires(2)
    message = append(one, two, 4, 3)
    reply = await ask(client, one, "POST", "/raft", encode_message(message))
    assert reply.status == 204 and find_header(reply.headers, "x-etcd-cluster-id") == f"{CLUSTER:x}"
    assert one.host.messages == [message]


@pytest.mark.parametrize(
    ("method", "path", "changes", "status", "text"),
    [
        ("GET", "/raft", {}, 405, "Method Not Allowed"),
        ("POST", "/raft/stream/msgapp/2", {}, 405, "Method Not Allowed"),
        ("GET", "/raft/snapshot", {}, 405, "Method Not Allowed"),
        ("POST", "/raft", {"X_Server_Version": None}, 412, "incompatible version"),
        ("POST", "/raft", {"X_Server_Version": "2.3.8"}, 412, "incompatible version"),
        ("POST", "/raft", {"X_Server_Version": "three"}, 412, "incompatible version"),
        ("POST", "/raft", {"X_Min_Cluster_Version": "3.8.0"}, 412, "incompatible version"),
        ("POST", "/raft", {"X_Etcd_Cluster_ID": "77"}, 412, "cluster ID mismatch"),
        ("POST", "/raft", {"X_Etcd_Cluster_ID": None}, 412, "cluster ID mismatch"),
        ("POST", "/raft/snapshot", {"X_Etcd_Cluster_ID": "77"}, 412, "cluster ID mismatch"),
        ("GET", "/raft/stream/x/2", {"X_Etcd_Cluster_ID": "", "X_Server_Version": "2"}, 412, "incompatible version"),
        ("GET", "/raft/stream/nothing/2", {"X_Raft_To": "9"}, 404, "invalid path"),
        ("GET", "/raft/stream/2", {"X_Raft_To": "9"}, 404, "invalid path"),
        ("GET", "/raft/stream/msgapp/xyz", {"X_Raft_To": "9"}, 404, "invalid from"),
        ("GET", "/raft/stream/message/7", {"X_Raft_To": "9"}, 410, "removed member"),
        ("GET", "/raft/stream/message/8", {"X_Raft_To": "9"}, 404, "error sender not found"),
        ("GET", "/raft/stream/message/2", {"X_Raft_To": "9"}, 412, "to field mismatch"),
        ("GET", "/raft/stream/msgapp/2", {}, 412, "to field mismatch"),
        ("GET", "/raft/other", {}, 404, "404 page not found"),
    ],
)  # fmt: skip
async def test_refusals(
    one: Wires, client: HttpClient, method: str, path: str, changes: dict[str, str | None], status: int, text: str
) -> None:
    one.host.removed_ids.add(7)
    one.transport.add_peer(2, ["http://127.0.0.1:1"])
    reply = await ask(client, one, method, path, **changes)
    assert (reply.status, reply.body) == (status, text.encode() + b"\n")
    if status == 405:
        assert find_header(reply.headers, "allow") == ("GET" if "stream" in path else "POST")
    if "stream" in path and status != 405:
        assert find_header(reply.headers, "x-server-version") == "3.7.0"


async def test_bodies_that_are_no_message_for_this_member(one: Wires, client: HttpClient) -> None:
    reply = await ask(client, one, "POST", "/raft", b"\xff\xff")
    assert (reply.status, reply.body) == (400, b"error unmarshalling raft message\n")
    stray = response(one, Wires(2), 1)
    stray.to = 99
    removed = response(one, Wires(7), 1)
    one.host.removed_ids.add(7)
    bare = Message(MessageType.SNAP, to=1, from_=2, snapshot=Snapshot(5, 1))
    for message in (stray, removed, bare):
        reply = await ask(client, one, "POST", "/raft", encode_message(message))
        assert (reply.status, reply.body) == (500, b"error processing raft message\n")
        assert find_header(reply.headers, "connection") == "close"
    assert one.host.messages == []


@pytest.mark.parametrize(
    "message",
    [
        Message(MessageType.HEARTBEAT_RESP, 1, 0, 3),
        Message(MessageType.PRE_VOTE, 1, 2, 0, 1, 9),
        Message(MessageType.PROP, 1, 2, 3, entries=[Entry(0, 0, b"x")]),
        Message(MessageType.READ_INDEX, 1, 2, 0),
        Message(MessageType.APP, 1, 2, 3, 3, 10, [Entry(3, 12)]),
        Message(MessageType.APP, 1, 2, 3, 3, 10, [Entry(3, 11), Entry(3, 13)]),
    ],
    ids=lambda message: message.type.text,
)
async def test_what_no_member_says_is_not_heard(one: Wires, client: HttpClient, message: Message) -> None:
    reply = await ask(client, one, "POST", "/raft", encode_message(message))
    assert (reply.status, reply.body) == (500, b"error processing raft message\n")
    assert one.host.messages == []


async def test_what_members_pass_on_for_others_is_heard(one: Wires, client: HttpClient) -> None:
    said = [
        Message(MessageType.PROP, 1, 1, entries=[Entry(0, 0, b"x"), Entry(0, 0, b"y")]),
        Message(MessageType.READ_INDEX, 1, 1, entries=[Entry(0, 0, b"12345678")]),
        Message(MessageType.TRANSFER_LEADER, 1, 1, 3),
        Message(MessageType.APP, 1, 2, 3, 3, 10, [Entry(3, 11), Entry(3, 12)]),
    ]
    for message in said:
        assert (await ask(client, one, "POST", "/raft", encode_message(message))).status == 204
    assert one.host.messages == said


def snapshot(to: int = 1, sender: int = 2) -> bytes:
    message = Message(MessageType.SNAP, to=to, from_=sender, term=3, snapshot=Snapshot(10, 3, ConfState((1, 2))))
    return framed(encode_message(message))


def framed(data: bytes) -> bytes:
    return struct.pack(">Q", len(data)) + data


async def test_a_snapshot_is_answered_when_it_is_stored(one: Wires, client: HttpClient) -> None:
    reply = await ask(client, one, "POST", "/raft/snapshot", snapshot() + b"database" * 100_000)
    assert reply.status == 204
    [(message, data)] = one.host.databases
    assert message.snapshot == Snapshot(10, 3, ConfState((1, 2))) and data == b"database" * 100_000


async def test_snapshots_that_are_none(one: Wires, client: HttpClient) -> None:
    one.host.removed_ids.add(7)
    cases = [
        (b"", 400, "failed to decode raft message (unexpected EOF)"),
        (b"\x00" * 7, 400, "failed to decode raft message (unexpected EOF)"),
        (snapshot()[:-3], 400, "failed to decode raft message (unexpected EOF)"),
        (framed(encode_message(response(one, Wires(2), 1))), 400, "wrong raft message type"),
        (snapshot(to=9), 500, "failed to process raft message (cannot process message to mismatch member)"),
        (snapshot(sender=7), 500, "failed to process raft message (cannot process message from removed member)"),
    ]
    for body, status, text in cases:
        reply = await ask(client, one, "POST", "/raft/snapshot", body)
        assert (reply.status, reply.body) == (status, text.encode() + b"\n")
    assert one.host.databases == []


async def test_the_message_before_a_database_is_limited_before_it_is_read(one: Wires, client: HttpClient) -> None:
    for size in (SNAPSHOT_MESSAGE_LIMIT + 1, 10**12):
        reply = await ask(client, one, "POST", "/raft/snapshot", struct.pack(">Q", size) + b"x" * 1000)
        assert reply.status == 400
        text = f"failed to decode raft message (message of {size} bytes, the limit is {SNAPSHOT_MESSAGE_LIMIT})\n"
        assert reply.body == text.encode()


async def test_a_database_that_cannot_be_stored_is_a_500(one: Wires, client: HttpClient) -> None:
    one.host.disk_error = OSError(28, "No space left on device")
    reply = await ask(client, one, "POST", "/raft/snapshot", snapshot() + b"database")
    assert reply.status == 500
    assert reply.body == b"failed to save KV snapshot ([Errno 28] No space left on device)\n"


async def test_strangers_are_remembered_up_to_a_limit(one: Wires, client: HttpClient) -> None:
    body = encode_message(response(one, Wires(2), 1))
    for number in range(100, 100 + REMOTES_LIMIT + 5):
        await ask(client, one, "POST", "/raft", body, X_Server_From=f"{number:x}")
    for stranger in (None, "", "0", "1", "xyz"):
        await ask(client, one, "POST", "/raft", body, X_Server_From=stranger)
    assert sorted(one.transport._remotes) == list(range(100, 100 + REMOTES_LIMIT))


async def test_probes_are_answered_with_the_time(one: Wires, client: HttpClient) -> None:
    reply = await client.request("GET", one.url + "/raft/probing", timeout=3.0)
    assert reply.status == 200
    assert abs(probing.parse_answer(reply.body) - time.time()) < 2.0


def test_times_of_probes() -> None:
    moment = datetime.datetime(2026, 11, 21, 5, 44, 38, 537023, datetime.UTC).timestamp()
    real = b'{"OK":true,"Now":"2026-11-21T05:44:38.537023209Z"}\n'
    assert probing.parse_answer(real) == pytest.approx(moment, abs=1e-5)
    assert probing.answer(1795239878.5) == b'{"OK":true,"Now":"2026-11-21T05:44:38.5Z"}\n'
    assert probing.answer(1795239878) == b'{"OK":true,"Now":"2026-11-21T05:44:38Z"}\n'
    no_time = (b'{"OK":true,"Now":5}', b'{"OK":true,"Now":"0001-01-01T00:00:00"}')
    for wrong in (b"", b"[]", b"{}", b'{"OK":false,"Now":"2026-11-21T05:44:38Z"}', *no_time, b"\xff", b"[" * 60_000):
        with pytest.raises(ValueError, match=r"."):
            probing.parse_answer(wrong)


async def test_probes_warn_of_other_clocks_and_of_silence(caplog, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(probing, "PROBE_INTERVAL", 0.02)
    monkeypatch.setattr(probing, "PROBE_REPORT", 0.05)
    monkeypatch.setattr(probing, "PROBE_REPORT_ILL", 0.05)
    monkeypatch.setattr("quorate.rafthttp.transport.PROBE_INTERVAL", 0.01)
    answer = probing.answer
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        await until(lambda: one.transport.counters(2).round_trip)  # type: ignore[union-attr]
        assert "prober" not in caplog.text
        monkeypatch.setattr(probing, "answer", lambda now: answer(now + 30))
        await until(lambda: "prober found high clock drift" in caplog.text)
        two.listener.close()
        await until(lambda: "prober detected unhealthy status" in caplog.text)
