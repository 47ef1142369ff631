"""What the tests of mvcc share: rows in memory, leases, a naive model of the store, and ways to run jobs."""

from __future__ import annotations

import bisect
import shutil
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from quorate.api.pb import kv_pb2
from quorate.storage.backend import Backend, Bucket
from quorate.storage.schema import BUCKETS

T = TypeVar("T")


def finish(job: Iterator[None] | Generator[None, None, T]) -> T:
    """Run a job to its end; what it ends with."""
    while True:
        try:
            next(job)
        except StopIteration as stop:
            return stop.value


class MemoryRows:
    """Rows in sorted lists: the plainest thing that keeps the contract of a backend."""

    def __init__(self) -> None:
        self._rows: dict[bytes, dict[bytes, bytes]] = {}
        self._keys: dict[bytes, list[bytes]] = {}

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None:
        rows = self._rows.setdefault(bucket.name, {})
        if key not in rows:
            keys = self._keys.setdefault(bucket.name, [])
            if not keys or key > keys[-1]:
                keys.append(key)
            else:
                bisect.insort(keys, key)
        rows[key] = value

    def delete(self, bucket: Bucket, key: bytes) -> None:
        if self._rows.get(bucket.name, {}).pop(key, None) is not None:
            keys = self._keys[bucket.name]
            del keys[bisect.bisect_left(keys, key)]

    def get(self, bucket: Bucket, key: bytes) -> bytes | None:
        return self._rows.get(bucket.name, {}).get(key)

    def get_many(self, bucket: Bucket, keys: Sequence[bytes]) -> list[bytes]:
        rows = self._rows.get(bucket.name, {})
        return [rows[key] for key in keys]

    def scan(
        self, bucket: Bucket, start: bytes = b"", end: bytes | None = None, limit: int = 0
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = self._keys.get(bucket.name, [])
        first = bisect.bisect_left(keys, start)
        last = len(keys) if end is None else bisect.bisect_left(keys, end)
        if limit:
            last = min(last, first + limit)
        rows = self._rows.get(bucket.name, {})
        return iter([(key, rows[key]) for key in keys[first:last]])

    def copy(self) -> MemoryRows:
        """What would be found after a crash at this moment, everything being durable."""
        other = MemoryRows()
        other._rows = {name: dict(rows) for name, rows in self._rows.items()}
        other._keys = {name: list(keys) for name, keys in self._keys.items()}
        return other


class Disk:
    """Makes rows of one kind, `memory` or `backend`, and copies of them as a crash would leave them."""

    def __init__(self, kind: str, directory: Path) -> None:
        self._kind = kind
        self._directory = directory
        self._files: list[tuple[Backend, Path]] = []

    def new(self) -> Any:
        return MemoryRows() if self._kind == "memory" else self._open()

    def copy(self, rows: Any) -> Any:
        if isinstance(rows, MemoryRows):
            return rows.copy()
        rows.commit()
        return self._open(next(path for backend, path in self._files if backend is rows))

    def close(self) -> None:
        for backend, _ in self._files:
            backend.close()

    def _open(self, source: Path | None = None) -> Backend:
        path = self._directory / f"db{len(self._files)}"
        if source is not None:
            shutil.copy(source, path)
        backend = Backend.open(path, BUCKETS, unsafe_no_fsync=True)
        self._files.append((backend, path))
        return backend


class DictLeases:
    """Attachments in two dictionaries."""

    def __init__(self) -> None:
        self.by_key: dict[bytes, int] = {}
        self.by_lease: dict[int, set[bytes]] = {}

    def attach(self, lease_id: int, key: bytes) -> None:
        self.by_key[key] = lease_id
        self.by_lease.setdefault(lease_id, set()).add(key)

    def detach(self, lease_id: int, key: bytes) -> None:
        assert self.by_key.pop(key) == lease_id
        self.by_lease[lease_id].remove(key)

    def lease_of(self, key: bytes) -> int:
        return self.by_key.get(key, 0)


def kv(row: bytes) -> tuple[bytes, bytes, int, int, int, int]:
    """(key, value, create, mod, version, lease) of a serialized KeyValue."""
    parsed = kv_pb2.KeyValue.FromString(row)
    return (
        parsed.key,
        parsed.value,
        parsed.create_revision,
        parsed.mod_revision,
        parsed.version,
        parsed.lease,
    )


def in_range(key: bytes, start: bytes, end: bytes) -> bool:
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


class Model:
    """The whole history in one list, every question answered by going through it."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = -1
        self.changes: list[tuple[int, bytes, bytes | None, int]] = []
        """(revision, key, value or None for a delete, lease)"""

    def state(self, revision: int) -> dict[bytes, tuple[bytes, bytes, int, int, int, int]]:
        keys: dict[bytes, tuple[bytes, bytes, int, int, int, int]] = {}
        for main, key, value, lease in self.changes:
            if main > revision:
                break
            if value is None:
                keys.pop(key, None)
            else:
                old = keys.get(key)
                create, version = (old[2], old[4] + 1) if old else (main, 1)
                keys[key] = (key, value, create, main, version, lease)
        return keys

    def range(self, start: bytes, end: bytes, revision: int = 0) -> list[tuple[bytes, bytes, int, int, int, int]]:
        state = self.state(revision or self.revision)
        return [state[key] for key in sorted(state) if in_range(key, start, end)]
