"""Service Election: candidates queue up as for a lock, and what the first one's key holds is the leader's word."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import closing

from quorate.api import errors
from quorate.api.pb import election_pb2, kv_pb2, rpc_pb2
from quorate.server import Server
from quorate.storage.mvcc import WatchBatch
from quorate.transport.grpc import Context, Stream
from quorate.v3rpc.mutex import PlaceLost, Queue, as_unknown, end_of, if_created, prefix_of

MAX_PENDING = 1024 * 1024
"""Bytes queued for an observer that does not read, before it is told no more."""
MAX_BATCHES = 64
"""Batches of events that wait for an observer, before the store keeps them."""


class Election:
    """Handlers take a decoded request and return an encoded reply; errors are raised. `campaign` needs a task."""

    def __init__(self, server: Server, queue: Queue) -> None:
        self._server = server
        self._header = server.header
        self._queue = queue

    async def campaign(self, request: election_pb2.CampaignRequest, context: Context) -> bytes:
        with as_unknown():
            lease_id = await self._queue.session(request.lease, context)
            place = await self._queue.join(request.name, lease_id, request.value, context)
            if place.value != request.value:
                try:
                    await self._say(place.key, place.created, request.value, lease_id, context)
                except errors.EtcdError:
                    self._queue.leave(place)
                    raise
            try:
                await self._queue.wait(place, context)
            except PlaceLost:
                raise errors.ElectionNotLeader() from None
        leader = election_pb2.LeaderKey(name=request.name, key=place.key, rev=place.created, lease=lease_id)
        return self._header(place.revision) + election_pb2.CampaignResponse(leader=leader).SerializeToString()

    async def proclaim(self, request: election_pb2.ProclaimRequest, context: Context) -> bytes:
        with as_unknown():
            leader = _leader_of(request)
            lease_id = await self._queue.session(leader.lease, context)
            header = await self._say(leader.key, leader.rev, request.value, lease_id, context)
        return election_pb2.ProclaimResponse(header=header).SerializeToString()

    async def resign(self, request: election_pb2.ResignRequest, context: Context) -> bytes:
        """Who does not lead any more has resigned already."""
        with as_unknown():
            leader = _leader_of(request)
            delete = rpc_pb2.DeleteRangeRequest(key=leader.key)
            reply = await self._queue.change(if_created(leader.rev, delete), context)
        return election_pb2.ResignResponse(header=reply.header).SerializeToString()

    async def leader(self, request: election_pb2.LeaderRequest, context: Context) -> bytes:
        with as_unknown():
            await self._server.fresh()
            found = await self._queue.first(request.name, context)
            if found is None:
                raise errors.ElectionNoLeader()
        return self._header() + election_pb2.LeaderResponse(kv=found).SerializeToString()

    async def observe(self, request: election_pb2.LeaderRequest, stream: Stream) -> None:
        """What each leader says, one after the other, until the caller has enough."""
        observation = _Observation(self._server, self._queue, request.name, stream)
        try:
            while True:
                await self._server.fresh()
                await observation.follow()
        except errors.EtcdError:
            raise errors.ElectionObserveClosed() from None

    async def _say(
        self, key: bytes, created: int, value: bytes, lease_id: int, context: Context
    ) -> rpc_pb2.ResponseHeader:
        """Raises ElectionNotLeader, and what a txn raises."""
        put = rpc_pb2.PutRequest(key=key, value=value, lease=lease_id)
        reply = await self._queue.change(if_created(created, put), context)
        if not reply.succeeded:
            raise errors.ElectionNotLeader()
        return reply.header


class _Observation:
    """One observer: sends what a leader says, from this member's store on."""

    def __init__(self, server: Server, queue: Queue, name: bytes, stream: Stream) -> None:
        self._server = server
        self._store = server.store
        self._queue = queue
        self._name = name
        self._stream = stream

    async def follow(self) -> None:
        """Send the present leader, or the first to come, and each new value of its key; return when the key is gone, or
        when too much was missed."""
        kv = await self._queue.first(self._name, self._stream.context)
        if kv is not None:
            self._send(self._store.revision, kv)
            start = 0
        else:
            kv = await self._first_put()
            if kv is None:
                return
            self._send(kv.mod_revision, kv)
            start = kv.mod_revision + 1
        feed = _Feed(self._server)
        with closing(self._store.watch_stream(feed)) as watchers:
            watchers.watch(0, kv.key, start_revision=start)
            self._server.watch_sync.poke()
            while (event := await feed.take()) is not None and event.type == kv_pb2.Event.PUT:
                self._send(event.kv.mod_revision, event.kv)
                if self._stream.pending > MAX_PENDING:
                    await self._stream.drain()

    async def _first_put(self) -> kv_pb2.KeyValue | None:
        prefix = prefix_of(self._name)
        feed = _Feed(self._server)
        with closing(self._store.watch_stream(feed)) as watchers:
            watchers.watch(0, prefix, end_of(prefix), no_delete=True)
            event = await feed.take()
        return None if event is None else event.kv

    def _send(self, revision: int, kv: kv_pb2.KeyValue) -> None:
        header = self._server.header(revision)
        self._stream.send(header + election_pb2.LeaderResponse(kv=kv).SerializeToString())


class _Feed:
    """The events of one watcher, for one reader, in order. Is the sink that the store delivers to."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._batches: deque[WatchBatch] = deque()
        self._events: deque[bytes] = deque()
        self._news = asyncio.Event()

    def deliver(self, batch: WatchBatch) -> bool:
        if len(self._batches) >= MAX_BATCHES:
            self._server.watch_sync.poke()
            return False
        self._batches.append(batch)
        self._news.set()
        return True

    async def take(self) -> kv_pb2.Event | None:
        """The next event; None when the watcher missed some, because they are compacted."""
        while not self._events:
            await self._news.wait()
            batch = self._batches.popleft()
            if batch.compact_revision:
                return None
            self._events.extend(batch.events)
            if not self._batches:
                self._news.clear()
        return kv_pb2.Event.FromString(self._events.popleft())


def _leader_of(request: election_pb2.ProclaimRequest | election_pb2.ResignRequest) -> election_pb2.LeaderKey:
    """Raises ElectionLeaderMissing, EmptyKey."""
    if not request.HasField("leader"):
        raise errors.ElectionLeaderMissing()
    if not request.leader.key:
        raise errors.EmptyKey()
    return request.leader
