"""A lock, as etcd's concurrency.Mutex and `etcdctl lock` have it: key `<prefix>/<lease in hex>`, no value."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.client import Client
from quorate.client.errors import EtcdError
from quorate.client.ops import Key, to_bytes
from quorate.client.recipes.place import NOBODY, Place
from quorate.client.recipes.waiting import Deadline
from quorate.client.session import Session


class Lock:
    """One holder at a time, in the order in which they came. `async with` holds it.

    The session is the owner: locks of one prefix and one session are the same lock. A holder whose session is lost
    holds nothing any more, and may not know it yet: what must not be done by two goes into a transaction with
    `is_owner`, or carries `token` along, which grows from holder to holder.
    """

    def __init__(self, client: Client, session: Session, prefix: Key) -> None:
        self._prefix = to_bytes(prefix) + b"/"
        self._place = Place(client, session, self._prefix + b"%x" % session.lease)
        self._held = False

    @property
    def key(self) -> bytes:
        """The key that stands for this holder."""
        return self._place.key

    @property
    def token(self) -> int:
        """The create revision of the key; 0 when it is not held."""
        return self._place.created if self._held else 0

    def is_owner(self) -> pb.Compare:
        """A condition of a transaction: the lock is still held. Never true when it is not."""
        return self._place.is_mine()

    async def acquire(self, timeout: float | None = None) -> None:
        """Wait for the lock. Who already holds it has it at once.

        Raises DeadlineExceeded, SessionLost, EtcdError; whoever fails or is cancelled stands in the queue no more.
        """
        deadline = Deadline(timeout)
        if not await self._place.join(self._prefix, b"", deadline):
            await self._place.turn(self._prefix, deadline)
        self._held = True

    async def try_acquire(self, timeout: float | None = None) -> bool:
        """Take the lock if nobody has it or waits for it. Raises EtcdError."""
        first = await self._place.join(self._prefix, b"", Deadline(timeout))
        if not first:
            await self._place.abandon()
        self._held = first
        return first

    async def release(self, timeout: float | None = None) -> None:
        """Let the next one have it. Raises EtcdError; it is then free when the session ends at the latest."""
        self._held = False
        if self._place.created != NOBODY:
            await self._place.leave(timeout)

    async def __aenter__(self) -> Lock:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.release()
        else:
            with suppress(EtcdError):
                await self.release()
