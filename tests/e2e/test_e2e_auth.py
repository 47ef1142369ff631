"""Auth beside real etcd: every call by everybody is allowed or refused alike, with the same words."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e_allowed import level
from e2e_auth import (
    DELETES,
    LEASE_A,
    LEASE_B,
    LEASE_NONE,
    READ,
    Step,
    alarmed,
    ask,
    identities,
    may_read,
    permission,
    request,
    setup,
    table,
)
from e2e_ctl import Ctl, difference
from e2e_rpc import Answer, Client

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import Command, MemberProcess, real_binary

pytestmark = pytest.mark.real

CHEAP = ("--bcrypt-cost=4",)

EMPTY = (3, "etcdserver: user name is empty")
DENIED = (7, "etcdserver: permission denied")
INVALID = (16, "etcdserver: invalid auth token")
STRANGERS = {"nobody": EMPTY, "forged": INVALID, "garbled": INVALID}
ADMINS = ("root", "admin")

Start = Callable[..., MemberProcess]


@pytest.fixture
def pair(start_member: Start, real_command: Command) -> Iterator[list[Client]]:
    """Real etcd, and the member under test."""
    members = [start_member(real_command, flags=CHEAP, run=False), start_member(flags=CHEAP, run=False)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda member: member.start(), members))
    clients = [Client(member.endpoint) for member in members]
    yield clients
    for client in clients:
        client.close()


ADMIN_NOW = {"Compact", "Hash", "HashKV", "Defragment", "MoveLeader", "Downgrade"}
"""Any user could do it in 3.5.1, or got another text; releases of 2026 want role root."""
SOMEBODY_NOW = {"LeaseTimeToLive", "LeaseLeases", "LeaseRevoke", "MemberList", "Status", "Alarm"}
"""3.5.1 answered strangers."""


def newest(who: str, step: Step, real: Answer) -> tuple[int, str] | None:
    """The code and text that 3.5.1 did not give and the newest release gives; None where they agree."""
    name, asked = step
    if name in ADMIN_NOW or (name == "Alarm" and asked.action):
        return None if who in ADMINS else STRANGERS.get(who, DENIED)
    if name in SOMEBODY_NOW and who in STRANGERS:
        return STRANGERS[who]
    if name == "AuthStatus" and real.code in (EMPTY[0], DENIED[0]):
        return (0, "")
    return None


def keys_denied(who: str, step: Step, real: Client, root: Any) -> bool:
    """Whether `who` may not read a key of the lease that is asked for, or of any when all are: 3.5.1 does not look."""
    name, asked = step
    if who in ADMINS or (name != "LeaseLeases" and not (name == "LeaseTimeToLive" and asked.keys)):
        return False
    leases = (LEASE_A, LEASE_B, LEASE_NONE) if name == "LeaseLeases" else (asked.ID,)
    asks = [("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease, keys=True)) for lease in leases]
    keys = [key for one in asks for key in ask(real, one, root).message.keys]
    return not all(may_read(who, key) for key in keys)


def test_everybody_is_allowed_and_refused_what_real_etcd_allows_and_refuses(
    pair: list[Client], subject_is_real: bool
) -> None:
    for step in setup():
        answers = [ask(client, step) for client in pair]
        assert _plain(step, answers[0]) == _plain(step, answers[1]), step
        assert answers[0].ok, (step, answers)
    callers = [identities(client) for client in pair]
    newer = 0
    for who in callers[0]:
        for step in table():
            real, subject = (ask(client, step, known[who]) for client, known in zip(pair, callers, strict=True))
            wanted = None if subject_is_real else newest(who, step, real)
            if not subject_is_real and wanted is None and keys_denied(who, step, pair[0], callers[0]["root"]):
                wanted = DENIED
            if wanted is None:
                assert _plain(step, subject) == _plain(step, real), f"{who}: {step}"
            else:
                newer += 1
                assert (subject.code, subject.text) == wanted, f"{who}: {step}"
    assert subject_is_real or newer > 50
    _check_alarms(pair, callers, subject_is_real)


def _check_alarms(pair: list[Client], callers: list[dict[str, Any]], subject_is_real: bool) -> None:
    """An alarm refuses before the caller's rights do, and takes none of them away. (In 3.5.1 it does: while one is on,
    nobody's rights are looked at where an entry is applied.)"""
    for alarm in (pb.NOSPACE, pb.CORRUPT):
        on = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, alarm=alarm, memberID=1)
        for client, known in zip(pair, callers, strict=True):
            assert ask(client, ("Alarm", on), known["root"]).ok
        for who in callers[0]:
            for step in alarmed(alarm):
                real, subject = (ask(client, step, known[who]) for client, known in zip(pair, callers, strict=True))
                assert _plain(step, subject) == _plain(step, real), f"{who}, alarm {alarm}: {step}"
            if alarm == pb.NOSPACE and not subject_is_real and who not in (*ADMINS, "parts"):
                for step in (*DELETES, request("RoleList")):
                    refused = ask(pair[1], step, callers[1][who])
                    assert (refused.code, refused.text) == STRANGERS.get(who, DENIED)


