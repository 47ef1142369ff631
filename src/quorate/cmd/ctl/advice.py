"""Settings for a network and a disk, each with its reason. Times are in milliseconds, sizes in bytes."""

from __future__ import annotations

MIB = 1024 * 1024
GIB = 1024 * MIB

LEAST_HEARTBEAT = 100
MOST_ELECTION = 50_000
TIMES = 10
"""Round trips, and heartbeats, in an election timeout."""
HEAVY_THROUGHPUT = 100
"""Megabytes of writes in a second, beside which heartbeats have to wait."""
HEAVY_HEARTBEAT, HEAVY_ELECTION = 400, 5000
SLOW_DISK = 10.0
FAR = 50.0
"""A round trip as between the ends of a continent."""
FEW_ENTRIES, MANY_ENTRIES = 10_000, 100_000
LEAST_QUOTA, MOST_QUOTA = 2 * GIB, 8 * GIB
COPIES = 3
"""Of a database that a disk must have room for: itself, the new one of a defragmentation, one that the leader sends."""


class Advice:
    """`flag` without its dashes."""

    def __init__(self, flag: str, value: str, reason: str) -> None:
        self.flag, self.value, self.reason = flag, value, reason


class Facts:
    """What was measured. `free` is of the disk, 0 where nobody knows; `in_use` and `quota` are of the largest database,
    0 where no member has told."""

    def __init__(
        self,
        rtt: float,
        fsync: float,
        *,
        throughput: int = 0,
        in_use: int = 0,
        quota: int = 0,
        free: int = 0,
    ) -> None:
        self.rtt, self.fsync, self.throughput = rtt, fsync, throughput
        self.in_use, self.quota, self.free = in_use, quota, free


def advise(facts: Facts) -> list[Advice]:
    """One for each setting."""
    heartbeat, why = _heartbeat(facts)
    election, why_election = _election(facts, heartbeat)
    quota, why_quota = _quota(facts)
    return [
        Advice("heartbeat-interval", str(heartbeat), why),
        Advice("election-timeout", str(election), f"{why_election}; the same on all members"),
        _snapshots(facts),
        Advice("quota-backend-bytes", str(quota), why_quota),
        Advice("auto-compaction-mode", "periodic", "without compaction the history grows until the quota is reached"),
        _retention(facts, quota),
    ]


def _heartbeat(facts: Facts) -> tuple[int, str]:
    span = f"0.5 to 1.5 round trips would be {facts.rtt * 0.5:.2f} to {facts.rtt * 1.5:.2f} ms"
    value, why = _up(facts.rtt, 10), f"one round trip between the members that are farthest apart ({span})"
    if value <= LEAST_HEARTBEAT:
        value, why = LEAST_HEARTBEAT, f"{span}; more often than every {LEAST_HEARTBEAT} ms only costs CPU and network"
    if facts.throughput >= HEAVY_THROUGHPUT and value < HEAVY_HEARTBEAT:
        value, why = HEAVY_HEARTBEAT, f"beside {facts.throughput} MB/s of writes heartbeats are late: 300 to 500 ms"
    most = MOST_ELECTION // TIMES
    if value > most:
        value, why = most, f"{TIMES} have to fit into an election timeout of {MOST_ELECTION} ms at most"
    return value, why


def _election(facts: Facts, heartbeat: int) -> tuple[int, str]:
    value, why = TIMES * heartbeat, f"{TIMES} heartbeats, and at least {TIMES} round trips ({TIMES * facts.rtt:.1f} ms)"
    slow = _up(TIMES * (facts.rtt + facts.fsync), 100)
    if facts.fsync >= SLOW_DISK and slow > value:
        value, why = slow, f"{TIMES} times a round trip and an fdatasync of this slow disk ({facts.fsync:.1f} ms)"
    if facts.throughput >= HEAVY_THROUGHPUT and value < HEAVY_ELECTION:
        value, why = HEAVY_ELECTION, f"about 5000 ms beside {facts.throughput} MB/s of writes"
    if value > MOST_ELECTION or TIMES * facts.rtt > MOST_ELECTION:
        value, why = MOST_ELECTION, "the most that a member takes; it is too little for this network and disk"
    return value, why


def _snapshots(facts: Facts) -> Advice:
    why = ""
    if facts.rtt >= FAR:
        why = "a follower that the log no longer reaches back to is sent the whole database, over this slow network"
    elif facts.fsync >= SLOW_DISK:
        why = "snapshots are written to this slow disk"
    if why:
        return Advice("snapshot-count", str(MANY_ENTRIES), f"{why}: seldom, at the price of memory for the log")
    why = "the default: network and disk are quick enough to help a follower with a snapshot, and the log stays short"
    return Advice("snapshot-count", str(FEW_ENTRIES), why)


def _quota(facts: Facts) -> tuple[int, str]:
    value = min(max(_up(4 * facts.in_use, GIB), LEAST_QUOTA), MOST_QUOTA)
    why = f"four times the {facts.in_use // MIB} MiB in use, between 2 GiB and 8 GiB"
    room = facts.free + facts.in_use
    if facts.free and COPIES * value > room:
        value = room // COPIES // MIB * MIB
        why = "a third of the disk's room: the database, its new file while it is defragmented, one from the leader"
    if value < 2 * facts.in_use:
        why += "; the database is near it: give it a larger disk, or less to keep"
    return value, why


def _retention(facts: Facts, quota: int) -> Advice:
    if facts.in_use * 2 > (facts.quota or quota):
        why = (
            "more than half of the quota is in use: a short history leaves room, defragment after the first compaction"
        )
        return Advice("auto-compaction-retention", "10m", why)
    why = "an hour of history is there for clients that come back and watch from where they were"
    return Advice("auto-compaction-retention", "1h", why)


def _up(value: float, step: int) -> int:
    """To the next multiple of `step`."""
    return -int(-value // step) * step
