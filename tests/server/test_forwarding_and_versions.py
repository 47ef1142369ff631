"""Promotions that another member decides, and versions that other members tell, over real connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from server_support import StartServer

from quorate.api import errors
from quorate.embed import Etcd
from quorate.membership import Member
from quorate.server import transfer
from quorate.server.members import encode_verdict
from quorate.server.versions import IncompatibleCluster, MemberVersions, check_join, fetch_versions
from quorate.testing.process import free_port
from quorate.transport.http1_client import HttpClient
from quorate.transport.mux import serve
from quorate.transport.web import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


@asynccontextmanager
async def a_peer(handler: Handler) -> AsyncIterator[str]:
    """The URL of something that answers like a member's peer listener."""
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setblocking(False)
    port = bound.getsockname()[1]
    listener = await serve(bound, None, handler)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        listener.close()
        bound.close()


def saying(*bodies: object) -> Handler:
    """Answers each request with the next of `bodies`, the last one again and again: a JSON value, or bytes as they are;
    with a status before it, (status, body)."""
    left = list(bodies)

    async def handle(request: HttpRequest) -> HttpResponse:
        answer = left.pop(0) if len(left) > 1 else left[0]
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return HttpResponse(status, (), body if isinstance(body, bytes) else json.dumps(body).encode())

    return handle


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient(connect_timeout=2.0)
    yield made
    await made.close()


async def test_versions_are_asked_of_every_url_until_one_answers(client: HttpClient) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with a_peer(saying({"etcdserver": "3.5.1", "etcdcluster": "3.5.0"})) as url:
        members = [Member(1, (nobody, url)), Member(2, (nobody,)), Member(3)]
        found = await fetch_versions(client, members, 5.0)
    assert found == {1: MemberVersions("3.5.1", "3.5.0"), 2: None, 3: None}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'{"etcdserver":"3.5.1"}', b"[" * 50_000, b"x" * 70_000])
async def test_an_answer_that_tells_no_version_counts_as_none(client: HttpClient, body: bytes) -> None:
    async with a_peer(saying(body)) as url:
        assert await fetch_versions(client, [Member(1, (url,))], 5.0) == {1: None}


def test_a_cluster_is_joined_only_at_versions_that_are_understood() -> None:
    told = {
        cluster: MemberVersions("3.7.0", cluster) for cluster in ("3.0.0", "3.5.0", "3.7.0", "not_decided", "3.8.0")
    }
    for cluster in ("3.0.0", "3.5.0", "3.7.0"):
        check_join({1: None, 2: told[cluster], 3: told["not_decided"]})
    with pytest.raises(IncompatibleCluster, match=r"member 2 has cluster version 3\.8\.0"):
        check_join({1: told["3.7.0"], 2: told["3.8.0"]})
    with pytest.raises(IncompatibleCluster, match=r"cluster version 2\.3\.0"):
        check_join({1: MemberVersions("2.3.0", "2.3.0")})
    for silent in ({}, {1: None}, {1: told["not_decided"]}):
        with pytest.raises(IncompatibleCluster, match="no member tells its cluster version"):
            check_join(silent)


async def follower(start_server: StartServer, monkeypatch: pytest.MonkeyPatch, leader_url: str):  # type: ignore[no-untyped-def]
    """A server that believes member 77 at `leader_url` to lead."""
    server = await start_server()
    monkeypatch.setitem(server.cluster._members, 77, Member(77, (leader_url,), name="leader"))
    monkeypatch.setattr(server.leadership, "leader_id", 77)
    return server


async def test_a_promotion_is_forwarded_to_the_leader(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    answer = saying((503, b"busy"), [{"id": 5, "peerURLs": ["http://a:1"]}, {"id": 77, "peerURLs": None}])

    async def handle(request: HttpRequest) -> HttpResponse:
        asked.append((request.method, request.path))
        return await answer(request)

    async with a_peer(handle) as url:
        server = await follower(start_server, monkeypatch, url)
        monkeypatch.setattr("quorate.server.members.FORWARD_RETRY", 0.01)
        assert await server.members.promote(5) == [Member(5, ("http://a:1",)), Member(77)]
    assert asked == [("POST", "/members/promote/5")] * 2


@pytest.mark.parametrize(
    "error",
    [errors.MemberNotFound, errors.MemberNotLearner, errors.LearnerNotReady, errors.NotEnoughStarted],
)
async def test_the_verdict_of_the_leader_is_final(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, error: type[errors.EtcdError]
) -> None:
    status, text = encode_verdict(error())
    async with a_peer(saying((status, f"{text}\n".encode()))) as url:
        server = await follower(start_server, monkeypatch, url)
        with pytest.raises(error):
            await server.members.promote(5)


async def test_a_leader_that_cannot_be_reached_is_sought_for_a_request_timeout(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await follower(start_server, monkeypatch, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("quorate.server.members.FORWARD_RETRY", 0.01)
    monkeypatch.setattr(type(server.config), "request_timeout", 0.2)
    with pytest.raises(errors.Timeout):
        await server.members.promote(5)
    monkeypatch.setattr(server.leadership, "leader_id", 0)
    with pytest.raises(errors.NoLeader):
        await server.members.promote(5)


async def test_a_member_that_stops_leading_meanwhile_leaves_the_verdict_to_who_leads(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_peer(saying([{"id": 5, "peerURLs": ["http://a:1"]}])) as url:
        server = await start_server()
        monkeypatch.setitem(server.cluster._members, 77, Member(77, (url,), name="leader"))

        async def lose(timeout: float) -> None:
            server.node.raft.become_follower(server.term + 1, 77)
            server.leadership.led_by(77)

        monkeypatch.setattr(server, "catch_up", lose)
        assert await server.members.promote(5) == [Member(5, ("http://a:1",))]


async def test_a_lone_leader_has_nobody_to_hand_over_to(start_server: StartServer) -> None:
    server = await start_server()
    async with asyncio.timeout(1.0):
        await transfer.hand_over(server)
    assert server.is_leader


async def test_the_lead_is_given_up_for_lost_when_it_does_not_move_in_time(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    monkeypatch.setitem(server.cluster._members, 77, Member(77, ("http://127.0.0.1:1",), name="other"))
    with pytest.raises(errors.TimeoutLeaderTransfer):
        await transfer.move_leader(server, 77, 0.05)
    assert server.is_leader


async def test_the_database_follows_the_cluster_version(start_server: StartServer) -> None:
    server = await start_server()
    for version, stored in (("3.6.0", "3.6.0"), ("3.5.0", "3.5.0"), ("3.0.0", "3.5.0"), ("3.7.0", "3.7.0")):
        server.cluster.set_version(version)
        server.versions.follow()
        assert server.storage_version == stored


@pytest.mark.parametrize("turns", range(4))
async def test_the_watch_over_versions_ends_with_its_server_even_as_something_changes(turns: int) -> None:
    member = Etcd(listen=False, in_memory=True)
    await member.start()
    assert member.server is not None
    look = member.server.versions._look
    async with asyncio.timeout(10):
        while not look._waiters:  # noqa: ASYNC110 - nobody tells that somebody waits
            await asyncio.sleep(0)
    for tell in member.server.on_leader_change:
        tell()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await member.abort()
    left = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert not [task for task in left if "watch_for_ever" in repr(task)]
