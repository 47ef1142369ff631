"""What programs build of keys, leases and watches, in the layouts of etcd's own client, so that all can share them.

    lock · rwlock · election     barrier · queues · stm     cache · mirror · naming · kubernetes
      place: a key that queues
        waiting                  namespace · ordering · leasing: clients on top of another one

Knows which keys stand for what. Refuses to poll: whoever waits has a watch open.
"""

from quorate.client.recipes.barrier import Barrier, DoubleBarrier
from quorate.client.recipes.cache import WatchCache
from quorate.client.recipes.election import Election
from quorate.client.recipes.errors import KeyExists, NoGreaterRevision, TooManyClients
from quorate.client.recipes.kubernetes import Got, Kubernetes, Listed, Tried
from quorate.client.recipes.leasing import Leasing
from quorate.client.recipes.lock import Lock
from quorate.client.recipes.mirror import Mirror
from quorate.client.recipes.namespace import Namespace
from quorate.client.recipes.naming import Registry, RegistryUpdate, ServiceEndpoint
from quorate.client.recipes.ordering import Ordered
from quorate.client.recipes.queues import PriorityQueue, Queue
from quorate.client.recipes.rwlock import RWHold, RWLock
from quorate.client.recipes.stm import Isolation, StmTxn, stm

__all__ = [
    "Barrier",
    "DoubleBarrier",
    "Election",
    "Got",
    "Isolation",
    "KeyExists",
    "Kubernetes",
    "Leasing",
    "Listed",
    "Lock",
    "Mirror",
    "Namespace",
    "NoGreaterRevision",
    "Ordered",
    "PriorityQueue",
    "Queue",
    "RWHold",
    "RWLock",
    "Registry",
    "RegistryUpdate",
    "ServiceEndpoint",
    "StmTxn",
    "TooManyClients",
    "Tried",
    "WatchCache",
    "stm",
]
