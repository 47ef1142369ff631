"""A seeded stream of requests of every kind, aimed at the edges: few keys, near revisions, odd numbers, bad fields.

Requests are concrete messages, so a run can be written down, cut short and replayed against fresh members.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from e2e_calls import CallGenerator
from e2e_rpc import Answer
from google.protobuf.message import Message

from quorate.api.pb import rpc_pb2 as pb

KEYS = [
    *(b"k%d" % n for n in range(8)),
    *(b"dir/%d" % n for n in range(6)),
    *(b"dir/sub/%d" % n for n in range(4)),
    b"dir", b"di", b"dir/\xff", b"dir0", b"\x00", b"\x00\x00", b"\xff", b"\xff\xff", b"z" * 300, b"k\x00",
]  # fmt: skip
VALUES = [b"", b"0", b"1", b"2", b"a", b"aa", b"\x00", b"\xff\xfe", b"v" * 256]
STREAMS = 3
MAX_WATCHERS = 24
CALLS_SHARE = 0.12
"""Of operations that are neither of keys, nor leases, nor watches."""


@dataclass
class Op:
    """One step, sent to `member` or on `stream`: `kind` is the name of a unary RPC, or KeepAlive, Snapshot,
    WatchCreate, WatchCancel, WatchProgress, Barrier."""

    kind: str
    message: Message | None = None
    stream: int = 0
    member: int = 0

    def __str__(self) -> str:
        where = f" stream={self.stream}" if self.kind.startswith("Watch") else f" member={self.member}"
        return f"{self.kind}{where} {{ {' '.join(str(self.message).split())} }}"


@dataclass
class Generator:
    """Draws operations. `learn` tells it what a write came to, so that later ones aim near it."""

    seed: int
    members: int = 1
    revision: int = 1
    compacted: int = 0
    leases: list[int] = field(default_factory=list)
    watchers: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._next_ttl = 1000
        self._next_id = 0
        self._compactions: set[int] = set()
        self._calls = CallGenerator(self.dice, self.members)

    def draw(self) -> Op:
        """The next operation, for any member."""
        op = self._draw()
        op.member = self.dice.randrange(self.members)
        return op

    def _draw(self) -> Op:
        if self._chance(CALLS_SHARE):
            return Op(*self._calls.draw(self.leases))
        kinds = [
            (30, self._put_op), (26, self._range_op), (8, self._delete_op), (16, self._txn_op), (1.2, self._compact_op),
            (3, self._grant_op), (1.2, self._revoke_op), (2, self._ttl_op), (0.7, self._leases_op),
            (1.5, self._keep_alive_op), (1, self._hash_op),
            (1.6, self._watch_op), (0.5, self._cancel_op), (0.4, self._progress_op),
        ]  # fmt: skip
        made = self.dice.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]
        return made()

    def learn(self, op: Op, answer: Answer) -> None:
        """Take note of what real etcd answered."""
        if answer.message is None or not answer.ok:
            return
        if answer.message.DESCRIPTOR.fields_by_name.get("header") is not None:
            self.revision = max(self.revision, answer.message.header.revision)
        message: Any = op.message
        self._calls.learn(op.kind, message, answer.message)
        if op.kind == "Compact":
            self.compacted = message.revision
            self._compactions.add(message.revision)
        elif op.kind == "LeaseGrant" and message.ID:
            self.leases.append(message.ID)
        elif op.kind == "LeaseRevoke":
            self.leases = [lease for lease in self.leases if lease != message.ID]

    # -- parts

    def _chance(self, share: float) -> bool:
        return self.dice.random() < share

    def _key(self) -> bytes:
        return self.dice.choice(KEYS) if not self._chance(0.01) else b""

    def _end(self, key: bytes) -> bytes:
        kind = self.dice.randrange(10)
        if kind < 4:
            return b""
        if kind < 7:
            return prefix_end(key)
        return b"\0" if kind == 7 else self.dice.choice(KEYS)

    def _near_revision(self) -> int:
        """Mostly readable, sometimes compacted, future or negative."""
        kind = self.dice.randrange(20)
        if kind == 0:
            return self.revision + self.dice.randint(1, 3)
        if kind == 1:
            return -self.dice.randint(1, 3)
        if kind == 2:
            return max(0, self.compacted + self.dice.randint(-3, 1))
        return self.dice.randint(max(1, self.compacted), max(1, self.compacted, self.revision))

    def _lease(self) -> int:
        if self.leases and self._chance(0.93):
            return self.dice.choice(self.leases)
        return self.dice.choice([999_999, -999_999, 1 << 62])

    def _put(self) -> Any:
        made = pb.PutRequest(key=self._key(), value=self.dice.choice(VALUES), prev_kv=self._chance(0.3))
        if self._chance(0.12):
            made.lease = self._lease()
        if self._chance(0.06):
            made.ignore_value = True
            if self._chance(0.85):
                made.value = b""
        if self._chance(0.06):
            made.ignore_lease = True
            if self._chance(0.85):
                made.lease = 0
        return made

    def _delete(self) -> Any:
        key = self._key()
        end = self._end(key) if self._chance(0.45) else b""
        if end == b"\0" and self._chance(0.7):
            end = b""
        return pb.DeleteRangeRequest(key=key, range_end=end, prev_kv=self._chance(0.4))

    def _range(self) -> Any:
        key = self._key()
        made = pb.RangeRequest(key=key, range_end=self._end(key))
        if self._chance(0.4):
            made.limit = self.dice.choice([-1, 1, 2, 3, 5, 100])
        if self._chance(0.4):
            made.revision = self._near_revision()
        if self._chance(0.4):
            made.sort_order = self.dice.randrange(3)
            made.sort_target = self.dice.randrange(5)
        made.serializable = self._chance(0.4)
        made.keys_only = self._chance(0.15)
        made.count_only = self._chance(0.1)
        for name in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            if self._chance(0.07):
                setattr(made, name, self._near_revision())
        return made

    def _compare(self) -> Any:
        made = pb.Compare(key=self._key(), result=self.dice.randrange(4), target=self.dice.randrange(5))
        if self._chance(0.3):
            made.range_end = self._end(made.key)
        names = ["version", "create_revision", "mod_revision", "value", "lease"]
        name = names[made.target] if self._chance(0.93) else self.dice.choice(names)
        if name == "value":
            made.value = self.dice.choice(VALUES)
        elif name == "version":
            made.version = self.dice.randint(-1, 4)
        elif name == "lease":
            made.lease = self.dice.choice([0, self._lease()])
        elif self._chance(0.95):
            setattr(made, name, self.dice.choice([0, 1, self._near_revision()]))
        if self._chance(0.02):
            made.target, made.result = self.dice.choice([(9, 0), (0, 9), (9, 9)])
        return made

    def _request_op(self, depth: int) -> Any:
        kind = self.dice.random()
        if kind < 0.4:
            return pb.RequestOp(request_put=self._put())
        if kind < 0.7:
            return pb.RequestOp(request_range=self._range())
        if kind < 0.87:
            return pb.RequestOp(request_delete_range=self._delete())
        if kind < 0.99 and depth < 3:
            return pb.RequestOp(request_txn=self._txn(depth + 1))
        return pb.RequestOp() if self._chance(0.1) else pb.RequestOp(request_put=self._put())

    def _txn(self, depth: int = 0) -> Any:
        few = self.dice.choices([0, 1, 2, 3, 5], [1, 4, 3, 2, 1])[0]
        made = pb.TxnRequest()
        made.compare.extend(self._compare() for _ in range(self.dice.choices([0, 1, 2, 3], [2, 4, 2, 1])[0]))
        made.success.extend(self._request_op(depth) for _ in range(few))
        made.failure.extend(self._request_op(depth) for _ in range(self.dice.choices([0, 1, 2], [3, 3, 1])[0]))
        if depth == 0 and self._chance(0.003):
            made.success.extend(pb.RequestOp(request_range=pb.RangeRequest(key=b"k")) for _ in range(126))
        return made

    # -- whole operations

    def _put_op(self) -> Op:
        return Op("Put", self._put())

    def _range_op(self) -> Op:
        made = self._range()
        if self._chance(0.01):
            made.sort_order = self.dice.choice([7, -1])  # an undeclared sort_target kills real etcd 3.5.1
        return Op("Range", made)

    def _delete_op(self) -> Op:
        return Op("DeleteRange", self._delete())

    def _txn_op(self) -> Op:
        made = self._txn()
        ops = list(_all_ops(made))
        if any(op.request_put.ignore_value or op.request_put.ignore_lease for op in ops):
            for op in ops:  # keeping what a from-key delete of the same txn removed: kills real etcd, refused by others
                if op.request_delete_range.range_end == b"\0":
                    op.request_delete_range.range_end = b""
        if self.members > 1:
            for op in ops:  # a read that fails is skipped by 3.5.1 on all members but one, and these apply the writes
                if op.HasField("request_range"):
                    op.request_range.revision = 0
        if self._calls.is_full:
            for op in (*made.success, *made.failure):  # 3.5.1 does not see the puts of nested ones
                if op.HasField("request_txn"):
                    op.request_range.CopyFrom(pb.RangeRequest(key=b"k0"))
        return Op("Txn", made)

    def _compact_op(self) -> Op:
        revision = self.dice.choice([self._near_revision(), self._near_revision(), self.revision])
        revision = (
            revision or 1
        )  # newer releases answer HashKV(0) from a compaction at 0, as from any compaction's own hash
        return Op("Compact", pb.CompactionRequest(revision=revision, physical=self._chance(0.5)))

    def _grant_op(self) -> Op:
        kind = self.dice.random()
        if kind < 0.05:
            return Op("LeaseGrant", pb.LeaseGrantRequest(ID=self.dice.randint(1, 50), TTL=9_000_000_001))
        self._next_ttl += 1000
        lease = self.dice.choice(
            [self.dice.randint(1, 30), -self.dice.randint(1, 5), (1 << 63) - 1 - self.dice.randrange(3)]
        )
        return Op("LeaseGrant", pb.LeaseGrantRequest(ID=lease, TTL=self._next_ttl))

    def _revoke_op(self) -> Op:
        return Op("LeaseRevoke", pb.LeaseRevokeRequest(ID=self._lease()))

    def _ttl_op(self) -> Op:
        return Op("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=self._lease(), keys=self._chance(0.7)))

    def _leases_op(self) -> Op:
        return Op("LeaseLeases", pb.LeaseLeasesRequest())

    def _keep_alive_op(self) -> Op:
        return Op("KeepAlive", pb.LeaseKeepAliveRequest(ID=self._lease()))

    def _hash_op(self) -> Op:
        revision = self.dice.choice([0, self._near_revision(), self._near_revision()])
        if revision < 0 or revision in self._compactions:
            revision = 0  # newer releases answer from the compaction's own hash; negative ones stand in the refusals
        return Op("HashKV", pb.HashKVRequest(revision=revision))

    def _watch_op(self) -> Op:
        if len(self.watchers) >= MAX_WATCHERS:
            return self._cancel_op()
        key = b"" if self._chance(0.05) else self.dice.choice(KEYS)
        made = pb.WatchCreateRequest(key=key, range_end=self._end(key))
        if self._chance(0.6):
            made.start_revision = max(0, self._near_revision())
        made.prev_kv = self._chance(0.4)
        made.progress_notify = self._chance(0.2)
        made.fragment = self._chance(0.2)
        if self._chance(0.25):
            made.filters.extend(self.dice.choice([[0], [1], [0, 1]]))
        stream = self.dice.randrange(STREAMS)
        if self._chance(0.2):
            made.watch_id = self._watch_id(stream)
        return Op("WatchCreate", pb.WatchRequest(create_request=made), stream)

    def _watch_id(self, stream: int) -> int:
        """One in use, or a new one that the server will not pick itself.

        Never one that a compaction has ended: newer releases free it, 3.5.1 does not.
        """
        used = [watch_id for on, watch_id in self.watchers if on == stream]
        if used and self._chance(0.3):
            return self.dice.choice(used)
        self._next_id += 1
        return 1000 + self._next_id

    def _cancel_op(self) -> Op:
        stream, watch_id = self.dice.choice(self.watchers) if self.watchers else (0, 77)
        if self._chance(0.1):
            watch_id = 77
        return Op("WatchCancel", pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id)), stream)

    def _progress_op(self) -> Op:
        return Op(
            "WatchProgress", pb.WatchRequest(progress_request=pb.WatchProgressRequest()), self.dice.randrange(STREAMS)
        )


def _all_ops(txn: Any) -> Iterator[Any]:
    for op in (*txn.success, *txn.failure):
        yield op
        if op.HasField("request_txn"):
            yield from _all_ops(op.request_txn)


def prefix_end(key: bytes) -> bytes:
    """The range end that makes a prefix of `key`, as clients compute it."""
    for at in range(len(key) - 1, -1, -1):
        if key[at] < 0xFF:
            return key[:at] + bytes([key[at] + 1])
    return b"\0"
