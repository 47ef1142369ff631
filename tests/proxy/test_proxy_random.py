"""Random watchers, writes and broken connections: each watcher is told exactly what the store says."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.client import Client
from quorate.proxy.gateway import Gateway
from quorate.proxy.remotes import Target
from quorate.transport.grpc import Channel

from proxy_support import PATIENCE, Backend, RawWatch, proxied, until  # isort: skip

KEYS = [b"%d" % number for number in range(8)]
RANGES = [(b"3", b""), (b"3", b""), (b"5", b""), (b"2", b"6"), (b"2", b"6"), (b"0", b"\0")]
NOPUT, NODELETE = pb.WatchCreateRequest.NOPUT, pb.WatchCreateRequest.NODELETE

Told = list[tuple[int, bytes, int, bytes, bytes]]


class Watcher:
    """One watch, and what it was told until the key that ends the run was written."""

    def __init__(self, channel: Channel, dice: random.Random, revision: int) -> None:
        self.key, self.end = dice.choice(RANGES)
        self.start = dice.choice([0, 0, 0, max(1, revision - dice.randrange(30)), revision + dice.randrange(3)])
        self.filters = dice.choice([[], [], [NOPUT], [NODELETE]])
        self.prev_kv = dice.random() < 0.3
        self.told: Told = []
        self.first = 0
        self.created = asyncio.Event()
        self.heard = 0
        self._watch = RawWatch(channel)
        self._watch.create(
            self.key, self.end, start_revision=self.start, filters=self.filters, prev_kv=self.prev_kv, fragment=True
        )

    async def read(self) -> None:
        while True:
            answer = pb.WatchResponse.FromString(await self._watch.stream.receive() or b"")
            assert not answer.canceled, answer
            if answer.created:
                self.first = self.start or answer.header.revision + 1
                self.created.set()
            if answer.watch_id == -1:
                self.heard = max(self.heard, answer.header.revision)
            self.told += map(row, answer.events)

    async def hear(self, revision: int) -> None:
        """Return once it was told everything up to a revision."""

        deadline = time.monotonic() + PATIENCE
        while self.heard < revision:
            assert time.monotonic() < deadline, f"progress to {revision} is not told, only to {self.heard}"
            self._watch.ask_progress()
            await asyncio.sleep(0.25)

    def wanted(self, history: list[kv_pb2.Event]) -> Told:
        found: Told = []
        before: dict[bytes, bytes] = {}
        for event in history:
            key, deleted = event.kv.key, event.type == kv_pb2.Event.DELETE
            inside = key == self.key if not self.end else key >= self.key and (self.end == b"\0" or key < self.end)
            unwanted = (NODELETE if deleted else NOPUT) in self.filters
            if inside and not unwanted and event.kv.mod_revision >= self.first:
                prev = before.get(key, b"") if self.prev_kv else b""
                found.append((event.kv.mod_revision, key, event.type, event.kv.value, prev))
            before[key] = b"" if deleted else event.kv.value
        return found


def row(event: kv_pb2.Event) -> tuple[int, bytes, int, bytes, bytes]:
    return event.kv.mod_revision, event.kv.key, event.type, event.kv.value, event.prev_kv.value


@pytest.mark.parametrize("seed", range(3))
async def test_each_watcher_is_told_exactly_what_the_store_says(backend: Backend, direct: Client, seed: int) -> None:
    if backend.etcd is None:
        pytest.xfail("etcd 3.5.1 tells progress ahead of events (its issue 15220, mended in 3.5.8); some are lost here")
    dice = random.Random(seed)
    host, _, port = backend.endpoint.partition(":")
    gateway = Gateway("127.0.0.1", 0, [Target(host, int(port))], 60.0)
    await gateway.start()
    async with proxied(f"127.0.0.1:{gateway.port}") as proxy:
        channel = Channel("127.0.0.1", proxy.port)
        watchers: list[Watcher] = []
        readers: list[asyncio.Task[None]] = []
        revision, cuts = 1, 0
        for step in range(300):
            if dice.random() < 0.15:
                watchers.append(Watcher(channel, dice, revision))
                readers.append(asyncio.create_task(watchers[-1].read()))
                if dice.random() < 0.5:
                    await asyncio.sleep(0.01)
            if dice.random() < 0.03:
                cuts += 1
                for side in list(gateway._sides):
                    side.abort()
            key = dice.choice(KEYS)
            if dice.random() < 0.25:
                revision = (await direct.delete(key)).header.revision
            else:
                revision = (await direct.put(key, f"{step}" * dice.choice([1, 1, 1, 20_000]))).header.revision
        for watcher in watchers:
            await asyncio.wait_for(watcher.created.wait(), 20.0)
        for key in KEYS:
            revision = (await direct.put(key, "last")).header.revision
        await asyncio.gather(*(watcher.hear(revision) for watcher in watchers))
        for reader in readers:
            assert not reader.done() or reader.result()
        whole = RawWatch(channel)
        await whole.created(b"0", b"\0", start_revision=1)
        history: list[kv_pb2.Event] = []
        while not history or history[-1].kv.mod_revision < revision:
            history += (await whole.take()).events
        for watcher in watchers:
            wanted = watcher.wanted(history)
            if backend.etcd is None:  # 3.5.1 answers about progress ahead of events that are on their way
                await until(lambda told=watcher.told, wanted=wanted: len(told) >= len(wanted))
            assert watcher.told == wanted, (watcher.key, watcher.start, watcher.first)
        for reader in readers:
            reader.cancel()
        assert cuts > 2 and len(watchers) > 20
        assert len(proxy.hub.broadcasts) < len(watchers) / 2
        await channel.close()
    await gateway.stop()