def _plain(step: Step, answer: Answer) -> Any:
    if not answer.ok:
        return answer.code, answer.text
    if step[0] in ("Hash", "HashKV", "Status", "MemberList"):
        return "OK"
    plain = type(answer.message)()
    plain.CopyFrom(answer.message)
    for name in ("cluster_id", "member_id", "raft_term"):
        if plain.DESCRIPTOR.fields_by_name.get("header") is not None:
            setattr(plain.header, name, 0)
    level(step[0], step[1], plain)
    if step[0] == "LeaseTimeToLive":
        plain.TTL = int(plain.TTL > 0)  # the sides are asked one after the other
    return plain


ROOT = request("UserAdd", name="root", password="r")
MANAGEMENT: list[Step] = [
    request("AuthStatus"),
    request("AuthDisable"),
    request("AuthEnable"),
    request("Authenticate", name="root", password="r"),
    ROOT,
    ROOT,
    request("AuthEnable"),
    request("UserAdd", name="", password="x"),
    request("UserAdd", name="u", password=""),
    request("UserAdd", name="n", options={"no_password": True}),
    request("UserAdd", name="ключ", password="x", hashedPassword="none of the client's business"),
    request("UserGrantRole", user="u", role="missing"),
    request("UserGrantRole", user="missing", role="root"),
    request("UserGrantRole", user="root", role="root"),
    request("UserGrantRole", user="root", role="root"),
    request("AuthStatus"),
    request("RoleAdd", name=""),
    *(request("RoleAdd", name=name) for name in ("z", "r", "r", "a")),
    request("RoleList"),
    request("UserList"),
    request("RoleGrantPermission", name="r"),
    request("RoleGrantPermission", name="missing", perm=permission(READ, b"k")),
    *(
        request("RoleGrantPermission", name="r", perm=permission(kind, key, end))
        for kind, key, end in ((0, b"k", b"m"), (1, b"a", b"\0"), (2, b"k", b""), (0, b"k", b"z"), (2, b"a", b"\0"))
    ),
    request("RoleGet", role="r"),
    request("AuthStatus"),
    request("RoleRevokePermission", role="missing", key=b"k"),
    request("RoleRevokePermission", role="r", key=b"k", range_end=b"x"),
    request("RoleRevokePermission", role="r", key=b"k", range_end=b"m"),
    request("RoleGet", role="r"),
    *(request("UserGrantRole", user="u", role=role) for role in ("z", "a", "r", "a")),
    request("UserGet", name="u"),
    request("UserGet", name="missing"),
    request("RoleDelete", role="a"),
    request("UserGet", name="u"),
    request("UserRevokeRole", name="u", role="a"),
    request("UserRevokeRole", name="u", role="z"),
    request("UserRevokeRole", name="missing", role="z"),
    request("UserChangePassword", name="missing", password="x"),
    request("UserChangePassword", name="n", password="x"),
    request("UserChangePassword", name="u", password=""),
    request("AuthEnable"),
    request("AuthEnable"),
    request("Authenticate", name="missing", password="x"),
    request("Authenticate", name="root", password="wrong"),
    request("Authenticate", name="root", password=""),
    request("Authenticate", name="n", password="x"),
    request("Authenticate", name="u", password=""),
    request("AuthEnable"),
]
AS_ROOT: list[Step] = [
    request("UserDelete", name="root"),
    request("UserRevokeRole", name="root", role="root"),
    request("RoleDelete", role="root"),
    request("RoleAdd", name="root"),
    request("RoleDelete", role="root"),
    request("UserDelete", name="u"),
    request("UserDelete", name="u"),
    request("AuthDisable"),
]
AFTER: list[Step] = [
    request("AuthStatus"),
    request("AuthDisable"),
    request("UserDelete", name="root"),
    request("AuthEnable"),
    request("UserAdd", name="root", password="r"),
    request("AuthEnable"),
    request("AuthStatus"),
]


