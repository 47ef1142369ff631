"""The hash of a whole database: what Maintenance.Hash answers."""

from __future__ import annotations

from collections.abc import Generator

from google_crc32c import extend

from quorate.storage.backend import Backend, Bucket
from quorate.storage.schema.buckets import BUCKETS, META
from quorate.storage.schema.meta import UNHASHED

BITE = 1000
"""Rows hashed between two yields."""


def hash_buckets(backend: Backend) -> Generator[None, None, int]:
    """CRC-32C over the name of each bucket, in name order, and every key and value in it, in key order.

    Rows of bucket `meta` that members do not have alike are left out. A generator that yields between bites and
    returns the hash; it sees the database as of its first bite, without rows that are not committed by then.
    """
    view = backend.view()
    try:
        crc, rows = 0, 0
        for bucket in BUCKETS:
            crc = extend(crc, bucket.name)
            for key, value in view.scan(bucket):
                if _counts(bucket, key):
                    crc = extend(extend(crc, key), value)
                rows += 1
                if rows % BITE == 0:
                    yield
        return crc
    finally:
        view.close()


def _counts(bucket: Bucket, key: bytes) -> bool:
    return bucket is not META or key not in UNHASHED
