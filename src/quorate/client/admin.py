"""What operators ask: members, users and roles, the state and the upkeep of members."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from quorate.api.pb import auth_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.ops import Key, key_range
from quorate.client.results import (
    Alarm,
    AlarmType,
    AuthStatus,
    Hash,
    Header,
    MemberAdded,
    Members,
    MemberStatus,
    Permission,
    PermissionType,
    to_alarm,
    to_header,
    to_member,
    to_members,
    to_status,
)
from quorate.client.wire import End, Wire

SLOW_SECONDS = 60.0
"""For what takes its time on a large database, unless the caller says otherwise."""


class ClusterAdmin:
    """The members of the cluster. Changes raise EtcdError when the cluster would not outlive them."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def members(self, *, linearizable: bool = True, timeout: float | None = None) -> Members:
        answer = await self._wire.call(pb.MemberListRequest(linearizable=linearizable), timeout=timeout)
        return Members(to_header(answer.header), to_members(answer.members))

    async def add(
        self, peer_urls: Iterable[str], *, learner: bool = False, timeout: float | None = None
    ) -> MemberAdded:
        """Tell the cluster of a new member; it is to be started after that."""
        request = pb.MemberAddRequest(peerURLs=list(peer_urls), isLearner=learner)
        answer = await self._wire.call(request, timeout=timeout)
        return MemberAdded(to_header(answer.header), to_member(answer.member), to_members(answer.members))

    async def remove(self, member_id: int, timeout: float | None = None) -> Members:
        answer = await self._wire.call(pb.MemberRemoveRequest(ID=member_id), timeout=timeout)
        return Members(to_header(answer.header), to_members(answer.members))

    async def update(self, member_id: int, peer_urls: Iterable[str], timeout: float | None = None) -> Members:
        request = pb.MemberUpdateRequest(ID=member_id, peerURLs=list(peer_urls))
        answer = await self._wire.call(request, timeout=timeout)
        return Members(to_header(answer.header), to_members(answer.members))

    async def promote(self, member_id: int, timeout: float | None = None) -> Members:
        """Make a learner a voter."""
        answer = await self._wire.call(pb.MemberPromoteRequest(ID=member_id), timeout=timeout)
        return Members(to_header(answer.header), to_members(answer.members))


