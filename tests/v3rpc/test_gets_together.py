"""Plain gets that come in one read are answered together, as each would be by itself."""

from __future__ import annotations

import asyncio

import pytest
from v3rpc_support import TIMEOUT, Caller

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.server import Server
from quorate.transport.grpc import Status
from quorate.v3rpc.kv import KV

RANGE = "/etcdserverpb.KV/Range"
KEYS = [b"a", b"b", b"not there", b"deleted", b"a"]


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many gets were answered together, each time; asked for before the member is made."""
    sizes: list[int] = []
    plain = KV.gets

    def gets(kv: KV, bodies: list[bytes], context: object) -> object:
        answer = plain(kv, bodies, context)  # type: ignore[arg-type]
        sizes.append(len(bodies) if answer is not None else 0)
        return answer

    monkeypatch.setattr(KV, "gets", gets)
    return sizes


async def get_all(caller: Caller, requests: list[rpc_pb2.RangeRequest]) -> list[rpc_pb2.RangeResponse]:
    """All at a time, so that they go out in one write; the second time around the server knows their headers."""
    for _ in range(3):
        await caller.channel.unary(RANGE, requests[0].SerializeToString(), timeout=TIMEOUT)
    bodies = await asyncio.gather(
        *(caller.channel.unary(RANGE, request.SerializeToString(), timeout=TIMEOUT) for request in requests)
    )
    return [rpc_pb2.RangeResponse.FromString(body) for body in bodies]


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
    assert {str(outcome) for outcome in outcomes} == {str(Status(errors.UserEmpty.code, errors.UserEmpty.text))}


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
    assert {str(o) for o in outcomes} == {str(Status(errors.AuthOldRevision.code, errors.AuthOldRevision.text))}
