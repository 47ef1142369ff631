"""Which path stands for which method, and what goes in and out."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from google.protobuf.message import Message

from quorate.api.pb import election_pb2, lock_pb2, rpc_pb2


class Route(NamedTuple):
    """A path of the gateway. `method` is the full name of what answers."""

    method: str
    request: type[Message]
    response: type[Message]


def find_route(path: str) -> Route | None:
    """The route of a path; `/v3beta/` is as good as `/v3/`."""
    if path.startswith("/v3beta/"):
        path = "/v3/" + path[len("/v3beta/") :]
    return ROUTES.get(path)


def is_gateway_path(path: str) -> bool:
    """Whether the gateway answers, be it that there is no such route."""
    return path.startswith(("/v3/", "/v3beta/"))


_KV = {
    "kv/range": "Range",
    "kv/put": "Put",
    "kv/deleterange": "DeleteRange",
    "kv/txn": "Txn",
    "kv/compaction": "Compact Compaction",
}
_LEASE = {
    "lease/grant": "LeaseGrant",
    "lease/revoke": "LeaseRevoke",
    "lease/keepalive": "LeaseKeepAlive",
    "lease/timetolive": "LeaseTimeToLive",
    "lease/leases": "LeaseLeases",
    "kv/lease/revoke": "LeaseRevoke",
    "kv/lease/timetolive": "LeaseTimeToLive",
    "kv/lease/leases": "LeaseLeases",
}
_CLUSTER = {
    "cluster/member/add": "MemberAdd",
    "cluster/member/remove": "MemberRemove",
    "cluster/member/update": "MemberUpdate",
    "cluster/member/list": "MemberList",
    "cluster/member/promote": "MemberPromote",
}
_MAINTENANCE = {
    "maintenance/alarm": "Alarm",
    "maintenance/status": "Status",
    "maintenance/defragment": "Defragment",
    "maintenance/hash": "Hash",
    "maintenance/hashkv": "HashKV",
    "maintenance/snapshot": "Snapshot",
    "maintenance/transfer-leadership": "MoveLeader",
    "maintenance/downgrade": "Downgrade",
}
_AUTH = {
    "auth/enable": "AuthEnable",
    "auth/disable": "AuthDisable",
    "auth/status": "AuthStatus",
    "auth/authenticate": "Authenticate",
    "auth/user/add": "UserAdd AuthUserAdd",
    "auth/user/get": "UserGet AuthUserGet",
    "auth/user/list": "UserList AuthUserList",
    "auth/user/delete": "UserDelete AuthUserDelete",
    "auth/user/changepw": "UserChangePassword AuthUserChangePassword",
    "auth/user/grant": "UserGrantRole AuthUserGrantRole",
    "auth/user/revoke": "UserRevokeRole AuthUserRevokeRole",
    "auth/role/add": "RoleAdd AuthRoleAdd",
    "auth/role/get": "RoleGet AuthRoleGet",
    "auth/role/list": "RoleList AuthRoleList",
    "auth/role/delete": "RoleDelete AuthRoleDelete",
    "auth/role/grant": "RoleGrantPermission AuthRoleGrantPermission",
    "auth/role/revoke": "RoleRevokePermission AuthRoleRevokePermission",
}
_ELECTION = {
    "election/campaign": "Campaign",
    "election/proclaim": "Proclaim",
    "election/leader": "Leader",
    "election/observe": "Observe Leader",
    "election/resign": "Resign",
}
_LOCK = {"lock/lock": "Lock", "lock/unlock": "Unlock"}
"""A method, and the stem of the names of its messages where that is another."""


def _build(service: str, messages: ModuleType, names: dict[str, str]) -> dict[str, Route]:
    found = {}
    for path, name in names.items():
        method, _, stem = name.partition(" ")
        request = getattr(messages, f"{stem or method}Request")
        response = getattr(messages, f"{stem or method}Response")
        found[f"/v3/{path}"] = Route(f"/{service}/{method}", request, response)
    return found


ROUTES: dict[str, Route] = {
    **_build("etcdserverpb.KV", rpc_pb2, _KV),
    **_build("etcdserverpb.Watch", rpc_pb2, {"watch": "Watch"}),
    **_build("etcdserverpb.Lease", rpc_pb2, _LEASE),
    **_build("etcdserverpb.Cluster", rpc_pb2, _CLUSTER),
    **_build("etcdserverpb.Maintenance", rpc_pb2, _MAINTENANCE),
    **_build("etcdserverpb.Auth", rpc_pb2, _AUTH),
    **_build("v3electionpb.Election", election_pb2, _ELECTION),
    **_build("v3lockpb.Lock", lock_pb2, _LOCK),
}
