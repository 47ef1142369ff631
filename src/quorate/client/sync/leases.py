"""The sync twin of quorate.client.leases. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from quorate.client import leases as _source
from quorate.client.results import LeaseInfo
from quorate.client.sync.base import Twin


class Lease(Twin[_source.Lease]):
    """A lease of this cluster; it ends when nobody renews it for `ttl` seconds. `session` renews by itself."""

    @property
    def id(self) -> int:
        return self._inner.id

    @property
    def ttl(self) -> int:
        return self._inner.ttl

    def renew(self, timeout: float | None = None) -> int:
        """Begin its time anew; its TTL. Raises LeaseNotFound."""
        return self._portal.run(self._inner.renew(timeout))

    def info(self, *, keys: bool = False, timeout: float | None = None) -> LeaseInfo:
        """The time left, and what is attached to it."""
        return self._portal.run(self._inner.info(keys=keys, timeout=timeout))

    def revoke(self, timeout: float | None = None) -> None:
        """End it, and with it all keys attached to it. Raises LeaseNotFound."""
        self._portal.run(self._inner.revoke(timeout))
