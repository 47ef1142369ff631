"""The sync twin of quorate.client.recipes.naming. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quorate.client.ops import Key
from quorate.client.recipes import naming as _source
from quorate.client.recipes.naming import RegistryUpdate, ServiceEndpoint
from quorate.client.sync.base import Twin
from quorate.client.sync.client import Client


class Registry(Twin[_source.Registry]):
    """The endpoints of one target. Keys are whole: they begin with the target and a slash."""

    def __init__(self, client: Client, target: Key) -> None:
        """Raises ValueError for an empty target."""
        self._stand_for(_source.Registry(client._inner, target), client._portal)

    def add(self, key: Key, endpoint: ServiceEndpoint, *, lease: int = 0, timeout: float | None = None) -> None:
        """Add or change one. With a lease it goes when its service dies. Raises ValueError, EtcdError."""
        self._portal.run(self._inner.add(key, endpoint, lease=lease, timeout=timeout))

    def delete(self, key: Key, timeout: float | None = None) -> None:
        """Raises ValueError, EtcdError."""
        self._portal.run(self._inner.delete(key, timeout))

    def update(self, updates: Iterable[RegistryUpdate], *, lease: int = 0, timeout: float | None = None) -> None:
        """Several at once. Raises ValueError, EtcdError."""
        self._portal.run(self._inner.update(updates, lease=lease, timeout=timeout))

    def list(self, timeout: float | None = None) -> dict[bytes, ServiceEndpoint]:
        """All by their keys; what is no endpoint is left out. Raises EtcdError."""
        return self._portal.run(self._inner.list(timeout))

    def watch(self, timeout: float | None = None) -> Iterator[tuple[RegistryUpdate, ...]]:
        """First all that are there, even if none are; then what changes, together what was changed together.

        With a `timeout`, DeadlineExceeded is raised when nothing changes for so many seconds. Raises EtcdError."""
        return self._portal.iterate(self._inner.watch(timeout))
