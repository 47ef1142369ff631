"""A lock for many readers or one writer, as etcd's recipe.RWMutex has it: keys `<prefix>/read/<nanoseconds>` and
`<prefix>/write/<nanoseconds>`, which hang on the session's lease."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Literal

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.client import Client
from quorate.client.errors import EtcdError
from quorate.client.ops import Key, to_bytes
from quorate.client.recipes.keys import unique_key
from quorate.client.recipes.place import NOBODY, Place
from quorate.client.recipes.waiting import Deadline
from quorate.client.session import Session


class RWLock:
    """Readers wait for the writers who came before them, writers for all who came before. Nobody is overtaken.

    async with RWLock(client, session, "config").read(): ...
    """

    def __init__(self, client: Client, session: Session, prefix: Key) -> None:
        self._client = client
        self._session = session
        self._prefix = to_bytes(prefix) + b"/"

    def read(self) -> RWHold:
        """A hold for reading, not taken yet."""
        return RWHold(self._client, self._session, self._prefix, "read")

    def write(self) -> RWHold:
        """A hold for writing, not taken yet."""
        return RWHold(self._client, self._session, self._prefix, "write")


class RWHold:
    """One reader or writer. `async with` takes it. What is said of Lock holds here too, but each hold stands alone."""

    def __init__(self, client: Client, session: Session, prefix: bytes, kind: Literal["read", "write"]) -> None:
        self._client = client
        self._session = session
        self._prefix = prefix
        self._own = prefix + kind.encode()
        self._ahead = prefix + b"write" if kind == "read" else prefix
        self._place = Place(client, session, b"")
        self._held = False

    @property
    def key(self) -> bytes:
        """The key that stands for this holder; empty before it was asked for."""
        return self._place.key

    @property
    def token(self) -> int:
        """The create revision of the key; 0 when it is not held."""
        return self._place.created if self._held else 0

    def is_owner(self) -> pb.Compare:
        """A condition of a transaction: this is still held. Never true when it is not."""
        return self._place.is_mine()

    async def acquire(self, timeout: float | None = None) -> None:
        """Wait for all that are in the way. Who already holds it has it at once.

        Raises DeadlineExceeded, SessionLost, EtcdError; whoever fails or is cancelled stands in the queue no more.
        """
        deadline = Deadline(timeout)
        if self._place.created == NOBODY:
            self._place = await unique_key(self._client, self._session, self._own, deadline)
        await self._place.turn(self._ahead, deadline)
        self._held = True

    async def release(self, timeout: float | None = None) -> None:
        """Let others have it. Raises EtcdError; it is then free when the session ends at the latest."""
        self._held = False
        if self._place.created != NOBODY:
            await self._place.leave(timeout)

    async def __aenter__(self) -> RWHold:
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
