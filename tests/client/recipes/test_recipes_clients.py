"""Clients on top of a client: a namespace, and reads in order; and the calls of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_kit import PATIENCE, keys

from quorate.api.errors import EmptyKey
from quorate.client import Client, EventType, ops
from quorate.client.recipes import Kubernetes, Lock, Namespace, NoGreaterRevision, Ordered, stm
from quorate.testing.process import MemberProcess


@pytest.fixture
def space(client: Client, prefix: bytes) -> Namespace:
    return Namespace(client, prefix + b"/")


async def test_keys_in_a_namespace_have_its_prefix_and_nobody_inside_sees_it(
    client: Client, space: Namespace, prefix: bytes
) -> None:
    await client.put(prefix + b".", b"before")
    await client.put(prefix + b"0", b"behind")
    for key in (b"a", b"b", b"c"):
        await space.put(key, key)
    assert (await client.get(prefix + b"/a")).value == b"a"
    assert (await space.get("a")).value == b"a"
    assert [kv.key for kv in await space.get("a", "c")] == [b"a", b"b"]
    assert [kv.key for kv in await space.get("b", b"\0")] == [b"b", b"c"]
    assert [kv.key for kv in await space.get("", prefix=True)] == [b"a", b"b", b"c"]
    assert [kv.key for kv in await space.get("b", prefix=True)] == [b"b"]
    assert (await space.get("a", prefix=True, count_only=True)).count == 1
    prev = (await space.put("a", "new", prev_kv=True)).prev_kv
    assert prev is not None and (prev.key, prev.value) == (b"a", b"a")
    gone = await space.delete("b", b"\0", prev_kv=True)
    assert [kv.key for kv in gone.prev_kvs] == [b"b", b"c"]
    assert await keys(client, prefix) == [prefix + b".", prefix + b"0", prefix + b"/a"]


async def test_transactions_leases_and_recipes_work_inside_a_namespace(
    client: Client, space: Namespace, prefix: bytes
) -> None:
    inner = ops.txn([ops.version("n") == 0], [ops.put("n", "x"), ops.get("n")])
    done = (
        await space.txn()
        .when(ops.version("a", "z") == 0, ops.create_revision("k") == 0)
        .then(ops.put("k", "1"), ops.get("", prefix=True), inner, ops.delete("k2", prev_kv=True))
        .commit()
    )
    assert done
    assert [kv.key for kv in done.results[1]] == [b"k"]  # type: ignore[union-attr]
    assert [kv.key for kv in done.results[2].results[1]] == [b"n"]  # type: ignore[union-attr]
    assert sorted(await keys(client, prefix)) == [prefix + b"/k", prefix + b"/n"]
    async with space.session() as session, Lock(space, session, "lock") as lock:
        assert (await keys(client, prefix))[-1] == prefix + b"/" + lock.key
        await client.put(prefix + b"-outside", b"", lease=session.lease)
        assert (await space.lease_info(session.lease, keys=True)).keys == (lock.key,)
    nested = Namespace(space, "sub/")

    async def change(txn: object) -> None:
        txn.put("deep", "x")  # type: ignore[attr-defined]

    await stm(nested, change)
    assert (await client.get(prefix + b"/sub/deep")).value == b"x"


async def test_a_watch_in_a_namespace_tells_bare_keys_and_no_others(
    client: Client, space: Namespace, prefix: bytes
) -> None:
    await space.put("b", "old")
    async with space.watch("a", b"\0", prev_kv=True) as watch, space.watch("", prefix=True) as all_of_it:
        await client.put(prefix + b"0", b"outside")
        await space.put("b", "new")
        await space.delete("b")
        event = await watch.next(PATIENCE)
        assert event is not None and event.prev_kv is not None
        assert (event.key, event.value, event.prev_kv.key, event.prev_kv.value) == (b"b", b"new", b"b", b"old")
        event = await watch.next(PATIENCE)
        assert event is not None and (event.type, event.key) == (EventType.DELETE, b"b")
        assert watch.revision == event.revision
        assert {event.key for event in await all_of_it.batch()} == {b"b"}


async def test_a_namespace_refuses_what_is_no_key(client: Client, space: Namespace) -> None:
    with pytest.raises(EmptyKey):
        await space.put("", "x")
    with pytest.raises(EmptyKey):
        await space.txn().then(ops.delete("")).commit()
    with pytest.raises(ValueError, match="prefix"):
        Namespace(client, "")


@pytest.fixture
def older(tmp_path: Path) -> Iterator[MemberProcess]:
    """A member that has seen nothing."""
    with MemberProcess(tmp_path / "m1.data", flags=("--unsafe-no-fsync",)) as running:
        yield running


async def test_ordered_reads_never_go_back_and_ask_another_member(
    member: MemberProcess, older: MemberProcess, prefix: bytes
) -> None:
    async with Client(member.endpoint) as client:
        for _ in range(3):
            await client.put(prefix, b"x")
    async with Client([member.endpoint, older.endpoint]) as both:
        assert {(await both.get(prefix, serializable=True)).value for _ in range(4)} == {b"x", None}
        ordered = Ordered(both)
        while ordered.revision <= 3:
            await ordered.get(prefix, serializable=True)
        for _ in range(6):
            assert (await ordered.get(prefix, serializable=True)).value == b"x"
            assert (await ordered.txn().then(ops.get(prefix, serializable=True)).commit()).results[0].kvs  # type: ignore[union-attr]
    async with Client(older.endpoint) as behind:
        alone = Ordered(behind)
        alone._ordering.revision = ordered.revision
        with pytest.raises(NoGreaterRevision):
            await alone.get(prefix, serializable=True)


async def test_kubernetes_lists_by_pages_of_one_revision(client: Client, prefix: bytes) -> None:
    store = Kubernetes(client)
    names = [prefix + b"/%d" % number for number in range(5)]
    for name in names:
        assert (await store.optimistic_put(name, "1", 0)).succeeded
    page = await store.list(prefix + b"/", limit=2)
    assert ([kv.key for kv in page.kvs], page.count, page.continuation) == (names[:2], 5, names[1] + b"\0")
    assert (await client.delete(names[4])).deleted == 1
    page = await store.list(prefix + b"/", limit=2, continuation=page.continuation, revision=page.revision)
    assert ([kv.key for kv in page.kvs], page.count) == (names[2:4], 3)
    page = await store.list(prefix + b"/", limit=2, continuation=page.continuation, revision=page.revision - 1)
    assert ([kv.key for kv in page.kvs], page.continuation) == (names[4:], b"")
    assert await store.count(prefix + b"/") == 4
    assert [kv.key async for kv in store.list_all(prefix + b"/", limit=3)] == names[:4]
    got = await store.get(names[0])
    assert got.kv is not None and got.kv.key == names[0]
    assert (await store.get(names[0], revision=got.kv.mod_revision - 1)).kv is None


async def test_kubernetes_writes_only_over_the_revision_it_expects(client: Client, prefix: bytes) -> None:
    store = Kubernetes(client)
    first = await store.optimistic_put(prefix, "1", 0)
    again = await store.optimistic_put(prefix, "2", 0, get_on_failure=True)
    assert (again.succeeded, again.revision) == (False, first.revision)
    assert again.kv is not None and again.kv.value == b"1"
    second = await store.optimistic_put(prefix, "2", first.revision)
    assert second.succeeded and second.kv is None
    refused = await store.optimistic_delete(prefix, first.revision, get_on_failure=True)
    assert not refused.succeeded and refused.kv is not None and refused.kv.value == b"2"
    assert (await store.optimistic_delete(prefix, second.revision)).succeeded
    gone = await store.optimistic_delete(prefix, second.revision, get_on_failure=True)
    assert (gone.succeeded, gone.kv) == (False, None)
