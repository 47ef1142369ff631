"""auth, user and role answer as stock etcdctl does, byte for byte; and nobody gets in with the wrong password."""

from __future__ import annotations

import os
import pty
import re
import select
import time

import pytest

from quorate.testing.process import MemberProcess

from ctl_pair import OURS, Pair, Side  # isort: skip

pytestmark = pytest.mark.real

FORMATS = ("simple", "json", "fields", "protobuf", "table", "bogus")
STEPS = (
    "auth status",
    "auth disable",
    "user add u --no-password",
    "user add v:pw",
    "user add w --new-user-password=pw",
    "user add w --new-user-password=pw",
    "user get u",
    "user list",
    "role list",
    "role add r",
    "role add r",
    "role get r",
    "user grant-role u r",
    "user grant-role u nosuch",
    "user get u",
    "user get u --detail",
    "role list",
    "role grant-permission r readwrite foo",
    "role grant-permission r Read a b",
    "role grant-permission r WRITE p --prefix",
    "role grant-permission r write q --from-key",
    "role grant-permission r read b a",
    "role get r",
    "user get u --detail",
    "user get v --detail",
    "role revoke-permission r foo",
    "role revoke-permission r foo",
    "role revoke-permission r a b",
    "role revoke-permission r p --prefix",
    "role revoke-permission r q --from-key",
    "role get r",
    "user revoke-role u r",
    "user revoke-role u r",
    "user delete u",
    "user delete v",
    "user delete w",
    "role delete r",
)
BAD = (
    "auth",
    "auth enable x",
    "auth disable x",
    "auth status x",
    "auth enable",
    "user",
    "user add",
    "user add a b",
    "user add :pw",
    "user add --no-password",
    "user add a:pw --new-user-password=x",
    "user add ab:pw:x --no-password",
    "user add p9:",
    "user get",
    "user get nosuch",
    "user get a b",
    "user list x",
    "user delete",
    "user delete nosuch",
    "user delete a b",
    "user passwd",
    "user passwd a b",
    "user grant-role",
    "user grant-role a",
    "user grant-role nosuch r",
    "user revoke-role",
    "user revoke-role nosuch r",
    "role",
    "role add",
    "role add a b",
    "role get",
    "role get nosuch",
    "role get root",
    "role list x",
    "role delete",
    "role delete nosuch",
    "role grant-permission",
    "role grant-permission r read",
    "role grant-permission r bad k",
    "role grant-permission nosuch read k",
    "role grant-permission r read a b c",
    "role grant-permission r read a b --prefix",
    "role grant-permission r read a b --from-key",
    "role grant-permission r read a --prefix --from-key",
    "role grant-permission r bad a --prefix --from-key",
    "role grant-permission r read a b --prefix --from-key",
    "role revoke-permission",
    "role revoke-permission r",
    "role revoke-permission nosuch k",
    "role revoke-permission r a b c",
    "role revoke-permission r a b --prefix",
    "role revoke-permission r a --prefix --from-key",
)
GUARDED = (
    "--user root:rp role list",
    "--user root:rp auth status",
    "--user root:rp user get root --detail",
    "--user root:rp role get root",
    "--user u:pw endpoint health",
    "--user u:pw alarm list",
    "--user u:pw member list",
    "--user u:pw user list",
    "--user u:pw user get u",
    "--user u:pw user get root",
    "--user u:pw get foo",
    "--user u:pw defrag",
    "--user u:pw endpoint hashkv",
    "--user u:pw endpoint status",
    "--user u:bad get foo",
    "--user u: get foo",
    "--user u:pw --password pw get foo",
    "--user root:bad endpoint health",
    "--user root:bad endpoint health --cluster",
    "--user root:bad endpoint status",
    "--user root:bad endpoint status --cluster",
    "--user root:bad defrag",
    "--user root:rp user delete root",
    "--user root:rp user revoke-role root root",
    "endpoint health",
    "endpoint status",
    "member list",
    "defrag",
    "endpoint hashkv",
    "snapshot save /tmp/nobody-gets-this",
    "user list",
    "auth status",
    "auth disable",
    "alarm list",
)
TYPED: tuple[tuple[str, bytes], ...] = (
    ("user add p1", b"pw\npw\n"),
    ("user add p2", b"pw\npx\n"),
    ("user add p3", b"pw"),
    ("user add p3", b""),
    ("user add p3 --new-user-password=", b""),
    ("user add p4 --interactive=false", b"pw"),
    ("user add p5 --interactive=false", b" a b\n"),
    ("user add p6 --interactive=false", b"\npw\n"),
    ("user add p7: --interactive=false", b"pw"),
    ("user passwd p4 --interactive=false", b"px\n"),
    ("user passwd p1", b"a\na\n"),
    ("user passwd p1", b"a\nb\n"),
    ("user passwd p1", b"\n"),
    ("user passwd nosuch", b"a\na\n"),
    ("user passwd nosuch --interactive=false", b"a\n"),
    ("user passwd p1 -w json", b"a\na\n"),
    ("user passwd p1 -w fields", b"a\na\n"),
)
LOGINS = ("p1:a", "p4:px", "p4:pw", "p5:a", "p5:a b", "p6:pw", "p7:pw", "p2:pw")


