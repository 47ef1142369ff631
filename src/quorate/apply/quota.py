"""The space quota: what a request costs, and whether it still fits.

Costs are etcd's (keys, values and a fixed overhead for each). What is measured is the bytes in use, not the size of the
file: space that deletes and compaction have freed can be written to again, so it counts as free at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.plain_put import PlainPut
from quorate.txn.tree import PUT, TXN, Op, Txn

DEFAULT_QUOTA = 2 * 1024**3
"""Bytes, when the quota is configured as 0."""
KEY_OVERHEAD = 256
"""Bytes a put costs beside its key and value."""
LEASE_COST = 64
"""Bytes a lease costs."""

Costly = rpc.PutRequest | PlainPut | Txn | rpc.LeaseGrantRequest
"""What the quota counts."""


def cost_of(request: Costly) -> int:
    """Bytes that `request` may add to the store; a txn counts its dearer branch."""
    if isinstance(request, (PlainPut, rpc.PutRequest)):
        return KEY_OVERHEAD + len(request.key) + len(request.value)
    if isinstance(request, rpc.LeaseGrantRequest):
        return LEASE_COST
    return max(_cost_of_ops(request.success), _cost_of_ops(request.failure))


def _cost_of_ops(ops: Sequence[Op]) -> int:
    total = 0
    for kind, request in ops:
        if kind == PUT:  # written out again: four calls fewer in a txn of four puts
            total += KEY_OVERHEAD + len(request.key) + len(request.value)
        elif kind == TXN:
            total += cost_of(request)
    return total


class Quota:
    """Whether a request fits in what is left.

    `limit` is in bytes: 0 means the default, a negative one none at all. `bytes_in_use` is asked every time.
    """

    def __init__(self, limit: int, bytes_in_use: Callable[[], int]) -> None:
        self.limit = DEFAULT_QUOTA if limit == 0 else limit
        self._bytes_in_use = bytes_in_use

    def fits(self, cost: int) -> bool:
        return self.limit < 0 or cost == 0 or self._bytes_in_use() + cost < self.limit

    def has_room(self) -> bool:
        """True when enough is free again to take an alarm back: a tenth of the quota, so that it does not flicker."""
        return self.limit < 0 or self._bytes_in_use() < self.limit - self.limit // 10