def test_users_and_roles_are_managed_as_by_real_etcd(pair: list[Client]) -> None:
    for step in MANAGEMENT:
        assert _plain(step, ask(pair[1], step)) == _plain(step, ask(pair[0], step)), step
    tokens = [ask(client, request("Authenticate", name="root", password="r")).message.token for client in pair]
    assert all(re.fullmatch(r"[a-zA-Z]{16}\.[1-9]\d*", token) for token in tokens), tokens
    for step in AS_ROOT:
        real, subject = (
            ask(client, step, [("authorization", token)]) for client, token in zip(pair, tokens, strict=True)
        )
        assert _plain(step, subject) == _plain(step, real), step
    for step in AFTER:
        assert _plain(step, ask(pair[1], step)) == _plain(step, ask(pair[0], step)), step


def auth_story(ctl: Ctl) -> None:
    """What an operator does with etcdctl, from nothing to auth and back."""
    ctl.run("auth", "status")
    ctl.run("user", "add", "root:rootpw")
    ctl.run("user", "add", "root:rootpw")
    ctl.run("auth", "enable")
    as_root = ("--user", "root:rootpw")
    ctl.run("user", "add", "alice", "--interactive=false", *as_root, stdin="alicepw\n")
    ctl.run("user", "add", "bob", "--no-password", *as_root)
    ctl.run("role", "add", "r", *as_root)
    ctl.run("role", "grant-permission", "r", "readwrite", "a", "b", *as_root)
    ctl.run("role", "grant-permission", "r", "read", "foo", *as_root)
    ctl.run("role", "grant-permission", "r", "write", "p/", "--prefix", *as_root)
    ctl.run("role", "grant-permission", "r", "read", "x", "--from-key", *as_root)
    ctl.run("role", "get", "r", *as_root)
    ctl.run("role", "get", "r", "-w", "json", *as_root)
    ctl.run("user", "grant-role", "alice", "r", *as_root)
    ctl.run("user", "get", "alice", *as_root)
    ctl.run("user", "get", "alice", "--detail", *as_root)
    ctl.run("user", "list", *as_root)
    ctl.run("role", "list", "-w", "json", *as_root)
    ctl.run("auth", "status", "-w", "json", *as_root)
    as_alice = ("--user", "alice:alicepw")
    ctl.run("put", "a1", "1", *as_alice)
    ctl.run("put", "p/1", "1", *as_alice)
    ctl.run("get", "p/1", *as_alice)
    ctl.run("get", "a", "b", *as_alice)
    ctl.run("get", "a", "c", *as_alice)
    ctl.run("get", "foo", *as_alice)
    ctl.run("get", "", "--prefix", *as_alice)
    ctl.run("get", "x", "--from-key", *as_alice)
    ctl.run("del", "a1", "--prev-kv", *as_alice)
    ctl.run("txn", *as_alice, stdin='value("foo") = "1"\n\nput a2 x\n\nput z y\n\n')
    ctl.run("user", "get", "alice", *as_alice)
    ctl.run("user", "list", *as_alice)
    ctl.run("role", "get", "r", *as_alice)
    ctl.run("get", "a1")
    ctl.run("get", "a1", "--user", "alice:wrong")
    ctl.run("get", "a1", "--user", "bob:x")
    ctl.run("get", "a1", "--user", "nobody:x")
    ctl.run("user", "passwd", "alice", "--interactive=false", *as_root, stdin="new\n")
    ctl.run("get", "a1", *as_alice)
    ctl.run("get", "a1", "--user", "alice", "--password", "new")
    ctl.run("role", "revoke-permission", "r", "a", "b", *as_root)
    ctl.run("role", "revoke-permission", "r", "a", "b", *as_root)
    ctl.run("get", "a1", "--user", "alice:new")
    ctl.run("user", "revoke-role", "alice", "r", *as_root)
    ctl.run("user", "revoke-role", "alice", "r", *as_root)
    ctl.run("role", "delete", "r", *as_root)
    ctl.run("user", "delete", "alice", *as_root)
    ctl.run("user", "delete", "root", *as_root)
    ctl.run("auth", "disable", *as_root)
    ctl.run("auth", "disable")
    ctl.run("auth", "status", "-w", "fields")
    ctl.run("get", "a1")


