"""Copying one cluster's keys to another and keeping the copy current, as `etcdctl make-mirror` does.

Each revision of the source becomes one transaction at the destination, in order. What the destination does not get is
the source's revisions, versions and leases: its keys last until the source deletes them.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from quorate.client import ops
from quorate.client.client import Client
from quorate.client.ops import FROM_KEY, Key, to_bytes
from quorate.client.recipes.waiting import Deadline, in_time
from quorate.client.results import Event
from quorate.client.watch import PROGRESS_SECONDS
from quorate.pkg.key_prefix import prefix_end

ASK_SECONDS = 0.2
"""Between two questions how far the source has told everything, while a certain revision is waited for."""
PAGE_KEYS = 1000
"""Keys read by one call."""
MAX_TXN_OPS = 128
"""Of one transaction, as members have it unless they are told otherwise."""


class Mirror:
    """First `copy`, then `follow`. Keys keep their names, unless `dest_prefix` takes the place of the prefix."""

    def __init__(
        self,
        source: Client,
        destination: Client,
        prefix: Key = b"",
        dest_prefix: Key | None = None,
        max_txn_ops: int = MAX_TXN_OPS,
    ) -> None:
        self.revision = 0
        """The last revision of the source that is copied completely."""
        self.count = 0
        """Puts and deletes done at the destination."""
        self._source = source
        self._destination = destination
        self._prefix = to_bytes(prefix)
        self._dest_prefix = self._prefix if dest_prefix is None else to_bytes(dest_prefix)
        self._max_ops = max_txn_ops

    async def copy(self, timeout: float | None = None) -> int:
        """Copy all that is there now, and return how many keys. Raises DeadlineExceeded, EtcdError."""
        return await in_time(self._copy(), Deadline(timeout))

    async def follow(self, until: int = 0, timeout: float | None = None) -> None:
        """Copy each change from `revision` on, until the source's revision `until` is copied; endlessly if it is 0.

        Raises DeadlineExceeded, EtcdError: Compacted when changes are gone that were not copied.
        """
        await in_time(self._follow(until), Deadline(timeout))

    async def _copy(self) -> int:
        start, end = self._prefix or FROM_KEY, prefix_end(self._prefix)
        revision = copied = 0
        while True:
            page = await self._source.get(start, end, limit=PAGE_KEYS, revision=revision)
            revision = revision or page.header.revision
            await self._do([ops.put(self._there(kv.key), kv.value) for kv in page])
            copied += len(page)
            if not page.more:
                self.revision = revision
                return copied
            start = page.kvs[-1].key + b"\0"

    async def _follow(self, until: int) -> None:
        if until and self.revision >= until:
            return
        seconds = ASK_SECONDS if until else PROGRESS_SECONDS
        async with self._source.watch(
            self._prefix, prefix=True, start_revision=self.revision + 1, progress_seconds=seconds
        ) as watch:
            while not until or self.revision < until:
                for revision, events in groupby(await watch.batch(), lambda event: event.revision):
                    await self._do([self._change(event) for event in events])
                    self.revision = revision
                self.revision = max(self.revision, watch.revision)

    async def _do(self, changes: list[Any]) -> None:
        for start in range(0, len(changes), self._max_ops):
            part = changes[start : start + self._max_ops]
            await self._destination.txn().then(*part).commit()
            self.count += len(part)

    def _change(self, event: Event) -> Any:
        key = self._there(event.key)
        return ops.put(key, event.value) if event.is_put else ops.delete(key)

    def _there(self, key: bytes) -> bytes:
        return self._dest_prefix + key[len(self._prefix) :]
