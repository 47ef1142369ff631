"""Service Watch: streams of callers, whose watchers of one range share a watch at a member.

    caller ──► WatchCall ──► Hub ──► Broadcast of the range ──► member
                 Watcher ◄── Watcher ◄──┘

Who joins a broadcast that another one opened is first looked at by a member: it opens a watch that tells nothing, with
the credentials of who joins, and says whether that is allowed, and what the revision is now. A caller that does not
read is taken out of its broadcast, and comes back, with what it has missed, once it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from quorate.api import encode, errors
from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.methods import WATCH
from quorate.client.ops import FROM_KEY
from quorate.client.recipes.namespace import Names, inside
from quorate.client.retry import Cause
from quorate.proxy.broadcast import STREAM_ID, Batch, Broadcast, Event, Span
from quorate.proxy.cache import ReadCache
from quorate.proxy.upstream import HAS_LEADER, Pairs, Upstream, credentials
from quorate.transport.grpc import Bidi, Method, Status, Stream

MAX_PENDING = 4 * 1024 * 1024
"""Bytes queued for a caller that does not read, before it is told nothing more and its requests wait."""
PIECE_BYTES = 1_572_864 + 524_288
"""Of a response to who takes fragments."""
PROBE_SECONDS = 5.0

_NOPUT = pb.WatchCreateRequest.NOPUT
_NODELETE = pb.WatchCreateRequest.NODELETE
_DELETE = kv_pb2.Event.DELETE


class Hub:
    """All broadcasts of a proxy."""

    def __init__(self, upstream: Upstream, cache: ReadCache, names: Names | None) -> None:
        self.upstream = upstream
        self.events = 0
        """Events that members have sent, times those who were told of each."""
        self.header = encode.HeaderEncoder(0, 0)
        """Of the member that was heard last."""
        self.term = 0
        self._cache = cache
        self._names = names
        self._ranges: dict[Span, list[Broadcast]] = {}

    @property
    def broadcasts(self) -> list[Broadcast]:
        return [each for group in self._ranges.values() for each in group]

    @property
    def watchers(self) -> int:
        return sum(len(each.watchers) for each in self.broadcasts)

    def methods(self) -> dict[str, Method]:
        """What is served, by path."""
        return {WATCH: Bidi(pb.WatchRequest.FromString, self.watch)}

    async def watch(self, stream: Stream) -> None:
        call = WatchCall(self, stream)
        try:
            await call.run()
        finally:
            call.close()

    def close(self) -> None:
        for broadcast in self.broadcasts:
            broadcast.close()

    def outside(self, key: bytes, end: bytes) -> tuple[bytes, bytes]:
        """A range of callers, as members have it."""
        return (key, end) if self._names is None else inside(self._names.prefix, key, end)

    async def admit(self, watcher: Watcher) -> None:
        """Find a broadcast for a watcher, or open one. When this returns it is served, or was told why not."""
        checked = watcher.started
        while not watcher.gone:
            group = self._ranges.setdefault(watcher.span, [])
            opening = next((each for each in group if not each.opened.done()), None)
            if opening is not None:
                await asyncio.shield(opening.opened)
                continue
            fitting = self._fitting(group, watcher)
            if fitting is None:
                watcher.home = made = Broadcast(self, watcher.span, watcher)
                group.append(made)
                await asyncio.shield(made.opened)
                return
            if not checked:
                answer = await self._probe(watcher)
                checked = True
                if answer.canceled:
                    watcher.end(answer)
                    return
                watcher.now = answer.header.revision
                continue  # things may have changed
            if not watcher.next:
                watcher.now = max(watcher.now, fitting.told)
                watcher.next = watcher.now + 1
            fitting.join(watcher)
            return

    def leave(self, watcher: Watcher) -> None:
        if watcher.home is not None:
            watcher.home.leave(watcher)
            watcher.home = None

    def _fitting(self, group: Sequence[Broadcast], watcher: Watcher) -> Broadcast | None:
        """One that will tell all that the watcher is to be told."""
        for broadcast in group:
            if broadcast.closed:
                continue
            if broadcast.live if not watcher.next else broadcast.told < watcher.next:
                return broadcast
        return None

    async def _probe(self, watcher: Watcher) -> Any:
        """What a member says to a watch like that one."""
        key, end, _ = watcher.span
        request = pb.WatchCreateRequest(key=key, range_end=end, filters=[_NOPUT, _NODELETE])
        body = pb.WatchRequest(create_request=request).SerializeToString()
        while True:
            await self.upstream.wire.rest()
            member, stream = self.upstream.open_led(WATCH, watcher.who)
            try:
                stream.send(body)
                async with asyncio.timeout(PROBE_SECONDS):
                    message = await stream.receive()
                if message is not None:
                    answer = pb.WatchResponse.FromString(message)
                    if not answer.cancel_reason.endswith(errors.NoLeader.text):
                        return answer
            except TimeoutError:
                pass
            except Status as status:
                if status.message == errors.NoLeader.text:
                    watcher.leaderless()
            finally:
                stream.cancel()
            self.upstream.failed(member, Cause.UNKNOWN_OUTCOME)

    # What broadcasts say.

    def incoming(self, events: Sequence[Event]) -> None:
        if self._names is not None:
            self._names.bare(event.kv for event in events)
            self._names.bare(event.prev_kv for event in events if event.HasField("prev_kv"))
        for event in events:
            self._cache.written(event.kv.key, b"", event.kv.mod_revision)

    def moved(self, broadcast: Broadcast) -> None:
        """One that has caught up with another one becomes part of it."""
        for other in self._ranges.get(broadcast.span, ()):
            if other is not broadcast and other.live and broadcast.opened.done() and broadcast.told >= other.told:
                for watcher in list(broadcast.watchers):
                    assert watcher.next > broadcast.told
                    del broadcast.watchers[watcher]
                    other.join(watcher)
                broadcast.close()
                return

    def over(self, broadcast: Broadcast) -> None:
        group = self._ranges.get(broadcast.span, [])
        if broadcast in group:
            group.remove(broadcast)
        if not group:
            self._ranges.pop(broadcast.span, None)

    def heard(self, header: Any) -> None:
        self.header = encode.HeaderEncoder(header.cluster_id, header.member_id)
        self.term = header.raft_term


class Watcher:
    """A watcher of a caller. `next` is 0 until it is known, for one that begins now."""

    def __init__(self, call: WatchCall, watch_id: int, request: Any, span: tuple[bytes, bytes]) -> None:
        self.id = watch_id
        self.span: Span = (*span, bool(request.prev_kv))
        self.next = max(int(request.start_revision), 0)
        self.now = 0
        """The revision at which it was made; 0 for one that opened its broadcast, which knows."""
        self.who: Pairs = call.who
        self.started = False
        self.gone = False
        """Nobody wants to hear of it any more."""
        self.home: Broadcast | None = None
        self._call = call
        self._no_put = _NOPUT in request.filters
        self._no_delete = _NODELETE in request.filters
        self._fragment = bool(request.fragment)
        self._progress = bool(request.progress_notify)

    def start(self, broadcast: Broadcast) -> None:
        self.home = broadcast
        if not self.started:
            self.started = True
            self._call.send(broadcast.header(self.now or broadcast.created_at), self.id, created=True)

    def tell(self, batch: Batch) -> bool:
        if self._call.stream.pending > MAX_PENDING:
            self.home = None
            self._call.lag(self)
            return False
        events = batch.encoded()
        if self.next > batch.first or self._no_put or self._no_delete:
            events = [each for event, each in zip(batch.events, events, strict=True) if self._wants(event)]
        self.next = batch.last + 1
        if events:
            self._call.hub.events += len(events)
            self._send(batch.header, events)
        return True

    def _wants(self, event: Event) -> bool:
        if event.kv.mod_revision < self.next:
            return False
        return not (self._no_delete if event.type == _DELETE else self._no_put)

    def _send(self, header: bytes, events: Sequence[bytes]) -> None:
        stream = self._call.stream
        if not self._fragment:
            stream.send(encode.watch_response(header, self.id, events))
            return
        pieces = encode.split_events(events, PIECE_BYTES)
        for number, piece in enumerate(pieces, 1):
            stream.send(encode.watch_response(header, self.id, piece, fragment=number < len(pieces)))

    def progress(self, header: bytes, revision: int) -> None:
        if self._progress:
            self._call.send(header, self.id)

    def end(self, answer: Any) -> None:
        self.gone = True
        self.home = None
        self._call.ended(self, answer)

    def leaderless(self) -> None:
        self._call.leaderless()


class WatchCall:
    """One stream of a caller."""

    def __init__(self, hub: Hub, stream: Stream) -> None:
        self.hub = hub
        self.stream = stream
        self.who = credentials(stream.context.metadata)
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._lagging: dict[Watcher, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        stream.on_drain = self._drained

    async def run(self) -> None:
        """Serve requests. A caller that sends no more keeps its watchers: the stream ends when it is cancelled."""
        while (request := await self.stream.receive()) is not None:
            match request.WhichOneof("request_union"):
                case "create_request":
                    await self._create(request.create_request)
                case "cancel_request":
                    self._cancel(request.cancel_request.watch_id)
                case "progress_request":
                    self._spawn(self._report_progress())
            if self.stream.pending > MAX_PENDING:
                await self.stream.drain()
        await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for watcher in list(self._watchers.values()):
            self._let_go(watcher)

    def send(self, header: bytes, watch_id: int, **fields: Any) -> None:
        """A response without events."""
        self.stream.send(header + pb.WatchResponse(watch_id=watch_id, **fields).SerializeToString())

    def lag(self, watcher: Watcher) -> None:
        """It is told nothing until the caller has read."""
        self._lagging[watcher] = None

    def leaderless(self) -> None:
        if HAS_LEADER in self.stream.context.metadata:
            self.stream.fail(errors.NoLeader())

    def ended(self, watcher: Watcher, answer: Any) -> None:
        """A member has ended it, or did not begin."""
        self._watchers.pop(watcher.id, None)
        self._lagging.pop(watcher, None)
        if not watcher.started and not answer.compact_revision:
            self._refuse(answer.cancel_reason)
            return
        if not watcher.started:
            self.send(self._header(0), watcher.id, created=True)
        reason, compacted = answer.cancel_reason, answer.compact_revision
        self.send(self._header(0), watcher.id, canceled=True, cancel_reason=reason, compact_revision=compacted)

    async def _create(self, request: Any) -> None:
        key, end = request.key or b"\0", request.range_end
        taken = request.watch_id and request.watch_id in self._watchers
        if end and end != FROM_KEY and key >= end:
            self._refuse(errors.WATCHER_RANGE_EMPTY)
        elif taken or request.watch_id == STREAM_ID:
            self._refuse(errors.WATCHER_DUPLICATE_ID)
        else:
            watch_id = request.watch_id or self._free_id()
            watcher = Watcher(self, watch_id, request, self.hub.outside(key, end))
            self._watchers[watch_id] = watcher
            await self.hub.admit(watcher)

    def _free_id(self) -> int:
        while self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _refuse(self, reason: str) -> None:
        self.send(self._header(0), STREAM_ID, created=True, canceled=True, cancel_reason=reason)

    def _cancel(self, watch_id: int) -> None:
        watcher = self._watchers.pop(watch_id, None)
        if watcher is not None:
            revision = max(watcher.next - 1, 0)
            self._let_go(watcher)
            self.send(self._header(revision), watch_id, canceled=True)

    def _let_go(self, watcher: Watcher) -> None:
        watcher.gone = True
        self._lagging.pop(watcher, None)
        self.hub.leave(watcher)

    def _drained(self) -> None:
        """The caller has read: who was left behind goes on."""
        lagging, self._lagging = list(self._lagging), {}
        for watcher in lagging:
            self._spawn(self.hub.admit(watcher))

    async def _report_progress(self) -> None:
        """Say up to which revision all watchers of the stream were told everything, if they were."""
        homes: dict[Broadcast, None] = {}
        for watcher in self._watchers.values():
            if watcher.home is None:
                return
            homes[watcher.home] = None
        asked = [home.ask_progress() for home in homes]
        if not asked:
            return
        await asyncio.wait(asked)
        if any(future.cancelled() for future in asked):
            await self._report_progress()  # a broadcast became part of another one
        elif not self._lagging:
            self.send(self._header(min(future.result() for future in asked)), STREAM_ID)

    def _header(self, revision: int) -> bytes:
        return self.hub.header.encode(revision, self.hub.term)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
