"""What calls answer: values that do not change. Keys and values are bytes, times are whole seconds, ids are numbers.

Those that answers are full of are named tuples, which are made four times as fast as frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from quorate.api.pb import rpc_pb2 as pb


class Header(NamedTuple):
    """Who answered, and at which revision of the store."""

    cluster_id: int
    member_id: int
    revision: int
    raft_term: int


class KeyValue(NamedTuple):
    """A key as it was left by the write at `mod_revision`."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    """Writes since it was made; 0 for a key that is gone."""
    lease: int
    """0 for none."""


@dataclass(frozen=True, slots=True)
class GetResult:
    """Keys in their order, or the order that was asked for."""

    header: Header
    kvs: tuple[KeyValue, ...]
    more: bool
    """A limit left some out."""
    count: int
    """Of all keys in the range, whatever the limit."""

    @property
    def kv(self) -> KeyValue | None:
        """The first key; None when there is none."""
        return self.kvs[0] if self.kvs else None

    @property
    def value(self) -> bytes | None:
        """That of the first key; None when there is none."""
        return self.kvs[0].value if self.kvs else None

    def __iter__(self) -> Iterator[KeyValue]:
        return iter(self.kvs)

    def __len__(self) -> int:
        return len(self.kvs)

    def __bool__(self) -> bool:
        return bool(self.kvs) or self.count > 0


@dataclass(frozen=True, slots=True)
class PutResult:
    header: Header
    prev_kv: KeyValue | None


@dataclass(frozen=True, slots=True)
class DeleteResult:
    header: Header
    deleted: int
    prev_kvs: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True)
class TxnResult:
    """`results` are those of the branch that was taken, one for each of its operations."""

    header: Header
    succeeded: bool
    results: tuple[OpResult, ...]

    def __bool__(self) -> bool:
        return self.succeeded


OpResult = GetResult | PutResult | DeleteResult | TxnResult


class EventType(StrEnum):
    PUT = "put"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one key. Of a deleted key, `kv` has the name and the revision of the delete only."""

    type: EventType
    kv: KeyValue
    prev_kv: KeyValue | None

    @property
    def key(self) -> bytes:
        return self.kv.key

    @property
    def value(self) -> bytes:
        return self.kv.value

    @property
    def revision(self) -> int:
        return self.kv.mod_revision

    @property
    def is_put(self) -> bool:
        return self.type is EventType.PUT

    @property
    def is_delete(self) -> bool:
        return self.type is EventType.DELETE

    @property
    def is_create(self) -> bool:
        """A put that made the key."""
        return self.is_put and self.kv.create_revision == self.kv.mod_revision


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """`ttl` is the time left, -1 for a lease that is gone."""

    id: int
    ttl: int
    granted_ttl: int
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Member:
    id: int
    name: str
    """Empty until it has started for the first time."""
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool


@dataclass(frozen=True, slots=True)
class Members:
    header: Header
    members: tuple[Member, ...]

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)


@dataclass(frozen=True, slots=True)
class MemberAdded:
    header: Header
    member: Member
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """What one member says of itself. Sizes are in bytes."""

    header: Header
    version: str
    db_size: int
    db_size_in_use: int
    db_size_quota: int
    leader: int
    raft_index: int
    raft_term: int
    raft_applied_index: int
    errors: tuple[str, ...]
    is_learner: bool
    storage_version: str


@dataclass(frozen=True, slots=True)
class Hash:
    """Of the rows of one member up to a revision; those of members with equal `compact_revision` must be equal."""

    header: Header
    hash: int
    compact_revision: int
    hash_revision: int


class AlarmType(StrEnum):
    NONE = "NONE"
    NOSPACE = "NOSPACE"
    CORRUPT = "CORRUPT"


@dataclass(frozen=True, slots=True)
class Alarm:
    member_id: int
    alarm: AlarmType


class PermissionType(StrEnum):
    READ = "READ"
    WRITE = "WRITE"
    READWRITE = "READWRITE"


@dataclass(frozen=True, slots=True)
class Permission:
    """`range_end` as in a request: empty for one key, b"\\0" for all from `key` on."""

    type: PermissionType
    key: bytes
    range_end: bytes


@dataclass(frozen=True, slots=True)
class AuthStatus:
    header: Header
    enabled: bool
    auth_revision: int


_new, _new_tuple = object.__new__, tuple.__new__
_set_header, _set_kvs, _set_more, _set_count = (
    vars(GetResult)[name].__set__ for name in ("header", "kvs", "more", "count")
)


def to_header(header: Any) -> Header:
    return Header(header.cluster_id, header.member_id, header.revision, header.raft_term)


def to_kv(kv: Any) -> KeyValue:
    return _new_tuple(KeyValue, (kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease))


def to_kvs(kvs: Iterable[Any]) -> tuple[KeyValue, ...]:
    return tuple([to_kv(kv) for kv in kvs])


def make_get(header: Header, kvs: tuple[KeyValue, ...], more: bool, count: int) -> GetResult:
    """What the class makes, in half the time: a frozen class finds each of its slots by name."""
    made = _new(GetResult)
    _set_header(made, header)
    _set_kvs(made, kvs)
    _set_more(made, more)
    _set_count(made, count)
    return made


def to_get(answer: Any) -> GetResult:
    return make_get(to_header(answer.header), to_kvs(answer.kvs), answer.more, answer.count)


def to_put(answer: Any) -> PutResult:
    return PutResult(to_header(answer.header), to_kv(answer.prev_kv) if answer.HasField("prev_kv") else None)


def to_delete(answer: Any) -> DeleteResult:
    return DeleteResult(to_header(answer.header), answer.deleted, to_kvs(answer.prev_kvs))


def to_txn(answer: Any) -> TxnResult:
    return TxnResult(to_header(answer.header), answer.succeeded, tuple(_to_op(op) for op in answer.responses))


_OPS: dict[str, Callable[[Any], OpResult]] = {
    "response_range": to_get,
    "response_put": to_put,
    "response_delete_range": to_delete,
    "response_txn": to_txn,
}


def _to_op(op: Any) -> OpResult:
    kind = op.WhichOneof("response")
    return _OPS[kind](getattr(op, kind))


def to_event(event: Any) -> Event:
    prev = to_kv(event.prev_kv) if event.HasField("prev_kv") else None
    return Event(EventType.DELETE if event.type else EventType.PUT, to_kv(event.kv), prev)


def to_member(member: Any) -> Member:
    return Member(member.ID, member.name, tuple(member.peerURLs), tuple(member.clientURLs), member.isLearner)


def to_members(members: Iterable[Any]) -> tuple[Member, ...]:
    return tuple(to_member(member) for member in members)


def to_status(answer: Any) -> MemberStatus:
    return MemberStatus(
        header=to_header(answer.header),
        version=answer.version,
        db_size=answer.dbSize,
        db_size_in_use=answer.dbSizeInUse,
        db_size_quota=answer.dbSizeQuota,
        leader=answer.leader,
        raft_index=answer.raftIndex,
        raft_term=answer.raftTerm,
        raft_applied_index=answer.raftAppliedIndex,
        errors=tuple(answer.errors),
        is_learner=answer.isLearner,
        storage_version=answer.storageVersion,
    )


def to_alarm(alarm: Any) -> Alarm:
    return Alarm(alarm.memberID, AlarmType(pb.AlarmType.Name(alarm.alarm)))
