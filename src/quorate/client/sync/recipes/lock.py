"""The sync twin of quorate.client.recipes.lock. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from types import TracebackType

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.ops import Key
from quorate.client.recipes import lock as _source
from quorate.client.sync.base import Twin
from quorate.client.sync.client import Client
from quorate.client.sync.session import Session


class Lock(Twin[_source.Lock]):
    """One holder at a time, in the order in which they came. `with` holds it.

    The session is the owner: locks of one prefix and one session are the same lock. A holder whose session is lost
    holds nothing any more, and may not know it yet: what must not be done by two goes into a transaction with
    `is_owner`, or carries `token` along, which grows from holder to holder."""

    def __init__(self, client: Client, session: Session, prefix: Key) -> None:
        self._stand_for(_source.Lock(client._inner, session._inner, prefix), client._portal)

    @property
    def key(self) -> bytes:
        """The key that stands for this holder."""
        return self._inner.key

    @property
    def token(self) -> int:
        """The create revision of the key; 0 when it is not held."""
        return self._inner.token

    def is_owner(self) -> pb.Compare:
        """A condition of a transaction: the lock is still held. Never true when it is not."""
        return self._inner.is_owner()

    def acquire(self, timeout: float | None = None) -> None:
        """Wait for the lock. Who already holds it has it at once.

        Raises DeadlineExceeded, SessionLost, EtcdError; whoever fails or is cancelled stands in the queue no more."""
        self._portal.run(self._inner.acquire(timeout))

    def try_acquire(self, timeout: float | None = None) -> bool:
        """Take the lock if nobody has it or waits for it. Raises EtcdError."""
        return self._portal.run(self._inner.try_acquire(timeout))

    def release(self, timeout: float | None = None) -> None:
        """Let the next one have it. Raises EtcdError; it is then free when the session ends at the latest."""
        self._portal.run(self._inner.release(timeout))

    def __enter__(self) -> Lock:
        self._portal.run(self._inner.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.run(self._inner.__aexit__(kind, error, trace))
