"""The calls that Kubernetes makes of its store, and no others, as etcd's kubernetes package defines them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from quorate.client import ops
from quorate.client.client import Client
from quorate.client.ops import Key, to_bytes
from quorate.client.recipes.place import kv_of
from quorate.client.results import KeyValue
from quorate.pkg.key_prefix import prefix_end


@dataclass(frozen=True, slots=True)
class Got:
    """`revision` is the store's when it was read."""

    kv: KeyValue | None
    revision: int


@dataclass(frozen=True, slots=True)
class Listed:
    """`count` is of all from where the page begins, so more than `kvs` if a limit left some out."""

    kvs: tuple[KeyValue, ...]
    count: int
    revision: int

    @property
    def continuation(self) -> bytes:
        """Where the next page begins; empty when this is the last one."""
        return self.kvs[-1].key + b"\0" if self.kvs and self.count > len(self.kvs) else b""


@dataclass(frozen=True, slots=True)
class Tried:
    """`kv` is the key as it is, when the write did not succeed and that was asked for."""

    succeeded: bool
    revision: int
    kv: KeyValue | None


class Kubernetes:
    """All methods raise EtcdError. A `revision` of 0 is the newest one."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, key: Key, *, revision: int = 0, timeout: float | None = None) -> Got:
        """One key, as it was at `revision`."""
        found = await self._client.get(key, revision=revision, limit=1, timeout=timeout)
        return Got(found.kv, found.header.revision)

    async def list(
        self,
        prefix: Key,
        *,
        limit: int = 0,
        continuation: Key = b"",
        revision: int = 0,
        timeout: float | None = None,
    ) -> Listed:
        """Keys under a prefix, at most `limit` if it is not 0, from `continuation` on.

        Pages of one listing name the revision of the first one.
        """
        end = prefix_end(to_bytes(prefix))
        start = to_bytes(continuation) or to_bytes(prefix)
        found = await self._client.get(start, end, limit=limit, revision=revision, timeout=timeout)
        return Listed(found.kvs, found.count, found.header.revision)

    async def list_all(
        self, prefix: Key, *, limit: int, revision: int = 0, timeout: float | None = None
    ) -> AsyncIterator[KeyValue]:
        """All keys under a prefix, of one revision, read by pages of `limit`. `timeout` is for each page."""
        continuation = b""
        while True:
            page = await self.list(prefix, limit=limit, continuation=continuation, revision=revision, timeout=timeout)
            for kv in page.kvs:
                yield kv
            continuation, revision = page.continuation, revision or page.revision
            if not continuation:
                return

    async def count(self, prefix: Key, timeout: float | None = None) -> int:
        """How many keys there are under a prefix."""
        return (await self._client.get(prefix, prefix=True, count_only=True, timeout=timeout)).count

    async def optimistic_put(
        self,
        key: Key,
        value: Key,
        expected_revision: int,
        *,
        lease: int = 0,
        get_on_failure: bool = False,
        timeout: float | None = None,
    ) -> Tried:
        """Write if the key was last written at `expected_revision`, 0 for one that is not there."""
        return await self._try(key, ops.put(key, value, lease=lease), expected_revision, get_on_failure, timeout)

    async def optimistic_delete(
        self, key: Key, expected_revision: int, *, get_on_failure: bool = False, timeout: float | None = None
    ) -> Tried:
        """Delete if the key was last written at `expected_revision`."""
        return await self._try(key, ops.delete(key), expected_revision, get_on_failure, timeout)

    async def _try(self, key: Key, change: Any, expected: int, get: bool, timeout: float | None) -> Tried:
        txn = self._client.txn().when(ops.mod_revision(key) == expected).then(change)
        if get:
            txn.otherwise(ops.get(key))
        done = await txn.commit(timeout=timeout)
        kv = kv_of(done.results[0]) if get and not done.succeeded else None
        return Tried(done.succeeded, done.header.revision, kv)
