"""Gets, puts, txns and renewals that come in one read are answered together, as each would be by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.message import Message
from v3rpc_support import TIMEOUT, Caller, until

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.server import Server
from quorate.transport.grpc import Context, Status
from quorate.v3rpc.kv import KV
from quorate.v3rpc.lease import Lease

RANGE, PUT, TXN = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Txn"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
KEYS = [b"a", b"b", b"not there", b"deleted", b"a"]


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many calls were answered together, each time; asked for before the member is made."""
    sizes: list[int] = []

    def watched(plain: Any) -> Any:
        def together(room: object, bodies: list[bytes], context: Context) -> object:
            answer = plain(room, bodies, context)
            sizes.append(len(bodies) if answer is not None else 0)
            return answer

        return together

    for room, name in ((KV, "gets"), (KV, "puts"), (KV, "txns"), (Lease, "keep_alive_together")):
        monkeypatch.setattr(room, name, watched(getattr(room, name)))
    return sizes


async def ask_all(caller: Caller, path: str, requests: Sequence[Message]) -> list[bytes | BaseException]:
    """All at a time, so that they go out in one write. The server knows their headers by then."""
    for _ in range(3):
        with suppress(Status):
            await caller.channel.unary(path, b"\x0a\x00", timeout=TIMEOUT)
    return await asyncio.gather(
        *(caller.channel.unary(path, request.SerializeToString(), timeout=TIMEOUT) for request in requests),
        return_exceptions=True,
    )


def status(error: type[errors.EtcdError]) -> str:
    return str(Status(error.code, error.text))


async def get_all(caller: Caller, requests: list[rpc_pb2.RangeRequest]) -> list[rpc_pb2.RangeResponse]:
    bodies = await ask_all(caller, RANGE, requests)
    return [rpc_pb2.RangeResponse.FromString(body) for body in bodies if isinstance(body, bytes)]


async def fill(caller: Caller) -> None:
    for key in (b"a", b"b", b"deleted"):
        await caller.call("KV/Put", key=key, value=b"value of " + key)
    await caller.call("KV/DeleteRange", key=b"deleted")


@pytest.mark.parametrize("serializable", [False, True])
async def test_they_find_what_each_would_find(together: list[int], caller: Caller, serializable: bool) -> None:
    await fill(caller)
    requests = [rpc_pb2.RangeRequest(key=key, serializable=serializable) for key in KEYS]
    replies = await get_all(caller, requests)
    for key, reply in zip(KEYS, replies, strict=True):
        assert reply == await caller.call("KV/Range", key=key, limit=7)
    assert sum(together) == len(KEYS)


async def test_one_that_is_no_plain_get_has_each_answered_by_itself(together: list[int], caller: Caller) -> None:
    await fill(caller)
    requests = [rpc_pb2.RangeRequest(key=b"a"), rpc_pb2.RangeRequest(key=b"a", range_end=b"c")]
    assert [reply.count for reply in await get_all(caller, requests)] == [1, 2]
    assert together == [0]


