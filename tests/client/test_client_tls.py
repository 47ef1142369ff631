"""Whom a client trusts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quorate.client import EtcdError, Tls
from quorate.testing.certificates import Authority
from quorate.testing.process import MemberProcess

from client_support import connect  # isort: skip


@pytest.fixture(scope="module")
def member(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemberProcess]:
    """Its certificate has another name than its address; it asks callers for one, too."""
    own = authority.issue("named", hosts=["store.example"])
    flags = [f"--cert-file={own.cert}", f"--key-file={own.key}", f"--trusted-ca-file={authority.ca}"]
    folder = tmp_path_factory.mktemp("named") / "data"
    with MemberProcess(folder, flags=[*flags, "--unsafe-no-fsync"], client_scheme="https") as member:
        yield member


async def test_the_name_in_the_certificate_counts(kind: str, member: MemberProcess, authority: Authority) -> None:
    friend = authority.issue("friend")
    shown = {"ca": authority.ca, "cert": friend.cert, "key": friend.key}
    async with connect(kind, member.endpoint, tls=Tls(**shown, server_name="store.example")) as client:
        await client.put("k")
    async with connect(kind, member.endpoint, tls=Tls(**shown, insecure_skip_verify=True)) as client:
        await client.put("k")
    wrong = [Tls(**shown), Tls(**shown, server_name="other.example"), Tls(server_name="store.example")]
    for tls in (*wrong, Tls(ca=authority.ca, server_name="store.example")):
        async with connect(kind, member.endpoint, tls=tls, timeout=0.5) as client:
            with pytest.raises(EtcdError):
                await client.put("k")


async def test_a_scheme_decides_for_its_endpoint(kind: str, member: MemberProcess, authority: Authority) -> None:
    async with connect(kind, f"http://{member.endpoint}", timeout=0.5) as client:
        with pytest.raises(EtcdError):
            await client.put("k")
