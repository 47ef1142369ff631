"""Keys that a client owns: read from memory, and yet never old."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from client_kit import PATIENCE, SHORT, keys, queued

from quorate.client import Client, ops
from quorate.client.errors import DeadlineExceeded
from quorate.client.recipes import Leasing
from quorate.testing.process import MemberProcess, free_port, real_binary


@asynccontextmanager
async def owning(client: Client, prefix: bytes, ttl: int = 60) -> AsyncIterator[Leasing]:
    async with client.session(ttl=ttl) as session, Leasing(client, session, prefix + b"-own/") as leasing:
        yield leasing


@pytest.fixture
def calls(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `client` asks the member."""
    made: list[Any] = []
    call = client._wire.call

    async def counted(request: Any, **how: Any) -> Any:
        made.append(request)
        return await call(request, **how)

    monkeypatch.setattr(client._wire, "call", counted)
    return made


async def test_what_is_owned_is_read_without_asking(client: Client, prefix: bytes, calls: list[Any]) -> None:
    async with owning(client, prefix) as leasing:
        first = await leasing.get(prefix)
        assert first.kv is None
        (mark,) = (await client.get(prefix + b"-own/", prefix=True)).kvs
        assert (mark.key, mark.value, mark.lease > 0) == (prefix + b"-own/" + prefix, b"", True)
        before = len(calls)
        assert [(await leasing.get(prefix)).kv for _ in range(5)] == [None] * 5
        assert len(calls) == before
        await leasing.put(prefix, b"1")
        assert (await leasing.get(prefix)).value == b"1"
        before = len(calls)
        assert (await leasing.get(prefix)).value == b"1"
        assert len(calls) == before
        assert (await leasing.get(prefix, keys_only=True)).kvs[0].value == b""
    assert await keys(client, prefix + b"-own/") == []


async def test_who_writes_has_the_owner_let_go_first(client: Client, other: Client, prefix: bytes) -> None:
    async with owning(client, prefix) as mine, owning(other, prefix) as yours:
        for number in range(3):
            await mine.get(prefix)
            await yours.put(prefix, b"%d" % number)
            assert (await mine.get(prefix)).value == b"%d" % number
        await yours.get(prefix + b"x")
        await mine.get(prefix + b"y")
        done = (
            await mine.txn()
            .when(ops.version(prefix) == 3)
            .then(ops.put(prefix + b"x", b"t"), ops.put(prefix + b"y", b"t"), ops.get(prefix))
            .commit()
        )
        assert done and done.results[2].kvs[0].value == b"2"  # type: ignore[union-attr]
        assert (await yours.get(prefix + b"x")).value == (await mine.get(prefix + b"y")).value == b"t"
        assert (await yours.delete(prefix, prefix=True)).deleted == 3
        assert (await mine.get(prefix + b"y")).kv is None


async def test_keys_on_a_lease_are_not_owned(client: Client, other: Client, prefix: bytes) -> None:
    async with owning(client, prefix) as leasing:
        lease = await client.grant(60)
        await leasing.get(prefix)
        await leasing.put(prefix, b"x", lease=lease.id)
        assert (await leasing.get(prefix)).value == b"x"
        await other.revoke(lease.id)
        assert (await leasing.get(prefix)).kv is None


async def test_a_writer_waits_for_an_owner_who_is_away_until_its_lease_ends(
    client: Client, other: Client, prefix: bytes
) -> None:
    async with client.session(ttl=2) as session, owning(other, prefix) as yours:
        mine = Leasing(client, session, prefix + b"-own/")
        async with mine:
            await mine.put(prefix, b"old")
            await mine.get(prefix)
            await mine._owner.close()
            with pytest.raises(DeadlineExceeded):
                await yours.put(prefix, b"new", timeout=SHORT)
            await session.orphan()
            await yours.put(prefix, b"new", timeout=PATIENCE)
            assert (await mine.get(prefix)).value == b"new"


