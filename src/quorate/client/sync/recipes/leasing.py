"""The sync twin of quorate.client.recipes.leasing. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from quorate.client.ops import Key
from quorate.client.recipes import leasing as _source
from quorate.client.sync.client import Client
from quorate.client.sync.session import Session


class Leasing(Client):
    """A client on top of another one, with all its calls; `with` begins to own. Close that one afterwards.

    Once the session is lost nothing is owned any more: calls go on, but all reads are asked for."""

    _inner: _source.Leasing

    def __init__(self, client: Client, session: Session, prefix: Key) -> None:
        self._stand_for(_source.Leasing(client._inner, session._inner, prefix), client._portal)

    def __enter__(self) -> Leasing:
        """Raises EtcdError."""
        self._portal.run(self._inner.__aenter__())
        return self

    def close(self) -> None:
        """Own nothing any more. What is owned is let go with the session."""
        self._portal.run(self._inner.close())
