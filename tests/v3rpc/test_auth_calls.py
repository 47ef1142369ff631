"""Auth through the services of a member: who gets in at which door, and what a token is worth."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from v3rpc_support import Caller, until

from quorate.api import errors
from quorate.api.internal import encode_request
from quorate.api.pb import auth_pb2, election_pb2, lock_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.auth import NOBODY, SignedTokens, TokenOptions
from quorate.auth import Caller as Identity
from quorate.server import callers as callers_module
from quorate.transport.grpc import Metadata, Status
from quorate.v3rpc.door import Door

READ, WRITE, BOTH = 0, 1, 2
GRANTS = {
    "owner": (BOTH, b"a", b"b"),
    "reader": (READ, b"a", b"b"),
    "writer": (WRITE, b"a", b"b"),
    "one": (BOTH, b"foo", b""),
}


class Users:
    """Calls by name of a user; every user has a role of the same name."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.server = caller.server
        self.tokens: dict[str, str] = {}

    async def prepare(self) -> None:
        self.server.callers._cost = 4
        for name, (kind, key, end) in GRANTS.items():
            await self.add(name, kind, key, end)
        await self.by("", "Auth/UserAdd", name="root", password="root")
        await self.by("", "Auth/UserGrantRole", user="root", role="root")
        await self.by("", "Auth/AuthEnable")
        for name in ("root", *GRANTS):
            self.tokens[name] = await self.login(name)

    async def add(self, name: str, kind: int, key: bytes, end: bytes) -> None:
        await self.by("root", "Auth/RoleAdd", name=name)
        perm = auth_pb2.Permission(permType=kind, key=key, range_end=end)  # type: ignore[arg-type]
        await self.by("root", "Auth/RoleGrantPermission", name=name, perm=perm)
        await self.by("root", "Auth/UserAdd", name=name, password=name)
        await self.by("root", "Auth/UserGrantRole", user=name, role=name)

    async def login(self, name: str, password: str | None = None) -> str:
        reply = await self.by("", "Auth/Authenticate", name=name, password=password or name)
        return str(reply.token)

    def metadata(self, who: str) -> tuple[tuple[str, str], ...]:
        return (("token", self.tokens[who]),) if who in self.tokens else ()

    async def by(self, who: str, path: str, **fields: Any) -> Any:
        """The reply. Raises Status."""
        return await self.call(path, self.metadata(who), **fields)

    async def call(self, path: str, metadata: tuple[tuple[str, str], ...], **fields: Any) -> Any:
        service, name = path.split("/")
        long = f"Auth{name}" if name.startswith(("User", "Role")) else name
        long = {"Compact": "Compaction"}.get(long, long)
        package: Any = {"Lock": lock_pb2, "Election": election_pb2}.get(service, rpc)
        full = f"/v3{service.lower()}pb.{path}" if package is not rpc else f"/etcdserverpb.{path}"
        request = getattr(package, f"{long}Request")(**fields)
        body = await self.caller.channel.unary(full, request.SerializeToString(), timeout=10.0, metadata=metadata)
        return getattr(package, f"{long}Response").FromString(body)

    async def refused(self, who: str, error: type[errors.EtcdError], path: str, **fields: Any) -> None:
        with pytest.raises(Status) as caught:
            await self.by(who, path, **fields)
        unknown = path.startswith(("Lock/", "Election/"))
        assert (caught.value.code, caught.value.message) == (2 if unknown else error.code, error.text)


@pytest.fixture
async def users(caller: Caller) -> AsyncIterator[Users]:
    made = Users(caller)
    await made.prepare()
    yield made


# Keys.


async def test_nothing_of_a_txn_happens_when_a_part_is_denied(users: Users) -> None:
    """CVE-2026-33343."""
    inner = rpc.TxnRequest(failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=b"z"))])
    success = [rpc.RequestOp(request_put=rpc.PutRequest(key=b"a1")), rpc.RequestOp(request_txn=inner)]
    revision = users.server.store.revision
    await users.refused("owner", errors.PermissionDenied, "KV/Txn", success=success)
    assert users.server.store.revision == revision
    assert (await users.by("root", "KV/Txn", success=success)).succeeded


