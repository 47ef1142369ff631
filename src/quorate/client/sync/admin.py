"""The sync twin of quorate.client.admin. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from quorate.client import admin as _source
from quorate.client.admin import SLOW_SECONDS
from quorate.client.ops import Key
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
)
from quorate.client.sync.base import Twin


class ClusterAdmin(Twin[_source.ClusterAdmin]):
    """The members of the cluster. Changes raise EtcdError when the cluster would not outlive them."""

    def members(self, *, linearizable: bool = True, timeout: float | None = None) -> Members:
        return self._portal.run(self._inner.members(linearizable=linearizable, timeout=timeout))

    def add(self, peer_urls: Iterable[str], *, learner: bool = False, timeout: float | None = None) -> MemberAdded:
        """Tell the cluster of a new member; it is to be started after that."""
        return self._portal.run(self._inner.add(peer_urls, learner=learner, timeout=timeout))

    def remove(self, member_id: int, timeout: float | None = None) -> Members:
        return self._portal.run(self._inner.remove(member_id, timeout))

    def update(self, member_id: int, peer_urls: Iterable[str], timeout: float | None = None) -> Members:
        return self._portal.run(self._inner.update(member_id, peer_urls, timeout))

    def promote(self, member_id: int, timeout: float | None = None) -> Members:
        """Make a learner a voter."""
        return self._portal.run(self._inner.promote(member_id, timeout))


class Maintenance(Twin[_source.Maintenance]):
    """`endpoint` names one of the client's endpoints; without one any member answers."""

    def status(self, endpoint: str | None = None, timeout: float | None = None) -> MemberStatus:
        return self._portal.run(self._inner.status(endpoint, timeout))

    def alarms(self, timeout: float | None = None) -> list[Alarm]:
        return self._portal.run(self._inner.alarms(timeout))

    def disarm(
        self, alarm: AlarmType = AlarmType.NONE, member_id: int = 0, timeout: float | None = None
    ) -> list[Alarm]:
        """Put alarms off, and say which: those of a kind, all if NONE; of a member, of all if 0."""
        return self._portal.run(self._inner.disarm(alarm, member_id, timeout))

    def defragment(self, endpoint: str | None = None, timeout: float = SLOW_SECONDS) -> None:
        """Shrink the database file of one member to what it holds."""
        self._portal.run(self._inner.defragment(endpoint, timeout))

    def hash_kv(self, endpoint: str | None = None, *, revision: int = 0, timeout: float = SLOW_SECONDS) -> Hash:
        """The hash of the rows of one member, up to a revision; 0 is the newest."""
        return self._portal.run(self._inner.hash_kv(endpoint, revision=revision, timeout=timeout))

    def move_leader(self, member_id: int, timeout: float | None = None) -> None:
        """Have the leader give way to another member; the leader itself must be asked."""
        self._portal.run(self._inner.move_leader(member_id, timeout))

    def downgrade(
        self, action: Literal["validate", "enable", "cancel"], version: str = "", timeout: float | None = None
    ) -> str:
        """The version that the cluster has then."""
        return self._portal.run(self._inner.downgrade(action, version, timeout))


class AuthAdmin(Twin[_source.AuthAdmin]):
    """Users, roles, and whether they count. The members, not this client, decide who may change them."""

    def enable(self, timeout: float | None = None) -> None:
        """There must be a user root with role root."""
        self._portal.run(self._inner.enable(timeout))

    def disable(self, timeout: float | None = None) -> None:
        self._portal.run(self._inner.disable(timeout))

    def status(self, timeout: float | None = None) -> AuthStatus:
        return self._portal.run(self._inner.status(timeout))

    def user_add(self, name: str, password: str | None = None, timeout: float | None = None) -> Header:
        """A user without a password is known by its certificate alone."""
        return self._portal.run(self._inner.user_add(name, password, timeout))

    def user_delete(self, name: str, timeout: float | None = None) -> Header:
        return self._portal.run(self._inner.user_delete(name, timeout))

    def user_change_password(self, name: str, password: str, timeout: float | None = None) -> Header:
        return self._portal.run(self._inner.user_change_password(name, password, timeout))

    def user_roles(self, name: str, timeout: float | None = None) -> list[str]:
        return self._portal.run(self._inner.user_roles(name, timeout))

    def users(self, timeout: float | None = None) -> list[str]:
        return self._portal.run(self._inner.users(timeout))

    def user_grant_role(self, name: str, role: str, timeout: float | None = None) -> Header:
        return self._portal.run(self._inner.user_grant_role(name, role, timeout))

    def user_revoke_role(self, name: str, role: str, timeout: float | None = None) -> Header:
        return self._portal.run(self._inner.user_revoke_role(name, role, timeout))

    def role_add(self, name: str, timeout: float | None = None) -> Header:
        return self._portal.run(self._inner.role_add(name, timeout))

    def role_delete(self, name: str, timeout: float | None = None) -> Header:
        return self._portal.run(self._inner.role_delete(name, timeout))

    def role_permissions(self, name: str, timeout: float | None = None) -> list[Permission]:
        return self._portal.run(self._inner.role_permissions(name, timeout))

    def roles(self, timeout: float | None = None) -> list[str]:
        return self._portal.run(self._inner.roles(timeout))

    def role_grant(
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
        return self._portal.run(
            self._inner.role_grant(role, permission, key, range_end, prefix=prefix, timeout=timeout)
        )

    def role_revoke(
        self, role: str, key: Key, range_end: Key | None = None, *, prefix: bool = False, timeout: float | None = None
    ) -> Header:
        """The permission for exactly these keys."""
        return self._portal.run(self._inner.role_revoke(role, key, range_end, prefix=prefix, timeout=timeout))
