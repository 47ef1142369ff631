"""Keys: each option of each call, transactions, scans, and what is answered when it cannot be."""

from __future__ import annotations

import asyncio
import socket

import pytest

from quorate.api import errors
from quorate.api.errors import Code
from quorate.client import CallError, Client, Closed, Compacted, EtcdError, GetResult, ops
from quorate.client.errors import DeadlineExceeded
from quorate.client.results import DeleteResult, PutResult, TxnResult
from quorate.testing.process import free_port

from client_support import Server, connect  # isort: skip


async def filled(client: Client) -> int:
    """a=3, b=2, c=1 and then a anew; the revision before the last put."""
    for key, value in (("a", "3"), ("b", "2"), ("c", "1")):
        revision = (await client.put(key, value)).header.revision
    await client.put("a", "3")
    return revision


def keys(result: GetResult) -> list[bytes]:
    return [kv.key for kv in result]


async def test_a_key_is_as_it_was_put(client: Client) -> None:
    put = await client.put("ключ", b"\x00\xff")
    got = await client.get("ключ")
    assert got.kv is not None and (got.kv.key, got.value) == ("ключ".encode(), b"\x00\xff")
    assert got.kv.create_revision == got.kv.mod_revision == put.header.revision == got.header.revision
    assert (got.kv.version, got.kv.lease, got.count, got.more, len(got)) == (1, 0, 1, False, 1)


async def test_a_key_that_is_not_there_is_none_and_false(client: Client) -> None:
    got = await client.get("none")
    assert (got.kv, got.value, got.count, list(got), bool(got)) == (None, None, 0, [], False)


async def test_a_range_is_a_key_an_interval_a_prefix_or_all_from_a_key_on(client: Client) -> None:
    for key in ("a", "aa", "ab", "b", b"\xff", b"\xff\xff"):
        await client.put(key)
    assert keys(await client.get("a")) == [b"a"]
    assert keys(await client.get("a", "b")) == [b"a", b"aa", b"ab"]
    assert keys(await client.get("a", prefix=True)) == [b"a", b"aa", b"ab"]
    assert keys(await client.get("ab", ops.FROM_KEY)) == [b"ab", b"b", b"\xff", b"\xff\xff"]
    assert keys(await client.get(b"\xff", prefix=True)) == [b"\xff", b"\xff\xff"]
    assert len(await client.get("", prefix=True)) == 6
    with pytest.raises(ValueError, match="prefix"):
        await client.get("a", "b", prefix=True)


async def test_a_limit_leaves_keys_out_and_says_so(client: Client) -> None:
    await filled(client)
    got = await client.get("", prefix=True, limit=2)
    assert (keys(got), got.more, got.count) == ([b"a", b"b"], True, 3)


@pytest.mark.parametrize(
    ("sort", "order"),
    [("key", b"abc"), ("value", b"cba"), ("create", b"abc"), ("mod", b"bca"), ("version", None)],
)
async def test_keys_come_in_the_order_that_is_asked_for(client: Client, sort: ops.Sort, order: bytes | None) -> None:
    await filled(client)
    up = keys(await client.get("", prefix=True, sort=sort))
    down = keys(await client.get("", prefix=True, sort=sort, descending=True))
    if order is None:  # b and c are equal
        assert up[-1] == down[0] == b"a"
    else:
        assert b"".join(up) == b"".join(reversed(down)) == order


async def test_keys_or_their_number_come_alone(client: Client) -> None:
    await filled(client)
    names = await client.get("", prefix=True, keys_only=True)
    assert (keys(names), [kv.value for kv in names]) == ([b"a", b"b", b"c"], [b"", b"", b""])
    number = await client.get("", prefix=True, count_only=True)
    assert (number.count, list(number), bool(number)) == (3, [], True)


async def test_a_read_is_of_the_revision_that_is_named(client: Client) -> None:
    before = await filled(client)
    old = await client.get("a", revision=before)
    assert old.kv is not None and old.kv.version == 1
    assert (await client.get("a", serializable=True)).kv != old.kv


