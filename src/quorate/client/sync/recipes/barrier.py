"""The sync twin of quorate.client.recipes.barrier. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from quorate.client.ops import Key
from quorate.client.recipes import barrier as _source
from quorate.client.sync.base import Twin
from quorate.client.sync.client import Client
from quorate.client.sync.session import Session


class Barrier(Twin[_source.Barrier]):
    """Closed by one, opened by anyone, waited for by many. It outlives whoever closed it."""

    def __init__(self, client: Client, key: Key) -> None:
        self._stand_for(_source.Barrier(client._inner, key), client._portal)

    @property
    def key(self) -> bytes:
        return self._inner.key

    def hold(self, timeout: float | None = None) -> None:
        """Close it. Raises KeyExists when it is closed, EtcdError."""
        self._portal.run(self._inner.hold(timeout))

    def release(self, timeout: float | None = None) -> None:
        """Open it, if it is closed. Raises EtcdError."""
        self._portal.run(self._inner.release(timeout))

    def wait(self, timeout: float | None = None) -> None:
        """Return when it is open. Raises DeadlineExceeded, EtcdError."""
        self._portal.run(self._inner.wait(timeout))


class DoubleBarrier(Twin[_source.DoubleBarrier]):
    """Lets nobody in before `count` have come, and nobody out before all have left, or lost their sessions."""

    def __init__(self, client: Client, session: Session, key: Key, count: int) -> None:
        self._stand_for(_source.DoubleBarrier(client._inner, session._inner, key, count), client._portal)

    @property
    def key(self) -> bytes:
        """The key that stands for this one inside; empty before it came."""
        return self._inner.key

    def enter(self, timeout: float | None = None) -> None:
        """Come, and wait until all have. Raises TooManyClients when they have already, DeadlineExceeded, SessionLost,
        EtcdError; whoever fails or is cancelled has not come."""
        self._portal.run(self._inner.enter(timeout))

    def leave(self, timeout: float | None = None) -> None:
        """Go, and wait until all have gone. Raises DeadlineExceeded, SessionLost, EtcdError; then this one has not seen
        all go, and may be called again."""
        self._portal.run(self._inner.leave(timeout))
