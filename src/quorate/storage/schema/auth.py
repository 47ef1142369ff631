"""Buckets `auth`, `authUsers` and `authRoles`."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.api.pb import auth_pb2
from quorate.storage.schema.buckets import AUTH, AUTH_ROLES, AUTH_USERS, Store

_ENABLED = b"authEnabled"
_REVISION = b"authRevision"


def put_auth_enabled(store: Store, enabled: bool) -> None:
    store.put(AUTH, _ENABLED, b"\x01" if enabled else b"\x00")


def get_auth_enabled(store: Store) -> bool:
    return store.get(AUTH, _ENABLED) == b"\x01"


def put_auth_revision(store: Store, revision: int) -> None:
    store.put(AUTH, _REVISION, revision.to_bytes(8, "big"))


def get_auth_revision(store: Store) -> int:
    """0 when auth was never touched."""
    return int.from_bytes(store.get(AUTH, _REVISION) or b"", "big")


def put_user(store: Store, user: auth_pb2.User) -> None:
    """Store a user under its name, which fits a row's key (backend.MAX_KEY_BYTES)."""
    store.put(AUTH_USERS, user.name, user.SerializeToString())


def delete_user(store: Store, name: bytes) -> None:
    store.delete(AUTH_USERS, name)


def users(store: Store) -> Iterator[auth_pb2.User]:
    """All users by name, bytewise."""
    return (auth_pb2.User.FromString(value) for _, value in store.scan(AUTH_USERS))


def put_role(store: Store, role: auth_pb2.Role) -> None:
    """Store a role under its name, which fits a row's key (backend.MAX_KEY_BYTES)."""
    store.put(AUTH_ROLES, role.name, role.SerializeToString())


def delete_role(store: Store, name: bytes) -> None:
    store.delete(AUTH_ROLES, name)


def roles(store: Store) -> Iterator[auth_pb2.Role]:
    """All roles by name, bytewise."""
    return (auth_pb2.Role.FromString(value) for _, value in store.scan(AUTH_ROLES))
