"""The client for programs without an event loop: the names of `quorate.client`, without `await`.

    with quorate.client.sync.connect("host:2379,host:2379") as c:
        c.put("greeting", "hello")
        print(c.get("greeting").value)

        client watch session ...    generated from the asyncio client by tools/gen_sync.py
          │
        portal                      one thread with one loop, for all clients of the process
          │
        quorate.client

Any thread may use a client, and many at once; one thread at a time may take from a watch or an iterator. In a coroutine
these calls hold its loop up: use `quorate.client` there. Callbacks are called by the thread that waits.
"""

from quorate.client import ops
from quorate.client.errors import CallError, Closed, Compacted, EtcdError, SessionLost, SnapshotDamaged
from quorate.client.results import Event, EventType, GetResult, KeyValue, Member, PermissionType
from quorate.client.retry import Retry
from quorate.client.sync.client import Client
from quorate.client.sync.leases import Lease
from quorate.client.sync.session import Session
from quorate.client.sync.txn import Txn
from quorate.client.sync.watch import Watch
from quorate.client.tls import Tls

connect = Client

__all__ = [
    "CallError",
    "Client",
    "Closed",
    "Compacted",
    "EtcdError",
    "Event",
    "EventType",
    "GetResult",
    "KeyValue",
    "Lease",
    "Member",
    "PermissionType",
    "Retry",
    "Session",
    "SessionLost",
    "SnapshotDamaged",
    "Tls",
    "Txn",
    "Watch",
    "connect",
    "ops",
]
