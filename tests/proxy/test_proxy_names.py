"""Namespaces, owned keys and registered proxies."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from quorate.api.pb import election_pb2, lock_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.client import Client, EtcdError, ops
from quorate.client.recipes import Election, Lock
from quorate.proxy import leasing
from quorate.transport.grpc import Channel

from proxy_support import Backend, RawWatch, client_of, proxied, serving, until  # isort: skip


async def test_all_keys_are_in_the_namespace_and_nobody_sees_it(backend: Backend, direct: Client) -> None:
    async with proxied(backend.endpoint, namespace="ns/") as proxy, client_of(proxy) as client:
        await direct.put("a", "others")
        await direct.put("ns0", "others")
        async with client.watch("a", prev_kv=True) as watch, client.watch("", prefix=True) as every:
            await client.put("a", "1")
            await client.put("a", "2")
            first, second = await watch.next(5.0), await watch.next(5.0)
            assert first is not None and second is not None and second.prev_kv is not None
            assert (first.key, second.key, second.prev_kv.key) == (b"a", b"a", b"a")
            await direct.put("b", "others")
            await client.put("b", "3")
            assert [(await every.next(5.0)).value for _ in range(3)] == [b"1", b"2", b"3"]  # type: ignore[union-attr]
        assert [kv.key for kv in await client.get("", prefix=True)] == [b"a", b"b"]
        assert [kv.key for kv in await client.get("a", "\0", serializable=True)] == [b"a", b"b"]
        assert (await direct.get("ns/a")).kvs[0].value == b"2"
        done = await client.txn().when(ops.value("a") == "2").then(ops.get("a"), ops.delete("b", prev_kv=True)).commit()
        assert done.succeeded
        lease = await client.grant(60)
        await client.put("l", "", lease=lease.id)
        await direct.put("l", "", lease=lease.id)
        assert (await client.lease_info(lease.id, keys=True)).keys == (b"l",)
        await client.delete("", prefix=True)
        assert sorted(kv.key for kv in await direct.get("", prefix=True)) == [b"a", b"b", b"l", b"ns0"]
        with pytest.raises(EtcdError, match="key is not provided"):
            await client.put("", "x")


async def test_locks_and_elections_of_the_api_are_in_the_namespace(backend: Backend, direct: Client) -> None:
    async with proxied(backend.endpoint, namespace="ns/") as proxy, client_of(proxy) as client:
        channel = Channel("127.0.0.1", proxy.port)
        lease = (await client.grant(60)).id
        request = lock_pb2.LockRequest(name=b"lock", lease=lease).SerializeToString()
        lock = lock_pb2.LockResponse.FromString(await channel.unary("/v3lockpb.Lock/Lock", request))
        assert lock.key == b"lock/%x" % lease
        assert (await direct.get(b"ns/" + lock.key)).kvs and (await client.get(lock.key)).kvs
        unlock = lock_pb2.UnlockRequest(key=lock.key).SerializeToString()
        await channel.unary("/v3lockpb.Lock/Unlock", unlock)
        assert not (await client.get(lock.key)).kvs
        path = "/v3electionpb.Election/"
        campaign = election_pb2.CampaignRequest(name=b"e", lease=lease, value=b"me").SerializeToString()
        won = election_pb2.CampaignResponse.FromString(await channel.unary(path + "Campaign", campaign)).leader
        assert (won.name, won.key) == (b"e", b"e/%x" % lease)
        proclaim = election_pb2.ProclaimRequest(leader=won, value=b"still me").SerializeToString()
        await channel.unary(path + "Proclaim", proclaim)
        ask = election_pb2.LeaderRequest(name=b"e").SerializeToString()
        leader = election_pb2.LeaderResponse.FromString(await channel.unary(path + "Leader", ask))
        assert (leader.kv.key, leader.kv.value) == (won.key, b"still me")
        observe = channel.stream(path + "Observe")
        observe.send(ask)
        observe.half_close()
        seen = election_pb2.LeaderResponse.FromString(await observe.receive() or b"")
        assert seen.kv.key == won.key
        observe.cancel()
        await channel.unary(path + "Resign", election_pb2.ResignRequest(leader=won).SerializeToString())
        assert not (await client.get("e/", prefix=True)).kvs
        await channel.close()


async def test_recipes_of_the_client_work_in_a_namespace(backend: Backend) -> None:
    async with (
        proxied(backend.endpoint, namespace="ns/") as proxy,
        client_of(proxy) as client,
        client.session(10) as session,
    ):
        async with Lock(client, session, "lock"):
            pass
        election = Election(client, session, "election")
        await election.campaign("me")
        assert (await election.leader()).value == b"me"  # type: ignore[union-attr]


async def test_proxies_that_own_keys_read_them_from_memory_and_never_read_what_is_old(backend: Backend) -> None:
    settings = {"leasing_prefix": "leases/"}
    async with (
        proxied(backend.endpoint, **settings) as one,
        proxied(backend.endpoint, **settings) as two,
        client_of(one) as first,
        client_of(two) as second,
    ):
        await first.put("k", "0")
        await first.get("k")
        before = await backend.messages("Range"), await backend.messages("Txn")
        for _ in range(20):
            assert (await first.get("k")).kvs[0].value == b"0"
        assert (await backend.messages("Range"), await backend.messages("Txn")) == before
        for number in range(1, 5):
            writer, reader = (first, second) if number % 2 else (second, first)
            await writer.put("k", str(number))
            assert (await reader.get("k")).kvs[0].value == str(number).encode()
            assert (await writer.get("k")).kvs[0].value == str(number).encode()


async def test_a_proxy_that_lost_the_session_that_owned_keys_owns_them_again(
    backend: Backend, direct: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasing, "TTL", 3)
    async with proxied(backend.endpoint, leasing_prefix="leases/") as proxy, client_of(proxy) as client:
        await client.put("k", "0")
        await client.get("k")
        for lease in await direct.leases():
            await direct.revoke(lease)
        proxy.keep_alives.forget()

        async def from_memory() -> bool:
            await client.get("k")
            before = await backend.messages("Range"), await backend.messages("Txn")
            await client.get("k")
            return (await backend.messages("Range"), await backend.messages("Txn")) == before

        async def owned_anew() -> bool:
            return bool(await direct.leases()) and await from_memory()

        await until(owned_anew)
        await client.put("k", "1")
        assert (await client.get("k")).kvs[0].value == b"1"


async def test_registered_proxies_are_told_as_members_until_they_are_gone(backend: Backend, direct: Client) -> None:
    settings = {"resolver_prefix": "proxies", "resolver_ttl": 2}
    host = socket.gethostname()

    async def told(client: Client) -> set[tuple[str, str]]:
        return {(member.name, url) for member in await client.cluster.members() for url in member.client_urls}

    both = {(host, "one:1"), (host, "two:2")}
    async with proxied(backend.endpoint, advertise_client_url="one:1", **settings) as one, client_of(one) as client:
        async with proxied(backend.endpoint, advertise_client_url="two:2", **settings):
            await until(lambda: _equal(told(client), both))
            value = (await direct.get("proxies/one:1")).kvs[0].value
            assert json.loads(value) == {
                "Op": 0,
                "Addr": "one:1",
                "Metadata": json.dumps({"name": host}, separators=(",", ":")),
            }
        await until(lambda: _equal(told(client), {(host, "one:1")}))

    async def none() -> bool:
        return not (await direct.get("proxies", prefix=True)).kvs

    await until(none)


async def _equal(found: object, wanted: object) -> bool:
    return await found == wanted  # type: ignore[misc]


async def test_a_proxy_that_is_not_registered_is_told_alone_and_one_without_address_tells_of_the_members(
    backend: Backend,
) -> None:
    async with proxied(backend.endpoint, advertise_client_url="here:1") as proxy, client_of(proxy) as client:
        members = await client.cluster.members()
        assert [(member.id, member.client_urls) for member in members] == [(0, ("here:1",))]
    async with proxied(backend.endpoint, advertise_client_url="") as proxy, client_of(proxy) as client:
        (member,) = await client.cluster.members()
        assert member.id and member.peer_urls


async def test_registration_is_in_the_namespace(tmp_path: Path) -> None:
    settings = {"namespace": "ns/", "resolver_prefix": "proxies/", "resolver_ttl": 5, "advertise_client_url": "a:1"}
    async with (
        serving("quorate", tmp_path) as backend,
        proxied(backend.endpoint, **settings),
        Client(backend.endpoint) as direct,
    ):

        async def there() -> bool:
            return bool((await direct.get("ns/proxies/a:1")).kvs)

        await until(there)


async def test_metadata_and_sizes_go_through(backend: Backend) -> None:
    async with proxied(backend.endpoint, max_send_bytes=1000) as proxy, client_of(proxy) as client:
        await client.put("k", "x" * 900)
        with pytest.raises(EtcdError, match=r"trying to send message larger than max \(\d+ vs. 1000\)"):
            await client.put("k", "x" * 1100)
        channel = Channel("127.0.0.1", proxy.port)
        watch = RawWatch(channel, hasleader="true")
        assert (await watch.created(b"k")).created
        status = pb.StatusResponse.FromString(await channel.unary("/etcdserverpb.Maintenance/Status", b""))
        assert status.version
        await channel.close()
