"""The calls of etcd: path, decoder, and whether one may be made twice for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.one_key import read_answer

WATCH = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"
RANGE_STREAM = "/etcdserverpb.KV/RangeStream"


class Method(NamedTuple):
    path: str
    decode: Callable[[bytes], Any]
    repeatable: bool
    """Done twice it has the effect of once, and the second answer is as good as the first."""


_READS = (
    ("KV", "Range", pb.RangeRequest, pb.RangeResponse),
    ("Lease", "LeaseTimeToLive", pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse),
    ("Lease", "LeaseLeases", pb.LeaseLeasesRequest, pb.LeaseLeasesResponse),
    ("Cluster", "MemberList", pb.MemberListRequest, pb.MemberListResponse),
    ("Maintenance", "Status", pb.StatusRequest, pb.StatusResponse),
    ("Maintenance", "Hash", pb.HashRequest, pb.HashResponse),
    ("Maintenance", "HashKV", pb.HashKVRequest, pb.HashKVResponse),
    ("Auth", "AuthStatus", pb.AuthStatusRequest, pb.AuthStatusResponse),
    ("Auth", "Authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse),
    ("Auth", "UserGet", pb.AuthUserGetRequest, pb.AuthUserGetResponse),
    ("Auth", "UserList", pb.AuthUserListRequest, pb.AuthUserListResponse),
    ("Auth", "RoleGet", pb.AuthRoleGetRequest, pb.AuthRoleGetResponse),
    ("Auth", "RoleList", pb.AuthRoleListRequest, pb.AuthRoleListResponse),
)
_WRITES = (
    ("KV", "Put", pb.PutRequest, pb.PutResponse),
    ("KV", "DeleteRange", pb.DeleteRangeRequest, pb.DeleteRangeResponse),
    ("KV", "Txn", pb.TxnRequest, pb.TxnResponse),
    ("KV", "Compact", pb.CompactionRequest, pb.CompactionResponse),
    ("Lease", "LeaseGrant", pb.LeaseGrantRequest, pb.LeaseGrantResponse),
    ("Lease", "LeaseRevoke", pb.LeaseRevokeRequest, pb.LeaseRevokeResponse),
    ("Cluster", "MemberAdd", pb.MemberAddRequest, pb.MemberAddResponse),
    ("Cluster", "MemberRemove", pb.MemberRemoveRequest, pb.MemberRemoveResponse),
    ("Cluster", "MemberUpdate", pb.MemberUpdateRequest, pb.MemberUpdateResponse),
    ("Cluster", "MemberPromote", pb.MemberPromoteRequest, pb.MemberPromoteResponse),
    ("Maintenance", "Alarm", pb.AlarmRequest, pb.AlarmResponse),
    ("Maintenance", "Defragment", pb.DefragmentRequest, pb.DefragmentResponse),
    ("Maintenance", "MoveLeader", pb.MoveLeaderRequest, pb.MoveLeaderResponse),
    ("Maintenance", "Downgrade", pb.DowngradeRequest, pb.DowngradeResponse),
    ("Auth", "AuthEnable", pb.AuthEnableRequest, pb.AuthEnableResponse),
    ("Auth", "AuthDisable", pb.AuthDisableRequest, pb.AuthDisableResponse),
    ("Auth", "UserAdd", pb.AuthUserAddRequest, pb.AuthUserAddResponse),
    ("Auth", "UserDelete", pb.AuthUserDeleteRequest, pb.AuthUserDeleteResponse),
    ("Auth", "UserChangePassword", pb.AuthUserChangePasswordRequest, pb.AuthUserChangePasswordResponse),
    ("Auth", "UserGrantRole", pb.AuthUserGrantRoleRequest, pb.AuthUserGrantRoleResponse),
    ("Auth", "UserRevokeRole", pb.AuthUserRevokeRoleRequest, pb.AuthUserRevokeRoleResponse),
    ("Auth", "RoleAdd", pb.AuthRoleAddRequest, pb.AuthRoleAddResponse),
    ("Auth", "RoleDelete", pb.AuthRoleDeleteRequest, pb.AuthRoleDeleteResponse),
    ("Auth", "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest, pb.AuthRoleGrantPermissionResponse),
    ("Auth", "RoleRevokePermission", pb.AuthRoleRevokePermissionRequest, pb.AuthRoleRevokePermissionResponse),
)

METHODS: dict[type[Any], Method] = {
    request: Method(f"/etcdserverpb.{service}/{name}", answer.FromString, table is _READS)
    for table in (_READS, _WRITES)
    for service, name, request, answer in table
}
"""By the class of the request."""
GET_ONE = Method("/etcdserverpb.KV/Range", read_answer, True)
"""A get of one key, by hand."""


def repeatable(request: Any) -> bool:
    """Whether a request may be sent again when nobody knows what became of it."""
    if isinstance(request, pb.TxnRequest):
        return all(_reads(op) for op in (*request.success, *request.failure))
    return METHODS[type(request)].repeatable


def _reads(op: Any) -> bool:
    if op.HasField("request_txn"):
        return repeatable(op.request_txn)
    return bool(op.HasField("request_range"))
