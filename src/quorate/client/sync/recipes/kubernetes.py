"""The sync twin of quorate.client.recipes.kubernetes. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.client.ops import Key
from quorate.client.recipes import kubernetes as _source
from quorate.client.recipes.kubernetes import Got, Listed, Tried
from quorate.client.results import KeyValue
from quorate.client.sync.base import Twin
from quorate.client.sync.client import Client


class Kubernetes(Twin[_source.Kubernetes]):
    """All methods raise EtcdError. A `revision` of 0 is the newest one."""

    def __init__(self, client: Client) -> None:
        self._stand_for(_source.Kubernetes(client._inner), client._portal)

    def get(self, key: Key, *, revision: int = 0, timeout: float | None = None) -> Got:
        """One key, as it was at `revision`."""
        return self._portal.run(self._inner.get(key, revision=revision, timeout=timeout))

    def list(
        self, prefix: Key, *, limit: int = 0, continuation: Key = b"", revision: int = 0, timeout: float | None = None
    ) -> Listed:
        """Keys under a prefix, at most `limit` if it is not 0, from `continuation` on.

        Pages of one listing name the revision of the first one."""
        return self._portal.run(
            self._inner.list(prefix, limit=limit, continuation=continuation, revision=revision, timeout=timeout)
        )

    def list_all(
        self, prefix: Key, *, limit: int, revision: int = 0, timeout: float | None = None
    ) -> Iterator[KeyValue]:
        """All keys under a prefix, of one revision, read by pages of `limit`. `timeout` is for each page."""
        return self._portal.iterate(self._inner.list_all(prefix, limit=limit, revision=revision, timeout=timeout))

    def count(self, prefix: Key, timeout: float | None = None) -> int:
        """How many keys there are under a prefix."""
        return self._portal.run(self._inner.count(prefix, timeout))

    def optimistic_put(
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
        return self._portal.run(
            self._inner.optimistic_put(
                key, value, expected_revision, lease=lease, get_on_failure=get_on_failure, timeout=timeout
            )
        )

    def optimistic_delete(
        self, key: Key, expected_revision: int, *, get_on_failure: bool = False, timeout: float | None = None
    ) -> Tried:
        """Delete if the key was last written at `expected_revision`."""
        return self._portal.run(
            self._inner.optimistic_delete(key, expected_revision, get_on_failure=get_on_failure, timeout=timeout)
        )
