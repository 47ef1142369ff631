"""A client whose reads never go back in time, as etcd's ordering package has it.

A serializable read is answered by whatever member is asked, from what that member has: the next one may have less. This
client remembers the greatest revision it was told, and asks another member when an answer is of a smaller one.
"""

from __future__ import annotations

from typing import Any, cast

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.client import Client
from quorate.client.methods import repeatable
from quorate.client.recipes.errors import NoGreaterRevision
from quorate.client.wire import Wire

ROUNDS = 5
"""How often each member is asked for a revision that is new enough."""


class Ordered(Client):
    """A client on top of another one, with all its calls. Close that one; closing this does nothing.

    Reads, and transactions that only read, raise NoGreaterRevision when no member that can be asked is new enough.
    """

    def __init__(self, client: Client) -> None:
        self._tls = client._tls
        self._encrypted = client._encrypted
        self._ordering = _Ordering(client._wire)
        self._wire = cast(Wire, self._ordering)
        self._keeper = client._keeper
        self.cluster = client.cluster
        self.maintenance = client.maintenance
        self.auth = client.auth

    @property
    def revision(self) -> int:
        """The greatest that it was told; 0 before the first answer."""
        return self._ordering.revision

    async def close(self) -> None:
        """Nothing: the connections are those of the client below."""


class _Ordering:
    """The wire below; answers that are older than what is known are asked for again, elsewhere."""

    def __init__(self, below: Wire) -> None:
        self.revision = 0
        self._below = below

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    async def call(self, request: Any, **how: Any) -> Any:
        if not isinstance(request, _READS) or not repeatable(request):
            answer = await self._below.call(request, **how)
            if isinstance(answer, _KEYS):
                self.revision = max(self.revision, answer.header.revision)
            return answer
        needed = self.revision
        for _ in range(ROUNDS * len(self._below.endpoints)):
            answer = await self._below.call(request, **how)
            if answer.header.revision >= needed:
                self.revision = max(self.revision, answer.header.revision)
                return answer
        raise NoGreaterRevision()


_READS = (pb.RangeRequest, pb.TxnRequest)
_KEYS = (pb.PutResponse, pb.DeleteRangeResponse, pb.TxnResponse)
