"""Members for programs without an event loop."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest
from embed_support import channel_to, get, held, put

from quorate import embed


def test_a_program_without_a_loop_uses_a_member(tmp_path: Path) -> None:
    before = held()
    with embed.start(data_dir=tmp_path) as etcd:
        assert etcd.endpoints and etcd.client_urls == [f"http://{etcd.endpoints[0]}"]

        async def work() -> bytes | None:
            channel = etcd.etcd.channel()
            await put(channel, b"k", b"v")
            value = await get(channel, b"k")
            await channel.close()
            return value

        assert etcd.run(work()) == b"v"

        async def from_outside() -> bytes | None:
            channel = channel_to(etcd.endpoints[0])
            value = await get(channel, b"k")
            await channel.close()
            return value

        assert asyncio.run(from_outside()) == b"v"
        loop = etcd.loop
    etcd.stop()
    assert not held() - before and loop.is_closed()
    with pytest.raises(RuntimeError, match="has stopped"):
        etcd.run(work())


def test_errors_at_start_are_raised_in_the_caller_and_leave_no_thread(tmp_path: Path) -> None:
    before = held()
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match=r"(?i)not a directory"):
        embed.start(data_dir=tmp_path / "file")
    with pytest.raises(embed.ConfigError):
        embed.start(data_dir=tmp_path, heartbeat_interval=0)
    with pytest.raises(embed.ConfigError):
        embed.start(data_dir=tmp_path, in_memory=True)
    assert not held() - before


def test_a_member_is_killed_and_started_again_on_its_data(tmp_path: Path) -> None:
    with embed.start(data_dir=tmp_path, listen=False) as etcd:
        channel = etcd.etcd.channel()
        etcd.run(put(channel, b"k", b"v"))
        etcd.kill()
        etcd.start()
        channel = etcd.etcd.channel()
        assert etcd.run(get(channel, b"k")) == b"v"
        etcd.run(channel.close())


def test_a_call_that_takes_too_long_is_cancelled() -> None:
    with embed.start(in_memory=True, listen=False) as etcd:
        cancelled = threading.Event()

        async def hang() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        with pytest.raises(TimeoutError):
            etcd.run(hang(), timeout=0.05)
        assert cancelled.wait(5)


def test_a_call_on_the_loop_itself_is_refused_rather_than_stuck() -> None:
    with embed.start(in_memory=True, listen=False) as etcd:

        async def call() -> None:
            etcd.run(asyncio.sleep(0))

        with pytest.raises(RuntimeError, match="own event loop"):
            etcd.run(call(), timeout=5)


def test_members_of_two_threads_do_not_disturb_each_other() -> None:
    with embed.start(in_memory=True) as one, embed.start(in_memory=True) as other:
        channels = one.etcd.channel(), other.etcd.channel()
        for running, channel in zip((one, other), channels, strict=True):
            assert running.run(put(channel, b"k", running.endpoints[0].encode())) == 2
        one.stop()
        assert other.run(get(channels[1], b"k")) == other.endpoints[0].encode()


def test_settings_of_the_process_stay_as_they_were() -> None:
    import gc
    import signal

    def seen() -> tuple[object, ...]:
        kept = logging.getLogger("quorate")
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        return gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), signals, kept.level, list(kept.handlers)

    before = seen()
    with embed.start(in_memory=True):
        assert seen() == before
    assert seen() == before


def test_nothing_is_left_after_fifty_members() -> None:
    with embed.start(in_memory=True):
        pass
    before = held()
    for number in range(50):
        with embed.start(in_memory=True, listen=bool(number % 2)) as etcd:
            etcd.run(put(etcd.etcd.channel(), b"k", b"v"))
    assert not held() - before


async def test_nothing_is_left_on_the_loop_after_fifty_members(tmp_path: Path) -> None:
    async def cycle(number: int) -> None:
        kind = {"in_memory": True} if number % 3 else {"data_dir": tmp_path / str(number)}
        async with embed.Etcd(listen=bool(number % 2), unsafe_no_fsync=True, **kind) as etcd:  # type: ignore[arg-type]
            channel = etcd.channel()
            await put(channel, b"k", b"v")
            if number % 4:
                await channel.close()
            if number % 5 == 0:
                await etcd.abort()

    await cycle(0)
    before, tasks = held(), asyncio.all_tasks()
    for number in range(50):
        await cycle(number)
    await asyncio.sleep(0.01)
    assert not held() - before and asyncio.all_tasks() == tasks
