"""The leader's clock counts, if a quorum has just confirmed that it leads; every other member asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from peer_support import add_member, listening, until
from server_support import StartServer

from quorate.api import errors
from quorate.api.pb import lease_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.lease import TimeToLive
from quorate.server import Server, ServerConfig, lease_forward
from quorate.testing.process import free_port
from quorate.transport.web import HttpRequest, HttpResponse, text_response

LEADER, OTHER = 99, 98


async def leads_well(request: HttpRequest) -> HttpResponse:
    """A leader that knows lease 7 and no other."""
    if request.path == "/leases":
        lease_id = rpc.LeaseKeepAliveRequest.FromString(request.body).ID
        body = rpc.LeaseKeepAliveResponse(ID=7, TTL=60).SerializeToString()
    else:
        asked = lease_pb2.LeaseInternalRequest.FromString(request.body).LeaseTimeToLiveRequest
        lease_id, told = asked.ID, rpc.LeaseTimeToLiveResponse(ID=7, TTL=50, grantedTTL=60, keys=[b"k"])
        body = lease_pb2.LeaseInternalResponse(LeaseTimeToLiveResponse=told).SerializeToString()
    return HttpResponse(200, (), body) if lease_id == 7 else text_response(404, "lease not found")


async def hangs(request: HttpRequest) -> HttpResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


def follow(server: Server, leader_id: int) -> None:
    server.lessor.demote()
    server.leadership.led_by(leader_id)


def unconfirmed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no quorum confirms anything."""
    never = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(server, "read_barrier", lambda: never)


async def grant(server: Server, lease_id: int, ttl: int) -> None:
    await server.propose("lease_grant", rpc.LeaseGrantRequest(ID=lease_id, TTL=ttl))


async def test_a_follower_gets_its_answers_from_the_leader(start_server: StartServer) -> None:
    server = await start_server()
    async with listening(leads_well) as url:
        add_member(server, LEADER, f"http://127.0.0.1:{free_port()}", url)  # the first URL does not answer
        follow(server, LEADER)
        assert await server.leases.renew(7) == 60
        assert await server.leases.time_to_live(7) == TimeToLive(50, 60, [b"k"])
        assert await server.leases.time_to_live(8) is None
        with pytest.raises(errors.LeaseNotFound):
            await server.leases.renew(8)


