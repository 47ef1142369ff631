"""The sync twin of quorate.client.recipes.namespace. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from quorate.client.ops import Key
from quorate.client.recipes import namespace as _source
from quorate.client.results import KeyValue
from quorate.client.sync.client import Client
from quorate.client.sync.watch import Watch
from quorate.client.watch import PROGRESS_SECONDS


class Namespace(Client):
    """A client on top of another one, with all its calls. Close that one; closing this does nothing."""

    _inner: _source.Namespace

    def __init__(self, client: Client, prefix: Key) -> None:
        """Raises ValueError for an empty prefix."""
        self._stand_for(_source.Namespace(client._inner, prefix), client._portal)

    @property
    def prefix(self) -> bytes:
        return self._inner.prefix

    def close(self) -> None:
        """Nothing: the connections are those of the client below."""
        self._portal.run(self._inner.close())

    def scan(
        self,
        key: Key,
        range_end: Key | None = None,
        *,
        prefix: bool = False,
        revision: int = 0,
        serializable: bool = False,
        keys_only: bool = False,
        timeout: float | None = None,
    ) -> Iterator[KeyValue]:
        """As Client's."""
        return self._portal.iterate(
            self._inner.scan(
                key,
                range_end,
                prefix=prefix,
                revision=revision,
                serializable=serializable,
                keys_only=keys_only,
                timeout=timeout,
            )
        )

    def watch(
        self,
        key: Key,
        range_end: Key | None = None,
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        without: Iterable[Literal["put", "delete"]] = (),
        progress_seconds: float = PROGRESS_SECONDS,
    ) -> Watch:
        """As Client's. Raises EmptyKey."""
        return Watch._of(
            self._inner.watch(
                key,
                range_end,
                prefix=prefix,
                start_revision=start_revision,
                prev_kv=prev_kv,
                without=without,
                progress_seconds=progress_seconds,
            ),
            self._portal,
        )
