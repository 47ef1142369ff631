"""Service Auth: users, roles, permissions, and the tokens of callers.

Every call is agreed on, those that only look as well: what it answers is the table after everything before it. Who may
call is judged where the entry is applied.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from google.protobuf.message import Message

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.auth import Caller
from quorate.server import Server
from quorate.storage.backend import MAX_KEY_BYTES
from quorate.transport.grpc import Context
from quorate.v3rpc.door import Door

Handler = Callable[[Any, Context], Coroutine[Any, Any, bytes]]

KINDS: Mapping[str, tuple[type[Message], str]] = {
    "AuthEnable": (rpc_pb2.AuthEnableRequest, "auth_enable"),
    "AuthDisable": (rpc_pb2.AuthDisableRequest, "auth_disable"),
    "AuthStatus": (rpc_pb2.AuthStatusRequest, "auth_status"),
    "UserGet": (rpc_pb2.AuthUserGetRequest, "auth_user_get"),
    "UserList": (rpc_pb2.AuthUserListRequest, "auth_user_list"),
    "UserDelete": (rpc_pb2.AuthUserDeleteRequest, "auth_user_delete"),
    "UserGrantRole": (rpc_pb2.AuthUserGrantRoleRequest, "auth_user_grant_role"),
    "UserRevokeRole": (rpc_pb2.AuthUserRevokeRoleRequest, "auth_user_revoke_role"),
    "RoleGet": (rpc_pb2.AuthRoleGetRequest, "auth_role_get"),
    "RoleList": (rpc_pb2.AuthRoleListRequest, "auth_role_list"),
    "RoleDelete": (rpc_pb2.AuthRoleDeleteRequest, "auth_role_delete"),
    "RoleGrantPermission": (rpc_pb2.AuthRoleGrantPermissionRequest, "auth_role_grant_permission"),
    "RoleRevokePermission": (rpc_pb2.AuthRoleRevokePermissionRequest, "auth_role_revoke_permission"),
}
"""Calls whose request goes into the log as it is: its class, and the kind of the entry."""


class Auth:
    """Handlers take a decoded request and return an encoded reply; errors are raised."""

    def __init__(self, server: Server, door: Door) -> None:
        self._server = server
        self._header = server.header
        self._door = door

    def handlers(self) -> dict[str, tuple[type[Message], Handler]]:
        """Every call of the service: the class of its request, and who answers."""
        return {
            **{name: (request, self._agree(kind)) for name, (request, kind) in KINDS.items()},
            "Authenticate": (rpc_pb2.AuthenticateRequest, self.authenticate),
            "UserAdd": (rpc_pb2.AuthUserAddRequest, self.user_add),
            "UserChangePassword": (rpc_pb2.AuthUserChangePasswordRequest, self.user_change_password),
            "RoleAdd": (rpc_pb2.AuthRoleAddRequest, self.role_add),
        }

    async def authenticate(self, request: rpc_pb2.AuthenticateRequest, context: Context) -> bytes:
        applied = await self._server.callers.authenticate(request)
        return self._header(applied.revision) + applied.body

    async def user_add(self, request: rpc_pb2.AuthUserAddRequest, context: Context) -> bytes:
        """The password goes no further than here: the log has its hash."""
        _check_name(request.name)
        caller = await self._door.require(context)
        password = request.password
        request.ClearField("password")
        request.ClearField("hashedPassword")
        if not request.options.no_password:
            request.hashedPassword = await self._hash(password)
        return await self._propose("auth_user_add", request, caller)

    async def user_change_password(self, request: rpc_pb2.AuthUserChangePasswordRequest, context: Context) -> bytes:
        """An empty password is one that nothing matches."""
        caller = await self._door.require(context)
        password = request.password
        request.ClearField("password")
        request.ClearField("hashedPassword")
        if password:
            request.hashedPassword = await self._hash(password)
        return await self._propose("auth_user_change_password", request, caller)

    async def role_add(self, request: rpc_pb2.AuthRoleAddRequest, context: Context) -> bytes:
        _check_name(request.name)
        return await self._propose("auth_role_add", request, await self._door.find(context))

    def _agree(self, kind: str) -> Handler:
        async def handle(request: Message, context: Context) -> bytes:
            return await self._propose(kind, request, await self._door.find(context))

        return handle

    async def _propose(self, kind: str, request: Message, caller: Caller) -> bytes:
        applied = await self._server.propose(kind, request, caller=caller)
        return self._header(applied.revision) + applied.body

    async def _hash(self, password: str) -> str:
        return base64.b64encode(await self._server.callers.hash_password(password)).decode()


def _check_name(name: str) -> None:
    """Raises RequestTooLarge for a name that no row can have."""
    if len(name.encode()) > MAX_KEY_BYTES:
        raise errors.RequestTooLarge()
