"""The production code of transport and rafthttp, unchanged, on the simulated network."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sim_members import World, rough_run

from quorate.testing.sim.network import Network
from quorate.testing.sim.scheduler import Scheduler
from quorate.transport import mux
from quorate.transport.http1_client import HttpClient, HttpError
from quorate.transport.web import HttpRequest, HttpResponse, text_response


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The log of thousands of seconds of broken wires is long."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", [1, 2])
def test_three_members_agree_through_partitions_crashes_and_bad_clocks(seed: int) -> None:
    began = time.perf_counter()
    world = rough_run(seed, 1000, trace=False)
    took = time.perf_counter() - began
    print(f"seed {seed}: {1000 / took:.0f} simulated seconds a second")
    world.scheduler.run_until(world.settled, 60)
    world.check()
    assert len(world.members[1].applied) > 100
    world.propose()
    before = len(world.members[1].applied)
    world.scheduler.run_until(lambda: world.settled() and len(world.members[1].applied) > before, 10)
    world.close()


def test_a_leader_cut_off_one_way_is_replaced_and_catches_up() -> None:
    world = World(3)
    world.scheduler.run_until(lambda: world.leader() is not None)
    old = world.leader()
    assert old is not None
    for name in world.names:
        if name != old.loop.name:
            world.network.cut(old.loop.name, name)
    world.scheduler.run_until(lambda: world.leader() not in (None, old), 30)
    new = world.leader()
    assert new is not None
    new.loop.call_soon(new.propose, b"news")
    world.scheduler.run_until(lambda: b"news" in new.applied, 10)
    assert b"news" not in old.applied
    world.network.heal()
    world.scheduler.run_until(lambda: b"news" in old.applied, 60)
    world.check()
    world.close()


def test_members_that_stop_in_order_leave_nothing_open() -> None:
    world = World(4)
    world.scheduler.run_until(lambda: world.leader() is not None)
    for member in world.members.values():
        world.scheduler.run(member.loop, member.stop(), 10)
    world.scheduler.run_for(10)
    assert not any(world.network.host(name).ends for name in world.names)
    world.check()
    world.close()


def test_the_same_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    world = rough_run(11, 120)
    here = world.scheduler.trace.digest()
    assert len(world.scheduler.trace.lines) > 1000
    world.close()
    again = rough_run(11, 120)
    assert again.scheduler.trace.lines == world.scheduler.trace.lines
    again.close()
    other = rough_run(12, 120)
    assert other.scheduler.trace.digest() != here
    other.close()
    script = (
        "import logging, sim_members as s; logging.disable(50); print(s.rough_run(11, 120).scheduler.trace.digest())"
    )
    for hash_seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parent)}
        ran = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
        )
        assert ran.stdout.strip() == here, ran.stderr


def test_a_large_body_is_streamed_at_the_pace_of_link_and_reader() -> None:
    scheduler = Scheduler()
    network = Network(scheduler, random.Random(5))
    server, client = scheduler.member("server"), scheduler.member("client")
    network.host("server", "10.0.0.1").attach(server)
    network.host("client", "10.0.0.2").attach(client)
    network.link("client", "server").bandwidth = 1_000_000
    size, sent = 4_000_000, 0

    async def handle(request: HttpRequest) -> HttpResponse:
        assert request.chunks is not None
        await asyncio.sleep(10)
        got = 0
        async for chunk in request.chunks:
            got += len(chunk)
        return text_response(200, str(got))

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < size:
            sent += 50_000
            yield bytes(50_000)

    async def call() -> str:
        http = HttpClient(connect_timeout=1)
        try:
            reply = await http.request("POST", "http://server:80/raft/snapshot", body=body(), size=size, timeout=60)
        finally:
            await http.close()
        return reply.body.decode().strip()

    scheduler.run(server, mux.serve(("10.0.0.1", 80), None, handle, streamed=frozenset({"/raft/snapshot"})))
    task = client.create_task(call())
    scheduler.run_for(9)
    assert 1_000_000 < sent < 2_000_000
    scheduler.run_until(task.done)
    assert task.result() == str(size)
    assert 12 < scheduler.now < 16
    with pytest.raises((OSError, HttpError)):
        server.crash()
        scheduler.run(client, call())
    scheduler.close()
