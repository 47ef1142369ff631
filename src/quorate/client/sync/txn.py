"""The sync twin of quorate.client.txn. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from typing import Any

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import txn as _source
from quorate.client.results import TxnResult
from quorate.client.retry import Retry
from quorate.client.sync.base import Twin


class Txn(Twin[_source.Txn]):
    """`when` all of these hold, `then` do this, `otherwise` that; `commit` does it at once, as a whole.

    result = c.txn().when(value("k") == "old").then(put("k", "new")).otherwise(get("k")).commit()"""

    def when(self, *compares: pb.Compare) -> Txn:
        """Add conditions, made of `ops.value`, `ops.version` and so on."""
        return self._self_or(self._inner.when(*compares))

    def then(self, *requests: Any) -> Txn:
        """Add operations, made of `ops.get`, `ops.put`, `ops.delete`, `ops.txn`."""
        return self._self_or(self._inner.then(*requests))

    def otherwise(self, *requests: Any) -> Txn:
        """As `then`, for when a condition does not hold."""
        return self._self_or(self._inner.otherwise(*requests))

    def commit(self, *, timeout: float | None = None, retry: Retry | None = None) -> TxnResult:
        """Raises EtcdError. One that only reads is tried again by itself."""
        return self._portal.run(self._inner.commit(timeout=timeout, retry=retry))
