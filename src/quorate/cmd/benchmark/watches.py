"""`watch`, `watch-latency`, `watch-get`: events to many watchers, and gets beside them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from quorate.api.encode import field
from quorate.api.pb import rpc_pb2 as pb
from quorate.cmd.benchmark import keys
from quorate.cmd.benchmark.callers import Script, Tally, drive
from quorate.cmd.benchmark.plan import Plan
from quorate.cmd.benchmark.unary import PUT, RANGE, Job, Section, send_all
from quorate.cmd.benchmark.wire import Wire, ask
from quorate.transport.grpc import Status

WATCH = "/etcdserverpb.Watch/Watch"
NUMBER_BYTES = 8
"""The value of a put begins with its number, which tells a watcher when it was sent."""
GET_KEY = b"watchkey"
QUIET_SECONDS = 30.0
"""Events that do not come for so long will not come."""


class WatchStream:
    """One Watch call with several watchers, created one after the other."""

    def __init__(
        self, wire: Wire, watched: list[bytes], on_events: Callable[[Any], None], settings: dict[str, Any]
    ) -> None:
        self._wire = wire
        self._watched = iter(watched)
        self._on_events = on_events
        self._revision: int = settings.get("revision", 0)
        self._prev_kv: bool = settings.get("prevkv", False)
        self._stream_id = 0
        self._sent = 0.0
        self.tally: Tally | None = None
        self.created: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when all watchers stand."""

    def start(self, tally: Tally) -> None:
        """Create the first watcher; creations are counted in `tally`."""
        self.tally = tally
        self._next()

    def message(self, body: bytes) -> None:
        response = pb.WatchResponse.FromString(body)
        if response.created:
            assert self.tally is not None
            self.tally.add(self._sent)
            self._next()
        if response.events:
            self._on_events(response.events)

    def end(self, error: Status | None) -> None:
        if not self.created.done():
            self.created.set_exception(error or Status(1, "the watch stream has ended"))

    def _next(self) -> None:
        key = next(self._watched, None)
        if key is None:
            self.created.set_result(None)
            return
        create = pb.WatchCreateRequest(key=key, start_revision=self._revision, prev_kv=self._prev_kv)
        request = pb.WatchRequest(create_request=create).SerializeToString()
        self._sent = perf_counter()
        if not self._stream_id:
            self._stream_id = self._wire.call(WATCH, request, self, False)
        else:
            self._wire.send(self._stream_id, request)


class Watched(Job):
    """What the three have in common: streams of watchers, and waiting until they have seen everything."""

    def __init__(self, plan: Plan, wires: list[Wire]) -> None:
        super().__init__(plan, wires)
        self._all: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expected = 0
        self._seen = 0

    async def open(self, watched: list[list[bytes]], on_events: Callable[[Any], None], section: Section) -> None:
        """One stream for each list of keys."""
        section.elapsed = -perf_counter()
        streams = [
            WatchStream(self.wires[n % len(self.wires)], names, on_events, self.settings)
            for n, names in enumerate(watched)
        ]
        for stream in streams:
            stream.start(section.tally)
        await asyncio.gather(*(stream.created for stream in streams))
        section.elapsed += perf_counter()

    def count(self, events: int) -> None:
        """So many more have come."""
        self._seen += events
        if self._seen >= self._expected and not self._all.done():
            self._all.set_result(None)

    async def all_seen(self) -> None:
        """Wait until everything has come, or nothing comes any more."""
        while not self._all.done() and self._expected:
            before = self._seen
            await asyncio.wait([self._all], timeout=QUIET_SECONDS)
            if self._seen == before and not self._all.done():
                raise Status(4, f"{self._expected - self._seen} events have not come")


