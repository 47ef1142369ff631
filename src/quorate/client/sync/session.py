"""The sync twin of quorate.client.session. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from types import TracebackType

from quorate.client import session as _source
from quorate.client.errors import EtcdError
from quorate.client.sync.base import Twin


class Lost(Twin[_source.Lost]):
    """Whether a session is lost, and why. It is by the time its lease can have ended, and may be before."""

    def __init__(self) -> None:
        self._stand_for(_source.Lost())

    @property
    def error(self) -> EtcdError | None:
        return self._inner.error

    def is_set(self) -> bool:
        return self._inner.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is lost; False when it is not in so many seconds."""
        return self._portal.run(self._inner.wait(timeout))

    def set(self, error: EtcdError) -> None:
        self._portal.call(lambda: self._inner.set(error))


class Session(Twin[_source.Session]):
    """`with` grants the lease and revokes it at the end. Keys that are put with `lease` go with it."""

    @property
    def ttl(self) -> int:
        return self._inner.ttl

    @property
    def lease(self) -> int:
        """The id of its lease; 0 before it is open."""
        return self._inner.lease

    @property
    def lost(self) -> Lost:
        return Lost._of(self._inner.lost, self._portal)

    def __enter__(self) -> Session:
        """Raises EtcdError."""
        self._portal.run(self._inner.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.run(self._inner.__aexit__(kind, error, trace))

    def open(self) -> None:
        """Grant the lease, or take over the one with the given id, and keep it alive from here on."""
        self._portal.run(self._inner.open())

    def close(self) -> None:
        """Revoke the lease: everything that the session holds is let go. If no member can be reached, it runs out."""
        self._portal.run(self._inner.close())

    def orphan(self) -> None:
        """Keep the lease alive no longer, and let it run out by itself."""
        self._portal.run(self._inner.orphan())

    def is_valid(self) -> bool:
        """Whether the lease cannot have ended, even if this process has just stood still for long."""
        return self._inner.is_valid()

    def check(self) -> None:
        """Raises SessionLost when it is lost."""
        self._inner.check()