async def test_a_session_that_is_lost_owns_nothing(client: Client, other: Client, prefix: bytes) -> None:
    async with client.session(ttl=600) as session, Leasing(client, session, prefix + b"-own/") as leasing:
        assert (await leasing.get(prefix)).kv is None
        await session.orphan()
        await other.put(prefix, b"x")
        assert (await leasing.get(prefix)).value == b"x"
        await leasing.put(prefix, b"y")
        assert (await leasing.get(prefix)).value == b"y"


async def test_an_answer_that_is_late_does_not_take_the_place_of_what_was_written_meanwhile(
    client: Client, prefix: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = client._wire.call
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def late(request: Any, **how: Any) -> Any:
        monkeypatch.setattr(client._wire, "call", call)
        answer = await call(request, **how)
        asked.set()
        await go_on.wait()
        return answer

    async with owning(client, prefix) as leasing:
        await leasing.get(prefix)
        await leasing.put(prefix, b"old")  # still owned, but to be asked for
        monkeypatch.setattr(client._wire, "call", late)
        reading = asyncio.create_task(leasing.get(prefix))
        await asked.wait()
        writing = asyncio.create_task(leasing.put(prefix, b"new"))
        await asyncio.wait({writing}, timeout=SHORT)
        go_on.set()
        await asyncio.gather(reading, writing)
        assert (await leasing.get(prefix)).value == b"new"


@pytest.mark.parametrize("seed", range(3))
async def test_no_read_is_older_than_a_write_that_ended_before_it(
    client: Client, other: Client, prefix: bytes, seed: int
) -> None:
    dice = Random(seed)
    names = [prefix + b"/%d" % number for number in range(2)]
    written = dict.fromkeys(names, 0)
    lock = {name: asyncio.Lock() for name in names}

    async def work(through: Leasing) -> None:
        for _ in range(25):
            name = dice.choice(names)
            if dice.random() < 0.7:
                at_least = written[name]
                assert int((await through.get(name)).value or 0) >= at_least
                continue
            async with lock[name]:
                value = written[name] + 1
                await through.put(name, b"%d" % value)
                written[name] = value

    async with owning(client, prefix) as a, owning(other, prefix) as b, owning(other, prefix) as c:
        for each in (a, b, c):
            each._owner.backoff = 0.0
        await asyncio.gather(*(work(each) for each in (a, a, b, c)))
        for name in names:
            assert int((await a.get(name)).value or 0) == written[name]


@pytest.fixture
def proxy(member: MemberProcess, prefix: bytes) -> Iterator[str]:
    """The address of etcd's own proxy, which owns what it reads."""
    binary = real_binary("etcd")
    if binary is None:
        pytest.skip("no real etcd here")
    address = f"127.0.0.1:{free_port()}"
    own = f"--experimental-leasing-prefix={prefix.decode()}-own/"
    argv = [str(binary), "grpc-proxy", "start", f"--endpoints={member.endpoint}", f"--listen-addr={address}", own]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.real
async def test_the_owner_may_be_etcds_own_proxy(client: Client, proxy: str, prefix: bytes) -> None:
    deadline = time.monotonic() + PATIENCE
    async with Client(proxy, timeout=PATIENCE) as theirs, owning(client, prefix) as mine:
        await mine.put(prefix, b"0")
        assert (await theirs.get(prefix)).value == b"0"
        await queued(client, prefix + b"-own/", 1)
        (mark,) = (await client.get(prefix + b"-own/", prefix=True)).kvs
        assert mark.key == prefix + b"-own/" + prefix
        await mine.put(prefix, b"1")
        assert (await theirs.get(prefix)).value == b"1"
        await mine.get(prefix + b"x")
        await theirs.put(prefix + b"x", b"2")
        assert (await mine.get(prefix + b"x")).value == b"2"
    assert time.monotonic() < deadline