async def test_with_auth_each_must_show_who_asks(
    together: list[int], caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [rpc_pb2.RangeRequest(key=key) for key in KEYS]
    await get_all(caller, requests)
    monkeypatch.setattr(caller.server.auth, "enabled", True)
    outcomes = await asyncio.gather(
        *(caller.channel.unary(RANGE, request.SerializeToString(), timeout=TIMEOUT) for request in requests),
        return_exceptions=True,
    )
    assert {str(outcome) for outcome in outcomes} == {status(errors.UserEmpty)}


async def test_they_wait_for_what_was_acknowledged_before(
    together: list[int], caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(caller)
    barrier: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(Server, "is_fresh", lambda server: False)
    monkeypatch.setattr(Server, "read_barrier", lambda server: barrier)
    asyncio.get_running_loop().call_later(0.05, barrier.set_result, None)
    replies = await get_all(caller, [rpc_pb2.RangeRequest(key=key) for key in KEYS])
    assert [reply.count for reply in replies] == [1, 1, 0, 0, 1]
    assert sum(together) == len(KEYS) and barrier.done()


async def test_auth_that_begins_while_they_wait_is_an_answer_too(
    together: list[int], caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(caller)
    requests = [rpc_pb2.RangeRequest(key=key) for key in KEYS]
    await get_all(caller, requests)
    barrier: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(Server, "is_fresh", lambda server: False)
    monkeypatch.setattr(Server, "read_barrier", lambda server: barrier)
    waiting = [
        asyncio.ensure_future(caller.channel.unary(RANGE, request.SerializeToString(), timeout=TIMEOUT))
        for request in requests
    ]
    async with asyncio.timeout(TIMEOUT):
        while len(together) < 2:  # noqa: ASYNC110 - the server tells nobody that they wait
            await asyncio.sleep(0.01)
    monkeypatch.setattr(caller.server.auth, "enabled", True)
    barrier.set_result(None)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(o) for o in outcomes} == {status(errors.AuthOldRevision)}


def put_of(key: bytes, **fields: Any) -> rpc_pb2.PutRequest:
    return rpc_pb2.PutRequest(key=key, value=b"value of " + key, **fields)


async def test_puts_that_come_together_are_writes_of_their_own(together: list[int], caller: Caller) -> None:
    first = (await caller.call("KV/Put", key=b"z")).header.revision
    bodies = await ask_all(caller, PUT, [put_of(b"a"), put_of(b"b"), put_of(b"a", prev_kv=True), put_of(b"c")])
    replies = [rpc_pb2.PutResponse.FromString(body) for body in bodies if isinstance(body, bytes)]
    assert [reply.header.revision - first for reply in replies] == [1, 2, 3, 4]
    assert replies[2].prev_kv.mod_revision == first + 1
    assert together == [4]
    found = await caller.call("KV/Range", key=b"a", range_end=b"d")
    assert [(kv.key, kv.mod_revision - first, kv.version) for kv in found.kvs] == [
        (b"a", 3, 2),
        (b"b", 2, 1),
        (b"c", 4, 1),
    ]


async def test_a_put_that_fails_fails_alone(together: list[int], caller: Caller) -> None:
    outcomes = await ask_all(caller, PUT, [put_of(b"a"), put_of(b"b", lease=77), put_of(b"c")])
    assert str(outcomes[1]) == status(errors.LeaseNotFound)
    assert isinstance(outcomes[0], bytes) and isinstance(outcomes[2], bytes)
    assert together == [3]
    assert (await caller.call("KV/Range", key=b"a", range_end=b"d")).count == 2


@pytest.mark.parametrize(
    ("odd", "error"), [(put_of(b""), errors.EmptyKey), (put_of(b"a", ignore_value=True), errors.ValueProvided)]
)
async def test_a_put_that_is_not_in_order_has_each_handled_by_itself(
    together: list[int], caller: Caller, odd: rpc_pb2.PutRequest, error: type[errors.EtcdError]
) -> None:
    outcomes = await ask_all(caller, PUT, [put_of(b"a"), odd])
    assert isinstance(outcomes[0], bytes) and str(outcomes[1]) == status(error)
    assert together == [0]


async def test_a_put_too_large_is_refused_alone(
    together: list[int], caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask_all(caller, PUT, [])
    server = caller.server
    monkeypatch.setattr(server, "config", replace(server.config, max_request_bytes=200))
    monkeypatch.setattr(KV, "_max_bytes", property(lambda kv: 200), raising=False)
    outcomes = await ask_all(caller, PUT, [put_of(b"b"), rpc_pb2.PutRequest(key=b"a", value=bytes(200))])
    assert isinstance(outcomes[0], bytes) and str(outcomes[1]) == status(errors.RequestTooLarge)
    assert together == [0]


async def test_puts_above_the_quota_are_refused(
    together: list[int], caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask_all(caller, PUT, [])
    monkeypatch.setattr(caller.server.quota, "limit", 1)
    outcomes = await ask_all(caller, PUT, [put_of(b"a"), put_of(b"b")])
    assert {str(outcome) for outcome in outcomes} == {status(errors.NoSpace)}
    assert together == [0]


async def test_txns_that_come_together_see_each_other(together: list[int], caller: Caller) -> None:
    missing = rpc_pb2.Compare(target=rpc_pb2.Compare.CREATE, key=b"a", create_revision=0)
    claim = rpc_pb2.TxnRequest(compare=[missing], success=[rpc_pb2.RequestOp(request_put=put_of(b"a"))])
    bodies = await ask_all(caller, TXN, [claim, claim, claim])
    replies = [rpc_pb2.TxnResponse.FromString(body) for body in bodies if isinstance(body, bytes)]
    assert [reply.succeeded for reply in replies] == [True, False, False]
    assert len({reply.header.revision for reply in replies}) == 1
    assert together == [3]


async def test_txns_that_read_are_not_for_the_log(together: list[int], caller: Caller) -> None:
    write = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put_of(b"a"))])
    read = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"a"))])
    outcomes = await ask_all(caller, TXN, [write, read])
    assert [type(outcome) for outcome in outcomes] == [bytes, bytes] and together == [0]