async def test_keys_are_chosen_by_their_revisions(client: Client) -> None:
    c = await filled(client)
    assert keys(await client.get("", prefix=True, min_mod_revision=c)) == [b"a", b"c"]
    assert keys(await client.get("", prefix=True, max_mod_revision=c)) == [b"b", b"c"]
    assert keys(await client.get("", prefix=True, min_create_revision=c)) == [b"c"]
    assert keys(await client.get("", prefix=True, max_create_revision=c - 1)) == [b"a", b"b"]


async def test_a_put_tells_and_keeps_what_is_asked_for(client: Client) -> None:
    lease = await client.grant(60)
    assert (await client.put("k", "1", lease=lease.id)).prev_kv is None
    told = (await client.put("k", "2", prev_kv=True, ignore_lease=True)).prev_kv
    assert told is not None and told.value == b"1"
    await client.put("k", ignore_value=True)
    kv = (await client.get("k")).kv
    assert kv is not None and (kv.value, kv.lease, kv.version) == (b"2", 0, 3)


async def test_a_delete_counts_and_tells(client: Client) -> None:
    await filled(client)
    assert (await client.delete("none")).deleted == 0
    one = await client.delete("a", prev_kv=True)
    assert (one.deleted, [kv.value for kv in one.prev_kvs]) == (1, [b"3"])
    assert (await client.delete("b", "c")).deleted == 1
    assert (await client.delete("", prefix=True)).deleted == 1


async def test_a_transaction_takes_one_branch_and_answers_each_operation(client: Client) -> None:
    await client.put("k", "old")
    txn = client.txn().when(ops.value("k") == "old", ops.version("l") == 0)
    txn = txn.then(ops.put("k", "new", prev_kv=True), ops.get("k"), ops.delete("none")).otherwise(ops.get("k"))
    done = await txn.commit()
    put, got, deleted = done.results
    assert done and isinstance(put, PutResult) and isinstance(got, GetResult) and isinstance(deleted, DeleteResult)
    assert (put.prev_kv and put.prev_kv.value, got.value, deleted.deleted) == (b"old", b"new", 0)
    again = await txn.commit()
    assert not again and [result.value for result in again.results if isinstance(result, GetResult)] == [b"new"]


async def test_transactions_nest(client: Client) -> None:
    inner = ops.txn([ops.version("k") > 0], [ops.put("in", "1")], [ops.put("in", "2")])
    done = await client.txn().then(ops.txn([], [inner])).commit()
    (outer,) = done.results
    assert isinstance(outer, TxnResult) and isinstance(outer.results[0], TxnResult)
    assert not outer.results[0].succeeded
    assert (await client.get("in")).value == b"2"


async def test_all_that_a_key_has_is_compared(client: Client) -> None:
    lease = await client.grant(60)
    first = (await client.put("k", "m", lease=lease.id)).header.revision
    last = (await client.put("k", "m", lease=lease.id)).header.revision
    right = [
        ops.value("k") == "m",
        ops.value("k") != "n",
        ops.value("k") > "l",
        ops.value("k") < "n",
        ops.version("k") == 2,
        ops.create_revision("k") == first,
        ops.mod_revision("k") == last,
        ops.mod_revision("k") < last + 1,
        ops.lease("k") == lease.id,
        ops.version("", prefix=True) > 0,
        ops.create_revision("none") == 0,
    ]
    assert await client.txn().when(*right).commit()
    wrong = [ops.value("k") == "n", ops.version("k") > 2, ops.lease("k") == 0, ops.create_revision("k") == 0]
    for compare in wrong:
        assert not await client.txn().when(*right, compare).commit()


