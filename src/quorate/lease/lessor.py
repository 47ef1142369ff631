"""The lessor: all leases of a member. Its page is the docstring of the package."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import NamedTuple

from quorate.api import errors
from quorate.lease.timers import NEVER, Spread, Timer, Timers
from quorate.pkg.histogram import Histogram, doubling
from quorate.storage import schema

MAX_TTL = 9_000_000_000
"""Seconds. More is refused; it is what fits into nanoseconds of an int64, with room for a clock (etcd 9374)."""

MAX_EXPIRED = 500
"""Leases reported per look. With two looks a second this is the rate at which a backlog drains."""

RETRY_INTERVAL = 7.0
"""Seconds after which an expired lease that is still there is reported again: etcd's default request timeout, by when
the revocation proposed first has surely failed (etcd 10686)."""

CHECKPOINT_INTERVAL = 300.0
"""Seconds between notes of the time left. Leases with less than that left are not noted."""

MAX_CHECKPOINTS = 1000
"""Notes per log entry."""

SPREAD_FROM = 1000
SPREAD_RATE = 750
"""From this many leases on, a new primary lets at most so many end per second: ¾ of what is revoked in a second, so
that those which end in their own time find room (etcd 8097)."""

START_BITE = 50_000
"""Leases whose time a promotion, and each look after it, sets running: about 0.1 s of work."""


class Lease:
    """One lease. Read it; only the lessor writes it."""

    __slots__ = ("_checkpoint", "_expiry", "checkpoint_pending", "id", "keys", "remaining_ttl", "ttl")

    def __init__(self, lease_id: int, ttl: int, remaining_ttl: int = 0) -> None:
        self.id = lease_id
        self.ttl = ttl
        """Seconds granted."""
        self.remaining_ttl = remaining_ttl
        """Seconds left as noted through the log; 0 when nothing was noted since the last renewal."""
        self.keys: set[bytes] = set()
        self.checkpoint_pending = False
        """A note was handed out and may yet come back through the log."""
        self._expiry: Timer[Lease] = Timer(self)
        self._checkpoint: Timer[Lease] = Timer(self)

    @property
    def expiry(self) -> float:
        """When it ends, by the primary's clock; elsewhere never."""
        return self._expiry.deadline


class TimeToLive(NamedTuple):
    """What is left of a lease, in whole seconds; what was granted; its keys, ascending."""

    ttl: int
    granted_ttl: int
    keys: list[bytes]


