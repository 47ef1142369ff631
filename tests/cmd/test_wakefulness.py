"""Processors are kept awake while it pays, and only then. A plain file stands for the device."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quorate.cmd import wakefulness
from quorate.cmd.wakefulness import DEVICE, MANY, NO_LATENCY, Wakefulness
from quorate.testing.process import QUORATE, MemberProcess


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(wakefulness, "MOST_PROCESSORS", 1_000_000)
    file = tmp_path / "latency"
    file.touch()
    return file


def content(file: Path) -> bytes:
    return file.read_bytes()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_processors_are_held_awake_while_calls_come_quickly(device: Path) -> None:
    work: Iterator[int] = itertools.count(0, MANY)
    keeper = Wakefulness(lambda: next(work), device)
    await until(lambda: keeper.held)
    assert content(device) == NO_LATENCY
    work = itertools.repeat(next(work))
    await until(lambda: not keeper.held)
    keeper.close()


async def test_few_calls_let_them_sleep(device: Path) -> None:
    looks: list[int] = []

    def work() -> int:
        looks.append(len(looks) * (MANY - 1))
        return looks[-1]

    keeper = Wakefulness(work, device)
    await until(lambda: len(looks) > 5)
    assert not keeper.held and content(device) == b""
    keeper.close()


async def test_a_process_that_is_busy_lets_them_sleep(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = itertools.count(0, 1000)
    keeper = Wakefulness(lambda: next(work), device)
    await until(lambda: keeper.held)
    monkeypatch.setattr(wakefulness, "BUSY", 0.0)  # more than that is what this process uses, however busy others are
    await until(lambda: not keeper.held)
    keeper.close()


async def test_the_end_lets_them_sleep(device: Path) -> None:
    work = itertools.count(0, 1000)
    keeper = Wakefulness(lambda: next(work), device)
    await until(lambda: keeper.held)
    keeper.close()
    assert not keeper.held and str(device) not in _open_files(os.getpid())


async def test_a_machine_of_many_processors_and_a_device_that_is_closed_are_left_alone(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = itertools.count(0, 1000)
    for limit, path in ((0, device), (1_000_000, device.with_name("none"))):
        monkeypatch.setattr(wakefulness, "MOST_PROCESSORS", limit)
        keeper = Wakefulness(lambda: next(work), path)
        assert keeper._timer is None
        keeper.close()


@pytest.mark.skipif(not os.access(DEVICE, os.W_OK), reason="the device is not there, or not for this user")
@pytest.mark.parametrize("wanted", [True, False])
def test_a_member_holds_the_device_while_one_client_writes_unless_told_otherwise(tmp_path: Path, wanted: bool) -> None:
    from quorate.client.sync import connect

    flags = [f"--keep-processors-awake={str(wanted).lower()}"]
    with MemberProcess(tmp_path / "data", command=QUORATE, flags=flags) as member, connect(member.endpoint) as client:
        seen = False
        until_then = time.monotonic() + (20 if wanted else 1)
        while time.monotonic() < until_then and not seen:
            client.put("k", "v")
            seen = str(DEVICE) in _open_files(member.pid)
        assert seen == (wanted and (os.cpu_count() or 1) <= wakefulness.MOST_PROCESSORS)


def _open_files(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(link))
        except FileNotFoundError:
            continue
    return found
