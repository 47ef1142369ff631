"""Two and more members over real sockets: which message takes which wire, and what happens when a wire goes."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wires_support import CLUSTER, Tls, Wires, append, response, running, streams_up, until

from quorate.api.raftpb import ConfState, Message, MessageType, Snapshot
from quorate.rafthttp import limits
from quorate.transport import mux
from quorate.transport.tls import ClientTls, ServerTls, TlsSettings
from quorate.transport.web import HttpRequest, HttpResponse, text_response


async def test_messages_of_both_streams_arrive_whole_and_in_order() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        sent = [append(two, one, 10 * n, 10) for n in range(50)]
        answers = [response(one, two, 10 * n) for n in range(50)]
        one.transport.send(sent)
        two.transport.send(answers)
        await until(lambda: len(two.host.messages) == 50 and len(one.host.messages) == 50)
        assert two.host.messages == sent
        assert one.host.messages == answers
        assert one.is_up(two) and two.is_up(one)


async def test_a_message_is_on_the_socket_before_send_returns() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        peer = one.transport.peer(2)
        assert peer is not None and peer._appends._body is not None
        before = peer.link.counters.sent_bytes
        one.transport.send([append(two, one, n) for n in range(20)])
        assert peer.link.counters.sent_bytes > before
        assert peer._appends._body.pending == 0
        await until(lambda: len(two.host.messages) == 20)


async def test_while_there_is_no_stream_messages_are_requests() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two, acquainted=False):
        one.knows(two)
        one.transport.send([append(two, one, 5, 3), response(two, one, 9)])
        await until(lambda: len(two.host.messages) == 2)
        assert {message.type for message in two.host.messages} == {MessageType.APP, MessageType.APP_RESP}


async def test_a_stranger_that_asks_is_answered_by_requests_until_it_is_a_peer() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two, acquainted=False):
        two.knows(one)
        two.transport.send([response(one, two, 1)])
        await until(lambda: one.host.messages)
        one.transport.send([append(two, one, 1)])
        await until(lambda: two.host.messages)
        assert not one.transport.has_peer(2)
        one.knows(two)
        await until(lambda: streams_up(two, one) and streams_up(one, two))


async def test_what_no_member_is_known_for_vanishes() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two, acquainted=False):
        one.transport.send([Message(MessageType.HEARTBEAT, from_=1), append(two, one, 1)])
        await asyncio.sleep(0)
        assert one.host.unreachable == []


async def test_a_member_that_goes_is_noticed_and_found_again_when_it_is_back() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        two.listener.close()
        await two.transport.stop()
        await until(lambda: not one.is_up(two))
        assert one.transport.active_since(2) is None
        one.transport.send([append(two, one, 7)])
        await until(lambda: 2 in one.host.unreachable)
        await two.start()
        two.knows(one)
        await until(lambda: streams_up(one, two) and streams_up(two, one) and one.is_up(two))
        one.transport.send([append(two, one, 7)])
        await until(lambda: two.host.messages)


async def test_a_member_is_asked_again_for_streams_every_tenth_of_a_second() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two, acquainted=False):
        requests: list[float] = []
        handle = two.transport.handle

        async def counted(request):  # type: ignore[no-untyped-def]
            if request.path.startswith("/raft/stream/msgapp"):
                requests.append(asyncio.get_running_loop().time())
            return await handle(request)

        two.transport.handle = counted  # type: ignore[method-assign]
        one.knows(two)
        await until(lambda: len(requests) >= 9)  # one that is held up on its way makes the gap behind it a short one
        assert (requests[8] - requests[0]) / 8 >= limits.REDIAL * 0.7, requests


async def test_the_next_url_is_tried_when_one_fails() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two, acquainted=False):
        two.knows(one)
        one.transport.add_peer(2, ["http://127.0.0.1:1", two.url])
        await until(lambda: streams_up(two, one) and one.is_up(two))


async def test_a_member_that_moves_is_followed() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two, acquainted=False):
        two.knows(one)
        one.transport.add_peer(2, ["http://127.0.0.1:1"])
        await until(lambda: streams_up(one, two))
        one.transport.update_peer(2, [two.url])
        await until(lambda: streams_up(two, one))


async def test_a_new_stream_takes_the_place_of_the_old_one() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        peer = one.transport.peer(2)
        assert peer is not None
        old = peer._appends._body
        closed = asyncio.Event()
        headers = [
            ("X-Server-From", "2"),
            ("X-Server-Version", "3.7.0"),
            ("X-Min-Cluster-Version", "3.0.0"),
            ("X-Etcd-Cluster-ID", f"{one.cluster_id:x}"),
            ("X-Raft-To", "1"),
        ]
        got = bytearray()
        stream = await two.client.stream(
            "GET", one.url + "/raft/stream/msgapp/2", headers=headers, received=got.extend,
            closed=lambda error: closed.set(), timeout=2.0,
        )  # fmt: skip
        assert stream.status == 200
        await until(lambda: peer._appends._body is not old)
        # The one it was taken from asks again, and takes its place in turn.
        async with asyncio.timeout(5):
            await closed.wait()
        await until(lambda: streams_up(one, two))
        one.transport.send([append(two, one, 3)])
        await until(lambda: two.host.messages)


async def test_silent_members_are_dropped_and_living_ones_are_not(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from quorate.rafthttp import outlet

    monkeypatch.setattr(outlet, "HEARTBEAT", 0.05)
    one, two = Wires(1, read_timeout=0.3), Wires(2, read_timeout=0.3)
    async with running(one, two):
        since = one.transport.active_since(2)
        await asyncio.sleep(0.6)
        assert one.transport.active_since(2) == since, "signs of life keep a stream up"
        monkeypatch.setattr(outlet, "HEARTBEAT", 60.0)
        await until(lambda: not one.is_up(two))


async def test_a_socket_that_takes_nothing_holds_messages_then_drops_them(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from quorate.rafthttp import outlet

    monkeypatch.setattr(outlet, "HELD_BYTES", 100_000)
    monkeypatch.setattr(outlet, "HELD_MESSAGES", 30)
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        stream = next(s for s in two.client._open if "msgapp" in repr(getattr(s, "_request", "")))
        stream.transport.pause_reading()
        sent = [append(two, one, n, size=200_000) for n in range(200)]
        for message in sent:
            one.transport.send([message])
        counters = one.transport.counters(2)
        assert counters is not None and 0 < counters.sent_failures < 200
        await until(lambda: one.host.unreachable == [2])
        # The other stream does not wait for this one.
        one.transport.send([response(two, one, 1)])
        await until(lambda: [m.type for m in two.host.messages] == [MessageType.APP_RESP])
        stream.transport.resume_reading()
        await until(lambda: len(two.host.messages) == 201 - counters.sent_failures)
        assert [m for m in two.host.messages if m.type == MessageType.APP] == sent[: 200 - counters.sent_failures]


async def test_a_turn_with_more_than_a_socket_takes_is_written_piece_by_piece(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from quorate.rafthttp import outlet

    monkeypatch.setattr(outlet, "HELD_BYTES", 1_000_000)
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        sent = [append(two, one, n, size=1_000_000) for n in range(60)]
        one.transport.send(sent)
        peer = one.transport.peer(2)
        assert peer is not None and peer._appends._body is not None
        assert peer._appends._body.pending < 4_000_000
        await until(lambda: len(two.host.messages) == 60)
        assert two.host.messages == sent


async def test_a_socket_that_takes_nothing_for_too_long_is_closed(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from quorate.rafthttp import outlet

    monkeypatch.setattr(outlet, "HEARTBEAT", 0.05)
    one, two = Wires(1, write_timeout=0.3), Wires(2, write_timeout=0.3)
    async with running(one, two):
        stream = next(s for s in two.client._open if "msgapp" in repr(getattr(s, "_request", "")))
        stream.transport.pause_reading()
        peer = one.transport.peer(2)
        assert peer is not None
        body = peer._appends._body
        one.transport.send([append(two, one, n, size=500_000) for n in range(40)])
        await until(lambda: peer._appends._body is not body)
        stream.transport.abort()


async def test_a_removed_member_is_told_once_and_its_messages_are_not_heard() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        one.host.removed_ids.add(2)
        two.transport.send([response(one, two, 1)])
        one.transport.remove_peer(2)
        await until(lambda: two.host.told_removed)
        two.transport.send([response(one, two, 2)])
        await asyncio.sleep(0.3)
        assert two.host.told_removed == 1
        assert one.host.messages == []


@pytest.mark.parametrize("status", [403, 410])
async def test_only_the_own_cluster_can_say_that_a_member_was_removed(status: int) -> None:
    paths: list[str] = []
    headers: list[tuple[str, str]] = []

    async def refuse(request: HttpRequest) -> HttpResponse:
        paths.append(request.path)
        return text_response(status, "no", headers)

    listener = await mux.serve(("127.0.0.1", 0), None, refuse)
    one, two = Wires(1), Wires(2)
    two.port = listener.port
    async with running(one, acquainted=False):
        one.knows(two)
        for cluster in ([], [("X-Etcd-Cluster-ID", "77")]):
            headers[:] = cluster
            paths.clear()
            one.transport.send([response(two, one, 1)])
            await until(lambda: "/raft" in paths and sum("stream" in path for path in paths) > 4)
            assert one.host.told_removed == 0
        headers[:] = [("X-Etcd-Cluster-ID", f"{CLUSTER:x}")]
        one.transport.send([response(two, one, 1)])
        await until(lambda: one.host.told_removed == 1)
    listener.close()


async def test_messages_for_others_and_local_ones_are_not_heard() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        stray = response(one, two, 1)
        stray.to = 99
        peer = two.transport.peer(1)
        assert peer is not None
        local = Message(MessageType.STORAGE_APPEND_RESP, to=1, from_=2**64 - 1, term=9, index=9)
        peer.send([stray, local, Message(MessageType.SNAP, to=1, from_=2, term=9), response(one, two, 2)], {})
        await until(lambda: one.host.messages)
        assert [message.index for message in one.host.messages] == [2]


def snapshot_message(to: Wires, sender: Wires) -> Message:
    snapshot = Snapshot(1000, 3, ConfState((1, 2)), b"{}")
    return Message(MessageType.SNAP, to=to.id, from_=sender.id, term=3, snapshot=snapshot)


async def database(pieces: int, seen: list[int] | None = None) -> AsyncIterator[bytes]:
    try:
        for n in range(pieces):
            yield bytes((n % 256,)) * 65_536
    finally:
        if seen is not None:
            seen.append(1)


async def test_a_snapshot_travels_with_its_database() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        message = snapshot_message(two, one)
        one.transport.send_snapshot(message, database(100), 100 * 65_536)
        await until(lambda: one.host.snapshots)
        assert one.host.snapshots == [(2, True)]
        [(got, data)] = two.host.databases
        assert got == message
        assert data == b"".join(bytes((n % 256,)) * 65_536 for n in range(100))


async def test_every_snapshot_is_reported_once_however_it_ends() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        two.host.disk_error = OSError(28, "No space left on device")
        closed: list[int] = []
        one.transport.send_snapshot(snapshot_message(two, one), database(10, closed), 10 * 65_536)
        await until(lambda: one.host.snapshots == [(2, False)])
        assert closed == [1] and 2 in one.host.unreachable
        assert two.host.messages == []
        two.host.disk_error = None
        # A database that is shorter than was said.
        one.transport.send_snapshot(snapshot_message(two, one), database(1, closed), 10 * 65_536)
        await until(lambda: len(one.host.snapshots) == 2)
        assert two.host.databases == []
        one.transport.send_snapshot(Message(MessageType.SNAP, to=9, from_=1), database(1), 65_536)
        await until(lambda: one.host.snapshots[2:] == [(9, False)])
        one.transport.send_snapshot(snapshot_message(two, one), database(100, closed), 100 * 65_536)
        one.transport.remove_peer(2)
        await until(lambda: one.host.snapshots[3:] == [(2, False)])


async def test_the_pipeline_drops_what_does_not_fit_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two, acquainted=False):
        one.knows(two)
        one.transport.send([response(two, one, n) for n in range(199)])
        one.transport.send([response(two, one, 199)])
        [told] = [record for record in caplog.records if "sending buffer is full" in record.getMessage()]
        fields = {"message_type": "MsgAppResp", "remote_peer_id": "2", "wire": "pipeline", "messages": 135}
        assert told.levelname == "WARNING" and fields.items() <= told.fields.items()  # type: ignore[attr-defined]
        counters = one.transport.counters(2)
        assert counters is not None and counters.sent_failures == 200 - limits.PIPELINE_QUEUE
        await until(lambda: len(two.host.messages) == limits.PIPELINE_QUEUE)
        assert one.host.unreachable == [2]


async def test_a_message_that_takes_long_does_not_hold_up_the_next_ones() -> None:
    heard: list[str] = []

    async def listen(request: HttpRequest) -> HttpResponse:
        if request.path == "/raft":
            heard.append(request.path)
            await asyncio.sleep(20)
        return text_response(404, "no")

    listener = await mux.serve(("127.0.0.1", 0), None, listen)
    one, two = Wires(1), Wires(2)
    two.port = listener.port
    async with running(one, acquainted=False):
        one.knows(two)
        for count in range(1, limits.PIPELINE_WORKERS + 1):
            one.transport.send([response(two, one, count)])
            await until(lambda count=count: len(heard) == count, 2.0)
    listener.close()


async def test_followers_share_the_encoding_of_what_all_of_them_get() -> None:
    members = [Wires(n) for n in range(1, 5)]
    leader, *followers = members
    async with running(*members):
        first = [append(to, leader, 0, 1) for to in followers]
        leader.transport.send(first)
        batch = append(followers[0], leader, 1, 100, size=300)
        messages = []
        for to in followers:
            message = append(to, leader, 1, 100, size=300)
            message.entries = list(batch.entries)
            messages.append(message)
        blocks: dict[tuple[int, int, int], bytes] = {}
        for message in messages:
            peer = leader.transport.peer(message.to)
            assert peer is not None
            peer.send([message], blocks)
        assert list(blocks) == [(2, 101, 3)]
        await until(lambda: all(len(member.host.messages) == 2 for member in followers))
        for message, member in zip(messages, followers, strict=True):
            assert member.host.messages[1] == message


async def test_stopping_ends_every_task_and_stream() -> None:
    one, two = Wires(1), Wires(2)
    async with running(one, two):
        await one.transport.stop()
        assert not one.transport._tasks and one.transport.peers() == []
        one.transport.send([append(two, one, 1)])
        await until(lambda: not two.is_up(one))


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    """A certificate of 127.0.0.1 that both ends trust."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate = tmp_path / "peer.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=peer"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(certificate), "-out", str(tmp_path / "cert")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    with certificate.open("ab") as file:
        file.write((tmp_path / "cert").read_bytes())
    server = ServerTls(TlsSettings(cert_file=str(certificate), key_file=str(certificate)))
    return Tls(server, ClientTls(TlsSettings(trusted_ca_file=str(tmp_path / "cert"))))


async def test_all_wires_work_encrypted(tls: Tls) -> None:
    one, two = Wires(1, tls=tls), Wires(2, tls=tls)
    async with running(one, two):
        one.transport.send([append(two, one, n, size=3000) for n in range(50)])
        two.transport.send([response(one, two, n) for n in range(50)])
        await until(lambda: len(two.host.messages) == 50 and len(one.host.messages) == 50)
        one.transport.send_snapshot(snapshot_message(two, one), database(20), 20 * 65_536)
        await until(lambda: one.host.snapshots == [(2, True)])
