"""`stm`: transactions of software transactional memory, alone or each under one lock that all clients share."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from time import perf_counter
from typing import Any

from quorate.api.pb import lock_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.cmd.benchmark import keys
from quorate.cmd.benchmark.callers import Request, Script, Tally, drive
from quorate.cmd.benchmark.unary import GRANT, RANGE, TXN, Job
from quorate.transport.grpc import Status

LOCK = "/v3lockpb.Lock/Lock"
UNLOCK = "/v3lockpb.Lock/Unlock"
DELETE = "/etcdserverpb.KV/DeleteRange"
WATCH = "/etcdserverpb.Watch/Watch"
LOCK_NAME = b"benchmark-stm"
SESSION_SECONDS = 60

Steps = Generator[Request, bytes, Any]
"""A part of a script."""


class Stm(Job):
    """Each transaction touches `keys-per-txn` drawn keys and overwrites each with a chance of `txn-wr-percent`."""

    async def prepare(self) -> None:
        self._leases: list[int] = []
        if self.settings["stm_locker"] != "stm":
            await drive(self.wires, (self._session() for _ in self.plan.own_clients()))

    async def run(self) -> None:
        limiter = self.limiter(self.settings["rate"])
        section = self.sections[0]
        self.began = perf_counter()
        turns = self.in_time(b"" for _ in range(self.total))
        scripts = (self._client(turns, n, section.tally, limiter is not None) for n, _ in self._numbered())
        await drive(self.wires, scripts, limiter)
        section.elapsed = perf_counter() - self.began

    def _numbered(self) -> Iterator[tuple[int, int]]:
        return iter(enumerate(self.plan.own_clients()))

    def _session(self) -> Script:
        reply = yield GRANT, pb.LeaseGrantRequest(TTL=SESSION_SECONDS).SerializeToString()
        self._leases.append(pb.LeaseGrantResponse.FromString(reply).ID)

    def _client(self, turns: Iterator[bytes], number: int, tally: Tally, limited: bool) -> Script:
        settings = self.settings
        dice = random.Random()
        value = keys.make_value(settings["val_size"])
        locker = {"stm": _alone, "lock-rpc": _under_rpc, "lock-client": _under_key}[settings["stm_locker"]]
        lease = self._leases[number] if self._leases else 0
        for _ in turns:
            chosen = dice.sample(range(settings["keys"]), settings["keys_per_txn"])
            writes = [n for n in chosen if dice.randrange(100) < settings["txn_wr_percent"]]
            reads = [n for n in chosen if n not in writes]
            if limited:
                yield None
            began = perf_counter()
            try:
                transaction = _transact(
                    [_key(n) for n in reads], [_key(n) for n in writes], value, settings["isolation"]
                )
                yield from locker(transaction, lease)
            except Status as status:
                tally.fail(status)
            else:
                tally.add(began)


def _key(number: int) -> bytes:
    return b"%d" % number


def _transact(reads: list[bytes], writes: list[bytes], value: bytes, isolation: str) -> Steps:
    """Read, then commit if what was read (in a snapshot, and what is overwritten) has not changed; again until so."""
    while True:
        revision = first = 0
        compares = []
        for key in reads:
            pinned = revision if isolation in ("s", "ss") else 0
            reply = pb.RangeResponse.FromString((yield RANGE, _get(key, pinned)))
            revision = revision or reply.header.revision
            first = first or revision
            seen = reply.kvs[0].mod_revision if reply.kvs else 0
            if isolation != "c":
                compares.append(_unchanged(key, seen))
        if isolation == "ss" and first:
            compares += [_not_after(key, first) for key in writes]
        puts = [pb.RequestOp(request_put=pb.PutRequest(key=key, value=value)) for key in writes]
        request = pb.TxnRequest(compare=compares, success=puts)
        if pb.TxnResponse.FromString((yield TXN, request.SerializeToString())).succeeded:
            return


def _get(key: bytes, revision: int) -> bytes:
    return pb.RangeRequest(key=key, revision=revision).SerializeToString()


def _unchanged(key: bytes, revision: int) -> pb.Compare:
    return pb.Compare(key=key, target=pb.Compare.MOD, result=pb.Compare.EQUAL, mod_revision=revision)


def _not_after(key: bytes, revision: int) -> pb.Compare:
    return pb.Compare(key=key, target=pb.Compare.MOD, result=pb.Compare.LESS, mod_revision=revision + 1)


def _alone(transaction: Steps, lease: int) -> Steps:
    yield from transaction


def _under_rpc(transaction: Steps, lease: int) -> Steps:
    """The lock service holds the queue."""
    request = lock_pb2.LockRequest(name=LOCK_NAME, lease=lease)
    held = lock_pb2.LockResponse.FromString((yield LOCK, request.SerializeToString())).key
    yield from transaction
    yield UNLOCK, lock_pb2.UnlockRequest(key=held).SerializeToString()


def _under_key(transaction: Steps, lease: int) -> Steps:
    """The client keeps its place in the queue itself: a key with its lease, and a watch on the one before it."""
    own = b"%s/%x" % (LOCK_NAME, lease)
    reply = pb.TxnResponse.FromString((yield TXN, _enqueue(own, lease)))
    place = reply.header.revision if reply.succeeded else reply.responses[0].response_range.kvs[0].create_revision
    while True:
        before = pb.RangeResponse.FromString((yield RANGE, _last_before(place)))
        if not before.kvs:
            break
        create = pb.WatchCreateRequest(key=before.kvs[0].key, start_revision=before.header.revision + 1)
        yield WATCH, pb.WatchRequest(create_request=create).SerializeToString(), _deleted
    yield from transaction
    yield DELETE, pb.DeleteRangeRequest(key=own).SerializeToString()


def _enqueue(key: bytes, lease: int) -> bytes:
    absent = pb.Compare(key=key, target=pb.Compare.CREATE, result=pb.Compare.EQUAL, create_revision=0)
    put = pb.RequestOp(request_put=pb.PutRequest(key=key, lease=lease))
    get = pb.RequestOp(request_range=pb.RangeRequest(key=key))
    return pb.TxnRequest(compare=[absent], success=[put], failure=[get]).SerializeToString()


def _last_before(place: int) -> bytes:
    request = pb.RangeRequest(
        key=LOCK_NAME + b"/",
        range_end=LOCK_NAME + b"0",
        max_create_revision=place - 1,
        sort_target=pb.RangeRequest.CREATE,
        sort_order=pb.RangeRequest.DESCEND,
        limit=1,
    )
    return request.SerializeToString()


def _deleted(message: bytes) -> bool:
    response = pb.WatchResponse.FromString(message)
    return response.canceled or any(event.type == event.DELETE for event in response.events)
