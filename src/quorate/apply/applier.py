"""Which request does what. One call is one entry: everything in it happens, or its error is the result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.message import Message

from quorate.api import errors
from quorate.api.internal import NOBODY, Caller
from quorate.api.pb import membership_pb2, raft_internal_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.plain_put import PlainPut
from quorate.apply.alarms import Alarms
from quorate.apply.auth import auth_handlers, authenticate
from quorate.apply.guard import Guard
from quorate.apply.quota import Costly, Quota, cost_of
from quorate.auth import AuthStore
from quorate.lease import Lessor
from quorate.membership import Cluster, Downgrade, check_not_above
from quorate.storage.mvcc import Store
from quorate.txn import execute
from quorate.txn.ranges import run_range
from quorate.txn.tree import Txn, txn_of
from quorate.version import ETCD_VERSION

_REFUSED_IF_CORRUPT = frozenset(("put", "delete_range", "txn", "compaction", "lease_grant", "lease_revoke"))
_COSTLY = frozenset(("put", "txn", "lease_grant"))
"""Kinds that the quota counts, and alarm NOSPACE refuses."""


class Applied(NamedTuple):
    """What an entry gave: the store's revision for the reply's header, and the reply's body."""

    revision: int
    body: bytes = b""
    job: Generator[None, None, None] | None = None
    """Deleting that a compaction still has to do."""


