"""Pieces of the hot path, small and the same every time. Each yields once when it is set up, and then works.

What comes after the yield is counted; a unit is what one request, key or event costs there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from quorate import embed
from quorate.api.internal import encode_request
from quorate.api.pb import rpc_pb2 as pb
from quorate.api.plain_put import PlainPut
from quorate.api.raftpb import ConfState, Entry, HardState, Snapshot
from quorate.apply.alarms import Alarms
from quorate.apply.applier import Applier
from quorate.apply.quota import Quota
from quorate.auth import AuthStore, SimpleTokens
from quorate.lease import Lessor
from quorate.membership import Cluster
from quorate.raft import Config, MemoryStorage, RawNode
from quorate.storage import schema
from quorate.storage.backend import Backend
from quorate.storage.mvcc import WatchableStore
from quorate.storage.wal.record import Encoder
from quorate.transport.http2 import Connection, DataReceived, Headers, RequestsReceived

Work = Callable[[Path], Iterator[None]]
UNITS = 200
NEVER = 1e9

REQUEST: Headers = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/etcdserverpb.KV/Put"),
    (b":authority", b"127.0.0.1:2379"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)
RESPONSE: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS: Headers = ((b"grpc-status", b"0"),)


def http2_call(_: Path) -> Iterator[None]:
    """Request out, in at the server, reply out, in at the client; ten calls a read."""
    client, server = Connection(client=True, whole=True), Connection(client=False, whole=True)
    client.start()
    server.start()
    server.receive(client.output())
    client.receive(server.output())
    _calls(client, server, 10)
    yield
    _calls(client, server, UNITS)


def _calls(client: Connection, server: Connection, count: int) -> None:
    for _ in range(count // 10):
        for _ in range(10):
            client.send_unary_request(REQUEST, bytes(300))
        for event in server.receive(client.output()):
            if type(event) is RequestsReceived:
                bodies = [bytes(30)] * len(event.stream_ids)
                server.send_unary_replies(event.stream_ids, RESPONSE, bodies, TRAILERS)
            elif type(event) is DataReceived:
                server.send_unary_replies([event.stream_id], RESPONSE, [bytes(30)], TRAILERS)
        client.receive(server.output())


class State:
    """What a member knows, on a file whose batches never come due."""

    def __init__(self, place: Path) -> None:
        self.backend = Backend.open(place / "db", schema.BUCKETS, batch_interval=NEVER, batch_limit=10**9)
        self.lessor = Lessor(self.backend, min_ttl=1)
        self.store = WatchableStore(self.backend, self.lessor)
        self.store.restore()
        cluster = Cluster(self.backend, 1, 1)
        alarms = Alarms(schema.AlarmRecords(self.backend))
        auth = AuthStore(self.backend, SimpleTokens(300.0))
        self.applier = Applier(self.store, self.lessor, cluster, alarms, Quota(0, lambda: 0), auth)

    def put(self, count: int) -> None:
        """Apply puts of different keys."""
        for n in range(count):
            self.applier.apply("put", PlainPut(b"key/%06d" % n, b"v" * 256), 0.0)


def apply_put(place: Path) -> Iterator[None]:
    """Puts of new keys, as the applier does them."""
    state = State(place)
    yield
    state.put(UNITS)
    state.backend.close()


def apply_put_again(place: Path) -> Iterator[None]:
    """Puts of keys that exist."""
    state = State(place)
    state.put(UNITS)
    yield
    state.put(UNITS)
    state.backend.close()


def apply_txn(place: Path) -> Iterator[None]:
    """Transactions: one comparison, two puts."""
    state = State(place)
    state.put(10)
    compare = pb.Compare(key=b"key/000001", target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=0)
    puts = [pb.RequestOp(request_put=pb.PutRequest(key=b"t/%d" % n, value=b"v" * 256)) for n in range(2)]
    request = pb.TxnRequest(compare=[compare], success=puts)
    yield
    for _ in range(UNITS):
        state.applier.apply("txn", request, 0.0)
    state.backend.close()


def get(place: Path) -> Iterator[None]:
    """Gets of one key."""
    state = State(place)
    state.put(UNITS)
    yield
    for n in range(UNITS):
        assert state.store.get(b"key/%06d" % n) is not None
    state.backend.close()


def range_key(place: Path) -> Iterator[None]:
    """A range over all keys; a unit is a key of the answer."""
    state = State(place)
    state.put(UNITS)
    yield
    assert len(state.store.range(b"key/", b"key0").kvs) == UNITS
    state.backend.close()


class Sink:
    """Takes every batch."""

    def deliver(self, batch: object) -> bool:
        return True


def watch_event(place: Path) -> Iterator[None]:
    """One put that ten watchers on one key are told of; a unit is an event."""
    state = State(place)
    streams = [state.store.watch_stream(Sink()) for _ in range(10)]
    for stream in streams:
        stream.watch(0, b"key/000000")
    yield
    for _ in range(UNITS // 10):
        state.applier.apply("put", pb.PutRequest(key=b"key/000000", value=b"v"), 0.0)
    assert state.store.events_total == UNITS
    state.backend.close()


def wal_encode(_: Path) -> Iterator[None]:
    """Entries to frames of the log, twenty at a time."""
    body = pb.PutRequest(key=b"key/00000", value=b"v" * 256).SerializeToString()
    encoder = Encoder(b"metadata")
    encoder.begin()
    batches = [
        [Entry(1, first + n, encode_request("put", body, first + n)) for n in range(20)]
        for first in range(1, UNITS + 1, 20)
    ]
    yield
    for entries in batches:
        encoder.encode(HardState(1, 1, entries[-1].index), entries, sync=True)


def raft_propose(_: Path) -> Iterator[None]:
    """Proposals that three members agree on, ten at a time."""
    nodes = {}
    for number in (1, 2, 3):
        storage = MemoryStorage()
        storage.apply_snapshot(Snapshot(1, 1, ConfState((1, 2, 3))))
        nodes[number] = RawNode(Config(id=number, storage=storage, rng=random.Random(number)))
    nodes[1].campaign()
    _settle(nodes)
    yield
    committed = nodes[1].raft.log.committed
    for _ in range(UNITS // 10):
        nodes[1].propose_many([b"d" * 300] * 10)
        _settle(nodes)
    assert nodes[1].raft.log.committed == committed + UNITS


def _settle(nodes: dict[int, RawNode]) -> None:
    """Write, send and step until nobody has anything to do."""
    while any(node.has_ready() for node in nodes.values()):
        for node in nodes.values():
            if not node.has_ready():
                continue
            ready = node.ready()
            storage = node.raft.log.storage
            assert isinstance(storage, MemoryStorage)
            if ready.hard_state is not None:
                storage.set_hard_state(ready.hard_state)
            storage.append(ready.entries)
            messages = ready.messages
            node.advance()
            for message in messages:
                nodes[message.to].step(message)


def whole_put(_: Path) -> Iterator[None]:
    """Puts through a whole member in memory, forty at a time: gRPC, raft, log, apply, reply, and a client."""
    yield from _through_member("/etcdserverpb.KV/Put", pb.PutRequest(key=b"key", value=b"v" * 256).SerializeToString())


def whole_get(_: Path) -> Iterator[None]:
    """Serializable gets, the same way."""
    request = pb.RangeRequest(key=b"key", serializable=True)
    yield from _through_member("/etcdserverpb.KV/Range", request.SerializeToString())


def _through_member(path: str, request: bytes) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    member = embed.Etcd(in_memory=True, listen=False)
    loop.run_until_complete(member.start())
    channel = member.channel()

    async def calls(count: int) -> None:
        for _ in range(count // 40):
            await asyncio.gather(*(channel.unary(path, request) for _ in range(40)))

    loop.run_until_complete(calls(40))
    yield
    loop.run_until_complete(calls(UNITS))
    yield
    loop.run_until_complete(channel.close())
    loop.run_until_complete(member.stop())
    loop.close()


WORKS: dict[str, Work] = {
    work.__name__: work
    for work in (
        http2_call,
        apply_put,
        apply_put_again,
        apply_txn,
        get,
        range_key,
        watch_event,
        wal_encode,
        raft_propose,
        whole_put,
        whole_get,
    )
}
