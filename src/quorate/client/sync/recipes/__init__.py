"""The sync twin of quorate.client.recipes, generated from it by tools/gen_sync.py: do not edit."""

from quorate.client.recipes.errors import KeyExists, NoGreaterRevision, TooManyClients
from quorate.client.recipes.kubernetes import Got, Listed, Tried
from quorate.client.recipes.naming import RegistryUpdate, ServiceEndpoint
from quorate.client.recipes.stm import Isolation
from quorate.client.sync.recipes.barrier import Barrier, DoubleBarrier
from quorate.client.sync.recipes.cache import WatchCache
from quorate.client.sync.recipes.election import Election
from quorate.client.sync.recipes.kubernetes import Kubernetes
from quorate.client.sync.recipes.leasing import Leasing
from quorate.client.sync.recipes.lock import Lock
from quorate.client.sync.recipes.mirror import Mirror
from quorate.client.sync.recipes.namespace import Namespace
from quorate.client.sync.recipes.naming import Registry
from quorate.client.sync.recipes.ordering import Ordered
from quorate.client.sync.recipes.queues import PriorityQueue, Queue
from quorate.client.sync.recipes.rwlock import RWHold, RWLock
from quorate.client.sync.recipes.stm import StmTxn, stm

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
