"""The simulated network: what TCP promises, and every way in which it fails."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from collections.abc import Iterator

import pytest

from quorate.testing.sim.disk import Crashed
from quorate.testing.sim.loop import MemberLoop
from quorate.testing.sim.network import Network
from quorate.testing.sim.scheduler import Scheduler
from quorate.testing.sim.tcp import GIVE_UP, HIGH_WATER, KEEPALIVE, WINDOW, End
from quorate.testing.sim.trace import Trace
from quorate.transport.sockets import KEEPALIVE_IDLE

FAST = (0.001, 0.001)


class Talk(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.transport: End
        self.data = b""
        self.events: list[str] = []
        self.lost: Exception | None = None
        self.keep_half_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.keep_half_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.lost = exc

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


class Pair:
    """Two machines, a listener on the second, and what is connected to it."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(Trace())
        self.network = Network(self.scheduler, random.Random(1))
        self.a = self.boot("a", "10.0.0.1")
        self.b = self.boot("b", "10.0.0.2")
        for one, other in (("a", "b"), ("b", "a")):
            self.network.link(one, other).latency = FAST
        self.served: list[Talk] = []
        self.listen()

    def boot(self, name: str, address: str | None = None) -> MemberLoop:
        loop = self.scheduler.member(name)
        self.network.host(name, address).attach(loop)
        return loop

    def listen(self) -> None:
        self.server = self.scheduler.run(self.b, self.b.create_server(self.accept, "10.0.0.2", 80))

    def accept(self) -> Talk:
        self.served.append(Talk())
        return self.served[-1]

    def connect(self) -> tuple[Talk, Talk]:
        """Both ends of a new connection."""
        _, near = self.scheduler.run(self.a, self.a.create_connection(Talk, "10.0.0.2", 80))
        self.run(0.01)
        return near, self.served[-1]

    def run(self, seconds: float) -> None:
        self.scheduler.run_for(seconds)

    def say(self, talk: Talk, data: bytes) -> None:
        talk.transport.loop.call_soon(talk.transport.write, data)


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    assert pair.scheduler.errors == []
    pair.scheduler.close()


def test_bytes_go_both_ways_in_order(pair: Pair) -> None:
    near, far = pair.connect()
    for n in range(50):
        pair.say(near, b"%d " % n)
        pair.say(far, b"-%d " % n)
        pair.run(0.0003)
    pair.run(0.01)
    assert far.data == b"".join(b"%d " % n for n in range(50))
    assert near.data == b"".join(b"-%d " % n for n in range(50))
    assert near.transport.get_extra_info("peername") == ("10.0.0.2", 80)
    assert far.transport.get_extra_info("peername") == near.transport.get_extra_info("sockname")
    assert near.transport.get_extra_info("socket") is None


def test_bytes_take_the_latency_of_the_link_and_its_bandwidth(pair: Pair) -> None:
    near, far = pair.connect()
    pair.network.link("a", "b").latency = (0.5, 0.5)
    pair.network.link("a", "b").bandwidth = 1000
    pair.say(near, bytes(500))
    pair.run(0.99)
    assert far.data == b""
    pair.run(0.02)
    assert len(far.data) == 500
    pair.say(far, b"back")
    pair.run(0.01)
    assert near.data == b"back"


def test_what_is_lost_is_sent_again_and_only_comes_later(pair: Pair) -> None:
    near, far = pair.connect()
    pair.network.link("a", "b").loss = 0.3
    for n in range(20):
        pair.say(near, b"%d " % n)
        pair.run(0.01)
    assert far.data != b"".join(b"%d " % n for n in range(20))
    pair.run(60)
    assert far.data == b"".join(b"%d " % n for n in range(20))


def test_nobody_listens(pair: Pair) -> None:
    with pytest.raises(ConnectionRefusedError, match=r"Connect call failed \('10.0.0.2', 81\)"):
        pair.scheduler.run(pair.a, pair.a.create_connection(Talk, "b", 81))
    pair.server.close()
    with pytest.raises(ConnectionRefusedError):
        pair.scheduler.run(pair.a, pair.a.create_connection(Talk, "b", 80))


def test_there_is_no_such_machine(pair: Pair) -> None:
    with pytest.raises(socket.gaierror):
        pair.scheduler.run(pair.a, pair.a.create_connection(Talk, "c", 80))


def test_a_port_is_taken_once_and_port_0_is_any(pair: Pair) -> None:
    with pytest.raises(OSError) as caught:
        pair.scheduler.run(pair.b, pair.b.create_server(Talk, "b", 80))
    assert caught.value.errno == errno.EADDRINUSE
    server = pair.scheduler.run(pair.b, pair.b.create_server(Talk, "b", 0))
    assert server.sockets[0].getsockname()[1] > 1024
    bound = pair.network.host("b").bind(82)
    server = pair.scheduler.run(pair.b, pair.b.create_server(Talk, sock=bound))
    assert server.sockets[0].getsockname() == ("10.0.0.2", 82)
    assert pair.scheduler.run(pair.b, pair.b.create_connection(Talk, "127.0.0.1", 82))


