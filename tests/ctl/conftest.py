"""Stock etcdctl 3.5.1 and ours, each beside a server of its own, and both are told the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.testing.process import QUORATE, Command, MemberProcess, real_binary

from ctl_pair import OURS, Pair, Side  # isort: skip


@pytest.fixture(scope="session")
def stock() -> Command:
    """What starts stock etcdctl."""
    found = real_binary("etcdctl")
    if found is None:
        pytest.skip("no real etcdctl")
    return (str(found),)


@pytest.fixture(scope="session")
def etcd() -> Command:
    """What starts real etcd."""
    found = real_binary("etcd")
    if found is None:
        pytest.skip("no real etcd")
    return (str(found),)


PEER_URL = "http://127.0.0.1:1"
"""Nobody listens there, nobody calls. Ids come from it, so that both servers have the same ones."""


def servers(folder: Path, commands: tuple[Command, Command]) -> list[MemberProcess]:
    flags = [f"--initial-advertise-peer-urls={PEER_URL}", f"--initial-cluster=m0={PEER_URL}"]
    members = [
        MemberProcess(folder / f"d{number}", command=command, flags=flags) for number, command in enumerate(commands)
    ]
    for member in members:
        member.start()
    return members


def pair_of(members: list[MemberProcess], stock: Command) -> Pair:
    return Pair(Side(stock, members[0].endpoint), Side(OURS, members[1].endpoint))


@pytest.fixture
def pair(tmp_path: Path, stock: Command, etcd: Command) -> Iterator[Pair]:
    """Both beside new servers of real etcd."""
    yield from _pair(tmp_path, stock, etcd)


@pytest.fixture
def quorate_pair(tmp_path: Path, stock: Command) -> Iterator[Pair]:
    """Both beside new members of Quorate."""
    yield from _pair(tmp_path, stock, QUORATE)


def _pair(folder: Path, stock: Command, command: Command) -> Iterator[Pair]:
    members = servers(folder, (command, command))
    try:
        yield pair_of(members, stock)
    finally:
        for member in members:
            member.stop()


@pytest.fixture(params=["real", "quorate"])
def one(request: pytest.FixtureRequest, tmp_path: Path, stock: Command, etcd: Command) -> Iterator[Pair]:
    """Both beside one new server: for commands that change nothing."""
    with MemberProcess(tmp_path / "d", command=etcd if request.param == "real" else QUORATE) as server:
        yield pair_of([server, server], stock)


@pytest.fixture
def member(tmp_path: Path) -> Iterator[MemberProcess]:
    """One Quorate member."""
    with MemberProcess(tmp_path / "d") as started:
        yield started
