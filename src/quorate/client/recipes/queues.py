"""Queues of values, as etcd's recipes have them: many put, many take, each value is taken once.

    Queue           <prefix>/<nanoseconds>             taken in the order of their revisions
    PriorityQueue   <prefix>/<priority>/<number>       taken in the order of their keys; numbers have 16 digits,
                    __<prefix>/<priority>              and this key is put whenever a number is given

What was taken is deleted: when the call that takes fails with CallError, or is cancelled just then, nobody knows
whether a value was taken and lost. Waiting alone loses none.
"""

from __future__ import annotations

from quorate.client import ops
from quorate.client.client import Client
from quorate.client.ops import Key, Sort, to_bytes
from quorate.client.recipes.keys import put_unique
from quorate.client.recipes.waiting import Deadline, in_time, put_under


async def _take(client: Client, prefix: bytes, sort: Sort, timeout: float | None) -> bytes:
    """The value of the first key under `prefix`, which is deleted; waits for one.

    Raises DeadlineExceeded, EtcdError.
    """
    deadline = Deadline(timeout)
    while True:
        seen = await client.get(prefix, prefix=True, sort=sort, limit=1, timeout=deadline.left() or None)
        if seen.kv is None:
            await in_time(put_under(client, prefix, seen.header.revision), deadline)
            continue
        unchanged = ops.mod_revision(seen.kv.key) == seen.kv.mod_revision
        if await client.txn().when(unchanged).then(ops.delete(seen.kv.key)).commit():
            return seen.kv.value


class Queue:
    """First in, first out."""

    def __init__(self, client: Client, prefix: Key) -> None:
        self._client = client
        self._name = to_bytes(prefix)

    async def enqueue(self, value: Key, timeout: float | None = None) -> bytes:
        """Put a value at the end; its key. Raises EtcdError."""
        return await put_unique(self._client, self._name, to_bytes(value), timeout)

    async def dequeue(self, timeout: float | None = None) -> bytes:
        """Take the first value; waits for one. Raises DeadlineExceeded, EtcdError; see the module."""
        return await _take(self._client, self._name + b"/", "mod", timeout)


class PriorityQueue:
    """Lower numbers first; those of one number first in, first out."""

    def __init__(self, client: Client, prefix: Key) -> None:
        self._client = client
        self._name = to_bytes(prefix)

    async def enqueue(self, value: Key, priority: int, timeout: float | None = None) -> bytes:
        """Put a value behind those of its priority, 0 to 65535; its key. Raises ValueError, EtcdError."""
        if not 0 <= priority < 1 << 16:
            raise ValueError(f"priority {priority} is not from 0 to 65535")
        prefix = b"%s/%05d" % (self._name, priority)
        base = b"__" + prefix
        while True:
            last = await self._client.get(
                prefix + b"/", prefix=True, sort="key", descending=True, limit=1, keys_only=True, timeout=timeout
            )
            number = 0 if last.kv is None else int(last.kv.key.rpartition(b"/")[2]) + 1
            key = b"%s/%016d" % (prefix, number)
            # A number that was given and taken meanwhile would be given twice, were it not for this key.
            nobody_else = ops.mod_revision(base) < last.header.revision + 1
            txn = self._client.txn().when(nobody_else).then(ops.put(base), ops.put(key, value))
            if await txn.commit(timeout=timeout):
                return key

    async def dequeue(self, timeout: float | None = None) -> bytes:
        """Take the first value; waits for one. Raises DeadlineExceeded, EtcdError; see the module."""
        return await _take(self._client, self._name + b"/", "key", timeout)
