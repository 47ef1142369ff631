"""What the sync twin owes to programs with threads: one thread of its own, Ctrl-C, fork, the end of the process."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest

import quorate.client
import quorate.client.sync
from quorate.client.sync import Client, Closed, portal
from quorate.client.sync.base import Twin
from quorate.client.sync.portal import Portal, current
from quorate.testing.certificates import Authority

from client_support import Server, serving  # isort: skip

CYCLES = int(os.environ.get("QUORATE_CLIENT_CYCLES", "200"))
SECONDS = 10.0
THREAD = "quorate-client-sync"


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(("quorate", "tcp"), authority, tmp_path_factory) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with quorate.client.sync.connect(server.member.endpoint) as client:
        client.delete("", prefix=True)
        yield client


def tasks() -> int:
    """Those of the portal, apart from the one that counts."""
    return int(current().call(lambda: len(asyncio.all_tasks()))) - 1


def until(holds: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run(server: Server, script: str) -> str:
    """What a program prints; it must end in time, with status 0 and no complaint."""
    begin = f"import quorate.client.sync as q\nserver = {server.member.endpoint!r}\n"
    done = subprocess.run([sys.executable, "-c", begin + script], capture_output=True, text=True, timeout=30.0)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_twin_has_the_names_of_the_asyncio_client(client: Client) -> None:
    assert set(quorate.client.sync.__all__) == set(quorate.client.__all__)
    session, watch = client.session(), client.watch("k")
    parts: list[Twin[Any]] = [client, client.auth, client.cluster, client.maintenance, client.txn()]
    for twin in (*parts, session, session.lost, watch, client.grant(60)):
        form = twin._inner
        public = {name for name in dir(form) if name[0] != "_"}
        assert public == {name for name in dir(twin) if name[0] != "_"}
        for name in public:
            ours, theirs = getattr(twin, name), getattr(form, name)
            if inspect.ismethod(theirs):
                assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters
                assert (ours.__doc__ is None) == (theirs.__doc__ is None)
                assert "await" not in (ours.__doc__ or "")


def test_twins_of_one_object_are_equal(client: Client) -> None:
    session = client.session()
    assert client.auth == client.auth and hash(session.lost) == hash(session.lost)
    assert client.session() != session and client.txn().when() != client.txn()
    txn = client.txn()
    assert txn.then() is txn


def test_fifty_watchers_of_five_clients_have_one_thread(server: Server, client: Client) -> None:
    client.put("k", "0")
    before = threading.active_count()
    clients = [quorate.client.sync.connect(server.member.endpoint) for _ in range(5)]
    watches = [each.watch("k") for each in clients for _ in range(10)]
    for watch in watches:
        watch.__enter__()
    assert [thread.name for thread in threading.enumerate()].count(THREAD) == 1
    assert threading.active_count() == before
    client.put("k", "1")
    for watch in watches:
        event = watch.next(SECONDS)
        assert event is not None and event.value == b"1"
    for each in clients:
        each.close()


def test_many_threads_share_a_client(client: Client) -> None:
    def work(n: int) -> bytes | None:
        client.put(f"k{n}", str(n))
        return client.get(f"k{n}").value

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(work, range(400))) == [str(n).encode() for n in range(400)]


def test_a_watch_that_another_thread_closes_ends(client: Client) -> None:
    seen: list[bytes] = []
    with client.watch("k") as watch:
        thread = threading.Thread(target=lambda: seen.extend(event.value for event in watch))
        thread.start()
        client.put("k", "1")
        until(lambda: seen == [b"1"])
        watch.close()
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_a_client_that_another_thread_closes_raises_closed(client: Client) -> None:
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            next(watch)
        except BaseException as error:
            caught.append(error)

    with client.watch("k") as watch:
        thread = threading.Thread(target=wait)
        thread.start()
        client.close()
        thread.join(SECONDS)
    assert [type(error) for error in caught] == [Closed]


def test_the_portals_thread_cannot_wait_for_itself(client: Client) -> None:
    with pytest.raises(RuntimeError, match="wait for itself"):
        current().call(client.get, "k")
    assert client.get("k").count == 0


async def test_a_call_in_a_coroutine_holds_its_loop_up_and_works(client: Client) -> None:
    assert client.put("k").header.revision > 0


def test_ctrl_c_ends_the_call_and_not_the_client(client: Client) -> None:
    with client.watch("k") as watch:
        before = tasks()
        for wait in (watch.next, lambda: next(watch), client.session().lost.wait):
            timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                wait()
            timer.join()
            assert tasks() == before
        client.put("k", "1")
        event = watch.next(SECONDS)
        assert event is not None and event.value == b"1"


def test_an_iterator_that_is_dropped_half_way_is_closed_on_the_loop() -> None:
    closed: SimpleQueue[str] = SimpleQueue()

    async def numbers() -> AsyncIterator[int]:
        try:
            for n in range(100):
                yield n
        finally:
            await asyncio.sleep(0)
            closed.put(threading.current_thread().name)

    items = current().iterate(numbers())
    assert [next(items), next(items)] == [0, 1]
    del items
    assert closed.get(timeout=SECONDS) == THREAD
    assert list(current().iterate(numbers())) == list(range(100))


def test_cycles_leave_no_thread_task_or_descriptor(server: Server, client: Client) -> None:
    def cycle(n: int) -> None:
        with quorate.client.sync.connect(server.member.endpoint) as one, one.watch("k") as watch:
            one.put("k", str(n))
            event = watch.next(SECONDS)
            assert event is not None and event.value == str(n).encode()

    def left() -> tuple[int, int, int]:
        return threading.active_count(), tasks(), len(os.listdir("/proc/self/fd"))

    for n in range(5):
        cycle(n)
    before = left()
    for n in range(CYCLES):
        cycle(n)
    until(lambda: left() <= before)
    assert not portal._unwaited


def test_a_program_ends_though_nothing_was_closed(server: Server) -> None:
    script = """
