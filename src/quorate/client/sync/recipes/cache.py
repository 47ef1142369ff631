"""The sync twin of quorate.client.recipes.cache. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from quorate.client.ops import Key
from quorate.client.recipes import cache as _source
from quorate.client.results import KeyValue
from quorate.client.sync.base import Twin
from quorate.client.sync.client import Client


class WatchCache(Twin[_source.WatchCache]):
    """`with` loads it and keeps it current. Reading raises EtcdError once it cannot be kept current any more."""

    def __init__(self, client: Client, prefix: Key) -> None:
        self._stand_for(_source.WatchCache(client._inner, prefix), client._portal)

    @property
    def revision(self) -> int:
        """The revision of the store that this is the copy of; 0 before it is open."""
        return self._inner.revision

    def __enter__(self) -> WatchCache:
        """Raises EtcdError."""
        self._portal.run(self._inner.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.run(self._inner.__aexit__(kind, error, trace))

    def close(self) -> None:
        """Follow no longer."""
        self._portal.run(self._inner.close())

    def get(self, key: Key) -> KeyValue | None:
        """One key; None when it was not there at `revision`."""
        return self._inner.get(key)

    def kvs(self) -> list[KeyValue]:
        """All keys, in their order."""
        return self._inner.kvs()

    def __contains__(self, key: Key) -> bool:
        return self._inner.__contains__(key)

    def __iter__(self) -> Iterator[KeyValue]:
        return self._inner.__iter__()

    def __len__(self) -> int:
        return self._inner.__len__()

    def wait_synced(self, revision: int, timeout: float | None = None) -> None:
        """Return when this is the copy of that revision or a later one. Raises DeadlineExceeded, EtcdError."""
        self._portal.run(self._inner.wait_synced(revision, timeout))
