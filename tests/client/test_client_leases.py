"""Leases, and sessions that keep them alive."""

from __future__ import annotations

import time

import pytest

from quorate.api import errors
from quorate.client import Client, SessionLost

from client_support import Server  # isort: skip

SECONDS = 10.0
SHORT = 2
"""Seconds; members allow no shorter ones at their usual election time-out."""


async def test_a_lease_is_granted_asked_about_renewed_and_revoked(client: Client) -> None:
    lease = await client.grant(60)
    await client.put("k", lease=lease.id)
    info = await lease.info(keys=True)
    assert (lease.ttl, info.id, info.granted_ttl, info.keys) == (60, lease.id, 60, (b"k",))
    assert 50 < info.ttl <= 60
    assert (await client.lease_info(lease.id)).keys == ()
    assert await client.leases() == [lease.id]
    assert await lease.renew() == 60
    await lease.revoke()
    assert (await client.get("k")).count == 0
    assert await client.leases() == []


async def test_a_lease_has_the_id_that_is_asked_for(client: Client) -> None:
    assert (await client.grant(60, 4711)).id == 4711
    with pytest.raises(errors.LeaseExists):
        await client.grant(60, 4711)
    await client.revoke(4711)


async def test_a_lease_that_is_not_there_is_not_found(client: Client) -> None:
    lease = await client.grant(60)
    await lease.revoke()
    with pytest.raises(errors.LeaseNotFound):
        await lease.renew()
    with pytest.raises(errors.LeaseNotFound):
        await client.revoke(lease.id)
    assert (await lease.info()).ttl == -1


async def test_a_session_holds_keys_until_its_end(client: Client) -> None:
    async with client.session(60) as session:
        await client.put("k", lease=session.lease)
        session.check()
        assert not session.lost.is_set() and session.lost.error is None
        assert not await session.lost.wait(0.01)
    assert (await client.get("k")).count == 0
    assert session.lost.is_set()
    with pytest.raises(SessionLost):
        session.check()


async def test_a_session_outlives_its_ttl(client: Client, server: Server) -> None:
    if server.name == "etcd":
        pytest.skip("it takes seconds, and one server shows it")
    async with client.session(SHORT) as session:
        await client.put("k", lease=session.lease)
        assert not await session.lost.wait(SHORT + 0.7)
        assert (await client.get("k")).count == 1


async def test_a_session_hears_that_its_lease_is_gone(client: Client, server: Server) -> None:
    session = client.session(SHORT)
    await session.open()
    await client.revoke(session.lease)
    assert await session.lost.wait(SECONDS)
    assert isinstance(session.lost.error, errors.LeaseNotFound)
    with pytest.raises(SessionLost) as caught:
        session.check()
    assert isinstance(caught.value.__cause__, errors.LeaseNotFound)
    await session.close()


async def test_a_session_takes_over_a_lease_and_leaves_it(client: Client) -> None:
    lease = await client.grant(60)
    session = client.session(lease_id=lease.id)
    await session.open()
    assert (session.lease, session.ttl) == (lease.id, 60)
    await session.orphan()
    assert session.lost.is_set()
    await session.close()
    assert await client.leases() == [lease.id]


async def test_no_session_is_made_of_a_lease_that_is_gone(client: Client) -> None:
    with pytest.raises(errors.LeaseNotFound):
        await client.session(lease_id=404).open()


async def test_sessions_of_one_client_are_kept_alive_together(client: Client, server: Server) -> None:
    if server.name == "etcd" or server.wire != "tcp":
        pytest.skip("it takes seconds, and one server shows it")
    sessions = [client.session(SHORT) for _ in range(20)]
    for session in sessions:
        await session.open()
    until = time.monotonic() + SHORT + 0.5
    assert not await sessions[0].lost.wait(until - time.monotonic())
    assert len(await client.leases()) == 20
    for session in sessions:
        session.check()
        await session.close()
    assert await client.leases() == []
