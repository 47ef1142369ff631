"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.auth import AuthStore, SimpleTokens
from quorate.storage import schema
from quorate.storage.backend import Backend


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Backend]:
    backend = Backend.open(tmp_path / "db", schema.BUCKETS, unsafe_no_fsync=True)
    yield backend
    backend.close()


@pytest.fixture
def auth(store: Backend) -> AuthStore:
    return AuthStore(store, SimpleTokens(300.0))
