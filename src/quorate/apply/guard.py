"""Whether the caller of an entry may do what it asks for, while auth is on. Judged where the entry is applied, by the
table as every member has it there; nothing of a request is done when a part of it is denied.

    Put           WRITE; with prev_kv READ too; with a lease WRITE on every key the lease holds: who may not revoke it
                  must not hang more on it
    DeleteRange   WRITE; with prev_kv READ too
    Range         READ
    Txn           READ for its compares; its operations as above, in both branches and in those of nested txns
    LeaseRevoke   WRITE on every key the lease holds
    auth          role root, but anybody may look at himself and at a role that he has

An alarm's refusal comes before the caller's, except for what only role root may do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quorate.api import errors
from quorate.api.internal import Caller
from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.plain_put import PlainPut
from quorate.auth import AuthStore
from quorate.lease import Lessor
from quorate.txn.ranges import PlainGet
from quorate.txn.tree import Op, Txn

ADMIN_ONLY = frozenset(
    (
        "auth_enable",
        "auth_disable",
        "auth_user_add",
        "auth_user_delete",
        "auth_user_change_password",
        "auth_user_grant_role",
        "auth_user_revoke_role",
        "auth_user_list",
        "auth_role_add",
        "auth_role_delete",
        "auth_role_list",
        "auth_role_grant_permission",
        "auth_role_revoke_permission",
    )
)
"""Kinds of requests that only role root may make."""


class Guard:
    """Checks requests by kind. Kinds that are not named here are open to all: the members' own, and what is checked
    before it is proposed."""

    def __init__(self, auth: AuthStore, leases: Lessor) -> None:
        self._auth = auth
        self._leases = leases
        self._checks: dict[str, Callable[[Any, Caller], None]] = {
            "put": self.check_put,
            "delete_range": self.check_delete_range,
            "range": self.check_range,
            "txn": self.check_txn,
            "lease_revoke": lambda request, caller: self.check_lease_write(request.ID, caller),
            "auth_user_get": self._check_user_get,
            "auth_role_get": self._check_role_get,
        }

    def check_admin(self, kind: str, caller: Caller) -> None:
        """Raises UserEmpty, UserNotFound, PermissionDenied for a kind that is role root's alone."""
        if kind in ADMIN_ONLY:
            self._auth.check_admin(caller)

    def check(self, kind: str, request: Any, caller: Caller) -> None:
        """Raises UserEmpty, AuthOldRevision, PermissionDenied; UserNotFound."""
        check = self._checks.get(kind)
        if check is not None:
            check(request, caller)

    def check_range(self, request: rpc.RangeRequest | PlainGet, caller: Caller) -> None:
        self._auth.check_read(caller, request.key, request.range_end)

    def check_put(self, request: rpc.PutRequest | PlainPut, caller: Caller) -> None:
        self._auth.check_write(caller, request.key)
        if request.lease:
            self.check_lease_write(request.lease, caller)
        if request.prev_kv:
            self._auth.check_read(caller, request.key)

    def check_delete_range(self, request: rpc.DeleteRangeRequest, caller: Caller) -> None:
        self._auth.check_write(caller, request.key, request.range_end)
        if request.prev_kv:
            self._auth.check_read(caller, request.key, request.range_end)

    def check_txn(self, request: Txn, caller: Caller) -> None:
        for compare in request.compare:
            self._auth.check_read(caller, compare.key, compare.range_end)
        self._check_operations(request.success, caller)
        self._check_operations(request.failure, caller)

    def check_lease_write(self, lease_id: int, caller: Caller) -> None:
        """WRITE on all that a lease holds; there is nothing to check about one that holds nothing."""
        for key in self._keys(lease_id):
            self._auth.check_write(caller, key)

    def check_lease_read(self, lease_id: int, caller: Caller) -> None:
        """READ on all that a lease holds."""
        for key in self._keys(lease_id):
            self._auth.check_read(caller, key)

    def _keys(self, lease_id: int) -> Sequence[bytes]:
        return self._leases.keys(lease_id) if self._leases.exists(lease_id) else ()

    def _check_operations(self, operations: Sequence[Op], caller: Caller) -> None:
        for kind, request in operations:
            match kind:
                case "request_range":
                    self.check_range(request, caller)
                case "request_put":
                    self.check_put(request, caller)
                case "request_delete_range":
                    self.check_delete_range(request, caller)
                case "request_txn":
                    self.check_txn(request, caller)

    def _check_user_get(self, request: rpc.AuthUserGetRequest, caller: Caller) -> None:
        try:
            self._auth.check_admin(caller)
        except errors.EtcdError:
            if request.name != caller.name:
                raise

    def _check_role_get(self, request: rpc.AuthRoleGetRequest, caller: Caller) -> None:
        try:
            self._auth.check_admin(caller)
        except errors.EtcdError:
            if not self._auth.holds(caller.name, request.role):
                raise