async def test_a_read_only_txn_is_judged_where_it_is_read(users: Users) -> None:
    for serializable in (False, True):
        get = rpc.RangeRequest(key=b"a", range_end=b"b", serializable=serializable)
        success = [rpc.RequestOp(request_range=get)]
        await users.by("reader", "KV/Txn", success=success)
        await users.refused("writer", errors.PermissionDenied, "KV/Txn", success=success)
        await users.refused("nobody", errors.UserEmpty, "KV/Txn", success=success)


async def test_a_stream_of_keys_ends_when_the_table_changes(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quorate.v3rpc.kv.FIRST_CHUNK_KEYS", 1)
    for number in range(3):
        await users.by("owner", "KV/Put", key=b"a%d" % number, value=bytes(100_000))

    async def read(who: str) -> list[Any]:
        stream = users.caller.channel.stream("/etcdserverpb.KV/RangeStream", metadata=users.metadata(who))
        stream.send(rpc.RangeRequest(key=b"a", range_end=b"b").SerializeToString())
        stream.half_close()
        found = []
        async for message in stream:
            found.append(message)
        return found

    assert await read("reader")
    for who, code in (("writer", 7), ("nobody", 3)):
        with pytest.raises(Status) as caught:
            await read(who)
        assert caught.value.code == code

    kv_range = users.server.store.range

    def change_first(*args: Any, **more: Any) -> Any:
        users.server.auth.add_role("new")
        monkeypatch.setattr(users.server.store, "range", kv_range)
        return kv_range(*args, **more)

    monkeypatch.setattr(users.server.store, "range", change_first)
    with pytest.raises(Status, match="revision of auth store is old"):
        await read("reader")


async def test_21681_a_put_in_a_txn_must_not_hang_on_a_lease_with_foreign_keys(users: Users) -> None:
    await users.by("root", "Lease/LeaseGrant", ID=5, TTL=60)
    await users.by("root", "KV/Put", key=b"eoo", lease=5)
    put = rpc.PutRequest(key=b"a1", lease=5)
    await users.refused("owner", errors.PermissionDenied, "KV/Put", key=b"a1", lease=5)
    await users.refused("owner", errors.PermissionDenied, "KV/Txn", success=[rpc.RequestOp(request_put=put)])
    peek = rpc.PutRequest(key=b"a1", prev_kv=True)
    await users.refused("writer", errors.PermissionDenied, "KV/Txn", success=[rpc.RequestOp(request_put=peek)])


# Watches.


async def test_a_watch_is_refused_in_the_words_of_etcd(users: Users) -> None:
    denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    cases = [
        ("reader", b"a1", b"", ""),
        ("reader", b"a", b"b", ""),
        ("reader", b"a", b"c", denied),
        ("writer", b"a1", b"", denied),
        ("one", b"foo", b"", ""),
        ("one", b"foo", b"\0", denied),  # GHSA-xg4h-6gfc-h4m8
        ("one", b"", b"", denied),
        ("root", b"\0", b"\0", ""),
        ("nobody", b"a1", b"", "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"),
        ("forged", b"a1", b"", "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"),
    ]
    users.tokens["forged"] = "abcdefghijklmnop.1"
    for who, key, end, reason in cases:
        stream = users.caller.channel.stream("/etcdserverpb.Watch/Watch", metadata=users.metadata(who))
        create = rpc.WatchCreateRequest(key=key, range_end=end, watch_id=7)
        stream.send(rpc.WatchRequest(create_request=create).SerializeToString())
        message = await stream.receive()
        assert message is not None
        reply = rpc.WatchResponse.FromString(message)
        assert (reply.created, reply.canceled, reply.cancel_reason) == (True, bool(reason), reason), who
        assert reply.watch_id == (-1 if reason else 7)
        stream.cancel()


# Leases.


async def test_leases_are_renewed_and_shown_by_the_keys_they_hold(users: Users) -> None:
    for lease, key in ((1, b"a1"), (2, b"z"), (3, b"")):
        await users.by("owner", "Lease/LeaseGrant", ID=lease, TTL=60)
        if key:
            await users.by("root", "KV/Put", key=key, lease=lease)
    for who, lease, error in (
        ("writer", 1, None),
        ("reader", 1, errors.PermissionDenied),
        ("owner", 2, errors.PermissionDenied),
        ("reader", 3, None),
        ("reader", 99, None),
        ("nobody", 3, errors.UserEmpty),
        ("root", 2, None),
    ):
        stream = users.caller.channel.stream("/etcdserverpb.Lease/LeaseKeepAlive", metadata=users.metadata(who))
        stream.send(rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString())
        if error is None:
            message = await stream.receive()
            assert message is not None
            assert (60 if lease < 99 else 0) == rpc.LeaseKeepAliveResponse.FromString(message).TTL
        else:
            with pytest.raises(Status, match=error.text):
                await stream.receive()
        stream.cancel()
    assert list((await users.by("reader", "Lease/LeaseTimeToLive", ID=1, keys=True)).keys) == [b"a1"]
    await users.refused("reader", errors.PermissionDenied, "Lease/LeaseTimeToLive", ID=2, keys=True)
    assert (await users.by("reader", "Lease/LeaseTimeToLive", ID=2)).grantedTTL == 60
    await users.refused("owner", errors.PermissionDenied, "Lease/LeaseLeases")
    assert len((await users.by("root", "Lease/LeaseLeases")).leases) == 3
    await users.refused("reader", errors.PermissionDenied, "Lease/LeaseRevoke", ID=1)
    await users.by("writer", "Lease/LeaseRevoke", ID=1)
    for path in ("LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases"):
        await users.refused("nobody", errors.UserEmpty, f"Lease/{path}")


async def test_15656_keys_of_a_lease_are_not_told_when_the_table_changes_meanwhile(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    await users.by("owner", "Lease/LeaseGrant", ID=1, TTL=60)
    await users.by("owner", "KV/Put", key=b"a1", lease=1)
    ask = users.server.leases.time_to_live

    async def revoke_meanwhile(*args: Any) -> Any:
        found = await ask(*args)
        await users.by("root", "Auth/RoleRevokePermission", role="owner", key=b"a", range_end=b"b")
        return found

    monkeypatch.setattr(users.server.leases, "time_to_live", revoke_meanwhile)
    await users.refused("owner", errors.AuthOldRevision, "Lease/LeaseTimeToLive", ID=1, keys=True)


async def test_a_lease_runs_out_while_auth_is_on(users: Users) -> None:
    await users.by("owner", "Lease/LeaseGrant", ID=1, TTL=1)
    await users.by("owner", "KV/Put", key=b"a1", lease=1)
    await until(lambda: users.server.store.get(b"a1") is None)
    assert not users.server.lessor.exists(1)


async def test_the_end_of_a_lease_is_proposed_again_when_the_table_changes_under_it(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [Identity("root", 1)]
    root = users.server.auth.root
    monkeypatch.setattr(users.server.auth, "root", lambda: late.pop() if late else root())
    await users.by("owner", "Lease/LeaseGrant", ID=1, TTL=1)
    await users.by("owner", "KV/Put", key=b"a1", lease=1)
    await until(lambda: users.server.store.get(b"a1") is None)
    assert not late


# What is role root's, and what everybody's who is known.


async def test_33413_what_concerns_the_member_is_for_role_root_alone(users: Users) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("KV/Compact", {"revision": 1}),
        ("Maintenance/Alarm", {"action": 1, "alarm": 1}),
        ("Maintenance/Alarm", {"action": 2, "alarm": 1}),
        ("Maintenance/Defragment", {}),
        ("Maintenance/Hash", {}),
        ("Maintenance/HashKV", {}),
        ("Maintenance/MoveLeader", {"targetID": 1}),
        ("Maintenance/Downgrade", {"version": "3.6"}),
        ("Cluster/MemberAdd", {"peerURLs": ["http://127.0.0.1:1"]}),
        ("Cluster/MemberRemove", {"ID": 1}),
        ("Cluster/MemberUpdate", {"ID": 1, "peerURLs": ["http://127.0.0.1:1"]}),
        ("Cluster/MemberPromote", {"ID": 1}),
    ]
    users.tokens["forged"] = "abcdefghijklmnop.1"
    for path, fields in calls:
        await users.refused("owner", errors.PermissionDenied, path, **fields)
        await users.refused("nobody", errors.UserEmpty, path, **fields)
        await users.refused("forged", errors.InvalidAuthToken, path, **fields)
    for path in ("Maintenance/Status", "Maintenance/Alarm", "Cluster/MemberList"):
        await users.by("one", path)
        await users.refused("nobody", errors.UserEmpty, path)
    stream = users.caller.channel.stream("/etcdserverpb.Maintenance/Snapshot", metadata=users.metadata("owner"))
    stream.half_close()
    with pytest.raises(Status):
        await stream.receive()
    assert not users.server.alarms.active()


# Locks and elections.


async def test_locks_and_elections_act_for_their_caller(users: Users) -> None:
    held = await users.by("owner", "Lock/Lock", name=b"a/lock")
    await users.refused("reader", errors.PermissionDenied, "Lock/Lock", name=b"a/lock")
    await users.refused("writer", errors.PermissionDenied, "Lock/Lock", name=b"a/lock")  # must see who is ahead
    await users.refused("nobody", errors.UserEmpty, "Lock/Lock", name=b"a/lock")
    await users.refused("owner", errors.PermissionDenied, "Lock/Lock", name=b"z")
    await users.refused("reader", errors.PermissionDenied, "Lock/Unlock", key=held.key)
    assert len(users.server.store.range(b"\0", b"\0").kvs) == 1
    await users.by("owner", "Lock/Unlock", key=held.key)
    leader = (await users.by("owner", "Election/Campaign", name=b"a/vote", value=b"v")).leader
    assert (await users.by("reader", "Election/Leader", name=b"a/vote")).kv.value == b"v"
    await users.refused("writer", errors.PermissionDenied, "Election/Leader", name=b"a/vote")
    await users.refused("reader", errors.PermissionDenied, "Election/Proclaim", leader=leader, value=b"w")
    await users.by("owner", "Election/Resign", leader=leader)


async def test_who_may_not_see_a_queue_any_more_leaves_it(users: Users) -> None:
    held = await users.by("root", "Lock/Lock", name=b"a/lock")
    waiting = asyncio.create_task(users.by("owner", "Lock/Lock", name=b"a/lock"))
    await until(lambda: len(users.server.store.range(b"a/lock/", b"a/lock0").kvs) == 2)
    await users.by("root", "Auth/UserRevokeRole", name="owner", role="owner")
    await users.by("root", "Lock/Unlock", key=held.key)
    with pytest.raises(Status, match="permission denied"):
        await waiting
    await until(lambda: not users.server.store.range(b"a/lock/", b"a/lock0").kvs)


# Tokens.


async def test_a_token_is_found_where_clients_put_it(users: Users) -> None:
    token = users.tokens["owner"]
    for metadata in (
        (("token", token),),
        (("authorization", token),),
        (("authorization", f"Bearer {token}"),),
        (("token", f"Bearer {token}"),),
        (("token", token), ("authorization", "junk")),
    ):
        await users.call("KV/Put", metadata, key=b"a1")
    for metadata in ((("authorization", f"bearer {token}"),), (("token", ""), ("authorization", token))):
        with pytest.raises(Status, match="invalid auth token"):
            await users.call("KV/Put", metadata, key=b"a1")


async def test_a_token_ends_with_its_time_its_password_and_its_user(users: Users) -> None:
    for change, fields in (
        ("Auth/UserChangePassword", {"name": "owner", "password": "new"}),
        ("Auth/UserDelete", {"name": "reader"}),
    ):
        await users.by("root", change, **fields)
        await users.refused(fields["name"], errors.InvalidAuthToken, "KV/Range", key=b"a1")
    users.tokens["owner"] = await users.login("owner", "new")
    await users.by("root", "Auth/RoleAdd", name="other")  # a simple token outlives other changes
    await users.by("owner", "KV/Put", key=b"a1")
    users.server.auth.tokens.expire(asyncio.get_running_loop().time() + 301)
    await users.refused("owner", errors.InvalidAuthToken, "KV/Put", key=b"a1")
    users.tokens["root"] = await users.login("root")
    await users.by("root", "Auth/AuthDisable")
    await users.by("owner", "KV/Put", key=b"z")  # nobody looks at it
    await users.by("", "Auth/AuthEnable")
    await users.refused("root", errors.InvalidAuthToken, "KV/Put", key=b"a1")


async def test_tokens_that_ran_out_are_swept(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers_module, "SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(users.server.auth.tokens, "_ttl", 0.0)
    users.server.auth.tokens.drop_all()
    await users.login("owner")
    await until(lambda: len(users.server.auth.tokens) == 0)


async def test_a_token_waits_for_the_entry_that_issued_it(users: Users) -> None:
    """Another member has applied it already; this one hears of it in a moment."""
    index = users.server.applied_index + 1
    users.tokens["early"] = f"abcdefghijklmnop.{index}"
    call = asyncio.create_task(users.by("early", "KV/Range", key=b"a1"))
    await until(lambda: bool(users.server.callers._early))
    users.server.auth.tokens.assign(users.tokens["early"], "reader", asyncio.get_running_loop().time())
    await users.by("root", "KV/Put", key=b"any")
    assert (await call).count == 0
    assert not users.server.callers._early


async def test_a_token_from_nowhere_is_waited_for_no_longer_than_a_request(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    users.tokens["late"] = "abcdefghijklmnop.99999999"
    monkeypatch.setattr(type(users.server.config), "request_timeout", 0.2)
    call = asyncio.create_task(users.by("late", "KV/Put", key=b"a1"))
    await until(lambda: bool(users.server.callers._early))
    with pytest.raises(Status, match="invalid auth token"):
        await call
    assert not users.server.callers._early
    monkeypatch.setattr(callers_module, "MAX_EARLY", 0)
    await users.refused("late", errors.InvalidAuthToken, "KV/Put", key=b"a1")


async def test_20941_neither_tokens_nor_passwords_are_logged(users: Users, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    users.tokens["wrong"] = "qwertyuiopasdfgh.3"
    await users.refused("wrong", errors.InvalidAuthToken, "KV/Put", key=b"a1")
    await users.refused("", errors.AuthFailed, "Auth/Authenticate", name="root", password="swordfish")
    await users.by("root", "Auth/UserChangePassword", name="one", password="swordfish")
    await users.login("one", "swordfish")
    assert "invalid auth token" in caplog.text
    for secret in ("qwertyuiopasdfgh", "swordfish", *users.tokens.values()):
        assert secret not in caplog.text
        assert all(secret not in str(record.__dict__) for record in caplog.records)


async def test_28235_the_log_holds_no_password(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    entries: list[bytes] = []

    def keep(kind: str, body: bytes, request_id: int, caller: Identity = NOBODY) -> bytes:
        entries.append(body)
        return encode_request(kind, body, request_id, caller)

    monkeypatch.setattr("quorate.server.agreement.encode_request", keep)
    await users.by("root", "Auth/UserAdd", name="n", password="swordfish", options={"no_password": True})
    await users.by("root", "Auth/UserAdd", name="u", password="swordfish", hashedPassword="swordfish")
    await users.by("root", "Auth/UserChangePassword", name="u", password="swordfish")
    await users.by("root", "Auth/UserChangePassword", name="u", hashedPassword="swordfish")
    await users.refused("", errors.AuthFailed, "Auth/Authenticate", name="u", password="swordfish")
    await users.login("root")
    assert len(entries) == 5
    assert not any(b"swordfish" in entry for entry in entries)


async def test_a_password_that_changes_while_it_is_checked_is_checked_again(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    async def change_meanwhile(name: str, password: str) -> int:
        checked.append(password)
        revision = await check(name, password)
        if len(checked) == 1:
            await users.by("root", "Auth/UserChangePassword", name="one", password="new")
        return revision

    check = users.server.callers._check_password
    monkeypatch.setattr(users.server.callers, "_check_password", change_meanwhile)
    await users.refused("", errors.AuthFailed, "Auth/Authenticate", name="one", password="one")
    assert len(checked) == 2


async def test_a_flood_of_logins_holds_nobody_else_up(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    users.server.callers._cost = 10
    await users.by("root", "Auth/UserChangePassword", name="one", password="one")
    flood = [asyncio.create_task(users.login("one")) for _ in range(20)]
    await until(lambda: users.server.callers._hashing == 20)
    for number in range(20):
        await users.by("owner", "KV/Put", key=b"a%d" % number)
    assert users.server.callers._hashing > 0, "puts did not wait for the logins"
    monkeypatch.setattr(callers_module, "MAX_HASHES", 0)
    await users.refused("", errors.TooManyRequests, "Auth/Authenticate", name="one", password="one")
    for task in flood:
        task.cancel()
    await until(lambda: users.server.callers._hashing == 0)


async def test_a_name_that_no_row_can_have_is_refused(users: Users) -> None:
    for path in ("Auth/UserAdd", "Auth/RoleAdd"):
        await users.refused("root", errors.RequestTooLarge, path, name="x" * 512)
    await users.by("root", "Auth/UserAdd", name="x" * 511)
    await users.refused("root", errors.PasswordTooLong, "Auth/UserAdd", name="long", password="x" * 73)


# Signed tokens.


async def test_a_signed_token_is_stale_after_the_next_change(users: Users) -> None:
    options = TokenOptions("jwt", 60.0, "HS256", b"", b"a secret of this member, thirty-two bytes")
    users.server.callers._signed = SignedTokens(options)
    users.tokens.update({name: await users.login(name) for name in ("root", "owner")})
    assert users.tokens["owner"].count(".") == 2
    await users.by("owner", "KV/Put", key=b"a1")
    await users.by("root", "Auth/RoleAdd", name="other")
    await users.refused("owner", errors.AuthOldRevision, "KV/Put", key=b"a1")
    await users.refused("owner", errors.AuthOldRevision, "KV/Range", key=b"a1")
    await users.by("root", "Auth/RoleAdd", name="another")  # role root's calls look at no revision
    users.tokens["owner"] = await users.login("owner")
    await users.by("owner", "KV/Put", key=b"a1")
    users.tokens["simple"] = "abcdefghijklmnop.3"
    await users.refused("simple", errors.InvalidAuthToken, "KV/Put", key=b"a1")


# Certificates.


@pytest.mark.parametrize(
    ("metadata", "subject", "on", "name"),
    [
        ((), "alice", True, "alice"),
        ((), "alice", False, ""),
        ((), "", True, ""),
        ((("grpcgateway-accept", "*/*"),), "alice", True, ""),
    ],
)
async def test_a_certificate_stands_for_the_user_of_its_common_name(
    users: Users, metadata: tuple[tuple[str, str], ...], subject: str, on: bool, name: str
) -> None:
    door = Door(users.server)
    door._by_certificate = on
    names = (("organizationName", "o"),), (("commonName", "first"),), (("commonName", subject),)
    certificate = {"subject": names, "version": 3}
    context: Any = SimpleNamespace(metadata=Metadata(metadata), extra=lambda key: certificate)
    found = await door.find(context)
    assert found == (Identity(name, users.server.auth.revision) if name else NOBODY)
    context.metadata = Metadata((("token", users.tokens["owner"]), *metadata))
    assert (await door.find(context)).name == "owner"
    context.metadata = Metadata((("token", "junk"),))
    with pytest.raises(errors.InvalidAuthToken):
        await door.find(context)