async def test_renewals_of_one_turn_go_to_the_leader_in_few_requests(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    monkeypatch.setattr(lease_forward, "MAX_BATCH", 100)
    asked: list[int] = []

    async def takes_many(request: HttpRequest) -> HttpResponse:
        """Knows leases up to 250; lease 3 it wants to be asked for alone."""
        renewal = lease_pb2.LeaseRenewRequest.FromString(request.body)
        leases = [renewal.ID, *renewal.more]
        asked.append(len(leases))
        first, *more = [60 if lease_id <= 250 else 0 for lease_id in leases]
        if 3 in leases and len(leases) > 1:
            more[leases.index(3) - 1] = -1
        reply = lease_pb2.LeaseRenewResponse(ID=renewal.ID, TTL=first, more_TTL=more)
        return HttpResponse(200, (), reply.SerializeToString())

    async with listening(takes_many) as url:
        add_member(server, LEADER, url)
        follow(server, LEADER)
        renewals = [server.leases.renew(lease_id) for lease_id in range(1, 256)]
        results = await asyncio.gather(*renewals, return_exceptions=True)
        assert results[:250] == [60] * 250
        assert [type(result) for result in results[250:]] == [errors.LeaseNotFound] * 5
        assert sorted(asked) == [1, 55, 100, 100]


async def test_a_leader_that_takes_one_lease_a_request_gets_one_a_request(start_server: StartServer) -> None:
    server = await start_server()
    asked = 0

    async def takes_one(request: HttpRequest) -> HttpResponse:
        nonlocal asked
        asked += 1
        return await leads_well(request)

    async with listening(takes_one) as url:
        add_member(server, LEADER, url)
        follow(server, LEADER)
        for requests in (10, 20):  # one for all first, then nine alone; later ones are alone at once
            results = await asyncio.gather(
                *(server.leases.renew(7 if n else 8) for n in range(10)), return_exceptions=True
            )
            assert isinstance(results[0], errors.LeaseNotFound) and results[1:] == [60] * 9
            assert asked == requests


async def test_renewals_wait_no_longer_than_their_time_for_a_leader_that_hangs(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    monkeypatch.setattr(ServerConfig, "request_timeout", 0.3)
    async with listening(hangs) as url:
        add_member(server, LEADER, url)
        follow(server, LEADER)
        started = asyncio.get_running_loop().time()
        first = asyncio.ensure_future(server.leases.renew(7))
        await asyncio.sleep(0.1)
        results = await asyncio.gather(first, server.leases.renew(7), return_exceptions=True)
        assert [type(result) for result in results] == [errors.Timeout] * 2
        assert asyncio.get_running_loop().time() - started < 2.0


async def test_a_leader_that_hangs_is_left_for_the_next_one(start_server: StartServer) -> None:
    server = await start_server()
    asked = asyncio.Event()

    async def hanging(request: HttpRequest) -> HttpResponse:
        asked.set()
        return await hangs(request)

    async with listening(hanging) as first, listening(leads_well) as second:
        add_member(server, LEADER, first)
        add_member(server, OTHER, second)
        follow(server, LEADER)
        renewal = asyncio.ensure_future(server.leases.renew(7))
        await asked.wait()
        follow(server, 0)
        follow(server, OTHER)
        assert await asyncio.wait_for(renewal, 3) == 60


async def test_without_a_leader_renewals_end_with_the_request_timeout(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    monkeypatch.setattr(ServerConfig, "request_timeout", 0.3)
    follow(server, 0)
    for ask in (server.leases.renew(7), server.leases.time_to_live(7)):
        with pytest.raises(errors.NoLeader):
            await ask
    add_member(server, LEADER, f"http://127.0.0.1:{free_port()}")
    follow(server, LEADER)
    for ask in (server.leases.renew(7), server.leases.time_to_live(7)):
        with pytest.raises(errors.Timeout):
            await ask


async def test_a_leader_that_a_quorum_does_not_confirm_renews_nothing(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    await grant(server, 7, 60)
    unconfirmed(server, monkeypatch)
    renewal = asyncio.ensure_future(server.leases.renew(7))
    look_up = asyncio.ensure_future(server.leases.time_to_live(7))
    await asyncio.wait([renewal, look_up], timeout=0.2)
    assert not renewal.done() and not look_up.done()
    follow(server, 0)
    with pytest.raises(errors.NotPrimaryLessor):
        await renewal
    with pytest.raises(errors.LeaderChanged):
        await look_up


async def test_a_renewal_on_a_leader_that_is_replaced_goes_on_at_the_new_one(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    await grant(server, 7, 20)
    unconfirmed(server, monkeypatch)
    renewal = asyncio.ensure_future(server.leases.renew(7))
    async with listening(leads_well) as url:
        add_member(server, LEADER, url)
        await asyncio.sleep(0)
        follow(server, LEADER)
        assert await renewal == 60


async def test_an_expired_lease_lives_until_the_leadership_is_confirmed(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(election_timeout=0.5)
    await grant(server, 7, 1)
    unconfirmed(server, monkeypatch)
    await until(lambda: bool(server.leases._revoking))
    index = server.committed_index
    await asyncio.wait([server.leases._revoking[7]], timeout=0.3)
    assert server.lessor.exists(7) and server.committed_index == index
    # Led by another one meanwhile, and leader again: the lease has its whole time again.
    follow(server, 0)
    await until(lambda: not server.leases._revoking)
    monkeypatch.undo()
    server.lessor.promote(asyncio.get_running_loop().time(), 0.5)
    server.leadership.led_by(server.member_id)
    assert await server.leases.renew(7) == 1
    await until(lambda: not server.lessor.exists(7))


async def test_one_confirmation_serves_the_renewals_of_a_few_heartbeats(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server()
    await grant(server, 7, 60)
    rounds = 0
    ask: Callable[[], asyncio.Future[None] | None] = server.read_barrier

    def counted() -> asyncio.Future[None] | None:
        nonlocal rounds
        rounds += 1
        return ask()

    monkeypatch.setattr(server, "read_barrier", counted)
    started = asyncio.get_running_loop().time()
    for _ in range(100):
        assert await server.leases.renew(7) == 60
    assert rounds <= 1 + (asyncio.get_running_loop().time() - started) / server.leases._fresh_seconds
    follow(server, 0)
    server.leadership.led_by(server.member_id)
    server.lessor.promote(started, 1.0)
    server.leases._confirmed_at = 0.0
    before = rounds
    await server.leases.renew(7)
    assert rounds == before + 1


async def test_the_time_left_is_noted_and_a_renewal_makes_the_note_void(start_server: StartServer) -> None:
    server = await start_server()
    server.lessor._checkpoint_interval = 0.6
    await grant(server, 7, 60)

    def noted() -> int:
        return next(lease.remaining_ttl for lease in server.lessor.leases())

    await until(lambda: noted() > 0)
    assert noted() <= 60
    server.lessor._checkpoint_interval = 300.0
    assert await server.leases.renew(7) == 60
    assert noted() == 0


async def test_a_renewal_of_an_expired_lease_waits_for_its_end(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(election_timeout=0.5)
    await grant(server, 7, 1)
    await until(lambda: server.lessor.is_expired(7, asyncio.get_running_loop().time()))
    with pytest.raises(errors.LeaseNotFound):
        await server.leases.renew(7)
    assert not server.lessor.exists(7)
