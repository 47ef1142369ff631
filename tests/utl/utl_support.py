"""Members that are worked with and stopped, what can be seen of them, and the tools that work on their files."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import random
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quorate.client import ops
from quorate.client.results import PermissionType
from quorate.client.sync import Client
from quorate.cmd.utl.main import run as run_utl
from quorate.testing.process import QUORATE, Command, MemberProcess, real_binary

TINY_SNAPSHOTS = ("--snapshot-count=20",)
ROOT = logging.getLogger("quorate")


class Told(NamedTuple):
    """How a tool ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what was wrong."""
        [line] = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        return line.removeprefix("Error: ")


def utl(*words: object) -> Told:
    """Run our etcdutl in this process."""
    before = list(ROOT.handlers), ROOT.level, ROOT.propagate
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_utl([str(word) for word in words])
    finally:
        ROOT.handlers[:], ROOT.propagate = before[0], before[2]
        ROOT.setLevel(before[1])
    return Told(code, out.getvalue(), err.getvalue())


def done(*words: object) -> str:
    """Run our etcdutl, which must succeed; what it prints."""
    told = utl(*words)
    assert told.code == 0, told.err
    return told.out


def real_utl(*words: object) -> Told:
    """Run real etcdutl."""
    binary = real_binary("etcdutl")
    if binary is None:
        pytest.skip("no real etcdutl here")
    ended = subprocess.run([str(binary), *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    return Told(ended.returncode, ended.stdout, ended.stderr)


def real_etcd() -> Command:
    binary = real_binary("etcd")
    if binary is None:
        pytest.skip("no real etcd here")
    return (str(binary),)


def command_of(kind: str) -> Command:
    return real_etcd() if kind == "etcd" else QUORATE


def work(client: Client, dice: random.Random, puts: int = 120) -> None:
    """Keys of all sizes, some deleted, some under leases, some compacted away; users and roles."""
    leases = [client.grant(6000 + number, 1000 + dice.randrange(10**9)).id for number in range(3)]
    for _ in range(puts):
        value = dice.randbytes(dice.choice([0, 10, 300, 5_000, 60_000]))
        client.put(b"k%03d" % dice.randrange(60), value, lease=dice.choice([0, 0, 0, *leases]))
    client.delete(b"k020", b"k030")
    client.txn().then(ops.put(b"t1", b"one"), ops.put(b"t2", b"two")).commit()
    client.compact(puts // 2, physical=True)
    client.auth.user_add("root", "pw")
    client.auth.role_add("reader")
    client.auth.role_grant("reader", PermissionType.READ, b"k", prefix=True)
    client.auth.user_add("anna", "secret")
    client.auth.user_grant_role("anna", "reader")


class Picture(NamedTuple):
    """All that a client can see of a store."""

    revision: int
    keys: list[Any]
    hash: tuple[int, int]
    leases: dict[int, tuple[int, tuple[bytes, ...]]]
    users: dict[str, list[str]]
    roles: dict[str, Any]


class Saved(NamedTuple):
    """A snapshot, and the stopped member that it was taken from."""

    path: Path
    member: MemberProcess
    picture: Picture
    members: list[Any]


def picture(client: Client) -> Picture:
    got = client.get(b"\0", b"\0")
    hashed = client.maintenance.hash_kv()
    leases = {}
    for number in client.leases():
        info = client.lease_info(number, keys=True)
        leases[number] = info.granted_ttl, tuple(sorted(info.keys))
    return Picture(
        got.header.revision,
        list(got.kvs),
        (hashed.hash, hashed.compact_revision),
        leases,
        {name: client.auth.user_roles(name) for name in client.auth.users()},
        {name: client.auth.role_permissions(name) for name in client.auth.roles()},
    )


def members_of(client: Client) -> list[tuple[int, str, list[str], bool]]:
    return [(it.id, it.name, list(it.peer_urls), it.is_learner) for it in client.cluster.members().members]


def worked(place: Path, kind: str, seed: int, *flags: str) -> tuple[MemberProcess, Picture, list[Any]]:
    """A member that has done some work and runs, and what was seen of it."""
    member = MemberProcess(place, command=command_of(kind), name="m1", flags=[*TINY_SNAPSHOTS, *flags])
    member.start()
    with Client(member.endpoint) as client:
        work(client, random.Random(seed))
        return member, picture(client), members_of(client)


def twin(member: MemberProcess, kind: str, place: Path, *flags: str) -> MemberProcess:
    """The same member on another directory, by another program."""
    return MemberProcess(
        place,
        command=command_of(kind),
        name=member.name,
        flags=[*member.flags, *flags],
        client_port=member.client_port,
        peer_port=member.peer_port,
    )


def seen(member: MemberProcess) -> tuple[Picture, list[Any]]:
    """Start a member and look at it; it still runs."""
    member.start()
    with Client(member.endpoint) as client:
        return picture(client), members_of(client)


def status(path: Path) -> dict[str, Any]:
    """What our `snapshot status` says."""
    found: dict[str, Any] = json.loads(done("snapshot", "status", path, "-w", "json"))
    return found


def names(place: Path) -> list[str]:
    """What there is below a directory."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))
