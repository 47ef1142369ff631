"""Profiles of the process: what is in them, and that pprof could read it."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from quorate.etcdhttp.profiles import Profiles, handler
from quorate.etcdhttp.profiles.format import Profile
from quorate.etcdhttp.profiles.stacks import Place
from quorate.transport.web import HttpRequest, HttpResponse


async def ask(profiles: Profiles, target: str) -> HttpResponse:
    request = HttpRequest("GET", f"/debug/pprof{target}", [])
    assert profiles.knows(request.path)
    return await profiles(request)


def text_of(answer: HttpResponse) -> str:
    assert isinstance(answer.body, bytes)
    return answer.body.decode()


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a message; nothing but varints and bytes is expected."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        else:
            assert tag & 7 == 2
            size = varint()
            yield tag >> 3, data[place : place + size]
            place += size
    assert place == len(data)


def read(message: bytes) -> dict[tuple[str, ...], list[int]]:
    """Values by stack of functions, the innermost first, as pprof would see them."""
    found = list(fields(gzip.decompress(message)))
    strings = [value.decode() for number, value in found if number == 6]
    assert strings[0] == ""
    functions = {dict(fields(value))[1]: strings[dict(fields(value))[2]] for number, value in found if number == 5}
    locations = {}
    for number, value in found:
        if number == 4:
            location = dict(fields(value))
            locations[location[1]] = functions[dict(fields(location[4]))[1]]
    samples = {}
    for number, value in found:
        if number == 2:
            sample = dict(fields(value))
            stack = tuple(locations[place] for place in varints(sample[1]))
            samples[stack] = varints(sample[2])
    return samples


def varints(data: bytes) -> list[int]:
    """Packed numbers."""
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(value)
            value = shift = 0
    return numbers


def test_a_profile_is_what_pprof_reads_and_what_flame_graphs_are_made_of() -> None:
    profile = Profile([("samples", "count"), ("cpu", "nanoseconds")], 5.0, 10_000_000)
    inner, outer = Place("A.work", "/x/room/a.py", 7), Place("main", "/x/room/b.py", 300)
    profile.add("MainThread", (inner, outer), (1, 2_000_000))
    profile.add("MainThread", (inner, outer), (1, 500_000))
    profile.add("MainThread", (outer,), (1, 1))
    assert profile.text() == "MainThread;room/b.py:main 1\nMainThread;room/b.py:main;room/a.py:A.work 2500000\n"
    assert read(profile.message()) == {
        ("room/a.py:A.work", "room/b.py:main"): [2, 2_500_000],
        ("room/b.py:main",): [1, 1],
    }


async def test_a_cpu_profile_shows_who_works_and_not_who_waits() -> None:
    over = threading.Event()

    def work_hard() -> None:
        while not over.is_set():
            sum(range(1000))

    worker = threading.Thread(target=work_hard, name="worker")
    waiter = threading.Thread(target=over.wait, name="waiter")
    for thread in (worker, waiter):
        thread.start()
    try:
        text = text_of(await ask(Profiles(), "/profile?seconds=0.7&debug=1"))
        answer = await ask(Profiles(), "/profile?seconds=0.3")
    finally:
        over.set()
        worker.join()
        waiter.join()
    busy = [line for line in text.splitlines() if line.startswith("worker;")]
    assert any("work_hard" in line for line in busy)
    spent = {
        name: sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name};"))
        for name in ("worker", "waiter")
    }
    assert spent["worker"] > 20 * spent["waiter"]
    assert dict(answer.headers)["Content-Disposition"] == 'attachment; filename="profile"'
    assert isinstance(answer.body, bytes)
    assert any("work_hard" in frame for stack in read(answer.body) for frame in stack)
    assert not [thread for thread in threading.enumerate() if thread.name == "quorate-profile"]


async def test_one_profile_is_taken_at_a_time_and_one_that_is_given_up_lets_the_next_begin() -> None:
    profiles = Profiles()
    first = asyncio.create_task(ask(profiles, "/profile?seconds=60"))
    await asyncio.sleep(0)
    assert (await ask(profiles, "/heap?seconds=1")).status == 500
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await ask(profiles, "/profile?seconds=0.05")).status == 200


@pytest.mark.parametrize("seconds", ["x", "0", "-1", "nan", "inf", "601"])
async def test_a_profile_of_no_time_or_of_too_much_is_refused(seconds: str) -> None:
    assert (await ask(Profiles(), f"/profile?seconds={seconds}")).status == 400


async def test_a_heap_profile_shows_what_stays_and_keeps_no_account_afterwards() -> None:
    kept = []

    async def hold() -> None:
        while not tracemalloc.is_tracing():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        kept.append(bytearray(3_000_000))

    holding = asyncio.create_task(hold())
    text = text_of(await ask(Profiles(), "/heap?seconds=0.3&debug=1"))
    await holding
    assert not tracemalloc.is_tracing()
    largest = max(text.splitlines()[1:], key=lambda line: int(line.split()[-1]))
    assert "test_profiles.py" in largest and int(largest.split()[-1]) >= 3_000_000


async def test_threads_and_tasks_are_shown_where_they_wait() -> None:
    async def wait_for_nothing() -> None:
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait_for_nothing(), name="waiting-7")
    await asyncio.sleep(0)
    text = text_of(await ask(Profiles(), "/goroutine?debug=1"))
    task.cancel()
    assert text.startswith("goroutine profile: total ")
    assert any(line.startswith("waiting;") and "wait_for_nothing" in line for line in text.splitlines())
    assert "MainThread;" in text
    assert "MainThread 1" in text_of(await ask(Profiles(), "/threadcreate?debug=1"))


async def test_the_index_names_what_there_is_and_what_python_lacks_is_refused_with_the_reason() -> None:
    profiles = Profiles()
    for path in ("", "/"):
        index = text_of(await ask(profiles, path))
        for name in ("cmdline", "goroutine", "heap", "profile", "threadcreate"):
            assert f'href="/debug/pprof/{name}' in index
    for name in handler.ABSENT:
        answer = await ask(profiles, f"/{name}")
        assert answer.status == 404 and handler.ABSENT[name] in text_of(answer)
    assert (await ask(profiles, "/nothing")).status == 404
    assert text_of(await ask(profiles, "/symbol")) == "num_symbols: 1\n"
    assert "\0" in text_of(await ask(profiles, "/cmdline"))


async def test_the_loop_goes_on_while_a_profile_is_taken() -> None:
    taking = asyncio.create_task(ask(Profiles(), "/profile?seconds=0.3"))
    turns = 0
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 20
    assert (await taking).status == 200
