"""Commands whose load is one request after the other: put, range, txn-put, txn-mixed, lease-keepalive."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from itertools import islice
from math import inf
from time import perf_counter
from typing import Any

from quorate.api.encode import field, varint
from quorate.api.pb import rpc_pb2 as pb
from quorate.cmd.benchmark import keys
from quorate.cmd.benchmark.callers import Limiter, Script, Tally, drive
from quorate.cmd.benchmark.plan import Plan
from quorate.cmd.benchmark.wire import Wire, ask
from quorate.transport.grpc import Status

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
TXN = "/etcdserverpb.KV/Txn"
COMPACT = "/etcdserverpb.KV/Compact"
GRANT = "/etcdserverpb.Lease/LeaseGrant"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
LEASE_SECONDS = 100


class Section:
    """One report of a command: a title, how many results it expects, and the results."""

    def __init__(self, name: str, total: int, sample: bool) -> None:
        self.name = name
        self.total = total
        self.tally = Tally(sample)
        self.elapsed = 0.0
        """Seconds from its first request to its last reply."""


class Job:
    """One command in one process. `prepare` comes before the clock starts."""

    def __init__(self, plan: Plan, wires: list[Wire]) -> None:
        self.plan = plan
        self.wires = wires
        self.settings: dict[str, Any] = plan.settings
        self.total = plan.share(self.settings.get("total", 0))
        self.sections = [Section("", self.total, plan.sample)]
        self.began = 0.0
        self.stopped = False
        """Set to begin no more requests."""

    async def prepare(self) -> None:
        """What is not measured."""

    async def run(self) -> None:
        """Fill the sections."""
        raise NotImplementedError

    def limiter(self, rate: int) -> Limiter | None:
        """This process's share of `rate` requests a second; None without a limit."""
        return Limiter(rate / self.plan.processes) if rate else None

    def in_time(self, source: Iterator[bytes]) -> Iterator[bytes]:
        """The requests, as long as there is time and nobody has said stop."""
        end = self.began + (self.plan.seconds or inf)
        for request in source:
            if self.stopped or perf_counter() > end:
                return
            yield request

    async def load(self, path: str, source: Iterator[bytes], section: Section, rate: int = 0) -> None:
        """All clients of this process send from one source until it is empty."""
        limiter = self.limiter(rate)
        section.elapsed = -perf_counter()
        self.began = perf_counter()
        requests = self.in_time(source)
        tally = section.tally
        scripts = (send_all(path, requests, tally, limiter is not None) for _ in self.plan.own_clients())
        await drive(self.wires, scripts, limiter)
        section.elapsed += perf_counter()


def send_all(path: str, requests: Iterator[bytes], tally: Tally, limited: bool) -> Script:
    """One client: a request, its reply, the next one."""
    for request in requests:
        if limited:
            yield None
        began = perf_counter()
        try:
            yield path, request
        except Status as status:
            tally.fail(status)
        else:
            tally.add(began)


class Put(Job):
    """Single puts, while the history is compacted if wanted."""

    async def run(self) -> None:
        source = keys.puts(self.settings, self.plan.index, self.plan.processes)
        compacting = None
        if self.settings["compact_interval"] and not self.plan.index:
            compacting = asyncio.create_task(self._compact())
        await self.load(PUT, islice(source, self.total), self.sections[0], self.settings["rate"])
        if compacting is not None:
            compacting.cancel()

    async def _compact(self) -> None:
        while True:
            await asyncio.sleep(self.settings["compact_interval"])
            reply = pb.RangeResponse.FromString(await ask(self.wires[0], RANGE, field(keys.KEY, b"\0")))
            revision = reply.header.revision - self.settings["compact_index_delta"]
            if revision > 0:
                with contextlib.suppress(Status):  # as old as the last one
                    await ask(self.wires[0], COMPACT, pb.CompactionRequest(revision=revision).SerializeToString())


