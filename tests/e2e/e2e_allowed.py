"""Every difference between real etcd 3.5.1 and the member under test that is right, each with its reason. One list.

The member under test follows the newest behaviour of etcd (API level 3.7); real etcd 3.5.1 is what can be installed as
a package. `level` brings both answers to one form before they are compared. What is not here must be equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e2e_rpc import Answer

from quorate.api.pb import rpc_pb2

RangeRequest = rpc_pb2.RangeRequest
INVALID_ARGUMENT = 3
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11


@dataclass(frozen=True)
class Allowance:
    """`method` answers may differ as `level` undoes; `level(request, response)` changes a copy in place."""

    name: str
    reason: str
    method: str
    level: Callable[[Any, Any], None]


def _no_lease_in_keys_only(request: Any, response: Any) -> None:
    if request.keys_only and request.sort_target != RangeRequest.VALUE:
        for kv in response.kvs:
            kv.lease = 0


def _no_order_among_equals(request: Any, response: Any) -> None:
    """Equal elements in key order; of a group the limit has cut through, only the number stays."""
    if request.sort_target == RangeRequest.KEY or request.count_only:
        return
    kvs = list(response.kvs)
    groups: list[list[Any]] = []
    for kv in kvs:
        if groups and _sort_value(request, groups[-1][0]) == _sort_value(request, kv):
            groups[-1].append(kv)
        else:
            groups.append([kv])
    cut = 0 < request.limit <= len(kvs)
    del response.kvs[:]
    for number, group in enumerate(groups):
        if cut and number == len(groups) - 1:
            value = _sort_value(request, group[0])
            response.kvs.extend(type(kv)(key=b"any with %a" % value) for kv in group)
        else:
            response.kvs.extend(sorted(group, key=lambda kv: kv.key))


def _sort_value(request: Any, kv: Any) -> Any:
    return {
        RangeRequest.VERSION: kv.version,
        RangeRequest.CREATE: kv.create_revision,
        RangeRequest.MOD: kv.mod_revision,
        RangeRequest.VALUE: kv.value,
    }.get(request.sort_target, 0)


def _clear(*names: str) -> Callable[[Any, Any], None]:
    def level(_: Any, response: Any) -> None:
        for name in names:
            response.ClearField(name)

    return level


def _no_trailing_space(_: Any, response: Any) -> None:
    response.errors[:] = [text.rstrip() for text in response.errors]


def _keys_sorted(_: Any, response: Any) -> None:
    keys = sorted(response.keys)
    del response.keys[:]
    response.keys.extend(keys)


ANSWERS = [
    Allowance("keys-only-lease", "3.7 answers from the index, which knows no lease", "Range", _no_lease_in_keys_only),
    Allowance("equal-elements", "the sort is not stable, in any version", "Range", _no_order_among_equals),
    Allowance("hash-revision", "field of 3.6 and newer", "HashKV", _clear("hash_revision")),
    Allowance("lease-keys-order", "order of attached keys is unspecified", "LeaseTimeToLive", _keys_sorted),
    Allowance("hash", "names of members and of the cluster are in the database, too", "Hash", _clear("hash")),
    Allowance("downgrade-version", "other cluster versions, and 3.5 writes all of it", "Downgrade", _clear("version")),
    Allowance("alarm-text", "3.7 dropped the space behind an alarm's text", "Status", _no_trailing_space),
    Allowance(
        "status-own",
        "release, sizes of the file, and fields of 3.6 and newer are the member's own; raft index counts the "
        "entries a release writes about itself",
        "Status",
        _clear(
            "version", "dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex", "storageVersion", "dbSizeQuota",
            "downgradeInfo",
        ),
    ),
]  # fmt: skip


LEASE_TIME_SECONDS = 20
"""How far apart the moments are, at most, at which the two sides answer."""


def level_both(method: str, left: Any, right: Any) -> None:
    """What can only be judged by both answers: the time that a lease has left."""
    if method == "LeaseTimeToLive" and abs(left.TTL - right.TTL) <= LEASE_TIME_SECONDS and left.TTL >= 0 <= right.TTL:
        right.TTL = left.TTL


def level_many(method: str, response: Any) -> None:
    """What differs between clusters of several: how many elections there were, and what a follower knows of leases."""
    if response.DESCRIPTOR.fields_by_name.get("header") is not None and response.HasField("header"):
        response.header.ClearField("raft_term")
    if method == "Status":
        response.ClearField("raftTerm")
    elif method == "LeaseLeases":
        leases = sorted(response.leases, key=lambda lease: lease.ID)
        del response.leases[:]
        response.leases.extend(leases)


@dataclass(frozen=True)
class AllowedStatus:
    """One side, `newer` or not, answers this status, the other one OK or what it finds later; and that is right."""

    name: str
    reason: str
    code: int
    text: str
    when: Callable[[str, Any], bool]
    newer: bool = True
    """Whether it is the member under test that refuses."""
    later: tuple[int, ...] = (0,)
    """Codes of the other side."""


def _bad_sort(method: str, request: Any) -> bool:
    """Only for a Range of its own: in a transaction the two sides would part ways."""
    return method == "Range" and request.sort_order not in RangeRequest.SortOrder.values()


def _cancel_of_nothing(method: str, request: Any) -> bool:
    return method == "Downgrade" and request.action == rpc_pb2.DowngradeRequest.CANCEL


STATUSES = [
    AllowedStatus(
        "sort-enums",
        "3.6 and newer refuse undeclared sort orders and targets, 3.5 ignored them",
        INVALID_ARGUMENT,
        "etcdserver: invalid sort option",
        _bad_sort,
        later=(0, OUT_OF_RANGE),
    ),
    AllowedStatus(
        "downgrade-cancel",
        "3.6 and newer take it for done that no downgrade is under way, 3.5 refuses",
        FAILED_PRECONDITION,
        "etcdserver: no inflight downgrade job",
        _cancel_of_nothing,
        newer=False,
    ),
]


def allowed_status(method: str, request: Any, real: Answer, subject: Answer) -> AllowedStatus | None:
    """The entry that makes these two different outcomes right, or None."""
    for entry in STATUSES:
        refuses, serves = (subject, real) if entry.newer else (real, subject)
        if (
            serves.code in entry.later
            and (refuses.code, refuses.text) == (entry.code, entry.text)
            and entry.when(method, request)
        ):
            return entry
    return None


def level(method: str, request: Any, response: Any) -> None:
    """Apply every allowance of this method, inside transactions too."""
    for entry in ANSWERS:
        if entry.method == method:
            entry.level(request, response)
    if method == "Txn":
        ops = request.success if response.succeeded else request.failure
        for op, done in zip(ops, response.responses, strict=False):
            kind = op.WhichOneof("request")
            if kind == "request_range" and done.HasField("response_range"):
                level("Range", op.request_range, done.response_range)
            elif kind == "request_txn" and done.HasField("response_txn"):
                level("Txn", op.request_txn, done.response_txn)


TOMBSTONE_AT_COMPACTION = (
    "3.5.16 and newer keep a tombstone at exactly the compacted revision, 3.5.1 dropped it: a watch from that revision "
    "sees the delete only in newer releases"
)


def watch_may_lack(event: Any, start_revision: int, compacted_at_start: int) -> bool:
    """True for an event that only newer releases replay. See TOMBSTONE_AT_COMPACTION."""
    return bool(event.type == event.DELETE and event.kv.mod_revision == start_revision == compacted_at_start)
