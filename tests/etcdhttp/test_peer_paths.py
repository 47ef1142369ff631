"""What members ask each other over plain HTTP: the answers of a real member, word for word."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quorate.embed import Config, Etcd
from quorate.membership import decode_members
from quorate.testing.process import MemberProcess, free_port, real_binary

ETCD = real_binary("etcd")
TOKEN = "tok"

ASKED = [
    ("GET", "/members"),
    ("HEAD", "/members"),
    ("POST", "/members"),
    ("GET", "/members/"),
    ("GET", "/members/1"),
    ("GET", "/members/promote/1"),
    ("POST", "/members/promote/1"),
    ("POST", "/members/promote/"),
    ("POST", "/members/promote/ab"),
    ("POST", "/members/promote/-1"),
    ("POST", "/members/promote/18446744073709551615"),
    ("POST", "/members/promote/18446744073709551616"),
    ("POST", "/members/promote/OWN"),
    ("GET", "/downgrade/enabled"),
    ("POST", "/downgrade/enabled"),
    ("POST", "/version"),
    ("GET", "/nowhere"),
]
"""OWN stands for the member's own ID."""


def ask(port: int, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Etcd]:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    running = Etcd(
        Config(
            name="m",
            data_dir=str(tmp_path / "ours"),
            listen_client_urls=urls[:1],
            advertise_client_urls=urls[:1],
            listen_peer_urls=urls[1:],
            initial_advertise_peer_urls=urls[1:],
            initial_cluster=f"m={urls[1]}",
            initial_cluster_token=TOKEN,
        )
    )
    await running.start()
    yield running
    await running.stop()


def peer_port(member: Etcd) -> int:
    return int(member.config.listen_peer_urls[0].rpartition(":")[2])


async def test_the_members_are_a_json_list_with_the_cluster_beside_it(member: Etcd) -> None:
    server = member.server
    assert server is not None
    status, headers, body = await asyncio.to_thread(ask, peer_port(member), "GET", "/members")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert headers["x-etcd-cluster-id"] == f"{server.cluster_id:x}"
    assert decode_members(body) == server.cluster.members()


async def test_the_version_is_told_to_members_too(member: Etcd) -> None:
    status, _, body = await asyncio.to_thread(ask, peer_port(member), "GET", "/version")
    assert status == 200
    assert {"etcdserver", "etcdcluster"} <= json.loads(body).keys()


@pytest.mark.real
@pytest.mark.skipif(ETCD is None, reason="no real etcd here")
async def test_a_real_member_answers_alike(member: Etcd, tmp_path: Path) -> None:
    server = member.server
    assert server is not None
    theirs = MemberProcess(
        tmp_path / "theirs", command=(str(ETCD),), name="m", flags=[f"--initial-cluster-token={TOKEN}"]
    )
    with theirs:
        [other] = decode_members(ask(theirs.peer_port, "GET", "/members")[2])
        for method, path in ASKED:
            ours = await asyncio.to_thread(ask, peer_port(member), method, path.replace("OWN", str(server.member_id)))
            wanted = ask(theirs.peer_port, method, path.replace("OWN", str(other.id)))
            assert essence(*ours) == essence(*wanted), f"{method} {path}"


def essence(status: int, headers: dict[str, str], body: bytes) -> tuple[object, ...]:
    """What must be equal: IDs and ports differ between two members."""
    known = ("content-type", "allow")
    kept = {name: value for name, value in headers.items() if name in known}
    text = re.sub(r"\d{4,}", "N", body.decode())
    return status, kept, "x-etcd-cluster-id" in headers, text
