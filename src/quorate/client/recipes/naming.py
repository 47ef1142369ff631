"""Where services are: endpoints under a name, as etcd's naming package keeps them for gRPC.

<target>/<anything>  =  {"Op":0,"Addr":"10.0.0.1:8080","Metadata":null}     on the lease of whoever serves
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from quorate.client import ops
from quorate.client.client import Client
from quorate.client.errors import Compacted
from quorate.client.ops import Key, to_bytes
from quorate.client.recipes.waiting import Deadline, in_time

_HTML = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""What Go writes as escapes in JSON, and nobody else."""


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """An address, and whatever JSON its service says of it."""

    addr: str
    metadata: Any = None


@dataclass(frozen=True, slots=True)
class RegistryUpdate:
    """What became of a key; None for one that was deleted."""

    key: bytes
    endpoint: ServiceEndpoint | None


class Registry:
    """The endpoints of one target. Keys are whole: they begin with the target and a slash."""

    def __init__(self, client: Client, target: Key) -> None:
        """Raises ValueError for an empty target."""
        if not target:
            raise ValueError("a target needs a name")
        self._client = client
        self._prefix = to_bytes(target) + b"/"

    async def add(self, key: Key, endpoint: ServiceEndpoint, *, lease: int = 0, timeout: float | None = None) -> None:
        """Add or change one. With a lease it goes when its service dies. Raises ValueError, EtcdError."""
        await self.update([RegistryUpdate(to_bytes(key), endpoint)], lease=lease, timeout=timeout)

    async def delete(self, key: Key, timeout: float | None = None) -> None:
        """Raises ValueError, EtcdError."""
        await self.update([RegistryUpdate(to_bytes(key), None)], timeout=timeout)

    async def update(self, updates: Iterable[RegistryUpdate], *, lease: int = 0, timeout: float | None = None) -> None:
        """Several at once. Raises ValueError, EtcdError."""
        requests: list[Any] = []
        for update in updates:
            if not update.key.startswith(self._prefix):
                raise ValueError(f"{update.key!r} does not begin with {self._prefix!r}")
            if update.endpoint is None:
                requests.append(ops.delete(update.key))
            else:
                requests.append(ops.put(update.key, encoded(update.endpoint), lease=lease))
        await self._client.txn().then(*requests).commit(timeout=timeout)

    async def list(self, timeout: float | None = None) -> dict[bytes, ServiceEndpoint]:
        """All by their keys; what is no endpoint is left out. Raises EtcdError."""
        found = await self._client.get(self._prefix, prefix=True, timeout=timeout)
        endpoints = {kv.key: decoded(kv.value) for kv in found}
        return {key: endpoint for key, endpoint in endpoints.items() if endpoint is not None}

    async def watch(self, timeout: float | None = None) -> AsyncIterator[tuple[RegistryUpdate, ...]]:
        """First all that are there, even if none are; then what changes, together what was changed together.

        With a `timeout`, DeadlineExceeded is raised when nothing changes for so many seconds. Raises EtcdError.
        """
        known: set[bytes] = set()
        while True:
            found = await self._client.get(self._prefix, prefix=True)
            here = {kv.key for kv in found}
            gone = [RegistryUpdate(key, None) for key in sorted(known - here)]
            yield (*gone, *(_update(kv.key, kv.value) for kv in found if decoded(kv.value) is not None))
            known = here
            start = found.header.revision + 1
            try:
                async with self._client.watch(self._prefix, prefix=True, start_revision=start) as watch:
                    while True:
                        events = await in_time(watch.batch(), Deadline(timeout))
                        updates = [_update(event.key, event.value if event.is_put else None) for event in events]
                        for event in events:
                            (known.add if event.is_put else known.discard)(event.key)
                        if updates:
                            yield tuple(updates)
            except Compacted:
                continue


def _update(key: bytes, value: bytes | None) -> RegistryUpdate:
    return RegistryUpdate(key, None if value is None else decoded(value))


def encoded(endpoint: ServiceEndpoint) -> bytes:
    """As Go writes it, to the byte."""
    metadata = json.dumps(endpoint.metadata, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    address = json.dumps(endpoint.addr, ensure_ascii=False)
    return f'{{"Op":0,"Addr":{address},"Metadata":{metadata}}}'.translate(_HTML).encode()


def decoded(value: bytes) -> ServiceEndpoint | None:
    """None for what is no endpoint."""
    try:
        found = json.loads(value)
        return ServiceEndpoint(str(found.get("Addr", "")), found.get("Metadata"))
    except (ValueError, AttributeError):
        return None
