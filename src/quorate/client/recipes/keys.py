"""New keys of a name that nobody else has: `<prefix>/<nanoseconds since 1970>`, as etcd's recipes name them."""

from __future__ import annotations

import time

from quorate.client import ops
from quorate.client.client import Client
from quorate.client.recipes.place import Place
from quorate.client.recipes.waiting import Deadline
from quorate.client.session import Session


def unique_name(prefix: bytes) -> bytes:
    """Very likely nobody else's."""
    return b"%s/%d" % (prefix, time.time_ns())


async def unique_key(client: Client, session: Session, prefix: bytes, deadline: Deadline) -> Place:
    """A new key under `prefix` that hangs on the session's lease. Raises DeadlineExceeded, SessionLost, EtcdError."""
    while True:
        place = Place(client, session, unique_name(prefix))
        if await place.make(deadline):
            return place


async def put_unique(client: Client, prefix: bytes, value: bytes, timeout: float | None) -> bytes:
    """A new key under `prefix` that lasts; its name. Raises EtcdError."""
    while True:
        key = unique_name(prefix)
        txn = client.txn().when(ops.version(key) == 0).then(ops.put(key, value))
        if await txn.commit(timeout=timeout):
            return key
