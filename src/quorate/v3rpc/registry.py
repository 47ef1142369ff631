"""Full method names and their handlers, and the rules that hold for every call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from google.protobuf.message import Message

from quorate.api import errors
from quorate.api.pb import election_pb2, health_pb2, lock_pb2, rpc_pb2
from quorate.api.plain_put import parse_put
from quorate.server import Server
from quorate.transport.grpc import Bidi, Context, Metadata, Method, ServerStreaming, Stream, Together, Unary
from quorate.txn.ranges import PlainGet, parse_range
from quorate.txn.tree import parse_txn
from quorate.v3rpc.auth import Auth
from quorate.v3rpc.client_versions import Calls, ClientVersions
from quorate.v3rpc.cluster import Cluster
from quorate.v3rpc.door import Door
from quorate.v3rpc.election import Election
from quorate.v3rpc.health import Health
from quorate.v3rpc.kv import KV
from quorate.v3rpc.lease import Lease
from quorate.v3rpc.lock import Lock
from quorate.v3rpc.maintenance import Maintenance
from quorate.v3rpc.mutex import Queue
from quorate.v3rpc.watch import Watch

WANTS_LEADER = "hasleader"
"""Metadata of a caller that would rather be refused than wait for a leader; the value is "true"."""
MAX_HARMLESS = 1024
"""Metadata remembered as harmless, of as many clients."""

Judged = tuple[Metadata, Calls]
"""Metadata and where its calls are counted."""
Alike = Callable[[list[bytes], Context], Together | None]
UnaryHandler = Callable[[Any, Context], bytes | Coroutine[Any, Any, bytes]]


def build_methods(server: Server, versions: ClientVersions | None = None) -> Mapping[str, Method]:
    """Every method this member answers, by full name; `versions` counts who calls them."""
    door = Door(server)
    kv, watch, lease = KV(server, door), Watch(server, door), Lease(server, door)
    cluster, maintenance, health = Cluster(server, door), Maintenance(server, door), Health(server)
    rules = _Rules(server, versions or ClientVersions())

    def unary(request: type[Message], handle: UnaryHandler) -> Unary:
        return Unary(request.FromString, rules.guard(handle))

    def patient(request: type[Message], handle: Callable[[Any, Context], Coroutine[Any, Any, bytes]]) -> Unary:
        """A handler that waits for more than plain futures, so that it needs a task."""
        return Unary(request.FromString, rules.guard(_in_task(handle)))

    def write(parse: Callable[[bytes], Any], handle: UnaryHandler, together: Alike | None = None) -> Unary:
        """A handler that wants the bytes of its request as well."""
        alike = None if together is None else rules.guard_together(together)
        return Unary(lambda body: (parse(body), body), rules.guard(handle), alike)

    methods: dict[str, Method] = {
        "/etcdserverpb.KV/Range": Unary(
            parse_range, rules.guard(kv.range, _is_serializable), rules.guard_together(kv.gets)
        ),
        "/etcdserverpb.KV/Put": write(parse_put, kv.put, kv.puts),
        "/etcdserverpb.KV/DeleteRange": write(rpc_pb2.DeleteRangeRequest.FromString, kv.delete_range),
        "/etcdserverpb.KV/Txn": write(parse_txn, kv.txn, kv.txns),
        "/etcdserverpb.KV/Compact": unary(rpc_pb2.CompactionRequest, kv.compact),
        "/etcdserverpb.KV/RangeStream": ServerStreaming(
            rpc_pb2.RangeRequest.FromString, rules.guard_stream(kv.range_stream)
        ),
        "/etcdserverpb.Watch/Watch": Bidi(rpc_pb2.WatchRequest.FromString, rules.guard_bidi(watch.watch)),
        "/etcdserverpb.Lease/LeaseGrant": unary(rpc_pb2.LeaseGrantRequest, lease.grant),
        "/etcdserverpb.Lease/LeaseRevoke": unary(rpc_pb2.LeaseRevokeRequest, lease.revoke),
        "/etcdserverpb.Lease/LeaseKeepAlive": Bidi(
            rpc_pb2.LeaseKeepAliveRequest.FromString,
            rules.guard_bidi(lease.keep_alive),
            rules.guard_at_once(lease.keep_alive_at_once),
            rules.guard_together(lease.keep_alive_together, streams=True),
        ),
        "/etcdserverpb.Lease/LeaseTimeToLive": patient(rpc_pb2.LeaseTimeToLiveRequest, lease.time_to_live),
        "/etcdserverpb.Lease/LeaseLeases": unary(rpc_pb2.LeaseLeasesRequest, lease.leases),
        "/etcdserverpb.Cluster/MemberList": unary(rpc_pb2.MemberListRequest, cluster.member_list),
        "/etcdserverpb.Cluster/MemberAdd": patient(rpc_pb2.MemberAddRequest, cluster.member_add),
        "/etcdserverpb.Cluster/MemberRemove": patient(rpc_pb2.MemberRemoveRequest, cluster.member_remove),
        "/etcdserverpb.Cluster/MemberUpdate": patient(rpc_pb2.MemberUpdateRequest, cluster.member_update),
        "/etcdserverpb.Cluster/MemberPromote": patient(rpc_pb2.MemberPromoteRequest, cluster.member_promote),
        "/etcdserverpb.Maintenance/Status": Unary(
            rpc_pb2.StatusRequest.FromString, rules.guard(maintenance.status, _always)
        ),
        "/etcdserverpb.Maintenance/Hash": unary(rpc_pb2.HashRequest, maintenance.hash),
        "/etcdserverpb.Maintenance/HashKV": unary(rpc_pb2.HashKVRequest, maintenance.hash_kv),
        "/etcdserverpb.Maintenance/Alarm": unary(rpc_pb2.AlarmRequest, maintenance.alarm),
        "/etcdserverpb.Maintenance/Snapshot": ServerStreaming(
            rpc_pb2.SnapshotRequest.FromString, rules.guard_stream(maintenance.snapshot, learner_serves=True)
        ),
        "/etcdserverpb.Maintenance/Defragment": patient(rpc_pb2.DefragmentRequest, maintenance.defragment),
        "/etcdserverpb.Maintenance/MoveLeader": patient(rpc_pb2.MoveLeaderRequest, maintenance.move_leader),
        "/etcdserverpb.Maintenance/Downgrade": patient(rpc_pb2.DowngradeRequest, maintenance.downgrade),
        "/grpc.health.v1.Health/Check": unary(health_pb2.HealthCheckRequest, health.check),
        "/grpc.health.v1.Health/List": unary(health_pb2.HealthListRequest, health.list),
        "/grpc.health.v1.Health/Watch": ServerStreaming(
            health_pb2.HealthCheckRequest.FromString, rules.guard_stream(health.watch)
        ),
    }
    methods |= _build_queues(server, kv, door, rules)
    for name, (request, handle) in Auth(server, door).handlers().items():
        methods[f"/etcdserverpb.Auth/{name}"] = unary(request, handle)
    return methods


def _build_queues(server: Server, kv: KV, door: Door, rules: _Rules) -> dict[str, Method]:
    """Locks and elections: they stand in the same queues."""
    queue = Queue(server, kv, door)
    lock, election = Lock(server, kv, queue), Election(server, queue)

    def unary(request: type[Message], handle: UnaryHandler) -> Unary:
        return Unary(request.FromString, rules.guard(handle))

    return {
        "/v3lockpb.Lock/Lock": unary(lock_pb2.LockRequest, _in_task(lock.lock)),
        "/v3lockpb.Lock/Unlock": unary(lock_pb2.UnlockRequest, lock.unlock),
        "/v3electionpb.Election/Campaign": unary(election_pb2.CampaignRequest, _in_task(election.campaign)),
        "/v3electionpb.Election/Proclaim": unary(election_pb2.ProclaimRequest, election.proclaim),
        "/v3electionpb.Election/Resign": unary(election_pb2.ResignRequest, election.resign),
        "/v3electionpb.Election/Leader": unary(election_pb2.LeaderRequest, election.leader),
        "/v3electionpb.Election/Observe": ServerStreaming(
            election_pb2.LeaderRequest.FromString, rules.guard_stream(election.observe)
        ),
    }


class _Rules:
    """What is checked before any handler runs: is there a version all agree on, may a learner answer this, can the
    caller's version be read, is there a leader for those who want one."""

    def __init__(self, server: Server, versions: ClientVersions) -> None:
        self._server = server
        self._cluster = server.cluster
        self._versions = versions
        self._harmless: dict[int, Judged] = {}
        """Metadata that no call need be refused for, by identity; the calls of one client share it."""

    def check_member(self, learner_serves: bool) -> None:
        """For a member that does not serve every call. Raises NotCapable, NotSupportedForLearner."""
        if self._cluster.version is None:
            raise errors.NotCapable()
        if not learner_serves:
            raise errors.NotSupportedForLearner()

    def check_caller(self, metadata: Metadata) -> Judged:
        """Where the call is to be counted. Raises InvalidClientApiVersion, NoLeader."""
        version = metadata.get("client-api-version")
        try:
            (version or "").encode()
        except UnicodeEncodeError:
            raise errors.InvalidClientApiVersion() from None
        judged = metadata, self._versions.of(version)
        if metadata.get(WANTS_LEADER) == "true":
            if not self._server.leader_id:
                raise errors.NoLeader()
            return judged
        if len(self._harmless) >= MAX_HARMLESS:
            self._harmless.clear()
        self._harmless[id(metadata)] = judged
        return judged

    def guard(self, handle: UnaryHandler, learner_serves: Callable[[Any], bool] | None = None) -> UnaryHandler:
        """`handle` behind the rules; `learner_serves(request)` tells what a learner may answer, None for nothing."""

        cluster, harmless = self._cluster, self._harmless

        def guarded(request: Any, context: Context) -> bytes | Coroutine[Any, Any, bytes]:
            if cluster.is_restricted:
                self.check_member(learner_serves is not None and learner_serves(request))
            metadata = context.metadata
            judged = harmless.get(id(metadata))
            if judged is None or judged[0] is not metadata:
                judged = self.check_caller(metadata)
            judged[1].unary += 1
            return handle(request, context)

        return guarded

    def known(self, metadata: Metadata) -> Calls | None:
        """Where to count calls that need not be judged any more; None for those that must be."""
        judged = self._harmless.get(id(metadata))
        if judged is None or judged[0] is not metadata or self._cluster.is_restricted:
            return None
        return judged[1]

    def guard_together(self, handle: Alike, streams: bool = False) -> Alike:
        """`handle` for calls whose metadata is known to be harmless; a member that does not serve every call judges
        each by itself."""

        def guarded(bodies: list[bytes], context: Context) -> Together | None:
            calls = self.known(context.metadata)
            answer = None if calls is None else handle(bodies, context)
            if calls is None or answer is None:
                return None
            if streams:
                calls.stream += len(bodies)
            else:
                calls.unary += len(bodies)
            return answer

        return guarded

    def watched(self, stream: Stream, learner_serves: bool) -> AbstractContextManager[None]:
        """Around a stream that has passed the rules; one that wants a leader ends when there is none for too long.

        Raises as both of the others."""
        if self._cluster.is_restricted:
            self.check_member(learner_serves)
        metadata = stream.context.metadata
        self.check_caller(metadata)[1].stream += not stream.head_sent  # else it is counted
        if metadata.get(WANTS_LEADER) != "true":
            return nullcontext()
        return self._server.leader_watch.guard(lambda: stream.fail(errors.NoLeader()))

    def guard_at_once(self, answer: Callable[[Any, Stream], bytes | None]) -> Callable[[Any, Stream], bytes | None]:
        """As `guard_together`, for the requests of a stream."""

        def guarded(request: Any, stream: Stream) -> bytes | None:
            calls = self.known(stream.context.metadata)
            reply = None if calls is None else answer(request, stream)
            if calls is not None and reply is not None:
                calls.stream += not stream.head_sent
            return reply

        return guarded

    def guard_stream(
        self, handle: Callable[[Any, Stream], Awaitable[None]], learner_serves: bool = False
    ) -> Callable[[Any, Stream], Awaitable[None]]:
        async def guarded(request: Any, stream: Stream) -> None:
            with self.watched(stream, learner_serves):
                await handle(request, stream)

        return guarded

    def guard_bidi(self, handle: Callable[[Stream], Awaitable[None]]) -> Callable[[Stream], Awaitable[None]]:
        async def guarded(stream: Stream) -> None:
            with self.watched(stream, False):
                await handle(stream)

        return guarded


def _always(request: rpc_pb2.StatusRequest) -> bool:
    return True


def _is_serializable(request: rpc_pb2.RangeRequest | PlainGet) -> bool:
    return request.serializable


def _in_task(handle: Callable[[Any, Context], Coroutine[Any, Any, bytes]]) -> UnaryHandler:
    async def run(request: Any, context: Context) -> bytes:
        task = asyncio.get_running_loop().create_task(handle(request, context))
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()  # the caller is gone
            raise

    return run
