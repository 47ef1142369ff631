"""Elections, as etcd's concurrency.Election and `etcdctl elect` have them: key `<prefix>/<lease in hex>`, and as value
what the candidate says. Candidates queue up as for a lock; the first one leads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from quorate.api.errors import ElectionNotLeader
from quorate.api.pb import rpc_pb2 as pb
from quorate.client import ops
from quorate.client.client import Client
from quorate.client.errors import Compacted, DeadlineExceeded
from quorate.client.ops import Key, to_bytes
from quorate.client.recipes.place import NOBODY, Place
from quorate.client.recipes.waiting import Deadline, in_time, put_under
from quorate.client.results import KeyValue
from quorate.client.session import Session


class Election:
    """One leader at a time. The session is the candidate; it leads until it resigns, or the session ends."""

    def __init__(self, client: Client, session: Session, prefix: Key) -> None:
        self._client = client
        self._session = session
        self._prefix = to_bytes(prefix) + b"/"
        self._place = Place(client, session, self._prefix + b"%x" % session.lease)
        self._leads = False

    @property
    def key(self) -> bytes:
        """The key that stands for this candidate."""
        return self._place.key

    @property
    def token(self) -> int:
        """The create revision of the key, which grows from leader to leader; 0 for who does not lead."""
        return self._place.created if self._leads else 0

    def is_leader(self) -> pb.Compare:
        """A condition of a transaction: this still leads. Never true of who does not."""
        return self._place.is_mine()

    async def campaign(self, value: Key, timeout: float | None = None) -> None:
        """Wait to be the leader, and say `value` then. A candidate who leads already says the new value at once.

        Raises DeadlineExceeded, SessionLost, EtcdError; whoever fails or is cancelled is no candidate any more.
        """
        deadline = Deadline(timeout)
        said = to_bytes(value)
        first = await self._place.join(self._prefix, said, deadline)
        if self._place.value not in (None, said):
            try:
                await self.proclaim(said, deadline.left())
            except BaseException:
                self._leads = False
                await self._place.abandon()
                raise
        if not first:
            await self._place.turn(self._prefix, deadline)
        self._leads = True

    async def proclaim(self, value: Key, timeout: float | None = None) -> None:
        """Say something else. Raises ElectionNotLeader when this leads no more, EtcdError."""
        if self._place.created == NOBODY:
            raise ElectionNotLeader()
        put = ops.put(self.key, value, lease=self._session.lease)
        if not await self._client.txn().when(self._place.is_mine()).then(put).commit(timeout=timeout):
            self._leads = False
            self._place.created = NOBODY
            raise ElectionNotLeader()

    async def resign(self, timeout: float | None = None) -> None:
        """Let the next one lead; who does not lead has resigned already. Raises EtcdError."""
        self._leads = False
        if self._place.created != NOBODY:
            await self._place.leave(timeout)

    async def leader(self, timeout: float | None = None) -> KeyValue | None:
        """The key of the leader, with what it says; None when nobody leads. Raises EtcdError."""
        first = await self._client.get(self._prefix, prefix=True, sort="create", limit=1, timeout=timeout)
        return first.kv

    async def observe(self, timeout: float | None = None) -> AsyncIterator[KeyValue]:
        """What the leader says now, or the next one to come, and all that leaders say from then on.

        The last word always comes; words of a leader who was followed by another meanwhile may not. With a `timeout`,
        DeadlineExceeded is raised when nobody says anything for so many seconds. Raises EtcdError.
        """
        while True:
            seen = await self._client.get(self._prefix, prefix=True, sort="create", limit=1)
            kv, revision = seen.kv, seen.header.revision
            if kv is None:
                event = await in_time(put_under(self._client, self._prefix, revision), Deadline(timeout))
                if event is None:
                    continue
                kv, revision = event.kv, event.revision
            yield kv
            with suppress(Compacted):
                async with self._client.watch(kv.key, start_revision=revision + 1) as watch:
                    while (event := await watch.next(timeout)) is not None and event.is_put:
                        yield event.kv
                    if event is None:
                        raise DeadlineExceeded()
