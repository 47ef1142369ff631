"""The sync twin of quorate.client.recipes.rwlock. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from types import TracebackType
from typing import Literal

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.ops import Key
from quorate.client.recipes import rwlock as _source
from quorate.client.sync.base import Twin
from quorate.client.sync.client import Client
from quorate.client.sync.session import Session


class RWLock(Twin[_source.RWLock]):
    """Readers wait for the writers who came before them, writers for all who came before. Nobody is overtaken.

    with RWLock(client, session, "config").read(): ..."""

    def __init__(self, client: Client, session: Session, prefix: Key) -> None:
        self._stand_for(_source.RWLock(client._inner, session._inner, prefix), client._portal)

    def read(self) -> RWHold:
        """A hold for reading, not taken yet."""
        return RWHold._of(self._inner.read(), self._portal)

    def write(self) -> RWHold:
        """A hold for writing, not taken yet."""
        return RWHold._of(self._inner.write(), self._portal)


class RWHold(Twin[_source.RWHold]):
    """One reader or writer. `with` takes it. What is said of Lock holds here too, but each hold stands alone."""

    def __init__(self, client: Client, session: Session, prefix: bytes, kind: Literal["read", "write"]) -> None:
        self._stand_for(_source.RWHold(client._inner, session._inner, prefix, kind), client._portal)

    @property
    def key(self) -> bytes:
        """The key that stands for this holder; empty before it was asked for."""
        return self._inner.key

    @property
    def token(self) -> int:
        """The create revision of the key; 0 when it is not held."""
        return self._inner.token

    def is_owner(self) -> pb.Compare:
        """A condition of a transaction: this is still held. Never true when it is not."""
        return self._inner.is_owner()

    def acquire(self, timeout: float | None = None) -> None:
        """Wait for all that are in the way. Who already holds it has it at once.

        Raises DeadlineExceeded, SessionLost, EtcdError; whoever fails or is cancelled stands in the queue no more."""
        self._portal.run(self._inner.acquire(timeout))

    def release(self, timeout: float | None = None) -> None:
        """Let others have it. Raises EtcdError; it is then free when the session ends at the latest."""
        self._portal.run(self._inner.release(timeout))

    def __enter__(self) -> RWHold:
        self._portal.run(self._inner.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.run(self._inner.__aexit__(kind, error, trace))
