"""What programs build of keys, leases and watches, in the layouts of etcd's own client, so that all can share them.

    lock · rwlock · election     barrier · queues     stm
      place: a key that queues
      keys · waiting

Knows which keys stand for what. Refuses to poll: whoever waits has a watch open.
"""

from quorate.client.recipes.barrier import Barrier, DoubleBarrier
from quorate.client.recipes.election import Election
from quorate.client.recipes.errors import KeyExists, TooManyClients
from quorate.client.recipes.lock import Lock
from quorate.client.recipes.queues import PriorityQueue, Queue
from quorate.client.recipes.rwlock import RWHold, RWLock
from quorate.client.recipes.stm import Isolation, StmTxn, stm

__all__ = [
    "Barrier",
    "DoubleBarrier",
    "Election",
    "Isolation",
    "KeyExists",
    "Lock",
    "PriorityQueue",
    "Queue",
    "RWHold",
    "RWLock",
    "StmTxn",
    "TooManyClients",
    "stm",
]
