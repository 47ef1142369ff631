"""The buckets, and what this room asks of whatever keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from quorate.storage.backend import Bucket

ALARM = Bucket(b"alarm", 0)
AUTH = Bucket(b"auth", 1)
AUTH_ROLES = Bucket(b"authRoles", 2)
AUTH_USERS = Bucket(b"authUsers", 3)
CLUSTER = Bucket(b"cluster", 4)
KEY = Bucket(b"key", 5)
LEASE = Bucket(b"lease", 6)
MEMBERS = Bucket(b"members", 7)
MEMBERS_REMOVED = Bucket(b"members_removed", 8)
META = Bucket(b"meta", 9)

BUCKETS = (ALARM, AUTH, AUTH_ROLES, AUTH_USERS, CLUSTER, KEY, LEASE, MEMBERS, MEMBERS_REMOVED, META)
"""All of them, in name order: that is how the hash of a whole database walks them."""


class Store(Protocol):
    """Where rows are kept; the backend is one. A read sees every earlier write."""

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None: ...

    def delete(self, bucket: Bucket, key: bytes) -> None: ...

    def get(self, bucket: Bucket, key: bytes) -> bytes | None: ...

    def scan(
        self, bucket: Bucket, start: bytes = ..., end: bytes | None = ..., limit: int = ...
    ) -> Iterator[tuple[bytes, bytes]]: ...
