"""The sync twin of quorate.client.recipes.queues. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from quorate.client.ops import Key
from quorate.client.recipes import queues as _source
from quorate.client.sync.base import Twin
from quorate.client.sync.client import Client


class Queue(Twin[_source.Queue]):
    """First in, first out."""

    def __init__(self, client: Client, prefix: Key) -> None:
        self._stand_for(_source.Queue(client._inner, prefix), client._portal)

    def enqueue(self, value: Key, timeout: float | None = None) -> bytes:
        """Put a value at the end; its key. Raises EtcdError."""
        return self._portal.run(self._inner.enqueue(value, timeout))

    def dequeue(self, timeout: float | None = None) -> bytes:
        """Take the first value; waits for one. Raises DeadlineExceeded, EtcdError; see the module."""
        return self._portal.run(self._inner.dequeue(timeout))


class PriorityQueue(Twin[_source.PriorityQueue]):
    """Lower numbers first; those of one number first in, first out."""

    def __init__(self, client: Client, prefix: Key) -> None:
        self._stand_for(_source.PriorityQueue(client._inner, prefix), client._portal)

    def enqueue(self, value: Key, priority: int, timeout: float | None = None) -> bytes:
        """Put a value behind those of its priority, 0 to 65535; its key. Raises ValueError, EtcdError."""
        return self._portal.run(self._inner.enqueue(value, priority, timeout))

    def dequeue(self, timeout: float | None = None) -> bytes:
        """Take the first value; waits for one. Raises DeadlineExceeded, EtcdError; see the module."""
        return self._portal.run(self._inner.dequeue(timeout))
