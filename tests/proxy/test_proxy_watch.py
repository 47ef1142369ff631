"""Watches through the gRPC proxy: many are one at the member, and each is told what a member would tell it."""

from __future__ import annotations

import asyncio

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as pb
from quorate.client import Client, Compacted, PermissionType
from quorate.proxy.gateway import Gateway
from quorate.proxy.proxy import GrpcProxy
from quorate.proxy.remotes import Target
from quorate.transport.grpc import Channel, Status

from proxy_support import Backend, RawWatch, client_of, proxied, turn_auth_on, until  # isort: skip

FIELDS = pb.WatchCreateRequest


async def test_a_hundred_watchers_of_a_key_are_one_watch_at_the_member(
    backend: Backend, channel: Channel, direct: Client
) -> None:
    watches = [RawWatch(channel) for _ in range(10)]
    for watch in watches:
        for _ in range(10):
            await watch.created(b"k")
    await until(lambda: one(backend))
    for number in range(5):
        await direct.put("k", str(number))
    for watch in watches:
        told: dict[int, list[bytes]] = {}
        while sum(map(len, told.values())) < 50:
            answer = await watch.take()
            told.setdefault(answer.watch_id, []).extend(event.kv.value for event in answer.events)
        assert told == {watch_id: [b"0", b"1", b"2", b"3", b"4"] for watch_id in range(10)}
    assert await backend.watchers() == 1


async def one(backend: Backend) -> bool:
    return await backend.watchers() == 1


async def test_a_watch_is_closed_at_the_member_when_its_last_watcher_goes(backend: Backend, channel: Channel) -> None:
    first, second = RawWatch(channel), RawWatch(channel)
    await first.created(b"k")
    await second.created(b"k")
    first.cancel(0)
    answer = await first.take()
    assert answer.canceled and not answer.cancel_reason
    await until(lambda: one(backend))
    second.stream.cancel()

    async def none() -> bool:
        return await backend.watchers() == 0

    await until(none)


async def test_a_watcher_is_not_told_what_was_written_before_it_was_made(
    channel: Channel, client: Client, proxy: GrpcProxy
) -> None:
    first = RawWatch(channel)
    await first.created(b"k")
    for number in range(20):
        written = await client.put("k", f"before {number}")
        late = RawWatch(channel)
        answer = await late.created(b"k")
        assert answer.header.revision >= written.header.revision
        after = await client.put("k", f"after {number}")
        event = (await late.take()).events[0]
        assert (event.kv.value, event.kv.mod_revision) == (f"after {number}".encode(), after.header.revision)
    assert len(proxy.hub.broadcasts) == 1


async def test_a_watcher_from_an_old_revision_is_told_all_and_then_shares_the_watch_of_the_others(
    channel: Channel, client: Client, proxy: GrpcProxy, backend: Backend
) -> None:
    first = (await client.put("k", "0")).header.revision
    for number in range(1, 10):
        await client.put("k", str(number))
    now = RawWatch(channel)
    await now.created(b"k")
    old = [RawWatch(channel) for _ in range(3)]
    for place, watch in enumerate(old):
        await watch.created(b"k", start_revision=first + place)
    await client.put("k", "10")
    for place, watch in enumerate(old):
        assert await watch.values(11 - place) == [str(number).encode() for number in range(place, 11)]
    assert await now.values(1) == [b"10"]
    await until(lambda: len(proxy.hub.broadcasts) == 1)
    await until(lambda: one(backend))
    await client.put("k", "11")
    for watch in (now, *old):
        assert await watch.values(1) == [b"11"]


async def test_a_watcher_of_a_revision_to_come_is_told_of_nothing_before_it(channel: Channel, client: Client) -> None:
    revision = (await client.put("k", "now")).header.revision
    now, later = RawWatch(channel), RawWatch(channel)
    await now.created(b"k")
    await later.created(b"k", start_revision=revision + 3)
    for number in range(1, 5):
        await client.put("k", str(number))
    assert await now.values(4) == [b"1", b"2", b"3", b"4"]
    assert await later.values(2) == [b"3", b"4"]


async def test_filters_and_previous_values_are_those_of_each_watcher(channel: Channel, client: Client) -> None:
    await client.put("k", "0")
    plain, puts, deletes, before = (RawWatch(channel) for _ in range(4))
    await plain.created(b"k")
    await puts.created(b"k", filters=[FIELDS.NODELETE])
    await deletes.created(b"k", filters=[FIELDS.NOPUT])
    await before.created(b"k", prev_kv=True)
    await client.put("k", "1")
    await client.delete("k")
    await client.put("k", "2")

    async def told(watch: RawWatch, count: int) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        while len(found) < count:
            found += [(event.kv.value, event.prev_kv.value) for event in (await watch.take()).events]
        return found

    assert await told(plain, 3) == [(b"1", b""), (b"", b""), (b"2", b"")]
    assert await told(puts, 2) == [(b"1", b""), (b"2", b"")]
    assert await told(deletes, 1) == [(b"", b"")]
    assert await told(before, 3) == [(b"1", b"0"), (b"", b"1"), (b"2", b"")]


async def test_watch_ids_are_the_streams_own(channel: Channel, client: Client) -> None:
    watch = RawWatch(channel)
    assert (await watch.created(b"k", watch_id=7)).watch_id == 7
    assert (await watch.created(b"k")).watch_id == 0
    answer = await watch.created(b"k", watch_id=7)
    assert answer.canceled and answer.cancel_reason == errors.WATCHER_DUPLICATE_ID and answer.watch_id == -1
    answer = await watch.created(b"k", b"a")
    assert answer.canceled and answer.cancel_reason == errors.WATCHER_RANGE_EMPTY
    await client.put("k", "1")
    assert {(await watch.take()).watch_id for _ in range(2)} == {0, 7}