def test_etcdctl_sees_no_difference(start_member: Start, real_command: Command, etcdctl: Path) -> None:
    members = [start_member(real_command, flags=CHEAP, run=False), start_member(flags=CHEAP, run=False)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda member: member.start(), members))
        ctls = list(pool.map(lambda member: Ctl(etcdctl, member), members))
        list(pool.map(auth_story, ctls))
    found = difference(ctls[0].steps, ctls[1].steps)
    assert not found, found


def test_real_etcd_goes_on_with_the_users_of_a_snapshot(
    start_member: Start, real_command: Command, etcdctl: Path, tmp_path: Path
) -> None:
    subject = start_member(flags=CHEAP)
    with Client(subject.endpoint) as client:
        for step in setup():
            assert ask(client, step).ok, step
    saved, restored = tmp_path / "saved.db", tmp_path / "restored"
    environment = {**os.environ, "ETCDCTL_ENDPOINTS": subject.endpoint, "ETCDCTL_USER": "root:pw-root"}
    subprocess.run([etcdctl, "snapshot", "save", saved], env=environment, check=True, capture_output=True)
    utl = real_binary("etcdutl")
    assert utl is not None
    peer = "http://127.0.0.1:1"
    own = [f"--initial-cluster=m0={peer}", f"--initial-advertise-peer-urls={peer}", "--name=m0"]
    subprocess.run([utl, "snapshot", "restore", saved, "--data-dir", restored, *own], check=True, capture_output=True)
    real = start_member(real_command, flags=(f"--data-dir={restored}",))
    with Client(real.endpoint) as client:
        callers = identities(client)
        put = "Put", pb.PutRequest(key=b"a3")
        assert ask(client, put).code == EMPTY[0]
        assert ask(client, put, callers["owner"]).ok
        assert ask(client, put, callers["reader"]).code == DENIED[0]


SECRET = b"a secret of both members, long enough for HS256"


def test_a_signed_token_of_either_is_good_at_the_other(
    start_member: Start, real_command: Command, tmp_path: Path, subject_is_real: bool
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    flags = (*CHEAP, f"--auth-token=jwt,sign-method=HS256,priv-key={tmp_path}/secret,ttl=1m")
    members = [start_member(real_command, flags=flags, run=False), start_member(flags=flags, run=False)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda member: member.start(), members))
    clients = [Client(member.endpoint) for member in members]
    for step in setup():
        assert all(ask(client, step).ok for client in clients), step
    callers = [identities(client) for client in clients]
    get = "Range", pb.RangeRequest(key=b"a1")
    for client in clients:
        for known in callers:
            assert ask(client, get, known["owner"]).ok
            assert ask(client, get, known["single"]).code == DENIED[0]
    for client in clients:
        assert ask(client, request("RoleAdd", name="one more"), callers[0]["root"]).ok
    stale = [ask(client, get, callers[0]["owner"]) for client in clients]
    old = "auth: revision in header is old"
    newer = old if subject_is_real else "etcdserver: revision of auth store is old"
    assert [answer.text for answer in stale] == [old, newer]
    for client in clients:
        client.close()
