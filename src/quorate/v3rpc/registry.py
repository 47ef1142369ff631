"""Full method names and their handlers, and the rules that hold for every call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, NoReturn

from google.protobuf.message import Message

from quorate.api import errors
from quorate.api.errors import Code
from quorate.api.pb import health_pb2, rpc_pb2
from quorate.server import Server
from quorate.transport.grpc import Bidi, Context, Metadata, Method, ServerStreaming, Status, Stream, Unary
from quorate.v3rpc.cluster import Cluster
from quorate.v3rpc.health import Health
from quorate.v3rpc.kv import KV
from quorate.v3rpc.lease import Lease
from quorate.v3rpc.maintenance import Maintenance
from quorate.v3rpc.watch import Watch

UnaryHandler = Callable[[Any, Context], bytes | Coroutine[Any, Any, bytes]]

NOT_BUILT = {
    "etcdserverpb.Cluster": ("MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote"),
    "etcdserverpb.Maintenance": ("Defragment", "Snapshot", "MoveLeader", "Downgrade"),
    "etcdserverpb.Auth": (
        "AuthEnable",
        "AuthDisable",
        "AuthStatus",
        "Authenticate",
        "UserAdd",
        "UserGet",
        "UserList",
        "UserDelete",
        "UserChangePassword",
        "UserGrantRole",
        "UserRevokeRole",
        "RoleAdd",
        "RoleGet",
        "RoleList",
        "RoleDelete",
        "RoleGrantPermission",
        "RoleRevokePermission",
    ),
    "v3lockpb.Lock": ("Lock", "Unlock"),
    "v3electionpb.Election": ("Campaign", "Proclaim", "Leader", "Observe", "Resign"),
}
"""Calls of the API that this release does not serve. They say so, rather than look like a wrong address."""


def build_methods(server: Server) -> Mapping[str, Method]:
    """Every method this member answers, by full name."""
    kv, watch, lease = KV(server), Watch(server), Lease(server)
    cluster, maintenance, health = Cluster(server), Maintenance(server), Health()
    rules = _Rules(server)

    def unary(request: type[Message], handle: UnaryHandler) -> Unary:
        return Unary(request.FromString, rules.guard(handle))

    def write(request: type[Message], handle: UnaryHandler) -> Unary:
        """A handler that wants the bytes of its request as well."""
        parse = request.FromString
        return Unary(lambda body: (parse(body), body), rules.guard(handle))

    methods: dict[str, Method] = {
        "/etcdserverpb.KV/Range": unary(rpc_pb2.RangeRequest, kv.range),
        "/etcdserverpb.KV/Put": write(rpc_pb2.PutRequest, kv.put),
        "/etcdserverpb.KV/DeleteRange": write(rpc_pb2.DeleteRangeRequest, kv.delete_range),
        "/etcdserverpb.KV/Txn": write(rpc_pb2.TxnRequest, kv.txn),
        "/etcdserverpb.KV/Compact": unary(rpc_pb2.CompactionRequest, kv.compact),
        "/etcdserverpb.KV/RangeStream": ServerStreaming(
            rpc_pb2.RangeRequest.FromString, rules.guard_stream(kv.range_stream)
        ),
        "/etcdserverpb.Watch/Watch": Bidi(rpc_pb2.WatchRequest.FromString, rules.guard_bidi(watch.watch)),
        "/etcdserverpb.Lease/LeaseGrant": unary(rpc_pb2.LeaseGrantRequest, lease.grant),
        "/etcdserverpb.Lease/LeaseRevoke": unary(rpc_pb2.LeaseRevokeRequest, lease.revoke),
        "/etcdserverpb.Lease/LeaseKeepAlive": Bidi(
            rpc_pb2.LeaseKeepAliveRequest.FromString, rules.guard_bidi(lease.keep_alive)
        ),
        "/etcdserverpb.Lease/LeaseTimeToLive": unary(rpc_pb2.LeaseTimeToLiveRequest, lease.time_to_live),
        "/etcdserverpb.Lease/LeaseLeases": unary(rpc_pb2.LeaseLeasesRequest, lease.leases),
        "/etcdserverpb.Cluster/MemberList": unary(rpc_pb2.MemberListRequest, cluster.member_list),
        "/etcdserverpb.Maintenance/Status": unary(rpc_pb2.StatusRequest, maintenance.status),
        "/etcdserverpb.Maintenance/Hash": unary(rpc_pb2.HashRequest, maintenance.hash),
        "/etcdserverpb.Maintenance/HashKV": unary(rpc_pb2.HashKVRequest, maintenance.hash_kv),
        "/etcdserverpb.Maintenance/Alarm": unary(rpc_pb2.AlarmRequest, maintenance.alarm),
        "/grpc.health.v1.Health/Check": unary(health_pb2.HealthCheckRequest, health.check),
        "/grpc.health.v1.Health/List": unary(health_pb2.HealthListRequest, health.list),
        "/grpc.health.v1.Health/Watch": ServerStreaming(
            health_pb2.HealthCheckRequest.FromString, rules.guard_stream(health.watch)
        ),
    }
    for service, names in NOT_BUILT.items():
        for name in names:
            methods[f"/{service}/{name}"] = Unary(bytes, _not_built(service, name))
    return methods


class _Rules:
    """What is checked before any handler runs."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def check(self, metadata: Metadata) -> None:
        """Raises NoLeader when the caller asks for a leader and this member knows none."""
        if not self._server.leader_id and metadata.get("hasleader") == "true":
            raise errors.NoLeader()

    def guard(self, handle: UnaryHandler) -> UnaryHandler:
        def guarded(request: Any, context: Context) -> bytes | Coroutine[Any, Any, bytes]:
            self.check(context.metadata)
            return handle(request, context)

        return guarded

    def guard_stream(
        self, handle: Callable[[Any, Stream], Awaitable[None]]
    ) -> Callable[[Any, Stream], Awaitable[None]]:
        async def guarded(request: Any, stream: Stream) -> None:
            self.check(stream.context.metadata)
            await handle(request, stream)

        return guarded

    def guard_bidi(self, handle: Callable[[Stream], Awaitable[None]]) -> Callable[[Stream], Awaitable[None]]:
        async def guarded(stream: Stream) -> None:
            self.check(stream.context.metadata)
            await handle(stream)

        return guarded


def _not_built(service: str, name: str) -> UnaryHandler:
    async def refuse(request: Any, context: Context) -> NoReturn:
        raise Status(Code.UNIMPLEMENTED, f"quorate: {service}/{name} is not built yet")

    return refuse
