"""Members that hold different data are found out, and only those."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from peer_support import Answers, add_member, listening, until
from server_support import StartServer

from quorate.api.pb import rpc_pb2 as rpc
from quorate.etcdhttp.peer_hash import handle_hash
from quorate.server import Server
from quorate.server.corruption import CorruptionError
from quorate.testing.process import free_port
from quorate.transport.web import HttpRequest, HttpResponse, text_response

FIRST, SECOND = 98, 99


def healthy(server: Server, **changed: int) -> Answers:
    """A member that holds what `server` does; `changed` replaces fields of its answers."""

    async def answer(request: HttpRequest) -> HttpResponse:
        reply = await handle_hash(server, request)
        if reply.status != 200:
            return reply
        assert isinstance(reply.body, bytes)
        fields: dict[str, Any] = json.loads(reply.body)
        if "revision" in changed:
            fields["header"]["revision"] = changed["revision"]
        fields.update({name: value for name, value in changed.items() if name != "revision"})
        return HttpResponse(200, (), json.dumps(fields).encode())

    return answer


async def behind(request: HttpRequest) -> HttpResponse:
    return text_response(400, "mvcc: required revision is a future revision")


async def fill(server: Server, count: int = 5) -> None:
    for number in range(count):
        await server.propose("put", rpc.PutRequest(key=b"k%d" % number))


async def compact(server: Server, revision: int) -> None:
    await server.compact(rpc.CompactionRequest(revision=revision, physical=True))


def corrupt(server: Server) -> list[int]:
    return [member for member, _ in server.alarms.active(rpc.CORRUPT)]


class Peers:
    """The other members of a server, one for each way to answer; to be entered."""

    def __init__(self, server: Server, *answers: Answers) -> None:
        self._server = server
        self._answers = answers
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> None:
        for number, answer in zip((FIRST, SECOND), self._answers, strict=False):
            url = await self._stack.enter_async_context(listening(answer))
            add_member(self._server, number, url)

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()


# At start.


async def test_a_member_that_holds_something_else_does_not_start(start_server: StartServer) -> None:
    server = await start_server(initial_corrupt_check=True)
    await fill(server)
    async with Peers(server, healthy(server), healthy(server, hash=1)):
        with pytest.raises(CorruptionError, match=f"{server.member_id:x} found data inconsistency with peers"):
            await server.corruption.check_at_start()


async def test_members_that_cannot_be_compared_keep_nobody_from_starting(start_server: StartServer) -> None:
    server = await start_server(initial_corrupt_check=True)
    await fill(server)
    await server.corruption.check_at_start()
    async with Peers(server, behind, healthy(server, hash=1, compact_revision=3)):
        await server.corruption.check_at_start()
    add_member(server, FIRST, f"http://127.0.0.1:{free_port()}")
    add_member(server, SECOND)
    await server.corruption.check_at_start()


async def test_nobody_is_asked_at_start_unless_it_is_configured(start_server: StartServer) -> None:
    server = await start_server()
    async with Peers(server, healthy(server, hash=1)):
        await server.corruption.check_at_start()


# What the leader looks at now and then.


async def test_equal_members_raise_no_alarm(start_server: StartServer) -> None:
    server = await start_server()
    await fill(server)
    async with Peers(server, healthy(server), behind):
        await server.corruption.check()
        await compact(server, 4)
        await server.corruption.check_compactions()
    assert corrupt(server) == []


async def test_the_member_that_differs_from_the_majority_is_named(start_server: StartServer) -> None:
    server = await start_server()
    await fill(server)
    async with Peers(server, healthy(server, hash=1), healthy(server)):
        await server.corruption.check()
    assert corrupt(server) == [FIRST]


async def test_a_leader_that_differs_from_all_others_names_itself(start_server: StartServer) -> None:
    server = await start_server()
    await fill(server)
    async with Peers(server, healthy(server, hash=1), healthy(server, hash=1)):
        await server.corruption.check()
    assert corrupt(server) == [server.member_id]


async def test_without_a_majority_the_leader_names_those_that_differ_from_it(start_server: StartServer) -> None:
    server = await start_server()
    await fill(server)
    async with Peers(server, healthy(server, hash=1), behind):
        await server.corruption.check()
    assert corrupt(server) == [FIRST]


@pytest.mark.parametrize("changed", [{"revision": 100}, {"compact_revision": 5}])
async def test_a_follower_ahead_of_its_leader_is_corrupt(start_server: StartServer, changed: dict[str, int]) -> None:
    server = await start_server()
    await fill(server)
    async with Peers(server, healthy(server), healthy(server, **changed)):
        await server.corruption.check()
    assert corrupt(server) == [SECOND]


async def test_hashes_at_other_revisions_say_nothing(start_server: StartServer) -> None:
    server = await start_server()
    await fill(server)
    await compact(server, 3)
    async with Peers(server, healthy(server, hash=1, hash_revision=2), healthy(server, hash=1, compact_revision=2)):
        await server.corruption.check()
    assert corrupt(server) == []


# Hashes that compactions leave.


async def test_compactions_that_left_different_hashes_raise_the_alarm_for_the_minority(
    start_server: StartServer,
) -> None:
    server = await start_server()
    await fill(server)
    await compact(server, 3)
    async with Peers(server, healthy(server), healthy(server, hash=1)):
        await server.corruption.check_compactions()
    assert corrupt(server) == [SECOND]


async def test_when_nobody_can_say_who_is_wrong_the_whole_cluster_is(start_server: StartServer) -> None:
    server = await start_server()
    await fill(server)
    await compact(server, 3)
    async with Peers(server, healthy(server, hash=1), healthy(server, hash=2)):
        await server.corruption.check_compactions()
    assert corrupt(server) == [0]


async def test_a_compaction_counts_as_checked_only_when_all_members_were_compared(start_server: StartServer) -> None:
    server = await start_server()
    asked: list[int] = []

    async def half_behind(request: HttpRequest) -> HttpResponse:
        revision = json.loads(request.body)["revision"]
        asked.append(revision)
        return await (behind(request) if revision > 3 else healthy(server)(request))

    await fill(server)
    await compact(server, 3)
    await compact(server, 5)
    async with Peers(server, healthy(server), half_behind):
        await server.corruption.check_compactions()
        assert asked == [5, 3]  # the newest could not be compared, the one before could
        await server.corruption.check_compactions()
        assert asked == [5, 3, 5]
    async with Peers(server, healthy(server), healthy(server)):
        await server.corruption.check_compactions()
        await server.corruption.check_compactions()
    assert corrupt(server) == []


async def test_the_leader_checks_by_itself(start_server: StartServer) -> None:
    server = await start_server(corrupt_check_time=0.1, compact_hash_check_time=0.1)
    await fill(server)
    checks = server.spawn(server.corruption.run_for_ever())
    async with Peers(server, healthy(server), healthy(server, hash=1)):
        await until(lambda: corrupt(server) == [SECOND])
    checks.cancel()
    await asyncio.wait([checks])


async def test_a_member_that_does_not_lead_checks_nothing(start_server: StartServer) -> None:
    server = await start_server(corrupt_check_time=0.01, compact_hash_check_time=0.01)
    asked = 0

    async def counting(request: HttpRequest) -> HttpResponse:
        nonlocal asked
        asked += 1
        return await behind(request)

    server.leadership.led_by(FIRST)
    async with Peers(server, counting):
        checks = server.spawn(server.corruption.run_for_ever())
        await asyncio.wait([checks], timeout=0.1)
        checks.cancel()
        await asyncio.wait([checks])
        before = asked
        server.leadership.led_by(server.member_id)
        checks = server.spawn(server.corruption.run_for_ever())
        await until(lambda: asked > before)
        checks.cancel()
    assert before == 0
