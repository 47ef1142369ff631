"""The sync twin of quorate.client.recipes.ordering. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from quorate.client.recipes import ordering as _source
from quorate.client.sync.client import Client


class Ordered(Client):
    """A client on top of another one, with all its calls. Close that one; closing this does nothing.

    Reads, and transactions that only read, raise NoGreaterRevision when no member that can be asked is new enough."""

    _inner: _source.Ordered

    def __init__(self, client: Client) -> None:
        self._stand_for(_source.Ordered(client._inner), client._portal)

    @property
    def revision(self) -> int:
        """The greatest that it was told; 0 before the first answer."""
        return self._inner.revision

    def close(self) -> None:
        """Nothing: the connections are those of the client below."""
        self._portal.run(self._inner.close())
