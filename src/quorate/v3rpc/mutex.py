"""The queue behind locks and elections: who stands first under a name holds it.

    name/LEASE   create revision 12   the holder          key = name "/" lease ID in hex, as etcd's clients write it
    name/LEASE   create revision 15   waits for 12
    name/LEASE   create revision 19   waits for 15

Clients of etcd keep the same queue by themselves, so all that counts is what the store says. A place is a key at its
create revision: a key deleted and made again is another place, further back. A waiter watches the place before its own
and its own, so that a release wakes one waiter and not all, and a lost lease ends the wait at once.

This member's store may lag, and it holds the waiter's own place: everyone ahead is in it, and some may be gone already.
So "somebody is ahead" may be believed only to wait on, "nobody is ahead" only after a linearizable read, and "my place
is gone" always.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from quorate.api import errors
from quorate.api.errors import Code
from quorate.api.pb import kv_pb2, rpc_pb2
from quorate.pkg.jsonlog import get_log
from quorate.server import Server
from quorate.storage.mvcc import WatchBatch
from quorate.transport.grpc import Context, Status
from quorate.txn.ranges import Ranged, run_range
from quorate.txn.tree import parse_txn
from quorate.v3rpc.door import Door
from quorate.v3rpc.kv import KV

log = get_log(__name__)

SESSION_TTL = 60
"""Seconds of a lease that is made for a caller who brings none."""
LEAVE_PAUSE = 1.0
"""Seconds until a place that could not be given up is tried again."""

_POSITIVE = (1 << 63) - 1


class Place(NamedTuple):
    """A key in a queue. `revision` is the store's when the place was taken or found, `value` what the key held then;
    `made` tells that it was taken."""

    prefix: bytes
    key: bytes
    created: int
    revision: int
    value: bytes
    made: bool


class PlaceLost(Exception):
    """The key is gone, most likely with its lease, or it was made anew by somebody else."""


class Queue:
    """All queues of one member's store."""

    def __init__(self, server: Server, kv: KV, door: Door) -> None:
        self._server = server
        self._door = door
        self._store = server.store
        self._kv = kv
        self._seats: dict[tuple[bytes, int], _Seat] = {}

    async def session(self, lease_id: int, context: Context) -> int:
        """The lease to hold a key with: the caller's, or a new one."""
        if lease_id:
            return lease_id
        request = rpc_pb2.LeaseGrantRequest(TTL=SESSION_TTL)
        while request.ID == 0:
            request.ID = self._server.next_id() & _POSITIVE
        self._server.check_quota(request)
        await self._server.propose("lease_grant", request, caller=await self._door.require(context))
        return request.ID

    async def join(self, name: bytes, lease_id: int, value: bytes, context: Context) -> Place:
        """Take a place at the end, or find the one this lease has. A caller who goes away meanwhile leaves none behind.

        Raises what a txn raises.
        """
        joining = asyncio.get_running_loop().create_task(self._join(name, lease_id, value, context))
        try:
            return await asyncio.shield(joining)
        except asyncio.CancelledError:
            self._server.spawn(self._undo(joining))
            raise

    async def wait(self, place: Place, context: Context) -> int:
        """Return when nobody is ahead; the revision at which that was seen. A caller who goes away, or may not see the
        queue any more, gives up the place, unless another call of the same lease on this member still waits for it or
        was told that it is first.

        Raises PlaceLost, Stopped, and what a refused read raises.
        """
        seat = self._seats.setdefault((place.key, place.created), _Seat())
        seat.callers += 1
        try:
            revision = await self._until_first(place, context)
            seat.taken = True
            return revision
        except (asyncio.CancelledError, errors.EtcdError):
            if seat.callers == 1 and not seat.taken:
                self.leave(place)
            raise
        finally:
            seat.callers -= 1
            if not seat.callers:
                self._seats.pop((place.key, place.created), None)

    def leave(self, place: Place) -> None:
        """Give up a place, soon: whoever asks is about to go."""
        self._server.spawn(self._give_up(place))

    async def change(self, request: rpc_pb2.TxnRequest, context: Context) -> rpc_pb2.TxnResponse:
        """A txn that writes, as if the caller had sent it."""
        body = request.SerializeToString()
        answer = self._kv.txn((parse_txn(body), body), context)
        assert not isinstance(answer, bytes), "only a read can be answered at once"
        return rpc_pb2.TxnResponse.FromString(await answer)

    async def first(self, name: bytes, context: Context) -> kv_pb2.KeyValue | None:
        """Who holds `name`, by this member's store. Raises what a refused read raises."""
        prefix = prefix_of(name)
        await self._door.check_read(context, prefix, end_of(prefix))
        request = rpc_pb2.RangeRequest(
            key=prefix,
            range_end=end_of(prefix),
            sort_target=rpc_pb2.RangeRequest.CREATE,
            sort_order=rpc_pb2.RangeRequest.ASCEND,
            limit=1,
        )
        return _only(run_range(self._store, request))

    async def _join(self, name: bytes, lease_id: int, value: bytes, context: Context) -> Place:
        prefix = prefix_of(name)
        key = prefix + b"%x" % lease_id
        request = if_created(0, rpc_pb2.PutRequest(key=key, value=value, lease=lease_id))
        request.failure.add(request_range=rpc_pb2.RangeRequest(key=key))
        if self._door.auth.enabled:  # who may not see who is ahead must not stand in the queue
            queue = rpc_pb2.RangeRequest(key=prefix, range_end=end_of(prefix), limit=1, keys_only=True)
            request.success.add(request_range=queue)
        reply = await self.change(request, context)
        revision = reply.header.revision
        if reply.succeeded:
            return Place(prefix, key, revision, revision, value, True)
        found = reply.responses[0].response_range.kvs[0]
        return Place(prefix, key, found.create_revision, revision, found.value, False)

    async def _undo(self, joining: asyncio.Task[Place]) -> None:
        with suppress(errors.EtcdError):
            place = await joining
            if place.made:  # what was there before has an owner who may still want it
                await self._give_up(place)

    async def _until_first(self, place: Place, context: Context) -> int:
        revision = place.revision  # taking the place was agreed on, and so as good as a linearizable read
        while True:
            await self._door.check_read(context, place.prefix, end_of(place.prefix))
            self._check(place)
            ahead = self._ahead(place)
            if ahead is not None:
                await self._deletion(ahead, place.key)
                revision = 0
            elif revision:
                return revision
            else:
                with suppress(errors.LeaderChanged, errors.Timeout):  # then nobody knows; that is no reason to give up
                    await self._server.fresh()
                    revision = self._store.revision

    def _check(self, place: Place) -> None:
        row = self._store.get(place.key)
        if row is None or kv_pb2.KeyValue.FromString(row).create_revision != place.created:
            raise PlaceLost()

    def _ahead(self, place: Place) -> bytes | None:
        """The key right before a place in the queue."""
        request = rpc_pb2.RangeRequest(
            key=place.prefix,
            range_end=end_of(place.prefix),
            max_create_revision=place.created - 1,
            sort_target=rpc_pb2.RangeRequest.CREATE,
            sort_order=rpc_pb2.RangeRequest.DESCEND,
            limit=1,
            keys_only=True,
        )
        found = _only(run_range(self._store, request))
        return None if found is None else found.key

    async def _deletion(self, *keys: bytes) -> None:
        """Return when one of the keys may have been deleted."""
        bell = _Bell()
        watchers = self._store.watch_stream(bell)
        try:
            for key in keys:
                watchers.watch(0, key, no_put=True)
            await bell.rung
        finally:
            watchers.close()

    async def _give_up(self, place: Place) -> None:
        """Delete the key: nobody waits for its turn. Tried until it is gone, or this member stops."""
        request = if_created(place.created, rpc_pb2.DeleteRangeRequest(key=place.key))
        while True:
            try:
                await self._server.propose("txn", request, caller=self._server.auth.root())
                return
            except errors.Stopped:
                return
            except errors.EtcdError as err:
                log.warn("failed to give up a place in a queue", key=repr(place.key), error=str(err))
            await asyncio.sleep(LEAVE_PAUSE)
            with suppress(PlaceLost):
                self._check(place)
                continue
            return


