"""One request for every field of every RPC that can be wrong, and how each is to be judged.

The clusters that they are sent to hold what `prepare` makes: keys, leases, a compaction, a learner that never starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from e2e_calls import BAD_URLS, BAD_VERSIONS, STRANGERS
from e2e_names import member_id, peer_url
from e2e_rpc import Answer
from google.protobuf.message import Message

from quorate.api.pb import election_pb2, health_pb2, lock_pb2
from quorate.api.pb import rpc_pb2 as pb

KEY = b"key"
LEASE = 7
LEARNER = member_id(1)
COMPACTED, REVISION = 5, 8
MAX, MIN = (1 << 63) - 1, -(1 << 63)
LIMIT = 1_572_864
UNDECLARED = [9, -1, (1 << 31) - 1]


@dataclass(frozen=True)
class Bad:
    """`method` is sent `request`. Real etcd's answer is the right one, unless `ours` says what it is to be: then real
    etcd is not asked, for the reason given."""

    method: str
    request: Message
    ours: tuple[int, str] | None = None
    why: str = ""

    def __str__(self) -> str:
        return f"{self.method} {{ {' '.join(str(self.request).split())[:300]} }}"


def prepare(call: Any) -> None:
    """`call(method, request)` makes the Answer of one cluster of one. Leaves it at REVISION, compacted at COMPACTED."""
    steps: list[tuple[str, Message]] = [
        ("LeaseGrant", pb.LeaseGrantRequest(ID=LEASE, TTL=5000)),
        ("LeaseGrant", pb.LeaseGrantRequest(ID=-3, TTL=6000)),
        *(("Put", pb.PutRequest(key=b"key", value=b"%d" % n)) for n in range(4)),
        ("Put", pb.PutRequest(key=b"leased", value=b"v", lease=LEASE)),
        ("DeleteRange", pb.DeleteRangeRequest(key=b"leased")),
        ("Put", pb.PutRequest(key=b"leased", value=b"v", lease=LEASE)),
        ("Compact", pb.CompactionRequest(revision=COMPACTED, physical=True)),
        ("MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True)),
    ]
    for method, request in steps:
        answer: Answer = call(method, request)
        assert answer.ok, (method, answer)


def put(key: bytes = KEY, **more: Any) -> Any:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, **more))


def get(key: bytes = KEY, **more: Any) -> Any:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, **more))


def delete(key: bytes = KEY, **more: Any) -> Any:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, **more))


def nested(**more: Any) -> Any:
    return pb.RequestOp(request_txn=pb.TxnRequest(**more))


def bad_requests() -> Iterator[Bad]:
    """All of them."""
    for make in (_ranges, _writes, _txns, _compactions, _leases, _members, _maintenance, _queues):
        yield from make()


def _ranges() -> Iterator[Bad]:
    invalid_sort = (3, "etcdserver: invalid sort option")
    everything = {"key": b"\0", "range_end": b"\0"}
    yield Bad("Range", pb.RangeRequest())
    yield Bad("Range", pb.RangeRequest(range_end=b"\0"))
    yield Bad("Range", pb.RangeRequest(key=b"z", range_end=b"a"))
    for number in UNDECLARED:
        order, target = (pb.RangeRequest(key=KEY, **{name: number}) for name in ("sort_order", "sort_target"))
        yield Bad("Range", order, invalid_sort, "3.5 ignores an undeclared order")
        yield Bad("Range", target, invalid_sort, "3.5.1 ends of an undeclared target")
    for limit in (-1, MIN):
        yield Bad("Range", pb.RangeRequest(**everything, limit=limit))
    for revision in (-1, MIN, 1, COMPACTED - 1, REVISION + 1, MAX):
        for serializable in (False, True):
            yield Bad("Range", pb.RangeRequest(**everything, revision=revision, serializable=serializable))
    for name in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
        for revision in (-1, MIN, MAX):
            yield Bad("Range", pb.RangeRequest(**everything, **{name: revision}))


def _writes() -> Iterator[Bad]:
    yield Bad("Put", pb.PutRequest())
    yield Bad("Put", pb.PutRequest(value=b"x", lease=1, ignore_value=True, ignore_lease=True))
    yield Bad("Put", pb.PutRequest(key=KEY, value=b"x", ignore_value=True))
    yield Bad("Put", pb.PutRequest(key=KEY, lease=LEASE, ignore_lease=True))
    for more in ({"ignore_value": True}, {"ignore_lease": True}, {"ignore_value": True, "ignore_lease": True}):
        yield Bad("Put", pb.PutRequest(key=b"none", **more))
        yield Bad("Txn", pb.TxnRequest(success=[put(b"none", **more)]))
    for lease in (1, -1, MAX, MIN):
        yield Bad("Put", pb.PutRequest(key=KEY, lease=lease))
        yield Bad("Txn", pb.TxnRequest(success=[put(b"new"), put(lease=lease)]))
    yield Bad("Put", pb.PutRequest(key=KEY, value=bytes(LIMIT)))
    yield Bad("Put", pb.PutRequest(key=bytes(LIMIT)))
    yield Bad("Put", pb.PutRequest(key=KEY, value=bytes(LIMIT + 524_288)))
    yield Bad("DeleteRange", pb.DeleteRangeRequest())
    yield Bad("DeleteRange", pb.DeleteRangeRequest(range_end=b"\0"))
    yield Bad("DeleteRange", pb.DeleteRangeRequest(key=b"z", range_end=b"a"))
    yield Bad("DeleteRange", pb.DeleteRangeRequest(key=bytes(LIMIT)))
    yield Bad("DeleteRange", pb.DeleteRangeRequest(key=KEY, range_end=bytes(LIMIT + 524_288)))


def _txns() -> Iterator[Bad]:
    def txn(**more: Any) -> Bad:
        return Bad("Txn", pb.TxnRequest(**more))

    wrong_ops = [
        pb.RequestOp(), put(b""), get(b""), delete(b""), nested(compare=[pb.Compare()]), nested(success=[put(b"")]),
        nested(failure=[pb.RequestOp()]), put(value=b"x", ignore_value=True), put(lease=1, ignore_lease=True),
    ]  # fmt: skip
    for op in wrong_ops:
        yield txn(success=[op])
        yield txn(failure=[op])
        yield txn(success=[put(b"new"), nested(success=[op])])
    yield txn(compare=[pb.Compare()])
    yield txn(compare=[pb.Compare(range_end=b"\0")])
    for number in UNDECLARED:
        for name in ("target", "result"):
            yield txn(compare=[pb.Compare(key=KEY, **{name: number})], success=[get()])
    for name in ("compare", "success", "failure"):
        many = {name: [pb.Compare(key=KEY) if name == "compare" else get()] * 129}
        yield txn(**many)
        yield txn(success=[nested(**many)])
    yield txn(success=[get()] * 100 + [nested(success=[get()] * 29)])
    yield txn(success=[nested(success=[nested(success=[get()] * 127)])])
    pairs = [
        (put(), put()), (put(), delete()), (delete(), put()), (put(), delete(b"a", range_end=b"z")),
        (put(), nested(success=[put()])), (nested(failure=[put()]), put()), (nested(success=[delete()]), put()),
        (nested(success=[put()]), nested(failure=[put()])), (nested(success=[delete()]), nested(success=[put()])),
    ]  # fmt: skip
    for pair in pairs:
        yield txn(success=pair)
        yield txn(failure=pair)
        yield txn(success=[nested(failure=pair)])
    for revision in (1, COMPACTED - 1, REVISION + 1, MAX):
        yield txn(success=[get(revision=revision)])
        yield txn(success=[put(b"new"), get(revision=revision)])
        yield txn(success=[put(b"new"), nested(success=[get(revision=revision)])])
    yield txn(success=[put(value=bytes(LIMIT))])
    yield txn(success=[nested(success=[put(value=bytes(LIMIT))])])
    keeps = pb.TxnRequest(success=[delete(b"a", range_end=b"\0"), put(ignore_value=True)])
    duplicate = (3, "etcdserver: duplicate key given in txn request")
    yield Bad("Txn", keeps, duplicate, "3.5.1 ends of a put that keeps what a from-key delete removed")


def _compactions() -> Iterator[Bad]:
    for revision in (MIN, -1, 0, 1, COMPACTED, REVISION + 1, MAX):
        for physical in (False, True):
            yield Bad("Compact", pb.CompactionRequest(revision=revision, physical=physical))


def _leases() -> Iterator[Bad]:
    for ttl in (9_000_000_001, MAX):
        yield Bad("LeaseGrant", pb.LeaseGrantRequest(ID=11, TTL=ttl))
        yield Bad("LeaseGrant", pb.LeaseGrantRequest(ID=LEASE, TTL=ttl))
    for ttl in (MIN, -1, 0, 1, 100):
        yield Bad("LeaseGrant", pb.LeaseGrantRequest(ID=LEASE, TTL=ttl))
    for lease in (0, 1, -1, MAX, MIN):
        yield Bad("LeaseRevoke", pb.LeaseRevokeRequest(ID=lease))
        yield Bad("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease))
        yield Bad("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease, keys=True))
        yield Bad("KeepAlive", pb.LeaseKeepAliveRequest(ID=lease))


def _members() -> Iterator[Bad]:
    yield Bad("MemberAdd", pb.MemberAddRequest())
    yield Bad("MemberAdd", pb.MemberAddRequest(isLearner=True))
    for url in BAD_URLS:
        yield Bad("MemberAdd", pb.MemberAddRequest(peerURLs=[url]))
        yield Bad("MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:9", url], isLearner=True))
    for learner in (False, True):
        yield Bad("MemberAdd", pb.MemberAddRequest(peerURLs=[peer_url(0)], isLearner=learner))
        yield Bad("MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=learner))
    yield Bad("MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:9"], isLearner=True))
    for number in STRANGERS:
        yield Bad("MemberRemove", pb.MemberRemoveRequest(ID=number))
        yield Bad("MemberPromote", pb.MemberPromoteRequest(ID=number))
        yield Bad("MemberUpdate", pb.MemberUpdateRequest(ID=number, peerURLs=["http://127.0.0.1:9"]))
    yield Bad("MemberRemove", pb.MemberRemoveRequest(ID=member_id(0)))
    yield Bad("MemberPromote", pb.MemberPromoteRequest(ID=member_id(0)))
    yield Bad("MemberPromote", pb.MemberPromoteRequest(ID=LEARNER))
    yield Bad("MemberUpdate", pb.MemberUpdateRequest(ID=LEARNER, peerURLs=[peer_url(0)]))
    yield Bad("MemberUpdate", pb.MemberUpdateRequest(ID=member_id(0), peerURLs=["http://127.0.0.1:1"]))
    for urls in ([], *([url] for url in BAD_URLS)):
        update = pb.MemberUpdateRequest(ID=LEARNER, peerURLs=urls)
        yield Bad("MemberUpdate", update, (3, "etcdserver: given member URLs are invalid"), "3.5.1 takes any URL")


def _maintenance() -> Iterator[Bad]:
    unknown = (2, "etcdserver: unknown method")
    for number in UNDECLARED:
        yield Bad("Alarm", pb.AlarmRequest(action=number), unknown, "3.5.1 ends of an undeclared action")
        on = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=5, alarm=number)
        yield Bad("Alarm", on, unknown, "3.5.1 ends of an undeclared alarm")
        for action in (pb.AlarmRequest.GET, pb.AlarmRequest.DEACTIVATE):
            yield Bad("Alarm", pb.AlarmRequest(action=action, memberID=5, alarm=number))
        yield Bad("Downgrade", pb.DowngradeRequest(action=number, version="3.4"))
    for number in STRANGERS:
        yield Bad("Alarm", pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=number, alarm=pb.CORRUPT))
        yield Bad("Alarm", pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=number))
        yield Bad("MoveLeader", pb.MoveLeaderRequest(targetID=number))
    yield Bad("MoveLeader", pb.MoveLeaderRequest(targetID=LEARNER))
    for version in BAD_VERSIONS:
        for action in (pb.DowngradeRequest.VALIDATE, pb.DowngradeRequest.ENABLE):
            yield Bad("Downgrade", pb.DowngradeRequest(action=action, version=version))
    for revision in (1, COMPACTED - 1, REVISION + 1, MAX):
        yield Bad("HashKV", pb.HashKVRequest(revision=revision))
    for service in ("x", "etcdserverpb.KV", "\N{SNOWMAN}" * 100):
        yield Bad("Check", health_pb2.HealthCheckRequest(service=service))


def _queues() -> Iterator[Bad]:
    for lease in (1, -1, MAX, MIN):
        for name in (b"", b"name"):
            yield Bad("Lock", lock_pb2.LockRequest(name=name, lease=lease))
            yield Bad("Campaign", election_pb2.CampaignRequest(name=name, lease=lease, value=b"v"))
    yield Bad("Unlock", lock_pb2.UnlockRequest())
    yield Bad("Unlock", lock_pb2.UnlockRequest(key=b"none"))
    yield Bad("Proclaim", election_pb2.ProclaimRequest(value=b"v"))
    yield Bad("Resign", election_pb2.ResignRequest())
    for revision in (MIN, -1, 1, MAX):
        for key in (KEY, b"none"):
            leader = election_pb2.LeaderKey(name=b"name", key=key, rev=revision, lease=LEASE)
            yield Bad("Proclaim", election_pb2.ProclaimRequest(leader=leader, value=b"v"))
            yield Bad("Resign", election_pb2.ResignRequest(leader=leader))
    yield Bad("Proclaim", election_pb2.ProclaimRequest(leader=election_pb2.LeaderKey(lease=LEASE)))
    yield Bad("Proclaim", election_pb2.ProclaimRequest(leader=election_pb2.LeaderKey(key=KEY, rev=2, lease=1)))
    yield Bad("Resign", election_pb2.ResignRequest(leader=election_pb2.LeaderKey(lease=LEASE)))
    for name in (b"", b"none", b"\xff" * 1000):
        yield Bad("Leader", election_pb2.LeaderRequest(name=name))