class Watch(Watched):
    """Create watchers on some keys, then put to these keys; how long each event took from its put to its watcher."""

    def __init__(self, plan: Plan, wires: list[Wire]) -> None:
        super().__init__(plan, wires)
        settings = self.settings
        self._watchers = settings["streams"] * settings["watch_per_stream"]
        self._put_total: int = settings["put_total"]
        self._sent: list[float] = []
        self._watching: Counter[bytes] = Counter()
        """Watchers of each key."""
        self._creates = Section("create", self._watchers, plan.sample)
        self._events = Section("event", 0, plan.sample)
        self._puts = Section("put", self._put_total, plan.sample)
        self.sections = [self._creates, self._events, self._puts]
        size, space = settings["key_size"], settings["key_space_size"]
        names = zip(range(settings["watched_key_total"]), keys.numbers(settings, 0, 1), strict=False)
        self._names = [keys.numbered_key(number if space > 1 else n, size) for n, number in names]

    async def run(self) -> None:
        names, per_stream = self._names, self.settings["watch_per_stream"]
        watched = [
            [names[(stream * per_stream + n) % len(names)] for n in range(per_stream)]
            for stream in range(self.settings["streams"])
        ]
        self._watching = Counter(name for stream in watched for name in stream)
        await self.open(watched, self._on_events, self._creates)
        await self.put_all()

    async def put_all(self) -> None:
        """Put, and wait for the events."""
        events, puts = self._events, self._puts
        self._expected = events.total = self._events_of(self._put_total)
        events.elapsed = -perf_counter()
        await self.load(PUT, self._requests(), puts, self.settings["put_rate"])
        made, failed = puts.tally.done, sum(puts.tally.errors.values())
        self._expected = self._events_of(made) * (made - failed) // max(1, made)
        self.count(0)
        await self.all_seen()
        events.elapsed += perf_counter()

    def _events_of(self, puts: int) -> int:
        """How many events the first so many puts make."""
        return sum(self._watching[self._names[n % len(self._names)]] for n in range(puts))

    def _requests(self) -> Iterator[bytes]:
        tail = keys.make_value(self.settings.get("val_size", 0))[NUMBER_BYTES:]
        for number in range(self._put_total):
            value = number.to_bytes(NUMBER_BYTES, "big") + tail
            request = field(keys.KEY, self._names[number % len(self._names)]) + field(keys.VALUE, value)
            self._sent.append(perf_counter())
            yield request

    def _on_events(self, events: Any) -> None:
        tally = self._events.tally
        known = len(self._sent)
        found = 0
        for event in events:
            number = int.from_bytes(event.kv.value[:NUMBER_BYTES], "big")
            if number < known:
                tally.add(self._sent[number])
                found += 1
        self.count(found)


class WatchLatency(Watch):
    """Watchers on one key; the latency of its puts, and from each put's start to each of its events."""

    def __init__(self, plan: Plan, wires: list[Wire]) -> None:
        plan.settings.update(watched_key_total=1, key_space_size=1, sequential_keys=True)
        plan.settings["watch_per_stream"] = plan.settings["watchers_per_stream"]
        super().__init__(plan, wires)
        self.sections = [self._puts, self._events]

    async def prepare(self) -> None:
        names = [self._names * self.settings["watch_per_stream"] for _ in range(self.settings["streams"])]
        self._watching = Counter({self._names[0]: self._watchers})
        await self.open(names, self._on_events, self._creates)

    async def run(self) -> None:
        await self.put_all()


class WatchGet(Watched):
    """Serializable gets of a key while many watchers are sent its past."""

    def __init__(self, plan: Plan, wires: list[Wire]) -> None:
        super().__init__(plan, wires)
        self._watchers: int = self.settings["watchers"]
        self._expected = self._watchers * self.settings["events"]
        self.sections = [Section("get", 0, plan.sample)]
        self._opened = Section("create", self._watchers, False)

    async def prepare(self) -> None:
        put = field(keys.KEY, GET_KEY) + field(keys.VALUE, b"value")
        for number in range(self.settings["events"]):
            revision = pb.PutResponse.FromString(await ask(self.wires[0], PUT, put)).header.revision
            if not number:
                self.settings["revision"] = revision

    async def run(self) -> None:
        section, streams = self.sections[0], self.settings["streams"]
        self.began = perf_counter()
        get = field(keys.KEY, GET_KEY) + b"\x38\x01"
        gets = self.in_time(self._until_seen(get))
        scripts: Iterator[Script] = (send_all(RANGE, gets, section.tally, False) for _ in self.plan.own_clients())
        getting = asyncio.create_task(drive(self.wires, scripts))
        watched = [[GET_KEY] * len(range(n, self._watchers, streams)) for n in range(streams)]
        await self.open(watched, lambda events: self.count(len(events)), self._opened)
        await self.all_seen()
        await getting
        section.elapsed = perf_counter() - self.began

    def _until_seen(self, request: bytes) -> Iterator[bytes]:
        while not self._all.done():
            yield request
