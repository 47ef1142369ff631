"""A warning before files and sockets run out."""

from __future__ import annotations

import asyncio
import os

import pytest

from quorate.embed import open_files
from quorate.embed.open_files import warn_of_open_files, watch_open_files


@pytest.mark.parametrize(("used", "warned"), [(79, False), (80, True), (100, True)])
def test_most_files_in_use_are_warned_of(used: int, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_open_files(used, 100)
    assert ("80% of file descriptors are used" in caplog.text) == warned


async def looked(looks: list[tuple[int, int]], times: int) -> None:
    async with asyncio.timeout(10):
        while len(looks) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_what_is_open_is_counted_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[tuple[int, int]] = []
    monkeypatch.setattr(open_files, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(open_files, "warn_of_open_files", lambda used, allowed: looks.append((used, allowed)))
    watching = asyncio.create_task(watch_open_files())
    await looked(looks, 2)
    more = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    await looked(looks, len(looks) + 2)
    watching.cancel()
    for descriptor in more:
        os.close(descriptor)
    assert looks[-1][0] == looks[0][0] + 5
    assert looks[0][1] >= looks[-1][0]
