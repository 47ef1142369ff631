"""Barriers, as etcd's recipes have them. A barrier is a key that all wait to see deleted. A double barrier has one key
for each who is inside, `<key>/waiters/<nanoseconds>` on the session's lease, and `<key>/ready` once all have come."""

from __future__ import annotations

from quorate.client import ops
from quorate.client.client import Client
from quorate.client.ops import Key, to_bytes
from quorate.client.recipes.errors import KeyExists, TooManyClients
from quorate.client.recipes.keys import unique_key
from quorate.client.recipes.place import NOBODY, Place
from quorate.client.recipes.waiting import Deadline, deletion, in_time, put_under
from quorate.client.session import Session


class Barrier:
    """Closed by one, opened by anyone, waited for by many. It outlives whoever closed it."""

    def __init__(self, client: Client, key: Key) -> None:
        self._client = client
        self.key = to_bytes(key)

    async def hold(self, timeout: float | None = None) -> None:
        """Close it. Raises KeyExists when it is closed, EtcdError."""
        txn = self._client.txn().when(ops.version(self.key) == 0).then(ops.put(self.key))
        if not await txn.commit(timeout=timeout):
            raise KeyExists()

    async def release(self, timeout: float | None = None) -> None:
        """Open it, if it is closed. Raises EtcdError."""
        await self._client.delete(self.key, timeout=timeout)

    async def wait(self, timeout: float | None = None) -> None:
        """Return when it is open. Raises DeadlineExceeded, EtcdError."""
        await in_time(self._wait(), Deadline(timeout))

    async def _wait(self) -> None:
        seen = await self._client.get(self.key, keys_only=True)
        if seen.kv is not None:
            async with self._client.watch(self.key, start_revision=seen.header.revision + 1, without=("put",)) as watch:
                await watch.next()


class DoubleBarrier:
    """Lets nobody in before `count` have come, and nobody out before all have left, or lost their sessions."""

    def __init__(self, client: Client, session: Session, key: Key, count: int) -> None:
        self._client = client
        self._session = session
        self._waiters = to_bytes(key) + b"/waiters"
        self._ready = to_bytes(key) + b"/ready"
        self._count = count
        self._place = Place(client, session, b"")

    @property
    def key(self) -> bytes:
        """The key that stands for this one inside; empty before it came."""
        return self._place.key

    async def enter(self, timeout: float | None = None) -> None:
        """Come, and wait until all have. Raises TooManyClients when they have already, DeadlineExceeded, SessionLost,
        EtcdError; whoever fails or is cancelled has not come."""
        deadline = Deadline(timeout)
        entered = await self._client.get(self._waiters + b"/", prefix=True, count_only=True, timeout=deadline.left())
        if entered.count >= self._count:
            raise TooManyClients()
        self._place = await unique_key(self._client, self._session, self._waiters, deadline)
        try:
            await in_time(self._until_all(), deadline, self._session)
        except BaseException:
            await self._place.abandon()
            raise

    async def _until_all(self) -> None:
        came = self._place.created
        entered = await self._client.get(self._waiters + b"/", prefix=True, sort="create", keys_only=True)
        if len(entered) >= self._count:
            last = entered.kvs[self._count - 1].create_revision
            if came > last:
                raise TooManyClients()
            if came == last:
                await self._client.put(self._ready)
                return
        while await put_under(self._client, self._ready, came) is None:
            if (await self._client.get(self._ready)).kv is not None:
                return

    async def leave(self, timeout: float | None = None) -> None:
        """Go, and wait until all have gone. Raises DeadlineExceeded, SessionLost, EtcdError; then this one has not seen
        all go, and may be called again."""
        await in_time(self._until_none(), Deadline(timeout), self._session)

    async def _until_none(self) -> None:
        while True:
            entered = await self._client.get(self._waiters + b"/", prefix=True, sort="create", keys_only=True)
            if not entered.kvs:
                return
            lowest, highest = entered.kvs[0], entered.kvs[-1]
            first = lowest.key == self._place.key
            if first and len(entered) == 1:
                await self._client.txn().then(ops.delete(self._ready), ops.delete(self._place.key)).commit()
                return
            # The first one goes last, and waits for the last one; all others wait for the first one.
            if not first and self._place.created != NOBODY:
                await self._place.leave()
            await deletion(self._client, highest.key if first else lowest.key, entered.header.revision)