class Applier:
    """Applies requests to the state of one member."""

    def __init__(
        self, store: Store, lessor: Lessor, cluster: Cluster, alarms: Alarms, quota: Quota, auth: AuthStore
    ) -> None:
        self._store = store
        self._lessor = lessor
        self._cluster = cluster
        self._alarms = alarms
        self._quota = quota
        self._auth = auth
        self._guard = Guard(auth, lessor)
        self._auth_handlers = auth_handlers(auth)
        self._index = 0
        """Of the entry that is applied."""
        self._handlers: dict[str, Callable[[Any, float], Applied]] = {
            "put": self._put,
            "delete_range": self._delete_range,
            "txn": self._txn,
            "range": self._range,
            "compaction": self._compact,
            "lease_grant": self._lease_grant,
            "lease_revoke": self._lease_revoke,
            "lease_checkpoint": self._lease_checkpoint,
            "alarm": self._alarm,
            "cluster_version_set": self._set_cluster_version,
            "cluster_member_attr_set": self._set_attributes,
            "downgrade_info_set": self._set_downgrade,
            "authenticate": self._authenticate,
            **{kind: partial(self._auth_request, kind) for kind in self._auth_handlers},
        }

    def apply(self, kind: str, request: Any, now: float, caller: Caller = NOBODY, index: int = 0) -> Applied:
        """Apply one request of `kind` (`api.internal`) that `caller` made, from the entry at `index`; `now` is in
        monotonic seconds.

        Raises EtcdError when that is the result on every member. Anything else raised means that this member does not
        know what the others do with the entry, and must not go on: such as a request of a kind that is not built yet.
        """
        handler = self._handlers.get(kind)
        if handler is None:
            raise NotImplementedError(f"a log entry holds a request this release cannot apply: {kind}")
        if kind == "txn" and not isinstance(request, Txn):
            request = txn_of(request)
        if self._auth.enabled:
            self._refuse_if_denied(kind, request, caller)
        self._index = index
        return handler(request, now)

    # Keys.

    def _put(self, request: rpc.PutRequest | PlainPut, now: float) -> Applied:
        cost = self._admit(request)
        with self._store.write() as writer:
            body = execute.put(writer, request, self._lessor)
            revision = writer.revision
        return self._charge(cost, Applied(revision, body))

    def _delete_range(self, request: rpc.DeleteRangeRequest, now: float) -> Applied:
        self._refuse_if_corrupt()
        with self._store.write() as writer:
            body = execute.delete_range(writer, request)
            return Applied(writer.revision, body)

    def _txn(self, request: Txn, now: float) -> Applied:
        if request.is_read_only:
            return Applied(*execute.read_txn(self._store, request))
        cost = self._admit(request)
        return self._charge(cost, Applied(*execute.txn(self._store, request, self._lessor)))

    def _range(self, request: rpc.RangeRequest, now: float) -> Applied:
        ranged = run_range(self._store, request)
        return Applied(ranged.revision, ranged.body())

    def _compact(self, request: rpc.CompactionRequest, now: float) -> Applied:
        self._refuse_if_corrupt()
        job = self._store.compact(request.revision)
        return Applied(self._store.revision, job=job)

    # Leases.

    def _lease_grant(self, request: rpc.LeaseGrantRequest, now: float) -> Applied:
        cost = self._admit(request)
        ttl = self._lessor.grant(request.ID, request.TTL, now)
        body = rpc.LeaseGrantResponse(ID=request.ID, TTL=ttl).SerializeToString()
        return self._charge(cost, Applied(self._store.revision, body))

    def _lease_revoke(self, request: rpc.LeaseRevokeRequest, now: float) -> Applied:
        """Delete the lease's keys in one transaction, then the lease."""
        self._refuse_if_corrupt()
        keys = self._lessor.revoke(request.ID)
        with self._store.write() as writer:
            for key in keys:
                writer.delete_range(key)
            return Applied(writer.revision)

    def _lease_checkpoint(self, request: rpc.LeaseCheckpointRequest, now: float) -> Applied:
        for checkpoint in request.checkpoints:
            self._lessor.checkpoint(checkpoint.ID, checkpoint.remaining_TTL, now)
        return Applied(self._store.revision)

    # The cluster.

    def _alarm(self, request: rpc.AlarmRequest, now: float) -> Applied:
        match request.action:
            case rpc.AlarmRequest.GET:
                found = self._alarms.active(request.alarm)
            case rpc.AlarmRequest.ACTIVATE:
                found = self._alarms.activate(request.memberID, request.alarm)
            case rpc.AlarmRequest.DEACTIVATE:
                found = self._alarms.deactivate(request.memberID, request.alarm)
            case _:
                raise errors.UnknownMethod()
        members = [rpc.AlarmMember(memberID=member, alarm=alarm) for member, alarm in found]  # type: ignore[arg-type]
        return Applied(self._store.revision, rpc.AlarmResponse(alarms=members).SerializeToString())

    def _set_cluster_version(self, request: membership_pb2.ClusterVersionSetRequest, now: float) -> Applied:
        """A version above this release's stops the member, unapplied: it must not touch what it does not know."""
        check_not_above(request.ver, ETCD_VERSION)
        self._cluster.set_version(request.ver)
        return Applied(self._store.revision)

    def _set_attributes(self, request: membership_pb2.ClusterMemberAttrSetRequest, now: float) -> Applied:
        attributes = request.member_attributes
        self._cluster.set_attributes(request.member_ID, attributes.name, attributes.client_urls)
        return Applied(self._store.revision)

    def _set_downgrade(self, request: membership_pb2.DowngradeInfoSetRequest, now: float) -> Applied:
        self._cluster.set_downgrade(Downgrade(request.ver, True) if request.enabled else Downgrade())
        return Applied(self._store.revision)

    # Users and roles.

    def _auth_request(self, kind: str, request: Message, now: float) -> Applied:
        reply = self._auth_handlers[kind](request)
        return Applied(self._store.revision, b"" if reply is None else reply.SerializeToString())

    def _authenticate(self, request: raft_internal_pb2.InternalAuthenticateRequest, now: float) -> Applied:
        reply = authenticate(self._auth, request, self._index, now)
        return Applied(self._store.revision, reply.SerializeToString())

    def _refuse_if_denied(self, kind: str, request: Any, caller: Caller) -> None:
        """Raises what the caller may not, after what an alarm forbids everybody."""
        self._guard.check_admin(kind, caller)
        if kind in _REFUSED_IF_CORRUPT and not (kind == "txn" and request.is_read_only):
            self._refuse_if_corrupt()
            if kind in _COSTLY:
                self._admit(request)
        self._guard.check(kind, request, caller)

    # What alarms and the quota forbid.

    def _refuse_if_corrupt(self) -> None:
        if self._alarms.has(rpc.CORRUPT):
            raise errors.Corrupt()

    def _admit(self, request: Costly) -> int:
        """Cost of `request`. Raises Corrupt, and NoSpace for what would cost something while that alarm is on."""
        cost = cost_of(request)
        if self._alarms.on:
            self._refuse_if_corrupt()
            if cost and self._alarms.has(rpc.NOSPACE):
                raise errors.NoSpace()
        return cost

    def _charge(self, cost: int, applied: Applied) -> Applied:
        """The entry is applied whatever it cost; but its answer is NoSpace once the quota is passed, so that clients
        stop. How full a file is differs between members, so this may decide an answer and never a change."""
        if not self._quota.fits(cost):
            raise errors.NoSpace()
        return applied
