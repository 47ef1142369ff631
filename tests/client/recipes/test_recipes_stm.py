"""Software transactional memory: what each isolation promises under interference."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from quorate.client import Client
from quorate.client.errors import DeadlineExceeded
from quorate.client.recipes import Isolation, StmTxn, stm

CHECKED = [Isolation.SERIALIZABLE_SNAPSHOT, Isolation.SERIALIZABLE, Isolation.REPEATABLE_READS]


@pytest.mark.parametrize("isolation", CHECKED)
async def test_transfers_between_accounts_keep_the_sum(
    client: Client, other: Client, prefix: bytes, isolation: Isolation
) -> None:
    accounts = [prefix + b"-%d" % number for number in range(4)]
    for account in accounts:
        await client.put(account, b"100")

    async def move(through: Client, dice: Random) -> None:
        for _ in range(8):
            source, target = dice.sample(accounts, 2)
            amount = dice.randrange(1, 30)

            async def transfer(
                txn: StmTxn, source: bytes = source, target: bytes = target, amount: int = amount
            ) -> None:
                left = int(await txn.get(source) or 0) - amount
                if left >= 0:
                    txn.put(source, b"%d" % left)
                    txn.put(target, b"%d" % (int(await txn.get(target) or 0) + amount))

            await stm(through, transfer, isolation=isolation)

    await asyncio.gather(*(move(c, Random(n)) for n, c in enumerate((client, client, other, other))))
    left = [int(kv.value) for kv in await client.get(prefix, prefix=True)]
    assert sum(left) == 400 and min(left) >= 0 and left != [100] * 4


def interfering(client: Client, *puts: tuple[bytes, bytes]) -> Callable[[], Awaitable[None]]:
    """Somebody who writes once, however often asked."""
    waiting = list(puts)

    async def interfere() -> None:
        while waiting:
            await client.put(*waiting.pop(0))

    return interfere


@pytest.mark.parametrize("isolation", list(Isolation))
async def test_what_was_read_and_changed_meanwhile_makes_all_but_read_committed_try_again(
    client: Client, other: Client, prefix: bytes, isolation: Isolation
) -> None:
    await client.put(prefix, b"1")
    interfere = interfering(other, (prefix, b"10"))
    attempts = 0

    async def add(txn: StmTxn) -> int:
        nonlocal attempts
        attempts += 1
        value = int(await txn.get(prefix) or 0) + 1
        await interfere()
        assert int(await txn.get(prefix) or 0) == value - 1  # each key is read once
        txn.put(prefix, b"%d" % value)
        return value

    lost = isolation is Isolation.READ_COMMITTED
    assert await stm(client, add, isolation=isolation) == (2 if lost else 11)
    assert attempts == (1 if lost else 2)
    assert (await client.get(prefix)).value == (b"2" if lost else b"11")


@pytest.mark.parametrize("isolation", list(Isolation))
async def test_only_serializable_reads_are_of_one_revision(
    client: Client, other: Client, prefix: bytes, isolation: Isolation
) -> None:
    a, b = prefix + b"a", prefix + b"b"
    await client.put(a, b"old")
    await client.put(b, b"old")
    interfere = interfering(other, (a, b"new"), (b, b"new"))
    pairs = []

    async def read(txn: StmTxn) -> None:
        first = await txn.get(a)
        await interfere()
        pairs.append((first, await txn.get(b)))

    await stm(client, read, isolation=isolation)
    torn = (b"old", b"new") in pairs
    assert torn == (isolation in (Isolation.REPEATABLE_READS, Isolation.READ_COMMITTED))
    assert (pairs[-1] == (b"new", b"new")) == (isolation is not Isolation.READ_COMMITTED)


@pytest.mark.parametrize("isolation", list(Isolation))
async def test_only_a_snapshot_minds_what_it_writes_unread(
    client: Client, other: Client, prefix: bytes, isolation: Isolation
) -> None:
    read, written = prefix + b"r", prefix + b"w"
    interfere = interfering(other, (written, b"theirs"))
    attempts = 0

    async def blind(txn: StmTxn) -> None:
        nonlocal attempts
        attempts += 1
        await txn.get(read)
        await interfere()
        txn.put(written, b"mine")

    await stm(client, blind, isolation=isolation)
    assert attempts == (2 if isolation is Isolation.SERIALIZABLE_SNAPSHOT else 1)
    assert (await client.get(written)).value == b"mine"


async def test_a_transaction_sees_its_own_writes_and_others_see_them_at_once(client: Client, prefix: bytes) -> None:
    a, b = prefix + b"a", prefix + b"b"
    before = (await client.put(a, b"old")).header.revision

    async def change(txn: StmTxn) -> str:
        await txn.fetch([a, b])
        assert (await txn.rev(a), await txn.rev(b)) == (before, 0)
        txn.delete(a)
        txn.put(b, b"new")
        assert (await txn.get(a), await txn.get(b)) == (None, b"new")
        assert (await client.get(b)).kv is None
        return "done"

    assert await stm(client, change) == "done"
    (kv,) = (await client.get(prefix, prefix=True)).kvs
    assert (kv.key, kv.value, kv.mod_revision) == (b, b"new", before + 1)


async def test_a_function_that_raises_writes_nothing(client: Client, prefix: bytes) -> None:
    async def fail(txn: StmTxn) -> None:
        txn.put(prefix, b"x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stm(client, fail)
    assert (await client.get(prefix)).kv is None


async def test_endless_conflicts_end_with_the_deadline(client: Client, other: Client, prefix: bytes) -> None:
    async def disturbed(txn: StmTxn) -> None:
        await txn.get(prefix)
        await other.put(prefix, b"x")
        txn.put(prefix, b"y")

    with pytest.raises(DeadlineExceeded):
        await stm(client, disturbed, timeout=0.3)
    assert (await client.get(prefix)).value == b"x"


async def test_a_snapshot_that_is_compacted_is_taken_anew(client: Client, other: Client, prefix: bytes) -> None:
    a, b = prefix + b"a", prefix + b"b"
    attempts = 0

    async def slow(txn: StmTxn) -> None:
        nonlocal attempts
        attempts += 1
        await txn.get(a)
        if attempts == 1:
            await other.put(prefix, b"x")
            await other.compact((await other.put(prefix, b"x")).header.revision)
        await txn.get(b)
        txn.put(a, b"done")

    await stm(client, slow)
    assert attempts == 2 and (await client.get(a)).value == b"done"