class Maintenance:
    """`endpoint` names one of the client's endpoints; without one any member answers."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def status(self, endpoint: str | None = None, timeout: float | None = None) -> MemberStatus:
        return to_status(await self._wire.call(pb.StatusRequest(), timeout=timeout, at=self._at(endpoint)))

    async def alarms(self, timeout: float | None = None) -> list[Alarm]:
        answer = await self._wire.call(pb.AlarmRequest(action=pb.AlarmRequest.GET), timeout=timeout)
        return [to_alarm(alarm) for alarm in answer.alarms]

    async def disarm(
        self, alarm: AlarmType = AlarmType.NONE, member_id: int = 0, timeout: float | None = None
    ) -> list[Alarm]:
        """Put alarms off, and say which: those of a kind, all if NONE; of a member, of all if 0."""
        done: list[Alarm] = []
        for each in await self.alarms(timeout):
            if alarm in (AlarmType.NONE, each.alarm) and member_id in (0, each.member_id):
                action = pb.AlarmRequest.DEACTIVATE
                request = pb.AlarmRequest(action=action, memberID=each.member_id, alarm=each.alarm.value)
                done += map(to_alarm, (await self._wire.call(request, timeout=timeout)).alarms)
        return done

    async def defragment(self, endpoint: str | None = None, timeout: float = SLOW_SECONDS) -> None:
        """Shrink the database file of one member to what it holds."""
        await self._wire.call(pb.DefragmentRequest(), timeout=timeout, at=self._at(endpoint))

    async def hash_kv(self, endpoint: str | None = None, *, revision: int = 0, timeout: float = SLOW_SECONDS) -> Hash:
        """The hash of the rows of one member, up to a revision; 0 is the newest."""
        answer = await self._wire.call(pb.HashKVRequest(revision=revision), timeout=timeout, at=self._at(endpoint))
        return Hash(to_header(answer.header), answer.hash, answer.compact_revision, answer.hash_revision)

    async def move_leader(self, member_id: int, timeout: float | None = None) -> None:
        """Have the leader give way to another member; the leader itself must be asked."""
        await self._wire.call(pb.MoveLeaderRequest(targetID=member_id), timeout=timeout)

    async def downgrade(
        self, action: Literal["validate", "enable", "cancel"], version: str = "", timeout: float | None = None
    ) -> str:
        """The version that the cluster has then."""
        request = pb.DowngradeRequest(action=action.upper(), version=version)
        return str((await self._wire.call(request, timeout=timeout)).version)

    def _at(self, endpoint: str | None) -> End | None:
        if endpoint is None:
            return None
        end = self._wire.end_of(endpoint)
        if end is None:
            raise ValueError(f"{endpoint!r} is none of {', '.join(self._wire.endpoints)}")
        return end


class AuthAdmin:
    """Users, roles, and whether they count. The members, not this client, decide who may change them."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def enable(self, timeout: float | None = None) -> None:
        """There must be a user root with role root."""
        await self._wire.call(pb.AuthEnableRequest(), timeout=timeout)

    async def disable(self, timeout: float | None = None) -> None:
        await self._wire.call(pb.AuthDisableRequest(), timeout=timeout)

    async def status(self, timeout: float | None = None) -> AuthStatus:
        answer = await self._wire.call(pb.AuthStatusRequest(), timeout=timeout)
        return AuthStatus(to_header(answer.header), answer.enabled, answer.authRevision)

    async def user_add(self, name: str, password: str | None = None, timeout: float | None = None) -> Header:
        """A user without a password is known by its certificate alone."""
        request = pb.AuthUserAddRequest(name=name, password=password or "")
        if password is None:
            request.options.no_password = True
        return to_header((await self._wire.call(request, timeout=timeout)).header)

    async def user_delete(self, name: str, timeout: float | None = None) -> Header:
        return to_header((await self._wire.call(pb.AuthUserDeleteRequest(name=name), timeout=timeout)).header)

    async def user_change_password(self, name: str, password: str, timeout: float | None = None) -> Header:
        request = pb.AuthUserChangePasswordRequest(name=name, password=password)
        return to_header((await self._wire.call(request, timeout=timeout)).header)

    async def user_roles(self, name: str, timeout: float | None = None) -> list[str]:
        return list((await self._wire.call(pb.AuthUserGetRequest(name=name), timeout=timeout)).roles)

    async def users(self, timeout: float | None = None) -> list[str]:
        return list((await self._wire.call(pb.AuthUserListRequest(), timeout=timeout)).users)

    async def user_grant_role(self, name: str, role: str, timeout: float | None = None) -> Header:
        request = pb.AuthUserGrantRoleRequest(user=name, role=role)
        return to_header((await self._wire.call(request, timeout=timeout)).header)

    async def user_revoke_role(self, name: str, role: str, timeout: float | None = None) -> Header:
        request = pb.AuthUserRevokeRoleRequest(name=name, role=role)
        return to_header((await self._wire.call(request, timeout=timeout)).header)

    async def role_add(self, name: str, timeout: float | None = None) -> Header:
        return to_header((await self._wire.call(pb.AuthRoleAddRequest(name=name), timeout=timeout)).header)

    async def role_delete(self, name: str, timeout: float | None = None) -> Header:
        return to_header((await self._wire.call(pb.AuthRoleDeleteRequest(role=name), timeout=timeout)).header)

    async def role_permissions(self, name: str, timeout: float | None = None) -> list[Permission]:
        answer = await self._wire.call(pb.AuthRoleGetRequest(role=name), timeout=timeout)
        kind = auth_pb2.Permission.Type
        return [Permission(PermissionType(kind.Name(each.permType)), each.key, each.range_end) for each in answer.perm]

    async def roles(self, timeout: float | None = None) -> list[str]:
        return list((await self._wire.call(pb.AuthRoleListRequest(), timeout=timeout)).roles)

    async def role_grant(
        self,
        role: str,
        permission: PermissionType,
        key: Key,
        range_end: Key | None = None,
        *,
        prefix: bool = False,
        timeout: float | None = None,
    ) -> Header:
        """Keys as in `get`."""
        first, end = key_range(key, range_end, prefix)
        given = auth_pb2.Permission(permType=permission.value, key=first, range_end=end)
        request = pb.AuthRoleGrantPermissionRequest(name=role, perm=given)
        return to_header((await self._wire.call(request, timeout=timeout)).header)

    async def role_revoke(
        self, role: str, key: Key, range_end: Key | None = None, *, prefix: bool = False, timeout: float | None = None
    ) -> Header:
        """The permission for exactly these keys."""
        first, end = key_range(key, range_end, prefix)
        request = pb.AuthRoleRevokePermissionRequest(role=role, key=first, range_end=end)
        return to_header((await self._wire.call(request, timeout=timeout)).header)
