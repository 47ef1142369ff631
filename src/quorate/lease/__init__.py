"""Leases: a time to live, the keys that end with it, and who may say that it is over.

What it knows: lease IDs, seconds, keys as bytes, the stored records. What it refuses to know: clocks (every time is
an argument: seconds on one steady clock of the caller's), raft, proposals, and what deleting a key means.

There are two halves. What every member holds alike comes from log entries: which leases exist, their TTL, their noted
remaining time, their keys. *When* a lease ends is one member's knowledge: the leader's, called the primary. All others
hold leases as endless, so that no stalled or parted clock can end one.

    follower   grant ─► exists, endless
                              │ promote: expiry = now + (noted remaining, else TTL) + extension
    primary    grant ─► expiry ──────► expired() ─► somebody proposes the revocation ─► revoke() on every member
                              ▲ renew

A new primary gives each lease its whole time again, and the election timeout on top, since it cannot know when the
last renewal was: a lease may live longer than its TTL, never shorter. So that frequent elections do not make it live
for ever (etcd 9888), the primary notes the time left of long leases through the log (`checkpoints`, `checkpoint`), and
the next one starts from the note. A renewal makes the note void: before renewing, a lease for which
`needs_checkpoint_reset` has a note of 0 proposed.

Whoever revokes or renews must have confirmed that it still leads after it took its decision (etcd 15247).

Sources: etcd's lease semantics; C. Gray, D. Cheriton, "Leases", 1989.
"""

from quorate.lease.lessor import (
    CHECKPOINT_INTERVAL,
    MAX_CHECKPOINTS,
    MAX_EXPIRED,
    MAX_TTL,
    RETRY_INTERVAL,
    SPREAD_FROM,
    SPREAD_RATE,
    Lease,
    Lessor,
    TimeToLive,
)

__all__ = [
    "CHECKPOINT_INTERVAL",
    "MAX_CHECKPOINTS",
    "MAX_EXPIRED",
    "MAX_TTL",
    "RETRY_INTERVAL",
    "SPREAD_FROM",
    "SPREAD_RATE",
    "Lease",
    "Lessor",
    "TimeToLive",
]
