"""A client of etcd's, for asyncio. `quorate.client.sync` has the same names for programs without a loop.

    async with quorate.connect("host:2379,host:2379") as c:
        await c.put("greeting", "hello")
        print((await c.get("greeting")).value)

        client    one object for the whole API
        watch     a watch that goes on         session   a lease that is kept alive
        txn ops   requests and conditions      results   what is answered
          │
        wire      which member, which token, when to try again
          │
    transport.grpc

Knows how to ask, and what a caller may rely on. Refuses to know how members decide.
"""

from quorate.client import ops
from quorate.client.client import Client
from quorate.client.errors import CallError, Closed, Compacted, EtcdError, SessionLost, SnapshotDamaged
from quorate.client.leases import Lease
from quorate.client.results import Event, EventType, GetResult, KeyValue, Member, PermissionType
from quorate.client.retry import Retry
from quorate.client.session import Session
from quorate.client.tls import Tls
from quorate.client.txn import Txn
from quorate.client.watch import Watch

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
