"""A table of users and roles on a real backend, for the tests of this room."""

from __future__ import annotations

import base64
from typing import Any

from quorate.api.pb import auth_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.auth import AuthStore

READ, WRITE, BOTH = auth_pb2.Permission.READ, auth_pb2.Permission.WRITE, auth_pb2.Permission.READWRITE


def add_user(auth: AuthStore, name: str, *roles: str, password: bytes = b"hash") -> None:
    auth.add_user(rpc.AuthUserAddRequest(name=name, hashedPassword=base64.b64encode(password).decode()))
    for role in roles:
        auth.grant_role(name, role)


def grant(auth: AuthStore, role: str, kind: Any, key: bytes, end: bytes = b"") -> None:
    permission = auth_pb2.Permission(permType=kind, key=key, range_end=end)
    auth.grant_permission(rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission))


def enable(auth: AuthStore) -> None:
    """With user root."""
    add_user(auth, "root", "root")
    auth.enable()