class _Seat:
    """Calls of this member that wait for one place, and whether one of them was told that it is first."""

    def __init__(self) -> None:
        self.callers = 0
        self.taken = False


class _Bell:
    """A sink that is told of a change and asks no more: the store is where the state is."""

    def __init__(self) -> None:
        self.rung: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def deliver(self, batch: WatchBatch) -> bool:
        if not self.rung.done():
            self.rung.set_result(None)
        return True


def prefix_of(name: bytes) -> bytes:
    return name + b"/"


def end_of(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`, which ends in a slash."""
    return prefix[:-1] + b"0"


def if_created(revision: int, change: rpc_pb2.PutRequest | rpc_pb2.DeleteRangeRequest) -> rpc_pb2.TxnRequest:
    """Put or delete a key if it was created at that revision; 0 stands for a key that is not there."""
    compare = rpc_pb2.Compare(key=change.key, target=rpc_pb2.Compare.CREATE, create_revision=revision)
    if isinstance(change, rpc_pb2.PutRequest):
        return rpc_pb2.TxnRequest(compare=[compare], success=[rpc_pb2.RequestOp(request_put=change)])
    return rpc_pb2.TxnRequest(compare=[compare], success=[rpc_pb2.RequestOp(request_delete_range=change)])


def _only(found: Ranged) -> kv_pb2.KeyValue | None:
    return kv_pb2.KeyValue.FromString(found.kvs[0]) if found.kvs else None


@contextmanager
def as_unknown() -> Iterator[None]:
    """Errors of the store as callers of these services get them: the text alone, with code UNKNOWN."""
    try:
        yield
    except errors.EtcdError as err:
        raise Status(Code.UNKNOWN, err.text) from None
