"""Rows of docs/checklist.md that no other test shows: what is said of a disk that is slow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from quorate.server.log_times import LogTimes


def test_a_sync_of_more_than_a_second_is_warned_of_and_a_quick_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    wal: Any = SimpleNamespace(bytes_written=0)
    LogTimes(wal)
    for seconds in (0.002, 0.9, 1.5):
        wal.on_sync(seconds)
    [told] = [record for record in caplog.records if record.getMessage() == "slow fdatasync"]
    assert told.levelname == "WARNING" and told.fields["took"] == "1.500000s"  # type: ignore[attr-defined]
