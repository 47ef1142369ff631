"""Users, roles, what they may do, and tokens that are renewed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from quorate.api import errors
from quorate.client import Client, PermissionType
from quorate.client.results import Permission
from quorate.testing.certificates import Authority
from quorate.testing.process import MemberProcess

from client_support import PLACES, Server, serving  # isort: skip

ROOT = {"user": "root", "password": "r"}
GUEST = {"user": "guest", "password": "g"}


@pytest.fixture(scope="module", params=PLACES)
def server(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One that may be locked up."""
    with serving(request.param, authority, tmp_path_factory) as server:
        yield server


def restart(member: MemberProcess) -> None:
    member.stop()
    member.start()


@pytest.fixture
async def root(server: Server, kind: str) -> AsyncIterator[Client]:
    """Auth is on; guest may read and write what begins with `own/`, and read `shown`."""
    async with server.connect(kind) as nobody:
        auth = nobody.auth
        for user in await auth.users():
            await auth.user_delete(user)
        for role in await auth.roles():
            await auth.role_delete(role)
        await auth.user_add("root", "r")
        await auth.role_add("root")
        await auth.user_grant_role("root", "root")
        await auth.user_add("guest", "g")
        await auth.role_add("guests")
        await auth.role_grant("guests", PermissionType.READWRITE, "own/", prefix=True)
        await auth.role_grant("guests", PermissionType.READ, "shown")
        await auth.user_grant_role("guest", "guests")
        await auth.enable()
    async with server.connect(kind, **ROOT) as root:
        try:
            async with server.connect(kind, **ROOT) as client:
                yield client
        finally:
            await root.delete("", prefix=True)
            await root.auth.disable()


async def test_users_and_roles_are_listed_and_changed(root: Client) -> None:
    auth = root.auth
    assert (await auth.status()).enabled
    assert (await auth.users(), await auth.roles()) == (["guest", "root"], ["guests", "root"])
    assert await auth.user_roles("guest") == ["guests"]
    assert await auth.role_permissions("guests") == [
        Permission(PermissionType.READWRITE, b"own/", b"own0"),
        Permission(PermissionType.READ, b"shown", b""),
    ]
    await auth.role_revoke("guests", "shown")
    assert [each.key for each in await auth.role_permissions("guests")] == [b"own/"]
    await auth.user_revoke_role("guest", "guests")
    assert await auth.user_roles("guest") == []
    await auth.role_delete("guests")
    await auth.user_delete("guest")
    assert (await auth.users(), await auth.roles()) == (["root"], ["root"])
    await auth.user_add("certified")
    with pytest.raises(errors.UserNotFound):
        await auth.user_roles("guest")
    with pytest.raises(errors.RoleExists):
        await auth.role_add("root")


async def test_a_guest_does_what_he_may(root: Client, server: Server, kind: str) -> None:
    await root.put("shown", "s")
    async with server.connect(kind, **GUEST) as guest:
        await guest.put("own/k", "v")
        assert (await guest.get("own/", prefix=True)).value == b"v"
        assert (await guest.get("shown")).value == b"s"
        with pytest.raises(errors.PermissionDenied):
            await guest.put("shown", "mine")
        with pytest.raises(errors.PermissionDenied):
            await guest.get("", prefix=True)
        with pytest.raises(errors.PermissionDenied):
            await guest.auth.user_add("friend", "f")


async def test_a_guest_watches_what_he_may_and_hears_at_once_what_not(root: Client, server: Server, kind: str) -> None:
    async with server.connect(kind, **GUEST) as guest:
        async with guest.watch("own/", prefix=True) as watch:
            await root.put("own/k", "v")
            event = await watch.next(10.0)
            assert event is not None and event.value == b"v"
        since = time.monotonic()
        with pytest.raises(errors.PermissionDenied):
            async with guest.watch("hidden") as watch:
                await watch.next(10.0)
        assert time.monotonic() - since < 3.0


async def test_who_is_unknown_or_nobody_is_refused(root: Client, server: Server, kind: str) -> None:
    async with server.connect(kind, user="guest", password="wrong") as stranger:
        with pytest.raises(errors.AuthFailed):
            await stranger.get("own/k")
    async with server.connect(kind) as nobody:
        with pytest.raises(errors.UserEmpty):
            await nobody.get("own/k")


async def test_a_new_password_counts_from_the_next_login_on(root: Client, server: Server, kind: str) -> None:
    await root.auth.user_change_password("guest", "new")
    async with server.connect(kind, user="guest", password="new") as guest:
        await guest.put("own/k")
    async with server.connect(kind, **GUEST) as guest:
        with pytest.raises(errors.AuthFailed):
            await guest.put("own/k")


async def test_tokens_that_are_old_are_renewed_without_a_word(root: Client, server: Server, kind: str) -> None:
    async with server.connect(kind, **GUEST) as guest:
        await guest.put("own/k", "1")
        await root.auth.role_grant("guests", PermissionType.READ, "more")  # a new revision of the users
        await guest.put("own/k", "2")
        assert (await guest.get("more")).count == 0


async def test_tokens_that_the_server_lost_are_renewed_without_a_word(root: Client, server: Server, kind: str) -> None:
    if server.wire != "tcp":
        pytest.skip("it starts the server anew, and one wire shows it")
    async with server.connect(kind, **GUEST, timeout=20.0) as guest:
        await guest.put("own/k", "1")
        async with guest.watch("own/", prefix=True) as watch, guest.session(60) as session:
            await asyncio.to_thread(restart, server.member)
            await guest.put("own/k", "2", lease=session.lease)
            event = await watch.next(20.0)
            assert event is not None and event.value == b"2"
            session.check()
            assert (await guest.get("own/k")).kv == event.kv