class Lessor:
    """Leases and what hangs on them. `min_ttl` in seconds: ceil(1.5 × election timeout), so that a renewal can
    survive an election."""

    def __init__(
        self,
        store: schema.Store,
        *,
        min_ttl: int,
        checkpoint_interval: float = CHECKPOINT_INTERVAL,
        retry_interval: float = RETRY_INTERVAL,
    ) -> None:
        self.primary = False
        self.granted = self.revoked = self.renewed = 0
        """Since it was made. Only a primary renews."""
        self.ttls = Histogram(doubling(1, 24))
        """Seconds that leases were granted for."""
        self._store = store
        self._min_ttl = min_ttl
        self._checkpoint_interval = checkpoint_interval
        self._retry_interval = retry_interval
        self._leases: dict[int, Lease] = {}
        self._lease_of: dict[bytes, int] = {}
        self._promoted_at = 0.0
        self._extension = 0.0
        self._not_started: list[Lease] = []
        self._spread: Spread | None = None
        self._expiries: Timers[Lease] = Timers()
        self._checkpoints: Timers[Lease] = Timers()

    def restore(self, store: schema.Store | None = None) -> None:
        """Read the leases anew from the store, or from another one that replaces it. Keys are not attached yet: that
        is for whoever reads the keys."""
        self._store = store if store is not None else self._store
        self.demote()
        self._lease_of.clear()
        self._leases = {
            lease.id: Lease(lease.id, max(lease.ttl, self._min_ttl), lease.remaining_ttl)
            for lease in schema.leases(self._store)
        }

    # What log entries do: the same on every member.

    def grant(self, lease_id: int, ttl: int, now: float) -> int:
        """Make a lease; returns its TTL, which is at least the minimum.

        Raises LeaseTtlTooLarge, LeaseExists; LeaseNotFound for ID 0, which means "no lease".
        """
        if lease_id == 0:
            raise errors.LeaseNotFound()
        if ttl > MAX_TTL:
            raise errors.LeaseTtlTooLarge()
        if lease_id in self._leases:
            raise errors.LeaseExists()
        lease = self._leases[lease_id] = Lease(lease_id, max(ttl, self._min_ttl))
        if self.primary:
            self._expiries.set(lease._expiry, now + lease.ttl)
            self._plan_checkpoint(lease, now)
        schema.put_lease(self._store, schema.LeaseRecord(lease_id, lease.ttl))
        self.granted += 1
        self.ttls.observe(lease.ttl)
        return lease.ttl

    def revoke(self, lease_id: int) -> list[bytes]:
        """End a lease; returns the keys that go with it, ascending. They are detached, not deleted: the caller deletes
        them, in the same batch. Raises LeaseNotFound."""
        lease = self._get(lease_id)
        del self._leases[lease_id]
        lease._expiry.deadline = lease._checkpoint.deadline = NEVER
        for key in lease.keys:
            del self._lease_of[key]
        schema.delete_lease(self._store, lease_id)
        self.revoked += 1
        return sorted(lease.keys)

    def checkpoint(self, lease_id: int, remaining: int, now: float) -> None:
        """Note the seconds left of a lease; 0 makes an older note void. A lease that is gone by now is passed over."""
        lease = self._leases.get(lease_id)
        if lease is None:
            return
        lease.remaining_ttl = remaining
        lease.checkpoint_pending = False
        schema.put_lease(self._store, schema.LeaseRecord(lease_id, lease.ttl, remaining))
        if self.primary:
            self._plan_checkpoint(lease, now)

    def attach(self, lease_id: int, key: bytes) -> None:
        """Hang `key` on a lease, taking it off any other. Raises LeaseNotFound."""
        lease = self._get(lease_id)
        other = self._lease_of.get(key, lease_id)
        if other != lease_id:
            self.detach(other, key)
        lease.keys.add(key)
        self._lease_of[key] = lease_id

    def detach(self, lease_id: int, key: bytes) -> None:
        """Take `key` off the lease; nothing if it does not hang there."""
        if self._lease_of.get(key) == lease_id:
            del self._lease_of[key]
            self._leases[lease_id].keys.discard(key)

    # What can be asked of every member.

    def exists(self, lease_id: int) -> bool:
        return lease_id in self._leases

    def lease_of(self, key: bytes) -> int:
        """ID of the lease on which `key` hangs, 0 for none."""
        return self._lease_of.get(key, 0)

    def keys(self, lease_id: int) -> list[bytes]:
        """Keys of a lease, ascending. Raises LeaseNotFound."""
        return sorted(self._get(lease_id).keys)

    def leases(self) -> list[Lease]:
        """All leases; on the primary the first to end comes first."""
        if self.primary:
            return sorted(self._leases.values(), key=attrgetter("expiry"))
        return list(self._leases.values())

    # What only the primary can do.

    def promote(self, now: float, extend: float) -> None:
        """Become the primary: every lease ends after its noted time left, else its TTL, and `extend` seconds more.

        With very many leases this only begins here and goes on with each look of `expired`, so that the election it
        follows is not lost for it (etcd 9496); a lease that is not reached yet does not end.
        """
        self.demote()
        self.primary = True
        self._promoted_at = now
        self._extension = extend
        self._not_started = list(self._leases.values())
        self._spread = Spread(SPREAD_RATE) if len(self._leases) >= SPREAD_FROM else None
        self._start_leases(now)

    def demote(self) -> None:
        """Be the primary no longer: leases do not end here."""
        if not self.primary:
            return
        self.primary = False
        self._not_started = []
        self._expiries.clear()
        self._checkpoints.clear()

    def is_expired(self, lease_id: int, now: float) -> bool:
        """True for a lease that has ended and is still to be revoked: a renewal must wait for that, or for the end of
        leadership. False for one that does not exist and on members that are not the primary."""
        lease = self._leases.get(lease_id)
        return self.primary and lease is not None and lease.expiry <= now

    def needs_checkpoint_reset(self, lease_id: int) -> bool:
        """True when a note is stored or under way that a renewal would leave wrong."""
        lease = self._leases.get(lease_id)
        return self.primary and lease is not None and (lease.remaining_ttl > 0 or lease.checkpoint_pending)

    def renew(self, lease_id: int, now: float) -> int:
        """Give a lease its whole time again; returns its TTL.

        Raises NotPrimaryLessor, and LeaseNotFound for a lease that is gone or has ended.
        """
        if not self.primary:
            raise errors.NotPrimaryLessor()
        lease = self._get(lease_id)
        if lease.expiry <= now:
            raise errors.LeaseNotFound()
        self._expiries.set(lease._expiry, now + lease.ttl)
        self._plan_checkpoint(lease, now)
        self.renewed += 1
        return lease.ttl

    def time_to_live(self, lease_id: int, now: float, keys: bool = True) -> TimeToLive:
        """What is left of a lease. Raises LeaseNotFound; NotPrimaryLessor, as others cannot know (etcd 12381)."""
        lease = self._get(lease_id)
        if not self.primary:
            raise errors.NotPrimaryLessor()
        self._start(lease, now)
        return TimeToLive(max(0, int(lease.expiry - now)), lease.ttl, sorted(lease.keys) if keys else [])

    def expired(self, now: float, limit: int = MAX_EXPIRED) -> list[int]:
        """Leases that have ended and are to be revoked, the first ended first; none on other members.

        A lease is reported once, and again whenever it is still there after the retry interval.
        """
        self._start_leases(now)
        ended = self._expiries.pop_due(now, limit)
        for lease in ended:
            self._expiries.look_again(lease._expiry, now + self._retry_interval)
        return [lease.id for lease in ended]

    def has_due_checkpoints(self, now: float) -> bool:
        """Whether `checkpoints` may have something to give; never on other members."""
        return self._checkpoints.is_due(now)

    def checkpoints(self, now: float) -> list[tuple[int, int]]:
        """(ID, seconds left) of leases of which it is time to note that; none on other members."""
        notes = []
        for lease in self._checkpoints.pop_due(now, MAX_CHECKPOINTS):
            if lease.expiry > now:
                lease.checkpoint_pending = True
                notes.append((lease.id, min(lease.ttl, math.ceil(lease.expiry - now))))
                self._plan_checkpoint(lease, now)
        return notes

    # Helpers.

    def _get(self, lease_id: int) -> Lease:
        lease = self._leases.get(lease_id)
        if lease is None:
            raise errors.LeaseNotFound()
        return lease

    def _start_leases(self, now: float) -> None:
        """Let the time of the leases that a promotion found begin to run, START_BITE of them at most."""
        for _ in range(min(START_BITE, len(self._not_started))):
            lease = self._not_started.pop()
            if self._leases.get(lease.id) is lease:
                self._start(lease, now)

    def _start(self, lease: Lease, now: float) -> None:
        """Nothing for a lease that runs already, because it was granted or renewed since the promotion."""
        if lease.expiry < NEVER:
            return
        expiry = self._promoted_at + (lease.remaining_ttl or lease.ttl) + self._extension
        if self._spread is not None:
            expiry = self._spread.place(expiry)
        self._expiries.set(lease._expiry, expiry)
        self._plan_checkpoint(lease, now)

    def _plan_checkpoint(self, lease: Lease, now: float) -> None:
        if lease.expiry - now > self._checkpoint_interval:
            self._checkpoints.set(lease._checkpoint, now + self._checkpoint_interval)
