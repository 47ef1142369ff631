"""A transaction, said step by step."""

from __future__ import annotations

from typing import Any

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import ops
from quorate.client.results import TxnResult, to_txn
from quorate.client.retry import Retry
from quorate.client.wire import Wire


class Txn:
    """`when` all of these hold, `then` do this, `otherwise` that; `commit` does it at once, as a whole.

    result = await c.txn().when(value("k") == "old").then(put("k", "new")).otherwise(get("k")).commit()
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._compares: list[pb.Compare] = []
        self._then: list[Any] = []
        self._otherwise: list[Any] = []

    def when(self, *compares: pb.Compare) -> Txn:
        """Add conditions, made of `ops.value`, `ops.version` and so on."""
        self._compares += compares
        return self

    def then(self, *requests: Any) -> Txn:
        """Add operations, made of `ops.get`, `ops.put`, `ops.delete`, `ops.txn`."""
        self._then += requests
        return self

    def otherwise(self, *requests: Any) -> Txn:
        """As `then`, for when a condition does not hold."""
        self._otherwise += requests
        return self

    async def commit(self, *, timeout: float | None = None, retry: Retry | None = None) -> TxnResult:
        """Raises EtcdError. One that only reads is tried again by itself."""
        request = ops.txn(self._compares, self._then, self._otherwise)
        return to_txn(await self._wire.call(request, timeout=timeout, retry=retry))
