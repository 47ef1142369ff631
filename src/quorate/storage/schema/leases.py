"""Bucket `lease`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from quorate.api.pb import lease_pb2
from quorate.storage.schema.buckets import LEASE, Store


class LeaseRecord(NamedTuple):
    """A lease as it rests. Times in seconds; `remaining_ttl` 0 means that none was noted since the last renewal."""

    id: int
    ttl: int
    remaining_ttl: int = 0


def put_lease(store: Store, lease: LeaseRecord) -> None:
    """Store a lease. IDs are any int64, negative ones too (etcd 14239)."""
    message = lease_pb2.Lease(ID=lease.id, TTL=lease.ttl, RemainingTTL=lease.remaining_ttl)
    store.put(LEASE, _key(lease.id), message.SerializeToString())


def delete_lease(store: Store, lease_id: int) -> None:
    store.delete(LEASE, _key(lease_id))


def leases(store: Store) -> Iterator[LeaseRecord]:
    """All leases, in the order of their keys: negative IDs come last."""
    for _, value in store.scan(LEASE):
        message = lease_pb2.Lease.FromString(value)
        yield LeaseRecord(message.ID, message.TTL, message.RemainingTTL)


def _key(lease_id: int) -> bytes:
    return lease_id.to_bytes(8, "big", signed=True)
