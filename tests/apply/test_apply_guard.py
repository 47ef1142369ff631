"""What a request needs, wherever in it a key is named: the same for a call of its own and for part of any txn."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.api import errors
from quorate.api.pb import auth_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.apply import Guard
from quorate.apply.guard import ADMIN_ONLY
from quorate.auth import NOBODY, AuthStore, Caller, SimpleTokens
from quorate.lease import Lessor
from quorate.storage import schema
from quorate.storage.backend import Backend
from quorate.txn.tree import txn_of

READ, WRITE, BOTH = auth_pb2.Permission.READ, auth_pb2.Permission.WRITE, auth_pb2.Permission.READWRITE

LEASE_IN, LEASE_OUT = 1, 2
"""Leases that hold key a1, and key z as well."""


class Scene:
    """User `u` may read and write [a,b), read r, write w."""

    def __init__(self, store: Backend) -> None:
        self.auth = AuthStore(store, SimpleTokens(300.0))
        self.lessor = Lessor(store, min_ttl=1)
        for lease, keys in ((LEASE_IN, (b"a1",)), (LEASE_OUT, (b"a2", b"z"))):
            self.lessor.grant(lease, 60, 0.0)
            for key in keys:
                self.lessor.attach(lease, key)
        self.auth.add_role("role")
        for kind, key, end in ((BOTH, b"a", b"b"), (READ, b"r", b""), (WRITE, b"w", b"")):
            permission = auth_pb2.Permission(permType=kind, key=key, range_end=end)
            self.auth.grant_permission(rpc.AuthRoleGrantPermissionRequest(name="role", perm=permission))
        for name, role in (("root", "root"), ("u", "role")):
            hashed = base64.b64encode(b"h").decode()
            self.auth.add_user(rpc.AuthUserAddRequest(name=name, hashedPassword=hashed))
            self.auth.grant_role(name, role)
        self.auth.enable()
        self.guard = Guard(self.auth, self.lessor)

    def allows(self, kind: str, request: Any, name: str = "u") -> bool:
        caller = Caller(name, self.auth.revision)
        try:
            self.guard.check_admin(kind, caller)
            self.guard.check(kind, txn_of(request) if kind == "txn" else request, caller)
        except errors.PermissionDenied:
            return False
        return True


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    backend = Backend.open(tmp_path / "db", schema.BUCKETS, unsafe_no_fsync=True)
    yield Scene(backend)
    backend.close()


def op(request: Any) -> rpc.RequestOp:
    field = {"RangeRequest": "range", "PutRequest": "put", "DeleteRangeRequest": "delete_range", "TxnRequest": "txn"}
    return rpc.RequestOp(**{f"request_{field[type(request).__name__]}": request})


KIND = {"RangeRequest": "range", "PutRequest": "put", "DeleteRangeRequest": "delete_range", "TxnRequest": "txn"}
GOOD = rpc.PutRequest(key=b"a5")

Wrap = Callable[[Any], rpc.TxnRequest]


def then(request: Any) -> rpc.TxnRequest:
    return rpc.TxnRequest(success=[op(GOOD), op(request)])


def otherwise(request: Any) -> rpc.TxnRequest:
    return rpc.TxnRequest(success=[op(GOOD)], failure=[op(request)])


PLACES: dict[str, tuple[Wrap, ...]] = {
    "alone": (),
    "then": (then,),
    "else": (otherwise,),
    "then then": (then, then),
    "then else": (otherwise, then),
    "else then": (then, otherwise),
    "else else": (otherwise, otherwise),
    "three deep": (then, otherwise, then),
}
"""Where in a request a part stands, the innermost wrapping first."""

PARTS: list[tuple[Any, bool]] = [
    (rpc.RangeRequest(key=b"a1"), True),
    (rpc.RangeRequest(key=b"a", range_end=b"b"), True),
    (rpc.RangeRequest(key=b"a", range_end=b"b\0"), False),
    (rpc.RangeRequest(key=b"r"), True),
    (rpc.RangeRequest(key=b"r", range_end=b"\0"), False),
    (rpc.RangeRequest(key=b"w"), False),
    (rpc.PutRequest(key=b"a1"), True),
    (rpc.PutRequest(key=b"r"), False),
    (rpc.PutRequest(key=b"w"), True),
    (rpc.PutRequest(key=b"w", prev_kv=True), False),
    (rpc.PutRequest(key=b"a1", prev_kv=True), True),
    (rpc.PutRequest(key=b"w", lease=LEASE_IN), True),
    (rpc.PutRequest(key=b"w", lease=LEASE_OUT), False),
    (rpc.PutRequest(key=b"w", lease=99), True),
    (rpc.DeleteRangeRequest(key=b"a", range_end=b"b", prev_kv=True), True),
    (rpc.DeleteRangeRequest(key=b"w"), True),
    (rpc.DeleteRangeRequest(key=b"w", prev_kv=True), False),
    (rpc.DeleteRangeRequest(key=b"w", range_end=b"\0"), False),
    (rpc.DeleteRangeRequest(key=b"r"), False),
]


@pytest.mark.parametrize("place", PLACES)
def test_33343_21681_a_part_needs_the_same_wherever_it_stands(scene: Scene, place: str) -> None:
    for part, allowed in PARTS:
        request = part
        for wrap in PLACES[place]:
            request = wrap(request)
        kind = KIND[type(request).__name__]
        assert scene.allows(kind, request) is allowed, request
        assert scene.allows(kind, request, "root")


@pytest.mark.parametrize("depth", range(3))
def test_33343_compares_are_read_at_every_depth(scene: Scene, depth: int) -> None:
    for key, end, allowed in ((b"a1", b"", True), (b"w", b"", False), (b"a", b"c", False), (b"r", b"\0", False)):
        request = rpc.TxnRequest(compare=[rpc.Compare(key=key, range_end=end)], success=[op(GOOD)])
        for _ in range(depth):
            request = rpc.TxnRequest(failure=[op(request)])
        assert scene.allows("txn", request) is allowed


def test_who_revokes_a_lease_must_be_allowed_to_write_all_of_its_keys(scene: Scene) -> None:
    assert scene.allows("lease_revoke", rpc.LeaseRevokeRequest(ID=LEASE_IN))
    assert not scene.allows("lease_revoke", rpc.LeaseRevokeRequest(ID=LEASE_OUT))
    assert scene.allows("lease_revoke", rpc.LeaseRevokeRequest(ID=99))
    with pytest.raises(errors.UserEmpty):
        scene.guard.check("lease_revoke", rpc.LeaseRevokeRequest(ID=LEASE_IN), NOBODY)


def test_the_table_is_changed_by_role_root_alone(scene: Scene) -> None:
    for kind in ADMIN_ONLY:
        assert not scene.allows(kind, None)
        assert scene.allows(kind, None, "root")


def test_anybody_may_look_at_himself_and_at_his_roles(scene: Scene) -> None:
    for kind, own, foreign in (
        ("auth_user_get", rpc.AuthUserGetRequest(name="u"), rpc.AuthUserGetRequest(name="root")),
        ("auth_role_get", rpc.AuthRoleGetRequest(role="role"), rpc.AuthRoleGetRequest(role="root")),
    ):
        assert scene.allows(kind, own)
        assert not scene.allows(kind, foreign)
        assert scene.allows(kind, foreign, "root")


def test_what_members_write_by_themselves_needs_nobody(scene: Scene) -> None:
    for kind in ("lease_checkpoint", "alarm", "cluster_version_set", "cluster_member_attr_set", "compaction"):
        scene.guard.check_admin(kind, NOBODY)
        scene.guard.check(kind, None, NOBODY)