async def test_who_asks_for_progress_is_told_the_revision_up_to_which_it_was_told_everything(
    channel: Channel, client: Client
) -> None:
    watch = RawWatch(channel)
    await watch.created(b"k")
    await watch.created(b"a", b"c")
    await client.put("k", "1")
    assert await watch.values(1) == [b"1"]
    revision = (await client.put("elsewhere", "1")).header.revision
    watch.ask_progress()
    answer = await watch.take()
    assert (answer.watch_id, answer.header.revision, len(answer.events)) == (-1, revision, 0)


async def test_what_is_compacted_ends_the_watch_of_who_wants_it_and_nobody_elses(
    channel: Channel, client: Client
) -> None:
    for number in range(5):
        revision = (await client.put("k", str(number))).header.revision
    await client.compact(revision)
    old, good = RawWatch(channel), RawWatch(channel)
    old.create(b"k", start_revision=1)
    good.create(b"k", start_revision=revision)
    while not (answer := await old.take()).canceled:
        assert answer.created
    assert answer.compact_revision == revision
    assert (await good.take()).created
    assert await good.values(1) == [b"4"]
    try:
        async with client.watch("k", start_revision=1) as watch:
            await watch.next(5.0)
        raise AssertionError("it was not told")
    except Compacted as error:
        assert error.revision == revision


async def test_large_events_come_in_fragments_to_who_wants_them_and_whole_to_the_others(
    channel: Channel, client: Client
) -> None:
    revision = (await client.put("k", "0")).header.revision
    for number in range(5):
        await client.put("k", str(number).encode() * 1_000_000)
    whole, pieces = RawWatch(channel), RawWatch(channel)
    await whole.created(b"k", start_revision=revision + 1)
    await pieces.created(b"k", start_revision=revision + 1, fragment=True)
    assert [value[:1] for value in await whole.values(5)] == [b"0", b"1", b"2", b"3", b"4"]
    found: list[bytes] = []
    largest = 0
    while len(found) < 5:
        answer = await pieces.take()
        largest = max(largest, answer.ByteSize())
        found += [event.kv.value[:1] for event in answer.events]
    assert found == [b"0", b"1", b"2", b"3", b"4"]
    assert largest < 3_000_000


async def test_a_watcher_that_does_not_read_delays_nobody_and_loses_nothing(backend: Backend, direct: Client) -> None:
    async with proxied(backend.endpoint) as proxy, client_of(proxy) as client:
        slow_channel = Channel("127.0.0.1", proxy.port)
        slow = RawWatch(slow_channel)
        await slow.created(b"k")
        value = b"x" * 500_000
        async with client.watch("k") as quick:
            for number in range(60):
                await direct.put("k", b"%d " % number + value)
                event = await quick.next(10.0)
                assert event is not None and event.value.startswith(b"%d " % number)
        found = [value.partition(b" ")[0] for value in await slow.values(60)]
        assert found == [b"%d" % number for number in range(60)]
        await slow_channel.close()


async def test_a_watcher_without_permission_is_refused_though_another_one_watches(
    backend: Backend, proxy: GrpcProxy, channel: Channel, direct: Client
) -> None:
    await turn_auth_on(direct)
    async with client_of(proxy, user="root", password="r") as root, root.watch("k") as watch:
        nobody = RawWatch(channel)
        answer = await nobody.created(b"k")
        assert answer.canceled and answer.cancel_reason, answer
        token = await client_token(channel, "u", "u")
        user = RawWatch(channel, token=token)
        answer = await user.created(b"k")
        assert answer.canceled and "permission denied" in answer.cancel_reason
        await root.put("k", "1")
        event = await watch.next(5.0)
        assert event is not None and event.value == b"1"


async def test_callers_with_different_tokens_share_a_watch_and_one_whose_token_is_void_ends_alone(
    backend: Backend, direct: Client
) -> None:
    host, _, port = backend.endpoint.partition(":")
    way = Gateway("127.0.0.1", 0, [Target(host, int(port))], 60.0)
    await way.start()
    await direct.auth.user_add("v", "v")
    await turn_auth_on(direct)
    async with proxied(f"127.0.0.1:{way.port}") as proxy, client_of(proxy, user="root", password="r") as root:
        await root.auth.user_grant_role("v", "some")
        await root.auth.role_grant("some", PermissionType.READ, "k")
        channel = Channel("127.0.0.1", proxy.port)
        gone = RawWatch(channel, token=await client_token(channel, "u", "u"))
        stays = RawWatch(channel, token=await client_token(channel, "v", "v"))
        await gone.created(b"k")
        await stays.created(b"k")
        assert len(proxy.hub.broadcasts) == 1
        await root.auth.user_delete("u")
        for side in list(way._sides):
            side.abort()
        answer = await gone.take()
        assert answer.canceled and not answer.created and answer.cancel_reason
        await root.put("k", "1")
        assert await stays.values(1) == [b"1"]
        await channel.close()
    await way.stop()


async def client_token(channel: Channel, name: str, password: str) -> str:
    request = pb.AuthenticateRequest(name=name, password=password).SerializeToString()
    answer = await channel.unary("/etcdserverpb.Auth/Authenticate", request)
    return str(pb.AuthenticateResponse.FromString(answer).token)


async def test_streams_end_with_the_proxy(backend: Backend) -> None:
    async with proxied(backend.endpoint) as proxy:
        channel = Channel("127.0.0.1", proxy.port)
        watch = RawWatch(channel)
        await watch.created(b"k")
    try:
        async with asyncio.timeout(5.0):
            assert await watch.stream.receive() is None
    except Status:
        pass
    await channel.close()
