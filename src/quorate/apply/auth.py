"""Requests about users, roles and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from quorate.api.pb import raft_internal_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.auth import AuthStore

Handler = Callable[[Any], Message | None]
"""Request in, reply without header out; None for a reply that is nothing but a header."""


def auth_handlers(auth: AuthStore) -> dict[str, Handler]:
    """What each kind of request does; all but the one that issues a token."""

    return {
        "auth_enable": lambda request: auth.enable(),
        "auth_disable": lambda request: auth.disable(),
        "auth_status": lambda request: rpc.AuthStatusResponse(enabled=auth.enabled, authRevision=auth.revision),
        "auth_user_add": auth.add_user,
        "auth_user_delete": lambda request: auth.delete_user(request.name),
        "auth_user_get": lambda request: rpc.AuthUserGetResponse(roles=auth.user(request.name).roles),
        "auth_user_list": lambda request: rpc.AuthUserListResponse(users=auth.users()),
        "auth_user_change_password": auth.change_password,
        "auth_user_grant_role": lambda request: auth.grant_role(request.user, request.role),
        "auth_user_revoke_role": lambda request: auth.revoke_role(request.name, request.role),
        "auth_role_add": lambda request: auth.add_role(request.name),
        "auth_role_delete": lambda request: auth.delete_role(request.role),
        "auth_role_get": lambda request: rpc.AuthRoleGetResponse(perm=auth.permissions(request.role)),
        "auth_role_list": lambda request: rpc.AuthRoleListResponse(roles=auth.roles()),
        "auth_role_grant_permission": auth.grant_permission,
        "auth_role_revoke_permission": lambda request: auth.revoke_permission(
            request.role, request.key, request.range_end
        ),
    }


def authenticate(
    auth: AuthStore, request: raft_internal_pb2.InternalAuthenticateRequest, index: int, now: float
) -> rpc.AuthenticateResponse:
    """Issue the token of the entry at `index`; one without a prefix is signed by whoever was asked for it.

    Raises AuthNotEnabled, AuthFailed.
    """
    auth.check_login(request.name)
    if not request.simple_token:
        return rpc.AuthenticateResponse()
    token = f"{request.simple_token}.{index}"
    auth.tokens.assign(token, request.name, now)
    return rpc.AuthenticateResponse(token=token)