async def test_what_is_compacted_or_yet_to_come_cannot_be_read(client: Client) -> None:
    await client.put("k", "1")
    now = (await client.put("k", "2")).header.revision
    assert (await client.compact(now, physical=True)).revision >= now
    assert (await client.get("k", revision=now)).value == b"2"
    with pytest.raises(Compacted):
        await client.get("k", revision=now - 1)
    with pytest.raises(errors.FutureRevision):
        await client.get("k", revision=now + 1000)


async def test_an_error_is_of_its_class_with_the_servers_words(client: Client) -> None:
    with pytest.raises(errors.EmptyKey, match="key is not provided") as caught:
        await client.put("")
    assert caught.value.code is Code.INVALID_ARGUMENT
    with pytest.raises(errors.DuplicateKey):
        await client.txn().then(ops.put("k"), ops.put("k")).commit()
    with pytest.raises(errors.LeaseNotFound):
        await client.put("k", lease=404)
    with pytest.raises(TypeError):
        await client.txn().then("put").commit()


async def test_a_scan_gives_all_keys_of_one_revision(client: Client, server: Server) -> None:
    if server.name != "quorate":
        with pytest.raises(CallError) as caught:
            _ = [kv async for kv in client.scan("", prefix=True)]
        assert caught.value.code is Code.UNIMPLEMENTED
        return
    for start in range(0, 1000, 100):
        await client.txn().then(*(ops.put(f"k{n:04}", bytes(1000)) for n in range(start, start + 100))).commit()
    revision = (await client.get("k0000")).header.revision
    await client.delete("k0500")
    scanned = [kv.key async for kv in client.scan("k", prefix=True, revision=revision, keys_only=True)]
    assert scanned == [b"k%04d" % n for n in range(1000)]
    assert len([kv async for kv in client.scan("k0100", "k0200", serializable=True)]) == 100


async def test_a_scan_that_is_dropped_half_way_leaves_the_client_whole(client: Client, server: Server) -> None:
    if server.name != "quorate":
        pytest.skip("etcd 3.5 has no scan")
    for n in range(100):
        await client.put(f"k{n:02}", bytes(1000))
    async for kv in client.scan("k", prefix=True):
        assert kv.key == b"k00"
        break
    assert (await client.get("k", prefix=True, count_only=True)).count == 100


async def test_a_deadline_that_is_over_is_a_time_out(client: Client) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await client.get("k", timeout=0.0)
    assert isinstance(caught.value, TimeoutError)
    assert (await client.get("k")).count == 0


async def test_nobody_there_is_said_in_time(kind: str) -> None:
    async with connect(kind, f"127.0.0.1:{free_port()}", timeout=0.3) as nobody:
        with pytest.raises(EtcdError) as caught:
            await nobody.put("k")
        assert caught.value.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)


async def test_a_closed_client_says_so(client: Client) -> None:
    await client.put("k")
    await client.close()
    with pytest.raises(Closed):
        await client.get("k")
    with pytest.raises(Closed):
        async with client.watch("k"):
            pass
    with pytest.raises(Closed):
        await client.grant(60)
    await client.close()


@pytest.mark.parametrize("login", [{}, {"user": "u", "password": "p"}], ids=["nobody", "user"])
async def test_calls_under_way_hear_that_the_client_is_closed(kind: str, login: dict[str, str]) -> None:
    """Also those that wait for a login that is never answered."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(kind, f"127.0.0.1:{silent.getsockname()[1]}", **login)
        opening = client.watch("k").__aenter__()
        calls = [asyncio.ensure_future(call) for call in (client.put("k"), opening, client.session().open())]
        await asyncio.wait(calls, timeout=0.1)
        await client.close()
        assert [type(error) for error in await asyncio.gather(*calls, return_exceptions=True)] == [Closed] * 3


async def test_what_makes_no_client_is_refused_at_once(kind: str) -> None:
    for endpoints in ("", "ftp://127.0.0.1", "127.0.0.1:port"):
        with pytest.raises(ValueError, match=r"endpoint|port"):
            connect(kind, endpoints)
    with pytest.raises(ValueError, match="password"):
        connect(kind, "127.0.0.1", user="root")
