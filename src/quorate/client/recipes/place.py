"""A place in a queue: a key that hangs on a session's lease. Who made the key first is ahead.

    prefix/LEASE   create revision 12   holds
    prefix/LEASE   create revision 15   waits for 12 to be deleted
    prefix/LEASE   create revision 19   waits for 15

Programs in other languages keep the same queue: all that counts is what the store says. A place that is deleted and
made again is another place, further back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as pb
from quorate.client import ops
from quorate.client.client import Client
from quorate.client.errors import Closed, EtcdError, SessionLost
from quorate.client.recipes.waiting import Deadline, deletion, in_time
from quorate.client.results import GetResult, KeyValue, TxnResult
from quorate.client.session import Session
from quorate.client.txn import Txn

NOBODY = -1
"""As create revision: no key has it, and not even one that is absent."""
UNCERTAIN = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED})
"""After these nobody knows whether a write was done."""
LEAVE_SECONDS = 1.0
"""How long a caller waits for a place to be given up; after that it goes on without him."""
LEAVE_PAUSE = 0.2
"""Seconds until a place that could not be given up is tried again."""

_leaving: set[asyncio.Task[None]] = set()


class Place:
    """One key of one session. `created` is the create revision of the key, NOBODY while there is none."""

    def __init__(self, client: Client, session: Session, key: bytes) -> None:
        self.key = key
        self.created = NOBODY
        self.value: bytes | None = None
        """What the key held when it was found; None when it was made."""
        self._client = client
        self._session = session

    def is_mine(self) -> pb.Compare:
        """A condition of a transaction: this very place is there. Never true of one that was not taken."""
        return ops.create_revision(self.key) == self.created

    async def join(self, prefix: bytes, value: bytes, deadline: Deadline) -> bool:
        """Take the place at the end of the queue under `prefix`, or find it taken; whether nobody is ahead.

        A caller who goes away meanwhile, or cannot be told, leaves no key behind that this has made. Raises EtcdError.
        """
        first = ops.get(prefix, prefix=True, sort="create", limit=1, keys_only=True)
        put = ops.put(self.key, value, lease=self._session.lease)
        txn = self._client.txn().when(ops.create_revision(self.key) == 0)
        result = await self._take(txn.then(put, first).otherwise(ops.get(self.key), first), deadline)
        ahead = kv_of(result.results[1])
        return ahead is None or ahead.create_revision == self.created

    async def make(self, deadline: Deadline) -> bool:
        """Take the place if nobody has this key. As `join`."""
        put = ops.put(self.key, lease=self._session.lease)
        txn = self._client.txn().when(ops.create_revision(self.key) == 0).then(put)
        return bool(await self._take(txn, deadline))

    async def _take(self, txn: Txn, deadline: Deadline) -> TxnResult:
        """Commit a txn that puts the key if it is not there, and else may get it first."""
        self._session.check()
        had = self.created
        taking = asyncio.ensure_future(self._commit(txn, deadline.left()))
        try:
            return await asyncio.shield(taking)
        except BaseException as error:
            refused = isinstance(error, EtcdError) and error.code not in UNCERTAIN
            if had == NOBODY and not refused:
                await self._go(self._undo(taking))
            raise

    async def _commit(self, txn: Txn, timeout: float | None) -> TxnResult:
        result = await txn.commit(timeout=timeout)
        if result.succeeded:
            self.created, self.value = result.header.revision, None
        elif result.results:
            found = kv_of(result.results[0])
            assert found is not None
            self.created, self.value = found.create_revision, found.value
        return result

    async def turn(self, prefix: bytes, deadline: Deadline) -> None:
        """Return when all keys under `prefix` that were made before this one are gone.

        Raises DeadlineExceeded, SessionLost, EtcdError. Then, and when cancelled, the place is given up.
        """
        try:
            await in_time(self._until_first(prefix), deadline, self._session)
        except BaseException:
            await self.abandon()
            raise

    async def _until_first(self, prefix: bytes) -> None:
        while True:
            before = await self._client.get(
                prefix,
                prefix=True,
                sort="create",
                descending=True,
                limit=1,
                keys_only=True,
                max_create_revision=self.created - 1,
            )
            if before.kv is None:
                break
            await deletion(self._client, before.kv.key, before.header.revision)
        mine = (await self._client.get(self.key, keys_only=True)).kv
        if mine is None or mine.create_revision != self.created:
            raise SessionLost()

    async def leave(self, timeout: float | None = None) -> None:
        """Delete the key, if it is still this place's. Raises EtcdError; the place is then as good as left, for it goes
        with the lease."""
        mine, self.created = self.is_mine(), NOBODY
        await self._client.txn().when(mine).then(ops.delete(self.key)).commit(timeout=timeout)

    async def abandon(self) -> None:
        """Leave in any case: tried until it is done or the session is over. Waits a little for that, raises nothing."""
        mine, self.created = self.is_mine(), NOBODY
        await self._go(self._delete(mine))

    async def _undo(self, taking: asyncio.Future[TxnResult]) -> None:
        await asyncio.wait({taking})
        failed = taking.cancelled() or taking.exception() is not None
        mine = ops.lease(self.key) == self._session.lease if failed else self.is_mine()
        made = failed or taking.result().succeeded  # what was there before has an owner who may still want it
        self.created = NOBODY
        if made:
            await self._delete(mine)

    async def _delete(self, mine: pb.Compare) -> None:
        while True:
            try:
                await self._client.txn().when(mine).then(ops.delete(self.key)).commit()
                return
            except Closed:
                return
            except EtcdError as error:
                if error.code not in UNCERTAIN:
                    return
            if await self._session.lost.wait(LEAVE_PAUSE):
                return

    async def _go(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it to the end, even if the caller has no time."""
        task = asyncio.ensure_future(work)
        _leaving.add(task)
        task.add_done_callback(_leaving.discard)
        await asyncio.wait({task}, timeout=LEAVE_SECONDS)


def kv_of(result: Any) -> KeyValue | None:
    """The first key of an answer within a transaction's."""
    assert isinstance(result, GetResult)
    return result.kv