async def test_writes_whose_callers_have_all_gone_are_made_all_the_same(together: list[int], caller: Caller) -> None:
    await ask_all(caller, PUT, [])
    failed = caller.server.proposals.failed
    asked = [
        asyncio.ensure_future(caller.channel.unary(PUT, put_of(key).SerializeToString(), timeout=TIMEOUT))
        for key in (b"a", b"b")
    ]
    raft = caller.server.raft
    raft._poked = True  # no turns for a while
    await until(lambda: together == [2])
    for each in asked:
        each.cancel()
    await until(lambda: caller.server.proposals.failed == failed + 2)
    assert not caller.server.proposals.pending
    raft._poked = False
    await caller.call("KV/Put", key=b"c")
    assert (await caller.call("KV/Range", key=b"a", range_end=b"c")).count == 2


async def renew_all(caller: Caller, *leases: int) -> list[int]:
    """TTLs, each asked for on a stream of its own, all at a time."""
    bodies = await ask_all(caller, KEEP_ALIVE, [rpc_pb2.LeaseKeepAliveRequest(ID=lease) for lease in leases])
    answers = [rpc_pb2.LeaseKeepAliveResponse.FromString(body) for body in bodies if isinstance(body, bytes)]
    assert [answer.ID for answer in answers] == list(leases)
    return [answer.TTL for answer in answers]


async def test_renewals_on_a_stream_each_are_answered_together(together: list[int], caller: Caller) -> None:
    await caller.grant(7, ttl=60)
    await caller.grant(8, ttl=90)
    [renewed] = [lease for lease in caller.server.lessor.leases() if lease.id == 8]
    before = renewed.expiry
    assert await renew_all(caller, 7, 8, 8) == [60, 90, 90]
    assert together == [3] and renewed.expiry > before


async def test_a_lease_that_is_gone_is_told_by_the_handler(together: list[int], caller: Caller) -> None:
    await caller.grant(7)
    assert await renew_all(caller, 7, 99) == [60, 0]
    assert together == [0]


async def test_a_leader_that_is_not_confirmed_renews_nothing_at_once(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await caller.grant(7)
    leases = caller.server.leases
    assert leases.renew_at_once(7) == 60
    monkeypatch.setattr(leases, "_confirmed_at", float("-inf"))
    monkeypatch.setattr(Server, "is_fresh", lambda server: False)
    assert leases.renew_at_once(7) is None
    monkeypatch.undo()
    assert leases.renew_at_once(7) == 60
    monkeypatch.setattr(Server, "is_leader", property(lambda server: False))
    assert leases.renew_at_once(7) is None
