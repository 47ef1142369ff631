"""Rows as they are somewhere, with changes over them that nobody else sees: how one database is made of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from quorate.storage.backend import Bucket
from quorate.storage.bbolt import Reader
from quorate.storage.schema.buckets import BUCKETS


class Source(Protocol):
    """Where rows are read; a `backend.View` is one."""

    def get(self, bucket: Bucket, key: bytes) -> bytes | None: ...

    def scan(self, bucket: Bucket, start: bytes = ..., end: bytes | None = ...) -> Iterator[tuple[bytes, bytes]]: ...


class BboltSource:
    """The rows of a bbolt file. Everything may raise BboltError."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def get(self, bucket: Bucket, key: bytes) -> bytes | None:
        return self._reader.get(bucket.name, key)

    def scan(self, bucket: Bucket, start: bytes = b"", end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return self._reader.scan(bucket.name, start, end)


class NoRows:
    """A source that holds nothing."""

    def get(self, bucket: Bucket, key: bytes) -> bytes | None:
        return None

    def scan(self, bucket: Bucket, start: bytes = b"", end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


class Draft:
    """The rows of `source` and what was changed since; a `Store`. The changes are kept in memory and should be few."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._changes: list[dict[bytes, bytes | None]] = [{} for _ in BUCKETS]

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None:
        self._changes[bucket.id][key] = value

    def delete(self, bucket: Bucket, key: bytes) -> None:
        self._changes[bucket.id][key] = None

    def clear(self, bucket: Bucket) -> None:
        """Delete all rows of a bucket."""
        for key, _ in list(self.scan(bucket)):
            self.delete(bucket, key)

    def get(self, bucket: Bucket, key: bytes) -> bytes | None:
        changes = self._changes[bucket.id]
        return changes[key] if key in changes else self._source.get(bucket, key)

    def get_many(self, bucket: Bucket, keys: Sequence[bytes]) -> list[bytes]:
        """The values of rows that are known to exist."""
        values = [self.get(bucket, key) for key in keys]
        assert None not in values, "a row that must exist is missing"
        return values  # type: ignore[return-value]

    def scan(
        self, bucket: Bucket, start: bytes = b"", end: bytes | None = None, limit: int = 0
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with start <= key < end, ascending; changes made meanwhile may be seen or not."""
        stored = self._source.scan(bucket, start, end)
        changes = self._changes[bucket.id]
        rows = _merged(stored, changes, start, end) if changes else stored
        return islice(rows, limit) if limit else rows

    def rows(self) -> Iterator[tuple[Bucket, bytes, bytes]]:
        """All rows, bucket by bucket in name order."""
        for bucket in BUCKETS:
            for key, value in self.scan(bucket):
                yield bucket, key, value


def _merged(
    stored: Iterator[tuple[bytes, bytes]], changes: Mapping[bytes, bytes | None], start: bytes, end: bytes | None
) -> Iterator[tuple[bytes, bytes]]:
    waiting = sorted(
        ((key, value) for key, value in changes.items() if key >= start and (end is None or key < end)), reverse=True
    )
    for row in stored:
        while waiting and waiting[-1][0] < row[0]:
            key, value = waiting.pop()
            if value is not None:
                yield key, value
        if not (waiting and waiting[-1][0] == row[0]):
            yield row
    for key, value in reversed(waiting):
        if value is not None:
            yield key, value