import threading, time
c = q.connect(server)
watch = c.watch("k").__enter__()
session = c.session(10)
session.open()
items = c.scan("", prefix=True)
waiting = threading.Thread(target=watch.next, daemon=True)
waiting.start()
c.put("k", lease=session.lease)
print("done")
"""
    since = time.monotonic()
    assert run(server, script) == "done\n"
    assert time.monotonic() - since < SECONDS


def test_what_is_closed_at_the_end_of_the_process_still_finds_the_portal(server: Server) -> None:
    assert run(server, "import atexit\nc = q.connect(server)\nc.put('k')\natexit.register(c.close)") == ""


def test_a_program_that_never_calls_has_no_thread(server: Server) -> None:
    script = "import threading\nc = q.connect(server)\nc.txn().when()\nc.watch('k')\nprint(threading.active_count())"
    assert run(server, script) == "1\n"


def test_a_child_has_a_thread_of_its_own_and_leaves_its_parents_alone(server: Server) -> None:
    script = """
import gc, os, sys
unused = q.connect(server)
early = os.fork()
if not early:  # the thread does not run yet: what was made before is as good as new
    unused.put("early", str(os.getpid()))
    os._exit(0)
assert os.waitpid(early, 0)[1] == 0
c = q.connect(server)
c.delete("forked")
watch = c.watch("forked").__enter__()
child = os.fork()
if not child:
    try:
        c.get("k")
    except RuntimeError as error:
        assert "fork" in str(error), error
        with q.connect(server) as mine:
            mine.put("forked", "child")
            assert mine.get("forked").value == b"child"
        del c, watch, unused
        gc.collect()
        sys.exit(0)
    os._exit(3)
assert os.waitpid(child, 0)[1] == 0
print(watch.next(5.0).value, c.get("forked").value)
c.put("forked", "parent")
print(watch.next(5.0).value)
c.close()
"""
    assert run(server, script) == "b'child' b'child'\nb'parent'\n"


def test_a_portal_that_has_stopped_says_closed() -> None:
    one = Portal()
    assert one.call(lambda: 1) == 1
    one.stop()
    one.stop()
    with pytest.raises(Closed):
        one.call(lambda: 1)