def test_a_connection_is_asked_for_until_the_link_is_whole(pair: Pair) -> None:
    pair.network.cut("a", "b")
    task = pair.a.create_task(pair.a.create_connection(Talk, "b", 80))
    pair.run(2)
    pair.network.heal()
    pair.run(0.5)
    assert not task.done()
    pair.run(1)
    assert task.done() and pair.served


@pytest.mark.parametrize("way", [("a", "b"), ("b", "a")])
def test_a_connection_that_is_not_answered_times_out(pair: Pair, way: tuple[str, str]) -> None:
    pair.network.cut(*way)
    with pytest.raises(TimeoutError) as caught:
        pair.scheduler.run(pair.a, pair.a.create_connection(Talk, "b", 80))
    assert caught.value.errno == errno.ETIMEDOUT
    assert 127 <= pair.scheduler.now < 130


def test_a_caller_may_give_up_before(pair: Pair) -> None:
    pair.network.link("a", "b").latency = (1, 1)

    async def connect() -> None:
        async with asyncio.timeout(0.5):
            await asyncio.get_running_loop().create_connection(Talk, "b", 80)

    with pytest.raises(TimeoutError):
        pair.scheduler.run(pair.a, connect())
    pair.run(5)
    assert pair.served[0].events == ["eof", "lost"]
    assert not pair.network.host("a").ends and not pair.network.host("b").ends


def test_close_sends_what_was_written_then_ends(pair: Pair) -> None:
    near, far = pair.connect()
    size = 4 * WINDOW

    def finish() -> None:
        near.transport.write(bytes(size))
        near.transport.close()
        near.transport.write(b"too late")

    pair.a.call_soon(finish)
    pair.run(1)
    assert len(far.data) == size
    assert near.events == ["pause", "resume", "lost"] and near.lost is None
    assert far.events == ["eof", "lost"] and far.lost is None


def test_abort_sends_only_what_the_kernel_has_taken(pair: Pair) -> None:
    near, far = pair.connect()

    def drop() -> None:
        near.transport.write(bytes(3 * WINDOW))
        near.transport.abort()

    pair.a.call_soon(drop)
    pair.run(1)
    assert len(far.data) == WINDOW
    assert near.lost is None and far.events == ["eof", "lost"]


def test_one_side_may_end_and_still_listen(pair: Pair) -> None:
    near, far = pair.connect()
    far.keep_half_open = True
    pair.a.call_soon(near.transport.write_eof)
    pair.run(0.1)
    assert far.events == ["eof"]
    pair.say(far, b"answer")
    pair.run(0.1)
    assert near.data == b"answer"
    pair.b.call_soon(far.transport.close)
    pair.run(0.1)
    assert near.events == ["eof", "lost"] and far.events == ["eof", "lost"]


def test_who_writes_to_a_closed_connection_is_told_so(pair: Pair) -> None:
    near, far = pair.connect()
    far.keep_half_open = True
    pair.a.call_soon(near.transport.close)
    pair.run(0.1)
    assert far.events == ["eof"]
    pair.say(far, b"anybody there?")
    pair.run(0.1)
    assert isinstance(far.lost, ConnectionResetError)


def test_who_closes_with_something_unread_resets_the_connection(pair: Pair) -> None:
    near, far = pair.connect()
    near.transport.pause_reading()
    pair.say(far, b"news")
    pair.run(0.1)
    pair.a.call_soon(near.transport.close)
    pair.run(0.1)
    assert near.data == b"" and near.lost is None
    assert isinstance(far.lost, ConnectionResetError) and "eof" not in far.events


def test_who_does_not_read_holds_up_who_writes(pair: Pair) -> None:
    near, far = pair.connect()
    far.transport.pause_reading()
    pair.say(near, bytes(WINDOW + HIGH_WATER))
    pair.run(1)
    assert near.events == [] and near.transport.get_write_buffer_size() == HIGH_WATER
    pair.say(near, b"!")
    pair.run(1)
    assert near.events == ["pause"] and far.data == b""
    pair.b.call_soon(far.transport.resume_reading)
    pair.run(1)
    assert near.events == ["pause", "resume"] and near.transport.get_write_buffer_size() == 0
    assert far.data == bytes(WINDOW + HIGH_WATER) + b"!"


def test_a_paused_process_accepts_and_takes_what_comes_when_it_goes_on(pair: Pair) -> None:
    pair.b.pause()
    _, near = pair.scheduler.run(pair.a, pair.a.create_connection(Talk, "b", 80))
    pair.say(near, b"hello")
    pair.run(10)
    assert pair.served == []
    pair.b.resume()
    pair.run(0.01)
    assert pair.served[0].data == b"hello"


