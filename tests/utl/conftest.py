"""Fixtures of the tests of etcdutl: members that have worked, and files that were saved from them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from utl_support import Saved, worked

from quorate.client.sync import Client
from quorate.testing.process import MemberProcess


@pytest.fixture(scope="session")
def seed() -> int:
    seed = int(os.environ.get("QUORATE_UTL_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"replay: QUORATE_UTL_SEED={seed}")
    return seed


def _save(place: Path, kind: str, seed: int) -> Saved:
    member, looks, members = worked(place / "data", kind, seed)
    try:
        with Client(member.endpoint) as client:
            client.snapshot(place / "saved.db")
    finally:
        member.stop()
    return Saved(place / "saved.db", member, looks, members)


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Saved:
    return _save(tmp_path_factory.mktemp("ours"), "quorate", seed)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Saved:
    return _save(tmp_path_factory.mktemp("real"), "etcd", seed)


@pytest.fixture(params=["quorate", pytest.param("etcd", marks=pytest.mark.real)])
def saved(request: pytest.FixtureRequest) -> Saved:
    """From either."""
    found: Saved = request.getfixturevalue("ours" if request.param == "quorate" else "real")
    return found


@pytest.fixture
def running() -> Iterator[list[MemberProcess]]:
    """Members put in here are stopped with the test."""
    members: list[MemberProcess] = []
    yield members
    for member in members:
        member.stop()