@pytest.fixture(params=["pair", "quorate_pair"])
def either(request: pytest.FixtureRequest) -> Pair:
    """Both beside new servers."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Pair)
    return found


def tidy(text: bytes) -> bytes:
    """Without times, sizes and indexes: stock etcdctl logs in more often than it needs, which the log tells."""
    if b" is healthy: " in text:
        return b"healthy\n"
    return re.sub(rb"[0-9]+ kB|, 2, [0-9]+, [0-9]+, ", b"", text)


@pytest.mark.parametrize("form", FORMATS)
def test_users_and_roles_look_alike(pair: Pair, form: str) -> None:
    for words in STEPS:
        pair.same(*words.split(), "-w", form)


def test_users_and_roles_of_quorate_look_alike(quorate_pair: Pair) -> None:
    for form in ("simple", "json"):
        for words in STEPS:
            quorate_pair.same(*words.split(), "-w", form)


def test_what_cannot_be_done_is_refused_alike(pair: Pair) -> None:
    for words in BAD:
        pair.same(*words.split())
    pair.same("role", "add", "")
    pair.same("user", "add", "")


def test_permissions_at_the_ends_of_all_keys_look_alike(either: Pair) -> None:
    either.same("role", "add", "r")
    for grant in (["", "--prefix"], ["", "--from-key"], [""], ["\udcff", "--prefix"], ["a\nb", "\udcff"], ["", "b"]):
        either.same("role", "grant-permission", "r", "read", *grant)
        for form in FORMATS[:4]:
            either.same("role", "get", "r", "-w", form)
        either.same("role", "revoke-permission", "r", *grant)
        either.same("role", "get", "r")


def test_passwords_are_asked_for_alike(pair: Pair) -> None:
    for words, typed in TYPED:
        pair.same(*words.split(), stdin=typed)
    pair.same("user", "add", "root:rp")
    pair.same("auth", "enable")
    for login in LOGINS:
        pair.same("get", "foo", "--user", login)
    pair.same("get", "foo", "--user", "p1", stdin=b"a\n")
    pair.same("get", "foo", "--user", "p1", stdin=b"\n")


def test_who_may_do_what_looks_alike_where_users_are_asked_for(either: Pair) -> None:
    either.same("user", "add", "root:rp")
    either.same("user", "add", "u:pw")
    either.same("auth", "enable")
    either.same("auth", "enable")
    for words in GUARDED:
        either.same(*words.split(), tidy=tidy)
    either.same("auth", "disable", "--user", "root:rp")
    either.same("auth", "enable")


def test_a_password_typed_at_a_terminal_is_not_shown(member: MemberProcess) -> None:
    side = Side(OURS, member.endpoint)
    child, terminal = pty.fork()
    if not child:
        argv = side.argv(["user", "add", "p"])
        os.execve(argv[0], argv, side.environ({}))
    shown = b""
    for prompt in (b"Password of p: ", b"Type password of p again for confirmation: "):
        while not shown.endswith(prompt):
            shown += _read(terminal)
        time.sleep(0.1)  # the prompt may come before the terminal has been told to hide what is typed
        os.write(terminal, b"secret\n")
    while part := _read(terminal):
        shown += part
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"User p created" in shown
    assert b"secret" not in shown


def _read(terminal: int) -> bytes:
    ready, _, _ = select.select([terminal], [], [], 30)
    assert ready
    try:
        return os.read(terminal, 1000)
    except OSError:  # the other end is closed
        return b""
