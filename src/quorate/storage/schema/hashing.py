"""The hash of a whole database, by which two copies of one can be told apart."""

from __future__ import annotations

from collections.abc import Generator

import google_crc32c

from quorate.storage.schema.buckets import BUCKETS, META, Store

BITE_ROWS = 1000
UNHASHED = frozenset((b"consistent_index", b"term", b"storageVersion"))
"""Keys of bucket `meta` that copies with the same contents may differ in."""


def hash_buckets(store: Store) -> Generator[None, None, int]:
    """Job that ends with the CRC-32C over bucket names, keys and values, all in order."""
    crc = 0
    rows = 0
    for bucket in BUCKETS:
        crc = google_crc32c.extend(crc, bucket.name)
        for key, value in store.scan(bucket):
            rows += 1
            if rows % BITE_ROWS == 0:
                yield
            if bucket is META and key in UNHASHED:
                continue
            crc = google_crc32c.extend(google_crc32c.extend(crc, key), value)
    return crc
