"""The table of users and roles: what it allows, what a change does to it, and that the database has the same."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from auth_support import BOTH, READ, WRITE, add_user, enable, grant

from quorate.api import errors
from quorate.api.pb import auth_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.auth import NOBODY, AuthStore, Caller, SimpleTokens, check_password
from quorate.storage import schema
from quorate.storage.backend import Backend


def by(auth: AuthStore, name: str) -> Caller:
    return Caller(name, auth.revision)


def test_while_auth_is_off_everybody_may_do_everything(auth: AuthStore) -> None:
    auth.check_read(NOBODY, b"k")
    auth.check_write(NOBODY, b"k", b"\0")
    auth.check_admin(NOBODY)
    assert auth.root() is NOBODY


def test_permissions_of_all_roles_count_together(auth: AuthStore) -> None:
    for role, kind, key, end in (("r1", READ, b"a", b"b"), ("r2", BOTH, b"b", b"c"), ("r3", WRITE, b"c", b"")):
        auth.add_role(role)
        grant(auth, role, kind, key, end)
    add_user(auth, "u", "r1", "r2", "r3")
    enable(auth)
    auth.check_read(by(auth, "u"), b"a", b"c")
    auth.check_write(by(auth, "u"), b"b", b"c\0")
    for check, key, end in (
        (auth.check_write, b"a", b""),
        (auth.check_read, b"c", b""),
        (auth.check_read, b"a", b"d"),
        (auth.check_write, b"b", b"\0"),
        (auth.check_admin, None, None),
    ):
        with pytest.raises(errors.PermissionDenied):
            check(by(auth, "u"), *(() if key is None else (key, end)))  # type: ignore[operator]


def test_who_calls_is_checked_before_what_he_may(auth: AuthStore) -> None:
    enable(auth)
    with pytest.raises(errors.UserEmpty):
        auth.check_read(NOBODY, b"k")
    with pytest.raises(errors.AuthOldRevision):
        auth.check_read(Caller("root", auth.revision - 1), b"k")
    with pytest.raises(errors.PermissionDenied):
        auth.check_read(by(auth, "gone"), b"k")
    with pytest.raises(errors.UserEmpty):
        auth.check_admin(NOBODY)
    with pytest.raises(errors.UserNotFound):
        auth.check_admin(by(auth, "gone"))
    auth.check_admin(Caller("root", 1))  # whatever revision
    auth.check_write(auth.root(), b"\0", b"\0")


def test_a_permission_that_is_taken_is_gone_at_once(auth: AuthStore) -> None:
    auth.add_role("r")
    grant(auth, "r", BOTH, b"k")
    add_user(auth, "u", "r")
    enable(auth)
    auth.check_read(by(auth, "u"), b"k")
    grant(auth, "r", WRITE, b"k")
    with pytest.raises(errors.PermissionDenied):
        auth.check_read(by(auth, "u"), b"k")
    auth.check_write(by(auth, "u"), b"k")
    auth.delete_role("r")
    with pytest.raises(errors.PermissionDenied):
        auth.check_write(by(auth, "u"), b"k")


def test_the_revision_counts_every_change_and_nothing_else(auth: AuthStore) -> None:
    def rises(change: Callable[[], object]) -> int:
        before = auth.revision
        change()
        return auth.revision - before

    assert auth.revision == 1
    assert rises(lambda: auth.add_role("r")) == 1
    assert rises(lambda: add_user(auth, "root")) == 1
    assert rises(lambda: auth.grant_role("root", "root")) == 1
    assert rises(lambda: auth.grant_role("root", "root")) == 0
    assert rises(auth.enable) == 0
    assert rises(auth.enable) == 0
    assert rises(lambda: grant(auth, "r", READ, b"a")) == 1
    assert rises(lambda: grant(auth, "r", READ, b"a")) == 1
    assert rises(lambda: auth.revoke_permission("r", b"a", b"")) == 1
    assert rises(auth.disable) == 1
    assert rises(auth.disable) == 0


def test_what_is_refused_changes_nothing(auth: AuthStore, store: Backend) -> None:
    enable(auth)
    auth.add_role("r")
    add_user(auth, "u", "r")
    before = _rows(store)
    for error, change in (
        (errors.InvalidAuthManagement, lambda: auth.delete_user("root")),
        (errors.InvalidAuthManagement, lambda: auth.revoke_role("root", "root")),
        (errors.InvalidAuthManagement, lambda: auth.delete_role("root")),
        (errors.InvalidAuthManagement, lambda: grant(auth, "missing", READ, b"")),
        (errors.InvalidAuthManagement, lambda: grant(auth, "r", READ, b"b", b"a")),
        (errors.PermissionNotGiven, lambda: auth.grant_permission(rpc.AuthRoleGrantPermissionRequest(name="r"))),
        (errors.RoleNotFound, lambda: grant(auth, "missing", READ, b"a")),
        (errors.RoleNotFound, lambda: auth.grant_role("u", "missing")),
        (errors.RoleNotGranted, lambda: auth.revoke_role("u", "missing")),
        (errors.PermissionNotGranted, lambda: auth.revoke_permission("r", b"a", b"")),
        (errors.UserExists, lambda: add_user(auth, "u")),
        (errors.UserEmpty, lambda: add_user(auth, "")),
        (errors.RoleEmpty, lambda: auth.add_role("")),
        (errors.RoleExists, lambda: auth.add_role("r")),
        (errors.UserNotFound, lambda: auth.delete_user("missing")),
        (errors.PasswordForNone, lambda: auth.add_user(rpc.AuthUserAddRequest(name="x", hashedPassword="!"))),
    ):
        with pytest.raises(error):
            change()
    assert _rows(store) == before


def test_rows_are_those_of_etcd(auth: AuthStore, store: Backend) -> None:
    auth.add_role("r")
    grant(auth, "r", BOTH, b"k", b"\0")
    add_user(auth, "u", "r")
    auth.add_user(rpc.AuthUserAddRequest(name="n", options=auth_pb2.UserAddOptions(no_password=True)))
    assert dict(store.scan(schema.AUTH)) == {b"authRevision": (6).to_bytes(8, "big")}
    assert dict(store.scan(schema.AUTH_USERS)) == {
        b"u": b"\x0a\x01u\x12\x04hash\x1a\x01r\x22\x00",
        b"n": b"\x0a\x01n\x22\x02\x08\x01",
    }
    assert dict(store.scan(schema.AUTH_ROLES)) == {b"r": b"\x0a\x01r\x12\x08\x08\x02\x12\x01k\x1a\x01\x00"}
    enable(auth)
    assert store.get(schema.AUTH, b"authEnabled") == b"\x01"
    auth.disable()
    assert store.get(schema.AUTH, b"authEnabled") == b"\x00"


def test_14355_a_restart_finds_what_was_there(auth: AuthStore, store: Backend) -> None:
    auth.add_role("r")
    grant(auth, "r", READ, b"a", b"c")
    add_user(auth, "u", "r")
    enable(auth)
    again = AuthStore(store, SimpleTokens(300.0))
    assert (again.enabled, again.revision, again.users(), again.roles()) == (True, 7, ["root", "u"], ["r"])
    again.check_read(by(again, "u"), b"b")
    with pytest.raises(errors.PermissionDenied):
        again.check_write(by(again, "u"), b"b")


def test_13883_a_table_that_takes_this_ones_place_counts_at_once(auth: AuthStore, store: Backend) -> None:
    auth.add_role("r")
    grant(auth, "r", READ, b"a")
    for name in ("u", "gone", "changed", "same"):
        add_user(auth, name, "r")
        auth.tokens.assign(name, name, 0.0)
    enable(auth)
    auth.check_read(by(auth, "u"), b"a")
    other = AuthStore(store, SimpleTokens(300.0))  # it writes to the same rows
    other.revoke_permission("r", b"a", b"")
    other.delete_user("gone")
    other.change_password(rpc.AuthUserChangePasswordRequest(name="changed", hashedPassword="bmV3"))
    auth.reload(store)
    with pytest.raises(errors.PermissionDenied):
        auth.check_read(by(auth, "u"), b"a")
    assert [auth.tokens.use(name, 1.0) for name in ("u", "gone", "changed", "same")] == ["u", None, None, "same"]
    other.disable()
    auth.reload(store)
    assert len(auth.tokens) == 0


def test_who_is_deleted_or_gets_another_password_loses_the_tokens(auth: AuthStore) -> None:
    enable(auth)
    for name in ("a", "b", "c"):
        add_user(auth, name)
        auth.tokens.assign(name, name, 0.0)
    auth.delete_user("a")
    auth.change_password(rpc.AuthUserChangePasswordRequest(name="b", hashedPassword="bmV3"))
    assert [auth.tokens.use(name, 1.0) for name in ("a", "b", "c")] == [None, None, "c"]
    auth.disable()
    assert len(auth.tokens) == 0


def test_a_user_without_a_password_gets_none(auth: AuthStore) -> None:
    auth.add_user(rpc.AuthUserAddRequest(name="n", password="x", options=auth_pb2.UserAddOptions(no_password=True)))
    auth.change_password(rpc.AuthUserChangePasswordRequest(name="n", hashedPassword="bmV3"))
    assert auth.user("n").password == b""


def test_a_clear_password_of_an_old_log_is_hashed_alike_by_every_member(auth: AuthStore, store: Backend) -> None:
    auth.add_user(rpc.AuthUserAddRequest(name="a", password="pw"))
    auth.add_user(rpc.AuthUserAddRequest(name="b", password="pw"))
    hashes = [auth.user(name).password for name in ("a", "b")]
    assert check_password("pw", hashes[0]) and check_password("pw", hashes[1])
    assert hashes[0] != hashes[1]
    auth.delete_user("a")
    auth.delete_user("b")
    auth.reload(store)
    schema.put_auth_revision(store, 1)
    again = AuthStore(store, SimpleTokens(300.0))
    again.add_user(rpc.AuthUserAddRequest(name="a", password="pw"))
    assert again.user("a").password == hashes[0]


def test_permissions_are_kept_by_key_and_replaced_by_range(auth: AuthStore) -> None:
    auth.add_role("r")
    for kind, key, end in ((READ, b"k", b"m"), (WRITE, b"a", b""), (BOTH, b"k", b"")):
        grant(auth, "r", kind, key, end)
    grant(auth, "r", WRITE, b"k", b"m")
    held = [(one.permType, one.key, one.range_end) for one in auth.permissions("r")]
    assert held == [(WRITE, b"a", b""), (WRITE, b"k", b"m"), (BOTH, b"k", b"")]


def test_role_root_shows_that_it_may_everything(auth: AuthStore) -> None:
    with pytest.raises(errors.RoleNotFound):
        auth.permissions("root")
    auth.add_role("root")
    assert auth.permissions("root") == [auth_pb2.Permission(permType=BOTH, key=b"", range_end=b"\0")]


def test_an_empty_hash_is_of_no_password(auth: AuthStore) -> None:
    assert not check_password("", b"")
    auth.add_user(rpc.AuthUserAddRequest(name="u", hashedPassword=base64.b64encode(b"junk").decode()))
    assert not check_password("junk", auth.user("u").password)


def _rows(store: Backend) -> list[object]:
    return [list(store.scan(bucket)) for bucket in (schema.AUTH, schema.AUTH_USERS, schema.AUTH_ROLES)]
