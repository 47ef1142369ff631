"""The sync twin of quorate.client.recipes.mirror. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from quorate.client.ops import Key
from quorate.client.recipes import mirror as _source
from quorate.client.recipes.mirror import MAX_TXN_OPS
from quorate.client.sync.base import Twin
from quorate.client.sync.client import Client


class Mirror(Twin[_source.Mirror]):
    """First `copy`, then `follow`. Keys keep their names, unless `dest_prefix` takes the place of the prefix."""

    def __init__(
        self,
        source: Client,
        destination: Client,
        prefix: Key = b"",
        dest_prefix: Key | None = None,
        max_txn_ops: int = MAX_TXN_OPS,
    ) -> None:
        self._stand_for(
            _source.Mirror(source._inner, destination._inner, prefix, dest_prefix, max_txn_ops), source._portal
        )

    @property
    def revision(self) -> int:
        """The last revision of the source that is copied completely."""
        return self._inner.revision

    @property
    def count(self) -> int:
        """Puts and deletes done at the destination."""
        return self._inner.count

    def copy(self, timeout: float | None = None) -> int:
        """Copy all that is there now, and return how many keys. Raises DeadlineExceeded, EtcdError."""
        return self._portal.run(self._inner.copy(timeout))

    def follow(self, until: int = 0, timeout: float | None = None) -> None:
        """Copy each change from `revision` on, until the source's revision `until` is copied; endlessly if it is 0.

        Raises DeadlineExceeded, EtcdError: Compacted when changes are gone that were not copied."""
        self._portal.run(self._inner.follow(until, timeout))
