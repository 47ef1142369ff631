"""A database that lies still, whatever its format, held for as long as it is read.

    bbolt   what etcd writes and what travels; a snapshot has the SHA-256 of the rest as its last 32 bytes
    LMDB    what a member here keeps at member/snap/db

A file with a hash is told from one without by its length: pages are whole multiples of 512 bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf.message import DecodeError

from quorate.pkg.jsonlog import get_log
from quorate.server.offline.errors import OfflineError, one_kind
from quorate.storage import bbolt, schema
from quorate.storage.backend import Backend, Bucket, View
from quorate.storage.mvcc.revision import parse_revision
from quorate.storage.mvcc.rows import key_of

log = get_log(__name__)

SHA256_BYTES = 32
_SECTOR = 512
_CHUNK = 1 << 20
_LMDB_MAGIC = 0xBEEFC0DE
_MAGIC_AT = 16
_PLACE_BYTES = (17, 18)

Row = tuple[bytes, bytes]


class Database:
    """Rows by bucket. `size` is in bytes, without what lies behind the last page."""

    def __init__(self, rows: bbolt.Reader | View, size: int) -> None:
        self.size = size
        self._rows = rows
        self.source: schema.Source = rows if isinstance(rows, View) else schema.BboltSource(rows)

    def buckets(self) -> list[bytes]:
        """Names in order, those that no release here knows among them."""
        return self._rows.buckets() if isinstance(self._rows, bbolt.Reader) else [it.name for it in schema.BUCKETS]

    def scan(self, name: bytes) -> Iterator[Row]:
        if isinstance(self._rows, bbolt.Reader):
            return self._rows.scan(name)
        return self._rows.scan(next(bucket for bucket in schema.BUCKETS if bucket.name == name))

    def draft(self) -> schema.Draft:
        """What another database is to be made of."""
        known = {bucket.name for bucket in schema.BUCKETS}
        for name in (name for name in self.buckets() if name not in known):
            log.warn("leaving out an unknown bucket", bucket=name.decode(errors="replace"))
        return schema.Draft(self.source)


@contextmanager
def open_database(path: Path) -> Iterator[Database]:
    """The database at `path`, checked from end to end, its hash too where it has one. Raises OfflineError."""
    with one_kind("stat"):
        check_hash(path, required=False)
        with open_rows(path) as database:
            yield database


@contextmanager
def open_rows(path: Path) -> Iterator[Database]:
    """The database at `path`, of either format, whatever its hash says. Raises OfflineError, and errors of storage."""
    if is_lmdb(path):
        with _lmdb(path) as database:
            yield database
    else:
        with open_bbolt(path) as reader:
            yield Database(reader, reader.size)


@contextmanager
def open_bbolt(path: Path) -> Iterator[bbolt.Reader]:
    """A bbolt file that is consistent, and etcd's. Raises OfflineError, BboltError, OSError."""
    reader = bbolt.Reader.open(path)
    try:
        found = [text for text in reader.check() if text is not None]
        if found:
            listed = "; ".join(found[:10])
            raise OfflineError(f"snapshot file integrity check failed. {len(found)} errors found. {listed}")
        if schema.KEY.name not in reader.buckets():
            raise OfflineError(f"{path} is a bbolt file, but not a database of etcd: it has no bucket of keys")
        yield reader
    finally:
        reader.close()


def check_hash(path: Path, *, required: bool) -> None:
    """Compare the hash at the end of a snapshot with its contents. Raises OfflineError, OSError."""
    size = os.stat(path).st_size
    if size % _SECTOR != SHA256_BYTES:
        if required:
            raise OfflineError("snapshot missing hash but --skip-hash-check=false")
        return
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        left = size - SHA256_BYTES
        while left:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise OfflineError(f"{path} is cut short while it is read")
            digest.update(chunk)
            left -= len(chunk)
        expected = file.read()
    if expected != digest.digest():
        raise OfflineError(f"expected sha256 {_numbers(expected)}, got {_numbers(digest.digest())}")


def checked_rows(rows: Iterator[tuple[Bucket, bytes, bytes]]) -> Iterator[tuple[Bucket, bytes, bytes]]:
    """`rows` as they come; raises OfflineError at one of bucket `key` that no member could read."""
    for row in rows:
        bucket, place, value = row
        if bucket is schema.KEY:
            try:
                if len(place) not in _PLACE_BYTES or place[8:9] != b"_":
                    raise ValueError
                parse_revision(place)
                key_of(value)
            except (ValueError, IndexError, DecodeError):
                raise OfflineError(f"the database is damaged: bucket key, row {place.hex()} makes no sense") from None
        yield row


@contextmanager
def _lmdb(path: Path) -> Iterator[Database]:
    backend = Backend.open(path, schema.BUCKETS)
    try:
        view = backend.view()
        try:
            yield Database(view, backend.size_in_use())
        finally:
            view.close()
    finally:
        backend.close()


def is_lmdb(path: Path) -> bool:
    """Whether a member here made the file. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(_MAGIC_AT + 4)
    return int.from_bytes(head[_MAGIC_AT:], "little") == _LMDB_MAGIC


def _numbers(digest: bytes) -> str:
    return f"[{' '.join(map(str, digest))}]"