@pytest.mark.parametrize("way", [("a", "b"), ("b", "a")])
def test_a_cut_holds_bytes_one_way_only_and_they_come_when_it_heals(pair: Pair, way: tuple[str, str]) -> None:
    talks = dict(zip("ab", pair.connect(), strict=True))
    blocked, free = talks[way[0]], talks[way[1]]
    pair.network.cut(*way)
    pair.say(blocked, b"held")
    pair.say(free, b"free")
    pair.run(10)
    assert blocked.data == b"free" and free.data == b""
    pair.network.heal(*way)
    pair.run(12)
    assert free.data == b"held"
    pair.run(1000)
    assert blocked.events == [] and free.events == []


def test_a_connection_gives_up_bytes_that_nobody_acknowledges(pair: Pair) -> None:
    near, far = pair.connect()
    pair.network.cut("b", "a")
    pair.run(10)
    pair.say(near, b"arrives, but who knows")
    pair.run(GIVE_UP - 1)
    assert far.data == b"arrives, but who knows" and near.events == []
    pair.run(2)
    assert isinstance(near.lost, TimeoutError) and near.lost.errno == errno.ETIMEDOUT
    assert far.events == []
    pair.run(KEEPALIVE)
    assert isinstance(far.lost, TimeoutError)


def test_an_idle_connection_outlives_a_short_cut_and_not_a_long_one(pair: Pair) -> None:
    near, far = pair.connect()
    pair.network.partition(["a"], ["b"])
    pair.run(KEEPALIVE - 1)
    pair.network.heal()
    pair.run(1000)
    assert near.events == far.events == []
    pair.network.isolate("b")
    pair.run(KEEPALIVE + 1)
    assert isinstance(near.lost, TimeoutError) and isinstance(far.lost, TimeoutError)


def test_acknowledgements_that_were_held_count_when_the_way_back_heals(pair: Pair) -> None:
    near, far = pair.connect()
    pair.network.cut("b", "a")
    pair.say(near, bytes(2 * WINDOW))
    pair.run(10)
    assert len(far.data) == WINDOW
    pair.network.heal()
    pair.run(10)
    assert len(far.data) == 2 * WINDOW
    pair.run(1000)
    assert near.events == ["pause", "resume"]


def test_a_reset_breaks_what_is_between_two_machines(pair: Pair) -> None:
    near, far = pair.connect()
    pair.network.reset("b", "a")
    pair.run(0.01)
    assert isinstance(near.lost, ConnectionResetError) and isinstance(far.lost, ConnectionResetError)


def test_a_crash_of_the_process_ends_its_connections_and_sends_what_it_wrote(pair: Pair) -> None:
    near, far = pair.connect()

    def crash() -> None:
        far.transport.write(b"last words")
        pair.b.crash()

    pair.b.call_soon(crash)
    pair.run(0.1)
    assert near.data == b"last words" and near.events == ["eof", "lost"]
    assert far.events == []
    with pytest.raises(ConnectionRefusedError):
        pair.scheduler.run(pair.a, pair.a.create_connection(Talk, "b", 80))


def test_what_a_dead_process_still_calls_does_not_touch_the_next_one(pair: Pair) -> None:
    near, far = pair.connect()
    server, dead = pair.server, pair.b
    dead.crash()
    pair.b = pair.boot("b")
    pair.listen()
    far.transport.write(b"ghost")
    far.transport.abort()
    server.close()
    with pytest.raises(Crashed):
        dead.create_connection(Talk, "a", 80).send(None)
    pair.run(1)
    assert near.events == ["eof", "lost"]
    near, far = pair.connect()
    pair.b.call_soon(far.transport.close)
    pair.run(1)
    assert near.events == ["eof", "lost"] and near.data == b""


def test_a_machine_without_power_is_silent_and_knows_nothing_when_it_is_back(pair: Pair) -> None:
    near, far = pair.connect()
    other, _ = pair.connect()
    pair.b.crash(power=True)
    pair.say(near, b"hello?")
    pair.run(10)
    assert near.events == [] and far.events == []
    pair.b = pair.boot("b")
    pair.run(15)
    assert isinstance(near.lost, ConnectionResetError) and other.events == []
    pair.listen()
    assert pair.connect()
    pair.run(KEEPALIVE_IDLE)
    assert isinstance(other.lost, ConnectionResetError)


def test_the_order_in_which_connections_are_closed_makes_no_difference() -> None:
    def run(order: int) -> str:
        pair = Pair()
        nears = [pair.connect()[0] for _ in range(5)]

        def finish() -> None:
            for near in nears[::order]:
                near.transport.write(b"bye")
                near.transport.close()

        pair.a.call_soon(finish)
        pair.run(1)
        pair.scheduler.close()
        return pair.scheduler.trace.digest()

    assert run(1) == run(-1)
