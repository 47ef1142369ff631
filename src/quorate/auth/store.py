"""The table of users and roles of one member, as it has applied it: in memory and in the database alike."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from quorate.api import errors
from quorate.api.internal import NOBODY, Caller
from quorate.api.pb import auth_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.auth.passwords import hash_replayed
from quorate.auth.ranges import OPEN_END, Range, Ranges, is_grantable
from quorate.auth.simple_tokens import SimpleTokens
from quorate.storage import schema

ROOT = "root"
"""Name of the user that auth cannot be on without, and of the role that may do everything."""

READ, WRITE, READWRITE = auth_pb2.Permission.READ, auth_pb2.Permission.WRITE, auth_pb2.Permission.READWRITE

FIRST_REVISION = 1


class AuthStore:
    """Users, roles, whether auth is on, and the auth revision. `tokens` lose what a change takes from their users."""

    def __init__(self, store: schema.Store, tokens: SimpleTokens) -> None:
        self.tokens = tokens
        self._users: dict[str, auth_pb2.User] = {}
        self.reload(store)

    def reload(self, store: schema.Store) -> None:
        """Read everything anew from `store`, which may replace the one before. A user who is gone there, or has got
        another password, loses the tokens."""
        before = self._users
        self._store = store
        self.enabled = schema.get_auth_enabled(store)
        self.revision = schema.get_auth_revision(store)
        self._users = {user.name.decode(): user for user in schema.users(store)}
        self._roles = {role.name.decode(): role for role in schema.roles(store)}
        self._granted: dict[str, tuple[Ranges, Ranges]] = {}
        if self.revision == 0:
            self.revision = FIRST_REVISION
            schema.put_auth_revision(store, self.revision)
        for name, user in before.items():
            if name not in self._users or self._users[name].password != user.password:
                self.tokens.drop_user(name)
        if not self.enabled:
            self.tokens.drop_all()

    # What it is.

    def root(self) -> Caller:
        """As whom a member does what it does by itself: nobody while auth is off."""
        return Caller(ROOT, self.revision) if self.enabled else NOBODY

    def user(self, name: str) -> auth_pb2.User:
        """Raises UserNotFound."""
        found = self._users.get(name)
        if found is None:
            raise errors.UserNotFound()
        return found

    def role(self, name: str) -> auth_pb2.Role:
        """Raises RoleNotFound."""
        found = self._roles.get(name)
        if found is None:
            raise errors.RoleNotFound()
        return found

    def users(self) -> list[str]:
        return sorted(self._users)

    def roles(self) -> list[str]:
        return sorted(self._roles)

    def permissions(self, role: str) -> list[auth_pb2.Permission]:
        """What a role grants. Raises RoleNotFound."""
        found = self.role(role)
        if role == ROOT:
            return [auth_pb2.Permission(permType=READWRITE, key=b"", range_end=OPEN_END)]
        return list(found.keyPermission)

    def holds(self, user: str, role: str) -> bool:
        return user in self._users and role in self._users[user].roles

    # Who may do what.

    def check_read(self, caller: Caller, key: bytes, range_end: bytes = b"") -> None:
        """Raises UserEmpty, AuthOldRevision, PermissionDenied."""
        if self.enabled:
            self._check(caller, key, range_end, 0)

    def check_write(self, caller: Caller, key: bytes, range_end: bytes = b"") -> None:
        """Raises UserEmpty, AuthOldRevision, PermissionDenied."""
        if self.enabled:
            self._check(caller, key, range_end, 1)

    def check_admin(self, caller: Caller) -> None:
        """Raises UserEmpty, UserNotFound, PermissionDenied for whoever does not hold role root."""
        if not self.enabled:
            return
        if not caller.name:
            raise errors.UserEmpty()
        if ROOT not in self.user(caller.name).roles:
            raise errors.PermissionDenied()

    def _check(self, caller: Caller, key: bytes, range_end: bytes, kind: int) -> None:
        if caller.revision == 0:
            raise errors.UserEmpty()
        if caller.revision < self.revision:
            raise errors.AuthOldRevision()
        user = self._users.get(caller.name)
        if user is None:
            raise errors.PermissionDenied()
        if ROOT not in user.roles and not self._granted_to(user)[kind].covers(key, range_end):
            raise errors.PermissionDenied()

    def _granted_to(self, user: auth_pb2.User) -> tuple[Ranges, Ranges]:
        """What a user may read, and write, by all roles together."""
        name = user.name.decode()
        found = self._granted.get(name)
        if found is None:
            roles = [self._roles[role] for role in user.roles if role in self._roles]
            granted = [permission for role in roles for permission in role.keyPermission]
            found = Ranges(_ranges(granted, READ)), Ranges(_ranges(granted, WRITE))
            self._granted[name] = found
        return found

    # Changes, each from one log entry. Errors are raised before anything is changed.

    def enable(self) -> None:
        """Raises RootUserMissing, RootRoleMissing."""
        if self.enabled:
            return
        root = self._users.get(ROOT)
        if root is None:
            raise errors.RootUserMissing()
        if ROOT not in root.roles:
            raise errors.RootRoleMissing()
        self.enabled = True
        schema.put_auth_enabled(self._store, True)

    def disable(self) -> None:
        if not self.enabled:
            return
        self.enabled = False
        schema.put_auth_enabled(self._store, False)
        self.tokens.drop_all()
        self._commit()

    def add_user(self, request: rpc.AuthUserAddRequest) -> None:
        """Raises UserEmpty, UserExists, PasswordForNone for a hash that is not base64."""
        if not request.name:
            raise errors.UserEmpty()
        if request.name in self._users:
            raise errors.UserExists()
        user = auth_pb2.User(name=request.name.encode())
        user.options.CopyFrom(request.options)
        if not request.options.no_password:
            user.password = self._stored_password(request)
        self._put_user(user)
        self._commit()

    def delete_user(self, name: str) -> None:
        """Raises InvalidAuthManagement, UserNotFound."""
        if self.enabled and name == ROOT:
            raise errors.InvalidAuthManagement()
        self.user(name)
        del self._users[name]
        schema.delete_user(self._store, name.encode())
        self._commit()
        self.tokens.drop_user(name)

    def change_password(self, request: rpc.AuthUserChangePasswordRequest) -> None:
        """Raises UserNotFound, PasswordForNone for a hash that is not base64."""
        user = _copy_user(self.user(request.name))
        user.password = b"" if user.options.no_password else self._stored_password(request)
        self._put_user(user)
        self._commit()
        self.tokens.drop_user(request.name)

    def grant_role(self, name: str, role: str) -> None:
        """Raises UserNotFound, RoleNotFound; role root needs no record."""
        user = _copy_user(self.user(name))
        if role != ROOT:
            self.role(role)
        if role in user.roles:
            return
        roles = sorted([*user.roles, role])
        del user.roles[:]
        user.roles.extend(roles)
        self._put_user(user)
        self._commit()

    def revoke_role(self, name: str, role: str) -> None:
        """Raises InvalidAuthManagement, UserNotFound, RoleNotGranted."""
        if self.enabled and name == ROOT and role == ROOT:
            raise errors.InvalidAuthManagement()
        if role not in self.user(name).roles:
            raise errors.RoleNotGranted()
        self._take_role(name, role)
        self._commit()

    def add_role(self, name: str) -> None:
        """Raises RoleEmpty, RoleExists."""
        if not name:
            raise errors.RoleEmpty()
        if name in self._roles:
            raise errors.RoleExists()
        self._put_role(auth_pb2.Role(name=name.encode()))
        self._commit()

    def delete_role(self, name: str) -> None:
        """Whoever holds the role loses it. Raises InvalidAuthManagement, RoleNotFound."""
        if self.enabled and name == ROOT:
            raise errors.InvalidAuthManagement()
        self.role(name)
        del self._roles[name]
        schema.delete_role(self._store, name.encode())
        for user in self.users():
            if name in self._users[user].roles:
                self._take_role(user, name)
        self._commit()

    def grant_permission(self, request: rpc.AuthRoleGrantPermissionRequest) -> None:
        """Raises PermissionNotGiven, InvalidAuthManagement for a range that is none, RoleNotFound."""
        if not request.HasField("perm"):
            raise errors.PermissionNotGiven()
        given = request.perm
        if not is_grantable(given.key, given.range_end):
            raise errors.InvalidAuthManagement()
        permissions = list(self.role(request.name).keyPermission)
        first = next((place for place, held in enumerate(permissions) if held.key >= given.key), len(permissions))
        if first < len(permissions) and _is_for(permissions[first], given.key, given.range_end):
            permissions[first] = given
        else:
            permissions = sorted([*permissions, given], key=lambda held: held.key)
        self._put_role(auth_pb2.Role(name=request.name.encode(), keyPermission=permissions))
        self._commit()

    def revoke_permission(self, role: str, key: bytes, range_end: bytes) -> None:
        """Raises RoleNotFound, PermissionNotGranted unless a permission has exactly this range."""
        held = self.role(role).keyPermission
        kept = [permission for permission in held if not _is_for(permission, key, range_end)]
        if len(kept) == len(held):
            raise errors.PermissionNotGranted()
        self._put_role(auth_pb2.Role(name=role.encode(), keyPermission=kept))
        self._commit()

    def check_login(self, name: str) -> None:
        """For an entry that issues a token; the password was checked before. Raises AuthNotEnabled, AuthFailed."""
        if not self.enabled:
            raise errors.AuthNotEnabled()
        user = self._users.get(name)
        if user is None or user.options.no_password:
            raise errors.AuthFailed()

    def _stored_password(self, request: rpc.AuthUserAddRequest | rpc.AuthUserChangePasswordRequest) -> bytes:
        if request.password and not request.hashedPassword:
            return hash_replayed(request.password, request.name, self.revision)
        try:
            return base64.b64decode(request.hashedPassword, validate=True)
        except (binascii.Error, ValueError):
            raise errors.PasswordForNone() from None

    def _take_role(self, name: str, role: str) -> None:
        user = _copy_user(self._users[name])
        kept = [held for held in user.roles if held != role]
        del user.roles[:]
        user.roles.extend(kept)
        self._put_user(user)

    def _put_user(self, user: auth_pb2.User) -> None:
        self._users[user.name.decode()] = user
        schema.put_user(self._store, user)

    def _put_role(self, role: auth_pb2.Role) -> None:
        self._roles[role.name.decode()] = role
        schema.put_role(self._store, role)

    def _commit(self) -> None:
        """The table has changed."""
        self.revision += 1
        self._granted.clear()
        schema.put_auth_revision(self._store, self.revision)


def _ranges(permissions: Iterable[auth_pb2.Permission], kind: int) -> list[Range]:
    return [(held.key, held.range_end) for held in permissions if held.permType in (kind, READWRITE)]


def _is_for(permission: auth_pb2.Permission, key: bytes, range_end: bytes) -> bool:
    return permission.key == key and permission.range_end == range_end


def _copy_user(user: auth_pb2.User) -> auth_pb2.User:
    copy = auth_pb2.User()
    copy.CopyFrom(user)
    return copy
