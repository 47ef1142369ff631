"""Many watchers while many write: each is told exactly what happened to its keys, in order, slow readers included."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from e2e_generator import prefix_end
from e2e_rpc import WATCH, Client, Stream, wait_until

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import MemberProcess

WRITERS = 4
WRITES = 400
WATCHERS = 30
SLOW_PAUSE = 0.002


class SlowStream(Stream):
    """A stream whose reader dawdles, so that the server runs into its flow control."""

    def before_taking(self, have: int) -> None:
        time.sleep(SLOW_PAUSE)


def test_every_watcher_is_told_all_and_in_order_while_others_write(subject: MemberProcess, seed: int) -> None:
    dice = random.Random(seed)
    with Client(subject.endpoint) as writer, Client(subject.endpoint) as reader:
        threads = [
            threading.Thread(target=_write, args=(writer, n, random.Random(dice.random()))) for n in range(WRITERS)
        ]
        for thread in threads:
            thread.start()
        streams: list[Stream] = []
        watches: list[tuple[Stream, Any]] = []
        for number in range(WATCHERS):
            kind = SlowStream if number % 5 == 0 else Stream
            if number % 3 == 0 or not streams:
                streams.append(kind(reader.channel, WATCH))
            newest = reader.get(b"x").message.header.revision
            prefix = b"w%d/" % dice.randrange(WRITERS) if dice.random() < 0.7 else b"w"
            request = pb.WatchCreateRequest(
                key=prefix,
                range_end=prefix_end(prefix),
                start_revision=max(1, newest + dice.randint(-300, 100)),
                prev_kv=dice.random() < 0.3,
                watch_id=number + 1,
            )
            streams[-1].send(pb.WatchRequest(create_request=request))
            watches.append((streams[-1], request))
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        history = _history(reader)
        for stream, request in watches:
            wanted = [e for e in history if _wants(request, e)]
            complete = wait_until(lambda s=stream, r=request, w=wanted: len(_events(s, r)) >= len(w), 30)
            got = [_bare(e) for e in _events(stream, request)]
            assert complete, f"watch {request} got {len(got)} of {len(wanted)} events"
            assert got == [_bare(e) for e in wanted], f"watch {request}"
        _check_previous(watches, history)
        for stream in streams:
            stream.close()


def _write(client: Client, number: int, dice: random.Random) -> None:
    for n in range(WRITES):
        key = b"w%d/%d" % (number, dice.randrange(20))
        kind = dice.random()
        if kind < 0.7:
            client.put(key, b"%d" % n * dice.choice([1, 500]))
        elif kind < 0.85:
            client.call("DeleteRange", pb.DeleteRangeRequest(key=key))
        else:
            more = b"w%d/%d" % ((number + 1) % WRITERS, dice.randrange(20, 40))
            puts = [pb.RequestOp(request_put=pb.PutRequest(key=k, value=b"%d" % n)) for k in (key, more)]
            client.call("Txn", pb.TxnRequest(success=puts))


def _history(client: Client) -> list[Any]:
    """A replay of everything, from the first revision on."""
    newest = client.get(b"x").message.header.revision
    with client.watch() as stream:
        everything = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=1)
        stream.send(pb.WatchRequest(create_request=everything))
        assert stream.wait(lambda got: got[-1:] and got[-1].events and got[-1].events[-1].kv.mod_revision == newest, 30)
        return [event for message in stream.received for event in message.events]


def _events(stream: Stream, request: Any) -> list[Any]:
    return [e for m in list(stream.received) if m.watch_id == request.watch_id for e in m.events]


def _wants(request: Any, event: Any) -> bool:
    return request.key <= event.kv.key < request.range_end and event.kv.mod_revision >= request.start_revision


def _bare(event: Any) -> tuple[int, bytes]:
    return event.type, event.kv.SerializeToString()


def _check_previous(watches: list[tuple[Stream, Any]], history: list[Any]) -> None:
    """The previous pair is the one the history shows; no previous pair unless asked for."""
    before: dict[bytes, Any] = {}
    expected = {}
    for event in history:
        expected[event.kv.mod_revision, event.kv.key] = before.get(event.kv.key)
        before[event.kv.key] = None if event.type == event.DELETE else event.kv
    for stream, request in watches:
        for event in _events(stream, request):
            previous = expected[event.kv.mod_revision, event.kv.key] if request.prev_kv else None
            found = event.prev_kv if event.HasField("prev_kv") else None
            assert found == previous, f"{event}\nshould have had {previous}"


def test_a_stream_that_is_never_read_delays_nobody(subject: MemberProcess) -> None:
    """Its events pile up behind flow control; writers and other watchers go on, and it gets all when it reads."""
    with Client(subject.endpoint) as client, Client(subject.endpoint) as lazy:
        request = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"k"))
        gate = threading.Event()

        class Lazy(Stream):
            def before_taking(self, have: int) -> None:
                if have:
                    gate.wait()

        asleep, awake = Lazy(lazy.channel, WATCH), client.watch()
        for stream in (asleep, awake):
            stream.send(request)
        assert awake.wait(lambda got: got)
        assert wait_until(lambda: asleep.received)
        count = 400
        for number in range(count):
            assert client.put(b"k", b"%d" % number * 5000).ok
        assert awake.wait(lambda got: sum(len(m.events) for m in got) == count, 20)
        gate.set()
        assert wait_until(lambda: sum(len(m.events) for m in list(asleep.received)) == count, 30)
        values = [e.kv.version for m in asleep.received for e in m.events]
        assert values == list(range(1, count + 1))
        awake.close()
        asleep.close()
