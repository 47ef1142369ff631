"""A lock with fencing: what a holder does after it has lost the lock without noticing is refused.

    python -m quorate.testing -- python examples/lock_fencing.py

No lock that is lent for a time can stop a holder that stands still and goes on later. So the holder shows its token,
which grows from holder to holder, and the storage refuses a smaller one than it has seen. Where the storage is etcd
itself, a transaction with `lock.is_owner()` does the same.
"""

import asyncio
import os

import quorate
from quorate.client import ops
from quorate.client.recipes import Lock


class Storage:
    """Any service outside of etcd that remembers one number."""

    def __init__(self) -> None:
        self._highest = 0

    def write(self, who: str, token: int) -> None:
        if token < self._highest:
            print(f"storage refuses {who}")
            return
        self._highest = token
        print(f"storage takes from {who}")


async def main() -> None:
    storage = Storage()
    endpoints = os.environ.get("ETCDCTL_ENDPOINTS", "127.0.0.1:2379")
    async with quorate.connect(endpoints) as client, client.session(ttl=5) as slow, client.session(ttl=5) as quick:
        first, second = Lock(client, slow, "locks/report"), Lock(client, quick, "locks/report")
        await first.acquire()
        token = first.token
        storage.write("slow", token)
        waiting = asyncio.create_task(second.acquire())
        await client.revoke(slow.lease)  # as if it had stood still for longer than its lease
        await waiting
        storage.write("quick", second.token)
        storage.write("slow", token)  # it does not know yet
        done = await client.txn().when(first.is_owner()).then(ops.put("report", "slow's")).commit()
        print(f"etcd takes from slow: {done.succeeded}")
        done = await client.txn().when(second.is_owner()).then(ops.put("report", "quick's")).commit()
        print(f"etcd takes from quick: {done.succeeded}")
        await second.release()


asyncio.run(main())