class Range(Job):
    """The same get again and again."""

    async def run(self) -> None:
        settings = self.settings
        request = pb.RangeRequest(
            key=settings["key"].encode(),
            range_end=settings["end_range"].encode(),
            serializable=settings["consistency"] == "s",
            limit=settings["limit"],
            count_only=settings["count_only"],
            keys_only=settings["keys_only"],
        )
        encoded = request.SerializeToString()
        source = (encoded for _ in range(self.total))
        await self.load(RANGE, source, self.sections[0], settings["rate"])


class TxnPut(Job):
    """Transactions of several puts."""

    async def run(self) -> None:
        await self.load(TXN, islice(self._transactions(), self.total), self.sections[0], self.settings["rate"])

    def _transactions(self) -> Iterator[bytes]:
        # TxnRequest.success = 2, RequestOp.request_put = 2.
        count = self.settings["txn_ops"]
        first = self.plan.index * self.total * count
        # In turn, for a transaction must not put one key twice.
        source = keys.puts({**self.settings, "sequential_keys": True}, first, 1)
        while True:
            yield b"".join([field(b"\x12", field(b"\x12", put)) for put in islice(source, count)])


class TxnMixed(Job):
    """Transactions that read a range, among transactions that put one key."""

    def __init__(self, plan: Plan, wires: list[Wire]) -> None:
        super().__init__(plan, wires)
        share = self.settings["rw_ratio"] / (1 + self.settings["rw_ratio"])
        reads = round(self.total * share)
        self.sections = [
            Section("read", reads, plan.sample),
            Section("write", self.total - reads, plan.sample),
        ]

    async def run(self) -> None:
        limiter = self.limiter(self.settings["rate"])
        self.began = perf_counter()
        requests = self.in_time(islice(self._transactions(), self.total))
        scripts = (self._script(requests, limiter is not None) for _ in self.plan.own_clients())
        await drive(self.wires, scripts, limiter)
        for section in self.sections:
            section.elapsed = perf_counter() - self.began

    def _script(self, requests: Iterator[bytes], limited: bool) -> Script:
        reads, writes = (section.tally for section in self.sections)
        for request in requests:
            if limited:
                yield None
            tally = reads if request[:1] == READ_MARK else writes
            began = perf_counter()
            try:
                yield TXN, request[1:]
            except Status as status:
                tally.fail(status)
            else:
                tally.add(began)

    def _transactions(self) -> Iterator[bytes]:
        settings = self.settings
        share = settings["rw_ratio"] / (1 + settings["rw_ratio"])
        dice = random.Random()
        source = keys.puts(settings, self.plan.index, self.plan.processes)
        end = field(b"\x12", settings["end_key"].encode()) if settings["end_key"] else b""
        limit = b"\x18" + varint(settings["limit"]) if settings["limit"] else b""
        tail = end + limit + (b"\x38\x01" if settings["consistency"] == "s" else b"")
        for number in keys.numbers(settings, self.plan.index, self.plan.processes):
            if dice.random() < share:
                key = field(keys.KEY, keys.numbered_key(number, settings["key_size"]))
                yield READ_MARK + field(b"\x12", field(b"\x0a", key + tail))
            else:
                yield WRITE_MARK + field(b"\x12", field(b"\x12", next(source)))


READ_MARK, WRITE_MARK = b"r", b"w"


class LeaseKeepAlive(Job):
    """Each client renews a lease of its own; a stream for each renewal, as etcd's client does for a single one."""

    async def prepare(self) -> None:
        self._requests: list[bytes] = []
        grant = pb.LeaseGrantRequest(TTL=LEASE_SECONDS).SerializeToString()
        await drive(self.wires, (self._grant(grant) for _ in self.plan.own_clients()))

    def _grant(self, request: bytes) -> Script:
        reply = yield GRANT, request
        lease = pb.LeaseGrantResponse.FromString(reply).ID
        self._requests.append(pb.LeaseKeepAliveRequest(ID=lease).SerializeToString())

    async def run(self) -> None:
        source = (request for _, request in zip(range(self.total), _cycle(self._requests), strict=False))
        await self.load(KEEP_ALIVE, source, self.sections[0])


def _cycle(requests: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests
