"""How etcdctl finds and trusts a cluster: endpoints, TLS, users; and what it imports for that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.cmd.ctl.discovery import discover
from quorate.cmd.ctl.endpoints import parse
from quorate.cmd.ctl.failures import Fail
from quorate.testing.certificates import Authority
from quorate.testing.process import Command, MemberProcess, free_port

from ctl_pair import OURS, Pair, Side  # isort: skip

pytestmark = pytest.mark.real


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[MemberProcess, Authority]]:
    """A member that takes only clients with certificates."""
    authority = Authority(tmp_path)
    own = authority.issue("server", hosts=["127.0.0.1", "localhost"])
    authority.issue("client")
    flags = [
        "--client-cert-auth",
        f"--trusted-ca-file={authority.ca}",
        f"--cert-file={own.cert}",
        f"--key-file={own.key}",
    ]
    with MemberProcess(tmp_path / "d", flags=flags, client_scheme="https") as member:
        yield member, authority


def test_both_speak_tls_and_fail_alike(secure: tuple[MemberProcess, Authority], stock: Command, tmp_path: Path) -> None:
    member, authority = secure
    pair = Pair(Side(stock, member.endpoint), Side(OURS, member.endpoint))
    files = [
        "--cacert",
        str(authority.ca),
        "--cert",
        str(tmp_path / "client.pem"),
        "--key",
        str(tmp_path / "client-key.pem"),
    ]
    pair.same("put", "a", "1", *files)
    pair.same("get", "a", "-w", "json", *files)
    pair.same("get", "a", "--endpoints", f"https://{member.endpoint}", *files)
    pair.same("get", "a", "--command-timeout", "1s", "--cacert", str(authority.ca))
    pair.same("get", "a", "--command-timeout", "1s")
    pair.same("get", "a", *files[:2], "--cert", "/nowhere", *files[4:])
    pair.same("get", "a", *files[:4])


def test_users_log_in_alike(pair: Pair) -> None:
    for side in (pair.stock, pair.ours):
        for words in ("user add root:pw", "user grant-role root root", "auth enable"):
            Side(pair.stock.command, side.endpoint).run(words.split())
    pair.same("put", "a", "1", "--user", "root:pw")
    pair.same("get", "a", "--user", "root", "--password", "pw")
    pair.same("get", "a", "--user", "root", stdin=b"pw\n")
    pair.same("get", "a", "--user", "root:bad")
    pair.same("get", "a", "--user", "nobody:pw")
    pair.same("get", "a")
    pair.same("get", "a", env={"ETCDCTL_USER": "root:pw"})
    pair.same("get", "a", env={"ETCDCTL_USER": "root", "ETCDCTL_PASSWORD": "pw"})


def test_the_next_endpoint_is_asked_when_one_is_away(pair: Pair) -> None:
    pair.same("put", "a", "1")
    away = f"127.0.0.1:{free_port()}"
    for side in (pair.stock, pair.ours):
        for endpoints in (f"{away},{side.endpoint}", f"{side.endpoint},{away}", f"http://{side.endpoint}"):
            assert side.run(["get", "a", "--endpoints", endpoints]).out == b"a\n1\n"
            assert side.run(["put", "a", "1", "--endpoints", endpoints]).out == b"OK\n"


def test_nobody_there_is_told_alike_when_the_time_is_up(pair: Pair) -> None:
    away = f"127.0.0.1:{free_port()}"
    pair.same("get", "a", "--endpoints", away, "--command-timeout", "300ms")
    pair.same("put", "a", "1", "--endpoints", away, "--command-timeout", "300ms")
    pair.same("get", "a", "--endpoints", "", "--command-timeout", "300ms")


def test_a_unix_socket_is_an_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "socket:0"
    flags = [f"--listen-client-urls=http://127.0.0.1:{free_port()},unix://{path}"]
    with MemberProcess(tmp_path / "d", flags=flags):
        side = Side(OURS, f"unix://{path}")
        assert side.run(["put", "a", "1"]).out == b"OK\n"
        assert side.run(["get", "a"]).out == b"a\n1\n"


@pytest.mark.parametrize(
    ("text", "encrypted", "found"),
    [
        ("127.0.0.1:2379", False, ("127.0.0.1", 2379, False)),
        ("127.0.0.1:2379", True, ("127.0.0.1", 2379, True)),
        ("http://h:1", True, ("h", 1, False)),
        ("https://h:1/", False, ("h", 1, True)),
        ("[::1]:2379", False, ("::1", 2379, False)),
        ("unix:///a/b", False, ("/a/b", 0, False)),
        ("unixs:///a/b", False, ("/a/b", 0, True)),
    ],
)
def test_endpoints_are_read_as_people_write_them(text: str, encrypted: bool, found: tuple[str, int, bool]) -> None:
    assert parse(text, encrypted) == found


def test_endpoints_come_from_dns() -> None:
    records = {
        "_etcd-client-ssl._tcp.d": [("a", 1)],
        "_etcd-client._tcp.d": [("b", 2)],
        "_etcd-client-n._tcp.d": [("c", 3)],
    }

    def lookup(name: str) -> list[tuple[str, int]]:
        if name not in records:
            raise LookupError("no such host")
        return records[name]

    assert discover("d", "", True, lookup) == ["https://a:1", "http://b:2"]
    assert discover("d", "", False, lookup) == ["https://a:1"]
    assert discover("d", "n", True, lookup) == ["http://c:3"]
    with pytest.raises(Fail, match=r"dns lookup errors: lookup _etcd-client-ssl\._tcp\.x: no such host and lookup"):
        discover("x", "", True, lookup)


def test_get_imports_nothing_heavy(member: MemberProcess) -> None:
    heavy = {"asyncio", "google.protobuf", "argparse", "dataclasses", "inspect", "logging", "ssl", "json", "subprocess"}
    code = (
        "import os, sys; from quorate.cmd.ctl.main import execute;"
        f"code = execute(['--endpoints', '{member.endpoint}', 'get', 'a'], os.environ);"
        f"print(code, sorted({heavy} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"0 []\n"
